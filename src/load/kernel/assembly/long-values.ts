import { NODE_HEADER_BYTES, overflowPagesOf, writeOverflow } from './lmdb-pages';
import {
  ELSEWHERE_BYTES,
  HEADER_BYTES,
  isElsewhere,
  referenceElsewhere,
  sizeOf,
} from './spooled-record';

/**
 * Values that LMDB keeps on pages of their own. They need no order among them, so they are such pages as soon as their
 * row is read, and only their keys are spooled, with what tells where they lie.
 */

let pages: usize = 0;
let pagesEnd: usize = 0;
let pageBytes: usize = 0;
let largestNode: usize = 0;

let used: usize = 0;
let moved: f64 = 0;

/** In a page and in a reference to one, behind the number of the page. */
const AT_TRANSACTION: usize = 8;

/**
 * Sets where pages for long values are made, if anywhere: `from` and `end` are the same where not. Forgets those that
 * were there.
 *
 * @param largest a node with more bytes has its value on pages of its own.
 */
export function setValues(from: usize, end: usize, bytes: u32, largest: u32): void {
  pages = from;
  pagesEnd = end;
  pageBytes = bytes;
  largestNode = largest;
  used = 0;
  moved = 0;
}

/** Bytes by which records became shorter. */
export function movedBytes(): f64 {
  return moved;
}

/** Bytes of pages that wait for their place. */
export function valueBytes(): u32 {
  return <u32>used;
}

/** Whether a value has to go on pages of its own, and there is room for them. */
export function mayMove(size: u32, keyBytes: u32): bool {
  if (pages == pagesEnd || NODE_HEADER_BYTES + size <= largestNode) return false;
  return pages + used + overflowPagesOf(size - keyBytes, pageBytes) * pageBytes <= pagesEnd;
}

/** Moves the value of a record to such pages, and leaves in its place where it is: counted from the first page here. */
export function moveValue(record: usize, keyBytes: u32, size: u32): void {
  const value = record + HEADER_BYTES + keyBytes;
  const bytes = size - keyBytes;
  const first = used / pageBytes;
  const count = writeOverflow(pages + used, value, bytes, pageBytes);
  used += count * pageBytes;
  moved += <f64>bytes - <f64>ELSEWHERE_BYTES;
  store<u32>(value, bytes);
  store<u32>(value, 0, 4);
  store<u64>(value, <u64>first, 8);
  store<u64>(value, 0, 16);
  store<u64>(value, <u64>count, 24);
}

/**
 * Gives the pages that wait their numbers and their transaction, also in the records that refer to them. They have to be
 * written before another value comes.
 *
 * @param from the first record since pages were placed the last time.
 */
export function placeValuePages(from: usize, end: usize, number: u64, transaction: u64): void {
  for (let record = from; record < end; record += HEADER_BYTES + sizeOf(record)) {
    if (!isElsewhere(record)) continue;
    const reference = referenceElsewhere(record);
    const first = load<u64>(reference);
    const page = pages + <usize>first * pageBytes;
    store<u64>(reference, number + first);
    store<u64>(reference, transaction, AT_TRANSACTION);
    store<u64>(page, number + first);
    store<u64>(page, transaction, AT_TRANSACTION);
  }
  used = 0;
}
