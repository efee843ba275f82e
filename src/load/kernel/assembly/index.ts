import { writeKey } from './key';
import { rangeOf, setBounds } from './key-ranges';
import { mayMove, moveValue, placeValuePages } from './long-values';
import { HEADER_BYTES, sizeOf, writeElsewhereHeader, writeHeader } from './spooled-record';
import { CHECKSUM_BYTES, writeRow } from './row';
import { parseRecord } from './stored-record';
import { xxhash64 } from './xxhash64';

export {
  bigCount,
  leafCount,
  overflowCount,
  packRun,
  runSize,
  separatorSize,
  setPages,
  setRun,
} from './leaf-run';
export { movedBytes, setValues, valueBytes } from './long-values';
export {
  keyRoom,
  lastEntry,
  metOdd,
  nextEntry,
  setAnswer,
  takeEntries,
  takenBytes,
  takenEnd,
} from './wire-rows';
export { countRecords, largestRecord, sortRecords } from './sort';
export { keyBytesOf } from './spooled-record';
export { setBounds };

/**
 * Rows of SQLite's table leaves to records of the cache: their keys, their values in msgpack, their checksums, each with
 * its range of keys, as the spool has them. Whoever calls lays out the memory above {@link heapBase}.
 *
 * What is out of the ordinary is left to the caller, row by row: a row with overflow pages, one that lacks columns, a
 * NULL or a REAL in a key, INTEGERs beyond 2^53 there, TEXT that is not UTF-8, and all that cannot be.
 */

const LEAF_TABLE_PAGE: u8 = 0x0d;
const LEAF_HEADER_BYTES: usize = 8;

/** What a scan says when it stops. */
const AT_END: i32 = 0;
const AT_ODD_CELL: i32 = 1;
const OVERLAP: i32 = 2;

// The table: the fields of its columns and of its key.
let columns: usize = 0;
let width: u32 = 0;
let keyFields: usize = 0;
let components: u32 = 0;
let pageBytes: usize = 0;
let usableBytes: usize = 0;
/** A longer record may be too large a row. */
let maxPayload: u32 = 0;

// The rows that are wanted.
let hasAfter: bool = false;
let after: i64 = 0;
let upTo: i64 = 0;

// The records so far.
let records: usize = 0;
let out: usize = 0;
/** The first record whose value may be on a page that has no place yet. */
let unplaced: usize = 0;
let limit: usize = 0;
/** For each range the bytes of its records, as 32-bit numbers. */
let sizes: usize = 0;
let ranges: u32 = 0;
let count: u32 = 0;
let payload: f64 = 0;

// Where the scan stands.
let page: usize = 0;
let pagesEnd: usize = 0;
let cell: u32 = 0;
let rowid: i64 = 0;
/** Bytes that cells of the page may still have. */
let pageLeft: usize = 0;

export function heapBase(): usize {
  return __heap_base;
}

/** @param fields of the columns, then those of the key, as 32-bit numbers. */
export function setTable(
  fields: usize,
  columnCount: u32,
  keyCount: u32,
  bytes: u32,
  usable: u32,
  maxBytes: u32,
): void {
  columns = fields;
  width = columnCount;
  keyFields = fields + 4 * columnCount;
  components = keyCount;
  pageBytes = bytes;
  usableBytes = usable;
  maxPayload = maxBytes;
}

/** Sets which rows are wanted: those behind one rowid, where there is such an end, and up to another. */
export function setRowids(isBounded: bool, first: i64, last: i64): void {
  hasAfter = isBounded;
  after = first;
  upTo = last;
}

/**
 * Forgets all records.
 *
 * @param at where the next one goes.
 * @param table of the sizes of groups, for so many ranges.
 */
export function begin(at: usize, table: usize, rangeCount: u32): void {
  records = at;
  out = at;
  unplaced = at;
  sizes = table;
  ranges = rangeCount;
  count = 0;
  payload = 0;
  memory.fill(table, 0, 4 * rangeCount);
}

/** Sets how far the records may go, but for room for a key, which has to be behind it. */
export function setLimit(end: usize): void {
  limit = end;
}

/** Where the next record goes. */
export function recordsEnd(): usize {
  return out;
}

export function recordCount(): u32 {
  return count;
}

/** Bytes of the rows as they were stored. */
export function payloadBytes(): f64 {
  return payload;
}

/** The rowid that was looked at last. */
export function lastRowid(): i64 {
  return rowid;
}

/** The page and the cell at which a scan stopped. */
export function stoppedPage(): usize {
  return page;
}

export function stoppedCell(): u32 {
  return cell - 1;
}

/** Begins with the pages between two addresses. Ends as {@link resume} does. */
export function scan(first: usize, end: usize): i32 {
  page = first;
  pagesEnd = end;
  cell = 0;
  pageLeft = usableBytes;
  return resume();
}

/**
 * Goes on behind an odd cell. Rows for which there is no room are odd too. Ends where the rows of a page take more than
 * the page: that many pointers may be to one large cell.
 */
