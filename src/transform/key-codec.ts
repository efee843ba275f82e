import { CacheError } from '../errors.js';
import {
  SERIAL_BYTES,
  SERIAL_DOUBLE,
  SERIAL_NULL,
  type StoredRecord,
} from '../source/stored/stored-record.js';
import {
  WIRE_BIGINT,
  WIRE_NULL,
  WIRE_NUMBER,
  WIRE_TEXT,
  type WireRow,
} from '../source/hrana/wire-row.js';
import { copyField, copyStored } from './copy-stored.js';
import { describeValue, InvalidText, type Cell, type SqlValue } from '../values.js';

/**
 * Keys as bytes whose `memcmp` order is SQLite's order of the values: NULL, then numbers by value (INTEGER and REAL
 * together), then TEXT by its UTF-8 bytes, then BLOB.
 *
 * Each component is a tag byte and a body:
 *
 * | value  | tag  | body                                                                                          |
 * |--------|------|-----------------------------------------------------------------------------------------------|
 * | NULL   | 0x05 | none                                                                                          |
 * | number | 0x10 | IEEE 754 double, big-endian, sign-flipped to sort; from ±2^53 on, two bytes more: how far the |
 * |        |      | INTEGER lies above the largest double not greater than it                                     |
 * | TEXT   | 0x20 | UTF-8                                                                                         |
 * | BLOB   | 0x30 | the bytes                                                                                     |
 *
 * TEXT and BLOB before the last component are escaped (0x00 as 0x00 0xFF) and end with 0x00, as in FoundationDB's
 * tuple layer (https://github.com/apple/foundationdb/blob/main/design/tuple.md). The last component is stored as it
 * is, unless the key holds a NULL: then all components are escaped and the rowid follows as a last one, because SQLite
 * does not keep a key with a NULL in it unique.
 */

/** lmdb-js's limit with 4 KiB pages. */
export const MAX_KEY_BYTES = 1978;

const TAG_NULL = 0x05;
const TAG_NUMBER = 0x10;
const TAG_TEXT = 0x20;
const TAG_BLOB = 0x30;
const TWO_53 = 2 ** 53;

/** More than any number takes. */
const NUMBER_BYTES = 11;

/** Characters of a TEXT that is written one by one. */
const SHORT_TEXT = 64;

const scratch = new DataView(new ArrayBuffer(8));

/** The bytes that {@link writeKey} may need at most. */
export function keyBound(values: readonly Cell[]): number {
  let bound = NUMBER_BYTES;
  for (const value of values) {
    if (typeof value === 'string') bound += 2 + value.length * 6;
    else if (value instanceof Uint8Array) bound += 2 + value.byteLength * 2;
    else bound += NUMBER_BYTES;
  }
  return bound;
}

/**
 * Writes a key into `target` at `at` and returns where it ends. The target must have {@link keyBound} bytes left.
 *
 * @param rowid completes the key when it holds a NULL.
 */
export function writeKey(
  target: Buffer,
  at: number,
  values: readonly SqlValue[],
  rowid?: number | bigint,
): number {
  const hasNull = values.includes(null);
  const lastRaw = hasNull ? -1 : values.length - 1;
  for (let i = 0; i < values.length; i++) {
    at = writeComponent(target, at, values[i]!, i === lastRaw);
  }
  if (hasNull && rowid !== undefined) at = writeNumber(target, at, rowid);
  return at;
}

/**
 * Writes keys of fields as they are stored, into the same bytes as {@link writeKey} does of their values. Made once and
 * used for many keys, one after the other.
 */
export class KeyWriter {
  #target: Buffer = Buffer.alloc(0);
  #left = 0;
  /** Where the key ends so far. */
  end = 0;
  /** Whether a component was NULL. */
  hasNull = false;

  /** The target must have room: twice the bytes of the fields, and {@link NUMBER_BYTES} for each. */
  begin(target: Buffer, at: number, components: number): void {
    this.#target = target;
    this.#left = components;
    this.end = at;
    this.hasNull = false;
  }

