import type { SqlValue } from '../values.js';

/**
 * Characters of one string that short TEXTs of a record are parts of: to make one string costs more than to make parts
 * of it. A part keeps the whole alive, so this is what a program may hold for a short TEXT that it keeps.
 */
const SHARED_CHARACTERS = 512;

const HIGH_BITS = 0x80808080;
const TWO_32 = 0x100000000;

/** The buffer that lmdb-js lends for the values of one read after the other, and its view. */
let lent: Buffer | null = null;
let lentView: DataView | null = null;

/**
 * The values of a row as {@link RowEncoder} writes it, from the first `end` bytes of a buffer. Nothing of the result is
 * in the buffer's memory; a BLOB has an `ArrayBuffer` of its own, so that it can be viewed as numbers of any size.
 *
 * @param wanted a 1 for each column whose value is wanted, a 0 for each that is passed over: NULL in the result. What lies
 * behind the last byte of `wanted` is passed over too.
 * @throws {RangeError} when the bytes are no such row, or more or less than one.
 */
export function decodeRow(
  bytes: Buffer,
  end: number,
  wanted: Uint8Array | null = null,
): SqlValue[] {
  // Of one that is lent the `length` is that of the value; the memory is larger.
  const isLent = bytes.byteLength !== bytes.length;
  const view = isLent && bytes === lent ? lentView! : viewOf(bytes, isLent);
  let at = 1;
  let width = bytes[0]! & 0x0f;
  if (bytes[0]! >> 4 !== 0x09) {
    if (bytes[0] !== 0xdc) throw notARow();
    width = view.getUint16(at);
    at = 3;
  }
  // Each value takes a byte at least.
  if (width > end - at) throw notARow();
  // oxlint-disable-next-line unicorn/no-new-array -- one that grows takes longer
  const cells = new Array<SqlValue>(width);
  let shared = '';
  let sharedStart = 0;
  let sharedEnd = 0;
  for (let i = 0; i < width; i++) {
    if (wanted !== null && wanted[i] !== 1) {
      at = afterValue(bytes, view, at);
      // A size from damaged bytes may lead anywhere.
      if (at > end) throw notARow();
      cells[i] = null;
      continue;
    }
    const token = bytes[at++]!;
    let size: number;
    if (token < 0x80) {
      cells[i] = token;
      continue;
    }
    if (token >= 0xa0 && token < 0xc0) size = token & 0x1f;
    else {
      switch (token) {
        case 0xc0:
          cells[i] = null;
          continue;
        case 0xcb:
          cells[i] = view.getFloat64(at);
          at += 8;
          continue;
        case 0xcc:
          cells[i] = bytes[at++]!;
          continue;
        case 0xcd:
          cells[i] = view.getUint16(at);
          at += 2;
          continue;
        case 0xce:
          cells[i] = view.getUint32(at);
          at += 4;
          continue;
        case 0xcf:
        case 0xd3:
          cells[i] = readInt64(view, at, token === 0xd3);
          at += 8;
          continue;
        case 0xd0:
          cells[i] = view.getInt8(at++);
          continue;
        case 0xd1:
          cells[i] = view.getInt16(at);
          at += 2;
          continue;
        case 0xd2:
          cells[i] = view.getInt32(at);
          at += 4;
          continue;
        case 0xc4:
          size = bytes[at]!;
          cells[i] = copyBlob(bytes, at + 1, size, end);
          at += 1 + size;
          continue;
        case 0xc5:
          size = view.getUint16(at);
          cells[i] = copyBlob(bytes, at + 2, size, end);
          at += 2 + size;
          continue;
        case 0xc6:
          size = view.getUint32(at);
          cells[i] = copyBlob(bytes, at + 4, size, end);
          at += 4 + size;
          continue;
        case 0xd9:
          size = bytes[at++]!;
          break;
        case 0xda:
          size = view.getUint16(at);
          at += 2;
          break;
        case 0xdb:
          size = view.getUint32(at);
          at += 4;
          break;
        default:
          if (!(token >= 0xe0)) throw notARow();
          cells[i] = token - 0x100;
          continue;
      }
    }
    const stop = at + size;
    if (stop > end) throw notARow();
    if (!isAscii(bytes, view, at, stop)) cells[i] = bytes.toString('utf8', at, stop);
    else if (stop <= sharedEnd) {
      cells[i] = shared.substring(at - sharedStart, stop - sharedStart);
    } else if (size >= SHARED_CHARACTERS) cells[i] = bytes.toString('latin1', at, stop);
    else {
      sharedStart = at;
      sharedEnd = Math.min(end, at + SHARED_CHARACTERS);
      shared = bytes.toString('latin1', sharedStart, sharedEnd);
      cells[i] = shared.substring(0, size);
    }
    at = stop;
  }
  // A number that was read past the end was none of this row.
  if (at !== end) throw notARow();
  return cells;
}

/** Where the value that begins at `at` ends. */
function afterValue(bytes: Buffer, view: DataView, at: number): number {
  const token = bytes[at]!;
  if (token < 0x80 || token >= 0xe0 || token === 0xc0) return at + 1;
  if (token >= 0xa0 && token < 0xc0) return at + 1 + (token & 0x1f);
  switch (token) {
    case 0xcc:
    case 0xd0:
      return at + 2;
    case 0xcd:
    case 0xd1:
      return at + 3;
    case 0xce:
    case 0xd2:
      return at + 5;
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return at + 9;
    case 0xc4:
    case 0xd9:
      return at + 2 + bytes[at + 1]!;
    case 0xc5:
    case 0xda:
      return at + 3 + view.getUint16(at + 1);
    case 0xc6:
    case 0xdb:
      return at + 5 + view.getUint32(at + 1);
    default:
      throw notARow();
  }
}

function viewOf(bytes: Buffer, isLent: boolean): DataView {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isLent) {
    lent = bytes;
    lentView = view;
  }
  return view;
}

/** Four bytes at a time, and the last ones again: bytes one by one take four times as long. */
function isAscii(bytes: Buffer, view: DataView, start: number, stop: number): boolean {
  let seen = 0;
  let at = start;
  if (stop - start < 8) {
    for (; at < stop; at++) seen |= bytes[at]!;
    return seen < 0x80;
  }
  const last = stop - 8;
  for (; at < last; at += 8) seen |= view.getInt32(at) | view.getInt32(at + 4);
  seen |= view.getInt32(last) | view.getInt32(last + 4);
  return (seen & HIGH_BITS) === 0;
}

function copyBlob(bytes: Buffer, start: number, size: number, end: number): Uint8Array {
  if (start + size > end) throw notARow();
  const from = bytes.byteOffset + start;
  return new Uint8Array(bytes.buffer.slice(from, from + size) as ArrayBuffer);
}

function readInt64(view: DataView, at: number, isSigned: boolean): number | bigint {
  const high = isSigned ? view.getInt32(at) : view.getUint32(at);
  const value = high * TWO_32 + view.getUint32(at + 4);
  if (Number.isSafeInteger(value)) return value;
  return isSigned ? view.getBigInt64(at) : view.getBigUint64(at);
}

function notARow(): RangeError {
  return new RangeError('The bytes are no row.');
}
