import { InvalidText, type Cell } from '../values.js';
import type { PlanCursor } from './plan.js';

/** Where a round begins: at a value; or why it cannot be told. */
export type CursorStart =
  | { readonly from: Cell; readonly problem: null }
  | { readonly from: null; readonly problem: string };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Of numbers that are no times. */
const DEFAULT_OVERLAP = 100;
const MIN_INTEGER = -(2n ** 63n);

/** Numbers of this size may be Unix times (from September 2001 on), and a minute in their unit. */
const UNIX_TIMES = [
  { from: 1e9, to: 1e11, minute: 60 },
  { from: 1e12, to: 1e14, minute: MINUTE_MS },
  { from: 1e15, to: 1e17, minute: MINUTE_MS * 1000 },
] as const;

/**
 * The value at which a round begins when the one before ended at `last`: the overlap below it. Never NULL.
 *
 * Where the overlap cannot be subtracted, a round would miss rows that were committed late, or all that come: there is
 * a problem then, and the table is to be read in full.
 */
export function cursorStart(
  last: Exclude<Cell, null>,
  { overlap, overlapIsTime }: Pick<PlanCursor, 'overlap' | 'overlapIsTime'>,
  now = Date.now(),
): CursorStart {
  if (typeof last === 'number' || typeof last === 'bigint') {
    if (last === Infinity) return problem('the last value is infinite, and none can follow it');
    if (overlapIsTime) {
      return problem(`the last value is the number ${last}, and the overlap a time`);
    }
    return { from: numberBelow(last, overlap ?? defaultOverlap(last)), problem: null };
  }
  if (overlap === 0) return { from: last, problem: null };
  const time = typeof last === 'string' ? parseTime(last) : null;
  if (time === null) {
    return problem(`the last value, ${describe(last)}, is no time, and the overlap is not 0`);
  }
  if (time.ms > now + DAY_MS) {
    return problem(`the last value, ${describe(last)}, lies in the future, and others may follow`);
  }
  return { from: formatTime(time.ms - (overlap ?? MINUTE_MS), time), problem: null };
}

function problem(what: string): CursorStart {
  return { from: null, problem: what };
}

function describe(value: string | Uint8Array | InvalidText): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  return value instanceof InvalidText ? 'a TEXT that is not valid' : 'a BLOB';
}

function defaultOverlap(last: number | bigint): number {
  const value = Number(last);
  const unit = UNIX_TIMES.find(({ from, to }) => value >= from && value < to);
  return unit?.minute ?? DEFAULT_OVERLAP;
}

function numberBelow(last: number | bigint, overlap: number): number | bigint {
  if (typeof last === 'number' && !Number.isSafeInteger(last)) return last - overlap;
  const below = BigInt(last) - BigInt(Math.ceil(overlap));
  return below < MIN_INTEGER ? MIN_INTEGER : below;
}

interface ParsedTime {
  readonly ms: number;
  readonly separator: string;
  /** Characters of the time of day: none, hours and minutes, or seconds too. */
  readonly clockLength: number;
}

/** Date and time as SQLite takes them (https://www.sqlite.org/lang_datefunc.html, section 2), the first seven forms. */
const TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:([T ])(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?$/;

/** Reads a time as if it had no offset: one that all values share does not matter here. */
function parseTime(text: string): ParsedTime | null {
  const match = TIME.exec(text);
  if (!match) return null;
  const [year, month, day, hours, minutes, seconds] = [1, 2, 3, 5, 6, 7].map((at) =>
    Number(match[at] ?? 0),
  ) as [number, number, number, number, number, number];
  if (month < 1 || month > 12 || day < 1 || day > 31) return null;
  if (hours > 24 || minutes > 59 || seconds > 60) return null;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hours, minutes, seconds);
  const clockLength = match[5] === undefined ? 0 : match[7] === undefined ? 5 : 8;
  return { ms: date.getTime(), separator: match[4] ?? '', clockLength };
}

/**
 * A text that sorts not behind any of the same format from `ms` on: cut off where the format may vary, at fractions of
 * a second and the offset.
 */
function formatTime(ms: number, { separator, clockLength }: ParsedTime): string {
  const earliest = new Date(0).setUTCFullYear(0, 0, 1);
  const iso = new Date(Math.max(ms, earliest)).toISOString();
  return iso.slice(0, 10) + separator + iso.slice(11, 11 + clockLength);
}