export function resume(): i32 {
  for (; page < pagesEnd; page += pageBytes, cell = 0, pageLeft = usableBytes) {
    const cells: u32 = bswap(load<u16>(page, 3));
    if (load<u8>(page) != LEAF_TABLE_PAGE) {
      cell = 1;
      return AT_ODD_CELL;
    }
    while (cell < cells) {
      const offset: usize = bswap(load<u16>(page + LEAF_HEADER_BYTES + 2 * cell));
      cell++;
      if (offset < LEAF_HEADER_BYTES || offset + 4 > usableBytes) return AT_ODD_CELL;
      let at = page + offset;
      const size = readVarint(at);
      at += varintBytes(at);
      const id = <i64>readVarint(at);
      at += varintBytes(at);
      // The rowids of a damaged page are in any order.
      const isWanted = (!hasAfter || id > after) && id <= upTo;
      if (isWanted) rowid = id;
      const isWhole = size <= usableBytes - 35 && at + <usize>size <= page + usableBytes;
      if (!isWhole) return AT_ODD_CELL;
      if (!isWanted) continue;
      if (<usize>size > pageLeft) return OVERLAP;
      pageLeft -= <usize>size;
      if (!takeWhole(at, <u32>size, id)) return AT_ODD_CELL;
      payload += <f64>size;
    }
  }
  return AT_END;
}

/** Takes a record that is not in its page whole. False for an odd one, or where there is no room. */
export function takeWhole(at: usize, size: u32, id: i64): bool {
  return size <= maxPayload && <u64>out + mostBytes(size) <= limit && takeRecord(at, at + size, id);
}

/** Gives a record that others have written behind the last one its range and its header. */
export function place(keyBytes: u32, size: u32): void {
  finishRecord(keyBytes, size);
}

/** Gives the pages of long values that wait their places, from a page on. They have to be written before other rows come. */
export function placeValues(page: u64, transaction: u64): void {
  placeValuePages(unplaced, out, page, transaction);
  unplaced = out;
}

/**
 * Copies all records, grouped by their ranges.
 *
 * @param to as many bytes as they take.
 * @param starts table for where the next record of each range goes, as 32-bit numbers.
 */
export function group(to: usize, starts: usize): void {
  let next = to;
  for (let range: u32 = 0; range < ranges; range++) {
    store<u32>(starts + 4 * range, <u32>next);
    next += load<u32>(sizes + 4 * range);
  }
  for (let at = records; at < out;) {
    const size = HEADER_BYTES + sizeOf(at);
    const start = starts + 4 * <usize>load<u16>(at, 2);
    const target: usize = load<u32>(start);
    memory.copy(target, at, size);
    store<u32>(start, <u32>(target + size));
    at += size;
  }
}

/**
 * The bytes that a record takes at most, where its key names no column twice: else a key's more. A key's bytes may all
 * be escaped, and its numbers take nine; a value takes at most twice what it took, the rowid but for its nine.
 */
function mostBytes(payload: u64): u64 {
  return HEADER_BYTES + 4 * payload + 11 * <u64>components + 12 + CHECKSUM_BYTES;
}

function takeRecord(at: usize, end: usize, id: i64): bool {
  if (!parseRecord(at, end)) return false;
  const key = out + HEADER_BYTES;
  const keyEnd = writeKey(key, keyFields, components, id);
  if (keyEnd == 0) return false;
  const rowEnd = writeRow(keyEnd, columns, width, id);
  if (rowEnd == 0) return false;
  store<u64>(rowEnd, xxhash64(key, rowEnd - key));
  finishRecord(<u32>(keyEnd - key), <u32>(rowEnd + CHECKSUM_BYTES - key));
  return true;
}

function finishRecord(keyBytes: u32, size: u32): void {
  const range = rangeOf(out + HEADER_BYTES, keyBytes);
  if (mayMove(size, keyBytes)) {
    moveValue(out, keyBytes, size);
    writeElsewhereHeader(out, keyBytes, range);
  } else writeHeader(out, keyBytes, range, size);
  const total = HEADER_BYTES + sizeOf(out);
  const sum = sizes + 4 * range;
  store<u32>(sum, load<u32>(sum) + <u32>total);
  out += total;
  count++;
}

/** SQLite's variable-length integers (https://www.sqlite.org/fileformat.html#varint). */
function readVarint(at: usize): u64 {
  let value: u64 = 0;
  for (let i: usize = 0; i < 8; i++) {
    const byte: u64 = load<u8>(at + i);
    value = (value << 7) | (byte & 0x7f);
    if (byte < 0x80) return value;
  }
  return (value << 8) | load<u8>(at, 8);
}

function varintBytes(at: usize): usize {
  let bytes: usize = 1;
  while (bytes < 9 && load<u8>(at + bytes - 1) >= 0x80) bytes++;
  return bytes;
}
