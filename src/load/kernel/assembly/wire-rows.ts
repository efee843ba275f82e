import { MAX_KEY_BYTES, writeKey } from './key';
import { CHECKSUM_BYTES, writeRow } from './row';
import {
  addField,
  beginFields,
  fieldCount,
  SERIAL_BYTES,
  SERIAL_DOUBLE,
  SERIAL_INTEGER,
  SERIAL_NULL,
  typeOf,
} from './stored-record';
import { xxhash64 } from './xxhash64';

/**
 * Rows of a cursor of Hrana 3 in protobuf
 * (https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md, "Protobuf schema") to records of a batch.
 *
 * Takes entries as servers write them: a row alone in each, with one field in each value. Whatever is not so, or not
 * whole, or out of the ordinary, is left to others, from its entry on.
 */

const ENTRY_ROW: u8 = 0x22;
const ROW_VALUE: u8 = 0x0a;
const VALUE_NULL: u8 = 0x0a;
const VALUE_INTEGER: u8 = 0x10;
const VALUE_DOUBLE: u8 = 0x19;
const VALUE_TEXT: u8 = 0x22;
const VALUE_BLOB: u8 = 0x2a;
/** A length of more bytes is for others to read. */
const MAX_LENGTH_BITS: u32 = 28;
const MAX_INTEGER_BYTES: usize = 10;

/** What counts of a value that is neither TEXT nor BLOB. */
const NUMBER_BYTES: f64 = 9;
const SPAN_BYTES: usize = 12;

/** The numbers of a row, as SQLite stores them. */
const NUMBERS: usize = memory.data(8 * 4096);

// The table: the fields of its columns and of its key.
let columns: usize = 0;
let width: u32 = 0;
let keyFields: usize = 0;
let components: u32 = 0;
/** Values in each row: the last of them is not NULL for a row that has to be read in another way. */
let answerFields: u32 = 0;
let maxEntryBytes: u32 = 0;
let maxRowBytes: f64 = 0;

// What was taken.
let next: usize = 0;
let last: usize = 0;
let out: usize = 0;
let taken: f64 = 0;
let isOdd: bool = false;

// The row at hand.
let textBytes: f64 = 0;
let textFields: u32 = 0;

/** @param fields of the columns, then those of the key, as 32-bit numbers. */
export function setAnswer(
  fields: usize,
  columnCount: u32,
  keyCount: u32,
  valueCount: u32,
  maxEntry: u32,
  maxRow: f64,
): void {
  columns = fields;
  width = columnCount;
  keyFields = fields + 4 * columnCount;
  components = keyCount;
  answerFields = valueCount;
  maxEntryBytes = maxEntry;
  maxRowBytes = maxRow;
}

/**
 * Takes entries between two addresses, until one is not to be taken, or there are rows or bytes enough.
 *
 * @param to where their records go, up to `limit` and room for a key behind it.
 * @param spans of each record where it begins, where its value begins, and where it ends, as 32-bit numbers.
 * @param base what the first record's begin is told as.
 * @returns how many were taken.
 */
export function takeEntries(
  from: usize,
  end: usize,
  to: usize,
  limit: usize,
  spans: usize,
  base: u32,
  maxRows: u32,
  maxBytes: f64,
): u32 {
  next = from;
  last = from;
  out = to;
  taken = 0;
  isOdd = false;
  let count: u32 = 0;
  while (count < maxRows && taken < maxBytes) {
    const at = lengthEnd(next, end);
    if (at == 0 || <usize>length > end - at) break;
    isOdd = true;
    if (length > maxEntryBytes) break;
    const entryEnd = at + length;
    if (!readEntry(at, entryEnd) || out + mostBytes(entryEnd - at) > limit) break;
    const size = textBytes + NUMBER_BYTES * <f64>(answerFields - 1 - textFields);
    if (size > maxRowBytes) break;
    const start = out;
    const keyEnd = writeKey(start, keyFields, components, 0);
    if (keyEnd == 0) break;
    const rowEnd = writeRow(keyEnd, columns, width, 0);
    if (rowEnd == 0) break;
    store<u64>(rowEnd, xxhash64(start, rowEnd - start));
    out = rowEnd + CHECKSUM_BYTES;
    const span = spans + SPAN_BYTES * count;
    store<u32>(span, base + <u32>(start - to));
    store<u32>(span, base + <u32>(keyEnd - to), 4);
    store<u32>(span, base + <u32>(out - to), 8);
    last = next;
    next = entryEnd;
    taken += size;
    count++;
    isOdd = false;
  }
  return count;
}

