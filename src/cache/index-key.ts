import type { PlanIndex } from '../source/plan.js';
import type { Checksum } from '../transform/checksum.js';
import { encodeKeyPrefix, MAX_KEY_BYTES } from '../transform/key-codec.js';
import type { SqlValue } from '../values.js';

/**
 * A table's index entries share one database. The key of an entry is
 *
 * | part    | bytes     |                                                                                             |
 * |---------|-----------|---------------------------------------------------------------------------------------------|
 * | number  | 2         | which index of the table, big-endian                                                        |
 * | values  | up to 512 | one component for each column as in a key (`transform/key-codec.ts`), every one terminated; |
 * |         |           | a descending column's bits inverted. From {@link LEAD_BYTES} on: their first bytes, then a  |
 * |         |           | hash of them all                                                                            |
 * | row key | the rest  | as it is, or where it is too long its first bytes, then its hash                            |
 *
 * and its value is the row's key. Entries sort as the values do, then as the rows. Only among those that were cut may
 * the order be wrong, and such entries stand together: {@link isInexact} tells them, and a reader puts them in order
 * by the rows themselves.
 */
export const LEAD_BYTES = 504;

const NUMBER_BYTES = 2;
const HASH_BYTES = 8;
/** A value longer than this is not encoded whole: neither in an entry's lead, nor in its hash. */
const LONG_VALUE = 1024;
/** Entries longer than this may hold a row key that was cut. */
const MAX_EXACT_BYTES = MAX_KEY_BYTES - HASH_BYTES;

/** Every component begins with a byte between these; what follows a component within an escape is outside of them. */
const BELOW_TAGS = Buffer.of(0x01);
const ABOVE_TAGS = Buffer.of(0xff);
const ABOVE_HASH = Buffer.alloc(HASH_BYTES + 1, 0xff);

export const MAX_INDEX_NUMBER = 0xffff;

export interface IndexEntry {
  readonly number: number;
  readonly key: Buffer;
  /** What entries of rows with the same values begin with, or null for an index that lets them be. */
  readonly group: Buffer | null;
}

/** The entry under which a row stands in an index. */
export function indexEntry(
  index: PlanIndex,
  number: number,
  row: readonly SqlValue[],
  rowKey: Uint8Array,
  checksum: Checksum,
): IndexEntry {
  const values = index.columns.map((at): SqlValue => row[at]!);
  const group = indexGroup(index, number, values, checksum);
  const whole = group.length + rowKey.length <= MAX_KEY_BYTES;
  const key = whole
    ? Buffer.concat([group, rowKey])
    : Buffer.concat([
        group,
        rowKey.subarray(0, MAX_KEY_BYTES - HASH_BYTES - group.length),
        hashBytes(checksum(rowKey)),
      ]);
  return {
    number,
    key,
    group: index.unique && !values.some((value) => value === null) ? group : null,
  };
}

/** What the entries of all rows with these values in an index begin with. */
export function indexGroup(
  index: PlanIndex,
  number: number,
  values: readonly SqlValue[],
  checksum: Checksum,
): Buffer {
  const encoded = encodeIndexed(index, values);
  if (encoded.length < LEAD_BYTES) return Buffer.concat([numberBytes(number), encoded]);
  const long = values.flatMap((value) =>
    isLong(value) ? [hashBytes(checksum(bytesOf(value)))] : [],
  );
  const hash = checksum(Buffer.concat([encoded, ...long]));
  return Buffer.concat([numberBytes(number), encoded.subarray(0, LEAD_BYTES), hashBytes(hash)]);
}

/** The range of all entries of an index. */
export function wholeIndex(number: number): { readonly start: Buffer; readonly end: Buffer } {
  return rangeOfGroup(numberBytes(number));
}

/** The range of the entries that go on behind `group` with another component. */
export function rangeOfGroup(group: Buffer): { readonly start: Buffer; readonly end: Buffer } {
  return {
    start: Buffer.concat([group, BELOW_TAGS]),
    end: Buffer.concat([group, ABOVE_TAGS]),
  };
}

