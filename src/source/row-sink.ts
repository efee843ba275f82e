import { InvalidText, type Cell } from '../values.js';
import type { EntryBounds, TakenEntries } from './entry-taker.js';
import type { TablePlan } from './plan.js';
import type { WireRow } from './hrana/wire-row.js';
import type { StoredRecord } from './stored/stored-record.js';
import type { StoredTable } from './stored/stored-table.js';

/** Takes the rows of a page, in any order. Either method tells why a row cannot be kept, or null. */
export interface RowSink {
  /** Begins with a page of so many rows; what was taken before is dropped. */
  start(rows: number): void;
  /** Makes the page one of so many rows, with those taken so far. */
  grow(rows: number): void;
  /** Takes the row that is number `ordinal` of the page, as it is stored. The record is another's afterwards. */
  takeStored(ordinal: number, record: StoredRecord, table: StoredTable): string | null;
  /** Takes the row that is number `ordinal` of the page, as it came over the wire. The row is another's afterwards. */
  takeWire(ordinal: number, row: WireRow): string | null;
  take(ordinal: number, row: readonly Cell[]): string | null;
  /**
   * Takes rows of a cursor from number `ordinal` of the page on: the first ones of its entries, until one is not plain.
   * Null from a sink that takes none so.
   */
  takeEntries?(
    ordinal: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    bounds: EntryBounds,
  ): TakenEntries | null;
  /** Forgets the rows from number `rows` on. */
  cut(rows: number): void;
}

/** Keeps rows as values. */
export class RowList implements RowSink {
  readonly #plan: TablePlan;
  #rows: (readonly Cell[] | undefined)[] = [];

  constructor(plan: TablePlan) {
    this.#plan = plan;
  }

  get rows(): (readonly Cell[])[] {
    return this.#rows.filter((row) => row !== undefined);
  }

  start(): void {
    this.#rows = [];
  }

  grow(): void {}

  takeStored(ordinal: number, record: StoredRecord, table: StoredTable): string | null {
    return this.take(ordinal, table.cells(record));
  }

  takeWire(ordinal: number, row: WireRow): string | null {
    const { columns, readsRowid } = this.#plan;
    return this.take(ordinal, row.values(columns.length + (readsRowid ? 1 : 0)));
  }

  cut(rows: number): void {
    this.#rows.length = Math.min(this.#rows.length, rows);
  }

  take(ordinal: number, row: readonly Cell[]): string | null {
    const reason = invalidTextReason(this.#plan, row);
    if (reason === null) this.#rows[ordinal] = row;
    return reason;
  }
}

/** Why a row with TEXT that is not valid Unicode cannot be kept, or null for any other row. */
export function invalidTextReason(plan: TablePlan, cells: readonly Cell[]): string | null {
  const at = cells.findIndex((cell) => cell instanceof InvalidText);
  if (at < 0) return null;
  return `the TEXT in column ${JSON.stringify(plan.columns[at]?.name)} is not valid Unicode`;
}