  number(value: number | bigint): void {
    this.#left--;
    this.end = writeNumber(this.#target, this.end, value);
  }

  /** @returns false for a field that must be made a value of first. */
  stored(record: StoredRecord, field: number): boolean {
    const type = record.types[field]!;
    if (type < SERIAL_BYTES) {
      if (type === SERIAL_NULL || type === SERIAL_DOUBLE) return false;
      this.number(record.value(field, 'utf8') as number | bigint);
      return true;
    }
    const target = this.#target;
    const start = this.end + 1;
    const isText = type % 2 === 1;
    target[this.end] = isText ? TAG_TEXT : TAG_BLOB;
    const end = copyStored(target, start, record, field, isText);
    if (end < 0) return false;
    this.#endBytes(start, end);
    return true;
  }

  /** @returns false for a field that must be made a value of first. */
  wire(row: WireRow, field: number): boolean {
    const type = row.types[field];
    if (type === WIRE_NULL) return false;
    if (type === WIRE_NUMBER) this.number(row.numbers[field]!);
    else if (type === WIRE_BIGINT) this.number(row.bigints[field]!);
    else {
      const target = this.#target;
      const start = this.end + 1;
      const isText = type === WIRE_TEXT;
      target[this.end] = isText ? TAG_TEXT : TAG_BLOB;
      const { bytes, starts, ends } = row;
      const end = copyField(target, start, bytes, starts[field]!, ends[field]!, isText);
      if (end < 0) return false;
      this.#endBytes(start, end);
    }
    return true;
  }

  /** The last component is stored as it is. A NULL among the others would forbid that, and is not written here. */
  #endBytes(start: number, end: number): void {
    this.#left--;
    this.end = this.#left === 0 ? end : terminate(this.#target, start, end);
  }
}

/** A row's key, or null where no row with it can be cached. */
export function cacheableKey(values: readonly Cell[], rowid?: number | bigint): Uint8Array | null {
  if (unkeyableReason(values) !== null) return null;
  const buffer = Buffer.allocUnsafe(keyBound(values));
  const end = writeKey(buffer, 0, values as SqlValue[], rowid);
  return end > MAX_KEY_BYTES ? null : new Uint8Array(buffer.subarray(0, end));
}

/**
 * The bytes of a key.
 *
 * @throws {CacheError} `KEY_INVALID` when a value cannot be part of a key or the key is too long.
 */
export function encodeKey(values: readonly SqlValue[], rowid?: number | bigint): Buffer {
  for (const value of values) refuseUnkeyable(value);
  const buffer = Buffer.allocUnsafe(keyBound(values));
  const end = writeKey(buffer, 0, values, rowid);
  if (end > MAX_KEY_BYTES) {
    throw new CacheError(
      'KEY_INVALID',
      `The key takes ${end} bytes; the cache holds keys of at most ${MAX_KEY_BYTES}.`,
    );
  }
  return buffer.subarray(0, end);
}

/**
 * {@link encodeKey} for a key that is looked up at once: the bytes are in memory that is used again by the next call.
 * Without memory of its own a key costs a third.
 *
 * @throws {CacheError} `KEY_INVALID` as that does.
 */
export function lendKey(values: readonly SqlValue[]): Buffer {
  if (keyBound(values) > LENT_BYTES) return encodeKey(values);
  for (const value of values) refuseUnkeyable(value);
  const end = writeKey(lent, 0, values);
  return end > MAX_KEY_BYTES ? encodeKey(values) : (lentViews[end] ??= lent.subarray(0, end));
}

const LENT_BYTES = 4096;
const lent = Buffer.alloc(LENT_BYTES);
/** Of each size that was needed. */
const lentViews: (Buffer | undefined)[] = [];

/**
 * The bytes that all keys beginning with these leading values begin with. For range reads over part of a composite
 * key or index: those keys are the ones from the prefix up to the prefix with 0xFF behind it, since no component
 * begins with that byte, and an escaped zero goes on with it.
 */
export function encodeKeyPrefix(values: readonly SqlValue[]): Buffer {
  for (const value of values) refuseUnkeyable(value);
  const buffer = Buffer.allocUnsafe(keyBound(values));
  let at = 0;
  for (const value of values) at = writeComponent(buffer, at, value, false);
  return buffer.subarray(0, at);
}

function refuseUnkeyable(value: SqlValue): void {
  const type = typeof value;
  const fits =
    value === null ||
    type === 'string' ||
    (type === 'number' && !Number.isNaN(value)) ||
    (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) ||
    value instanceof Uint8Array;
  if (!fits) {
    throw new CacheError(
      'KEY_INVALID',
      `A key value must be text, a number, bytes or null, not ${describeKeyType(value)}.`,
    );
  }
}

function describeKeyType(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint') return `the number ${value}`;
  return value === undefined ? 'undefined' : `a ${typeof value}`;
}

function writeComponent(target: Buffer, at: number, value: SqlValue, raw: boolean): number {
  if (value === null) {
    target[at] = TAG_NULL;
    return at + 1;
  }
  if (typeof value === 'string') {
    target[at] = TAG_TEXT;
    const start = at + 1;
    const end = writeText(target, start, value);
    return raw ? end : terminate(target, start, end);
  }
  if (value instanceof Uint8Array) {
    target[at] = TAG_BLOB;
    target.set(value, at + 1);
    const end = at + 1 + value.byteLength;
    return raw ? end : terminate(target, at + 1, end);
  }
  return writeNumber(target, at, value);
}