/**
 * The range of the entries that begin with these leading values. It is `inexact` where they are too long for the index
 * to tell: then entries of other values lie in it, all of them inexact themselves.
 */
export function rangeOfValues(
  index: PlanIndex,
  number: number,
  values: readonly SqlValue[],
): { readonly start: Buffer; readonly end: Buffer; readonly inexact: boolean } {
  const encoded = encodeIndexed(index, values);
  if (encoded.length < LEAD_BYTES) {
    return { ...rangeOfGroup(Buffer.concat([numberBytes(number), encoded])), inexact: false };
  }
  const lead = Buffer.concat([numberBytes(number), encoded.subarray(0, LEAD_BYTES)]);
  return { start: lead, end: Buffer.concat([lead, ABOVE_HASH]), inexact: true };
}

/** Whether an entry may have been cut, so that its order among its like is not that of the rows. */
export function isInexact(key: Buffer, rowKey: Buffer): boolean {
  return key.length > MAX_EXACT_BYTES || key.length - rowKey.length >= NUMBER_BYTES + LEAD_BYTES;
}

/** What inexact entries have in common whose order among each other is not known from their keys. */
export function leadOf(key: Buffer): Buffer {
  return key.subarray(0, NUMBER_BYTES + LEAD_BYTES);
}

/** What the entry begins with before the row's key, or null where that was cut. */
export function groupOf(key: Buffer, rowKey: Buffer): Buffer | null {
  const at = key.length - rowKey.length;
  return at > NUMBER_BYTES && key.compare(rowKey, 0, rowKey.length, at) === 0
    ? key.subarray(0, at)
    : null;
}

/** Compares rows by the leading columns of an index, in its order. */
export function compareIndexed(
  index: PlanIndex,
  a: readonly SqlValue[],
  b: readonly SqlValue[],
): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const order = compareValues(a[i]!, b[i]!);
    if (order !== 0) return index.descending[i] === true ? -order : order;
  }
  return 0;
}

/** SQLite's order of values under the collation BINARY: NULL, numbers, TEXT by its UTF-8 bytes, BLOB. */
function compareValues(a: SqlValue, b: SqlValue): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0 || a === null || b === null) return rank;
  if (typeof a === 'string' || a instanceof Uint8Array) {
    return Buffer.compare(bytesOf(a), bytesOf(b as string | Uint8Array));
  }
  const [x, y] = [a, b as number | bigint];
  return x < y ? -1 : x > y ? 1 : 0;
}

function rankOf(value: SqlValue): number {
  if (value === null) return 0;
  if (typeof value === 'string') return 2;
  return value instanceof Uint8Array ? 3 : 1;
}

function encodeIndexed(index: PlanIndex, values: readonly SqlValue[]): Buffer {
  if (!index.descending.includes(true)) return encodeKeyPrefix(values.map(cut));
  return Buffer.concat(
    values.map((value, i) => {
      const component = encodeKeyPrefix([cut(value)]);
      if (index.descending[i] === true) {
        for (let at = 0; at < component.length; at++) component[at]! ^= 0xff;
      }
      return component;
    }),
  );
}

/** Cut behind what an entry's lead holds, also where that tears a character in two. */
function cut(value: SqlValue): SqlValue {
  if (!isLong(value)) return value;
  return typeof value === 'string'
    ? value.slice(0, LONG_VALUE).toWellFormed()
    : value.subarray(0, LONG_VALUE);
}

function isLong(value: SqlValue): value is string | Uint8Array {
  return (typeof value === 'string' || value instanceof Uint8Array) && value.length > LONG_VALUE;
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

function numberBytes(number: number): Buffer {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES);
  bytes.writeUInt16BE(number);
  return bytes;
}

function hashBytes(hash: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(HASH_BYTES);
  bytes.writeBigUInt64BE(hash);
  return bytes;
}
