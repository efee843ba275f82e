import { copyBytes, isAscii, isUtf8 } from './bytes';
import {
  bytesOf,
  fieldCount,
  readInteger,
  SERIAL_BYTES,
  SERIAL_DOUBLE,
  SERIAL_NULL,
  startOf,
  typeOf,
} from './stored-record';

/** Keys as `key-codec.ts` defines them. */

const TAG_NUMBER: u8 = 0x10;
const TAG_TEXT: u8 = 0x20;
const TAG_BLOB: u8 = 0x30;
/** lmdb-js's limit with 4 KiB pages. */
export const MAX_KEY_BYTES: usize = 1978;
const TWO_53: i64 = 0x20000000000000;

/** Stands for the rowid. */
export const ROWID_FIELD: i32 = -1;

/**
 * Writes a key of the record that was looked at. One that is too long may be written as far as {@link MAX_KEY_BYTES},
 * and a component more.
 *
 * @param fields of its components, as 32-bit numbers.
 * @returns the end, or 0 for a key that others have to write.
 */
export function writeKey(to: usize, fields: usize, components: u32, rowid: i64): usize {
  const start = to;
  for (let i: u32 = 0; i < components; i++) {
    const field = load<i32>(fields + 4 * i);
    const isLast = i + 1 == components;
    if (field == ROWID_FIELD) to = writeNumber(to, rowid);
    else if (<u32>field >= fieldCount) return 0;
    else {
      const type = typeOf(field);
      if (type == SERIAL_NULL || type == SERIAL_DOUBLE) return 0;
      const from = startOf(field);
      if (type < SERIAL_BYTES) to = writeNumber(to, readInteger(from, type));
      // A key may name a column several times, and then take more than its record.
      else if (to - start + bytesOf(type) > MAX_KEY_BYTES) return 0;
      else to = writeBytes(to, from, from + bytesOf(type), (type & 1) == 1, isLast);
    }
    if (to == 0) return 0;
  }
  return to - start > MAX_KEY_BYTES ? 0 : to;
}

function writeNumber(to: usize, value: i64): usize {
  // What a double cannot hold takes more than one.
  if (value <= -TWO_53 || value >= TWO_53) return 0;
  const bits = reinterpret<u64>(<f64>value);
  store<u8>(to, TAG_NUMBER);
  store<u64>(to, bswap(value < 0 ? ~bits : bits ^ 0x8000000000000000), 1);
  return to + 9;
}

function writeBytes(to: usize, from: usize, end: usize, isText: bool, isLast: bool): usize {
  const size = end - from;
  if (isText && !isAscii(from, size) && !isUtf8(from, size)) return 0;
  store<u8>(to++, isText ? TAG_TEXT : TAG_BLOB);
  if (isLast) {
    copyBytes(to, from, size);
    return to + size;
  }
  for (; from < end; from++) {
    const byte = load<u8>(from);
    store<u8>(to++, byte);
    if (byte == 0) store<u8>(to++, 0xff);
  }
  store<u8>(to, 0);
  return to + 1;
}