/** UTF-8. A call into native code costs more than a loop over a short key. */
function writeText(target: Buffer, start: number, value: string): number {
  const { length } = value;
  if (length > SHORT_TEXT) return start + target.write(value, start, 'utf8');
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code >= 0x80) return start + target.write(value, start, 'utf8');
    target[start + i] = code;
  }
  return start + length;
}

/** Escapes the zero bytes of a component in place and ends it with one. */
function terminate(target: Buffer, start: number, end: number): number {
  let zero = target.indexOf(0, start);
  while (zero >= 0 && zero < end) {
    target.copyWithin(zero + 2, zero + 1, end);
    target[zero + 1] = 0xff;
    end++;
    zero = target.indexOf(0, zero + 2);
  }
  target[end] = 0;
  return end + 1;
}

function writeNumber(target: Buffer, at: number, value: number | bigint): number {
  let double: number;
  let above = 0;
  if (typeof value === 'bigint') {
    double = Number(value);
    let distance = value - BigInt(double);
    if (distance < 0n) {
      double = nextBelow(double);
      distance = value - BigInt(double);
    }
    above = Number(distance);
  } else {
    // There is one zero.
    double = value === 0 ? 0 : value;
  }
  target[at] = TAG_NUMBER;
  writeSortableDouble(target, at + 1, double);
  if (Math.abs(double) < TWO_53 || !Number.isFinite(double)) return at + 9;
  target[at + 9] = above >>> 8;
  target[at + 10] = above & 0xff;
  return at + NUMBER_BYTES;
}

/** Positive doubles sort as their bits do; negative ones in reverse. So flip the sign, or for negatives all bits. */
function writeSortableDouble(target: Buffer, at: number, double: number): void {
  scratch.setFloat64(0, double);
  const negative = (scratch.getUint8(0) & 0x80) !== 0;
  const high = scratch.getUint32(0);
  const low = scratch.getUint32(4);
  target.writeUInt32BE((negative ? ~high : high ^ 0x80000000) >>> 0, at);
  target.writeUInt32BE((negative ? ~low : low) >>> 0, at + 4);
}

/** The next double below a finite, non-zero one. */
function nextBelow(double: number): number {
  scratch.setFloat64(0, double);
  const bits = scratch.getBigInt64(0);
  scratch.setBigInt64(0, double > 0 ? bits - 1n : bits + 1n);
  return scratch.getFloat64(0);
}

/** The reason why a row cannot have a key, or null. */
export function unkeyableReason(values: readonly Cell[]): string | null {
  for (const value of values) {
    if (value instanceof InvalidText) return `the key holds ${describeValue(value)}`;
  }
  return null;
}

/**
 * The values of a key as {@link writeKey} made it; where one of them is NULL, the rowid follows.
 *
 * @param components how many columns the key has.
 */
export function decodeKey(key: Uint8Array, components: number): SqlValue[] {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const values: SqlValue[] = [];
  let hasNull = false;
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at++]!;
    if (tag === TAG_NULL) {
      hasNull = true;
      values.push(null);
    } else if (tag === TAG_NUMBER) {
      const [value, end] = readNumber(bytes, at);
      values.push(value);
      at = end;
    } else {
      // The last of a key is stored as it is, unless there is a NULL: behind its end then stands the rowid.
      const raw = values.length === components - 1 && !hasNull;
      const [body, end] = raw ? [bytes.subarray(at), bytes.length] : unescape(bytes, at);
      values.push(tag === TAG_TEXT ? body.toString('utf8') : new Uint8Array(body));
      at = end;
    }
  }
  return values;
}

function unescape(bytes: Buffer, start: number): [Buffer, number] {
  const body: number[] = [];
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at++]!;
    if (byte === 0) {
      if (bytes[at] !== 0xff) break;
      at++;
    }
    body.push(byte);
  }
  return [Buffer.from(body), at];
}

function readNumber(bytes: Buffer, at: number): [number | bigint, number] {
  const negative = (bytes[at]! & 0x80) === 0;
  const high = bytes.readUInt32BE(at);
  const low = bytes.readUInt32BE(at + 4);
  scratch.setUint32(0, (negative ? ~high : high ^ 0x80000000) >>> 0);
  scratch.setUint32(4, (negative ? ~low : low) >>> 0);
  const double = scratch.getFloat64(0);
  if (Math.abs(double) < TWO_53 || !Number.isFinite(double)) return [double, at + 8];
  return [BigInt(double) + BigInt(bytes.readUInt16BE(at + 8)), at + 10];
}
