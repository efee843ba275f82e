import { describeValue, type Cell } from '../values.js';
import type { KeysetSegment } from './keyset.js';
import type { TablePlan } from './plan.js';

export interface PageBounds {
  /** Rows asked for at most. */
  readonly maxRows: number;
  /** Bytes of row data at which the page is cut; a single larger row still makes a page of its own. */
  readonly maxBytes: number;
  /** A row larger than this is not read at all, but rejected. */
  readonly maxRowBytes: number;
  /** Where the range to read ends, this position included. Only for a plan that `canSplit`. */
  readonly upTo?: readonly Cell[] | null;
  /** Rows that this does not select are passed over. */
  readonly only?: KeysetSegment;
  /** Whether to read all rows by the exact list, because the server cannot make the plain answer. */
  readonly exactly?: boolean;
  /** Whether the next page will be asked for as well: a server may then send its rows without being asked again. */
  readonly ahead?: boolean;
}

/** A row that was not taken, and why. */
export interface RejectedRow {
  readonly key: string;
  readonly reason: string;
}

/** A run of rows in scan order, without the rows: those went to a sink. */
export interface Page {
  /** Rows that the sink took. */
  readonly taken: number;
  readonly rejected: readonly RejectedRow[];
  /** Where the next page begins: behind this. Null only when nothing was ever read. */
  readonly position: readonly Cell[] | null;
  /** True when nothing lies behind. */
  readonly done: boolean;
  /** Bytes of row data, estimated. */
  readonly bytes: number;
  /** Rows that the source gave for this page: more than it has where some had to be asked for again. */
  readonly sourceRows: number;
  /** How many rows to ask for next, from the sizes seen. */
  readonly nextMaxRows: number;
}

/** Turso and `sqld` refuse to answer more than this at once, but for a cursor. */
export const SERVER_RESPONSE_LIMIT = 10 * 1000 * 1000;
/** Of that limit, the part that row data may take: hexadecimal and JSON around it need the rest. */
export const RESPONSE_SHARE = 0.4;
/** How full pages are meant to be: rows differ, and one that is over its bounds is read twice. */
export const PAGE_FILL = 0.8;
/** What a number or a NULL counts in a row's size. */
export const NUMBER_BYTES = 9;

/** Aims at pages a little below `maxBytes`, growing by at most a factor of four at a time. */
export function nextMaxRows(bounds: PageBounds, seen: number, bytes: number): number {
  if (seen === 0) return bounds.maxRows;
  const fitting = Math.floor((PAGE_FILL * bounds.maxBytes) / Math.max(1, bytes / seen));
  return Math.max(1, Math.min(fitting, bounds.maxRows * 4));
}

export function tooLarge(bytes: number, maxRowBytes: number): string {
  return `the row takes ${bytes} bytes, more than maxRowBytes (${maxRowBytes})`;
}

/** How a key is shown in messages: `name = value, …`. */
export function describeKey(plan: TablePlan, row: readonly Cell[]): string {
  return plan.key.map((at, i) => `${plan.keyNames[i]} = ${describeValue(row[at]!)}`).join(', ');
}