/** Whether the next entry has come whole, and was not taken. */
export function metOdd(): bool {
  return isOdd;
}

/** The first entry that was not taken. */
export function nextEntry(): usize {
  return next;
}

/** The last one that was taken. */
export function lastEntry(): usize {
  return last;
}

/** Where the records end. */
export function takenEnd(): usize {
  return out;
}

/** The sizes of the rows that were taken, as a page counts them. */
export function takenBytes(): f64 {
  return taken;
}

/** The length that {@link lengthEnd} has read. */
let length: u32 = 0;

/** Reads a length. Tells where it ends, or 0 where it is not whole, or too long. */
function lengthEnd(at: usize, end: usize): usize {
  length = 0;
  for (let shift: u32 = 0; shift < MAX_LENGTH_BITS && at < end; shift += 7) {
    const byte: u32 = load<u8>(at++);
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at;
  }
  return 0;
}

/** Finds the fields of the row that an entry is. */
function readEntry(at: usize, end: usize): bool {
  if (at == end || load<u8>(at++) != ENTRY_ROW) return false;
  at = lengthEnd(at, end);
  if (at == 0 || <usize>length != end - at) return false;
  beginFields();
  textBytes = 0;
  textFields = 0;
  while (at < end) {
    if (load<u8>(at++) != ROW_VALUE) return false;
    at = lengthEnd(at, end);
    if (at == 0 || length == 0 || <usize>length > end - at) return false;
    const valueEnd = at + length;
    if (!readValue(at, valueEnd)) return false;
    at = valueEnd;
  }
  return fieldCount == answerFields && typeOf(answerFields - 1) == SERIAL_NULL;
}

function readValue(at: usize, end: usize): bool {
  const kind = load<u8>(at++);
  if (kind == VALUE_TEXT || kind == VALUE_BLOB) {
    at = lengthEnd(at, end);
    if (at == 0 || <usize>length != end - at) return false;
    textBytes += <f64>length;
    textFields++;
    return addField(SERIAL_BYTES + 2 * length + (kind == VALUE_TEXT ? 1 : 0), at);
  }
  const slot = NUMBERS + 8 * <usize>fieldCount;
  if (kind == VALUE_INTEGER) {
    if (end - at > MAX_INTEGER_BYTES || !readInteger(at, end)) return false;
    return addNumber(SERIAL_INTEGER, slot, (zigzag >> 1) ^ (0 - (zigzag & 1)));
  }
  if (kind == VALUE_DOUBLE) {
    const value = load<f64>(at);
    return end - at == 8 && value == value && addNumber(SERIAL_DOUBLE, slot, load<u64>(at));
  }
  // An empty message.
  return kind == VALUE_NULL && end - at == 1 && load<u8>(at) == 0 && addField(SERIAL_NULL, at);
}

function addNumber(type: u32, slot: usize, bits: u64): bool {
  if (!addField(type, slot)) return false;
  store<u64>(slot, bswap(bits));
  return true;
}

/** The number that {@link readInteger} has read. */
let zigzag: u64 = 0;

/** Reads an integer that takes all of the bytes, in its shortest form. */
function readInteger(at: usize, end: usize): bool {
  zigzag = 0;
  for (let shift: u32 = 0; at < end; shift += 7) {
    const byte: u64 = load<u8>(at++);
    zigzag |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at == end && (byte != 0 || shift == 0) && (shift < 63 || byte == 1);
  }
  return false;
}

/** What the record of a row of so many bytes takes at most, but for a key that names a column twice. */
function mostBytes(bytes: usize): usize {
  return 4 * bytes + 11 * <usize>components + 12 + CHECKSUM_BYTES;
}

/** Room behind the limit of records, for a key that is too long. */
export function keyRoom(): usize {
  return 2 * (MAX_KEY_BYTES + 1);
}
