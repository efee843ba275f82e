import { StoredFormError } from './stored-form-error.js';

/**
 * SQLite's variable-length integers: big-endian, seven bits a byte, the ninth byte whole
 * (https://www.sqlite.org/fileformat.html#varint).
 */

/**
 * The bytes that a varint takes.
 *
 * @throws {StoredFormError} when they are not all there.
 */
export function varintBytes(bytes: Uint8Array, at: number): number {
  let length = 1;
  while (length < 9 && bytes[at + length - 1]! >= 0x80) length++;
  if (at + length > bytes.length) throw new StoredFormError('a number goes beyond its page');
  return length;
}

/** A varint that is never negative nor beyond 2^53: a size or a serial type. */
export function readSize(bytes: Uint8Array, at: number): number {
  let byte = bytes[at]!;
  if (byte < 0x80) return byte;
  let value = byte & 0x7f;
  for (let i = 1; i < 8; i++) {
    byte = bytes[at + i]!;
    value = value * 0x80 + (byte & 0x7f);
    if (byte < 0x80) return value;
  }
  return value * 0x100 + bytes[at + 8]!;
}

/** A `bigint` only where a `number` would not be exact. */
export type Rowid = number | bigint;

/** A varint as the signed 64-bit number that it is. */
export function readRowid(bytes: Uint8Array, at: number): Rowid {
  const length = varintBytes(bytes, at);
  if (length < 8) return readSize(bytes, at);
  let value = 0n;
  for (let i = 0; i < length; i++) {
    const byte = BigInt(bytes[at + i]!);
    value = i === 8 ? (value << 8n) | byte : (value << 7n) | (byte & 0x7fn);
  }
  value = BigInt.asIntN(64, value);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
