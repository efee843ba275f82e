import { compareBytes, sortableWord } from './bytes';
import { MAX_KEY_BYTES } from './key';
import { ELSEWHERE_BYTES, HEADER_BYTES, isElsewhere, keyBytesOf, sizeOf } from './spooled-record';

/**
 * Sorts spooled records by their keys. An entry is a number of 64 bits, which is what follows in its key on what all keys
 * begin with, and the address of its record.
 */

export const ENTRY_BYTES: usize = 16;
/** Up to here entries are put in order one by one. */
const FEW: usize = 8;

let shared: usize = 0;
let largest: u32 = 0;

/** Bytes of the largest of the records that were counted last. */
export function largestRecord(): u32 {
  return largest;
}

/** Counts the records between two addresses. -1 for bytes that are no records, or for a key that is too long. */
export function countRecords(from: usize, end: usize): i32 {
  let count: i32 = 0;
  const first = from + HEADER_BYTES;
  shared = from == end ? 0 : keyBytesOf(from);
  largest = 0;
  for (let at = from; at < end; count++) {
    if (end - at < HEADER_BYTES) return -1;
    const size = sizeOf(at);
    const key = keyBytesOf(at);
    if (key > MAX_KEY_BYTES || key > size || size > end - at - HEADER_BYTES) return -1;
    if (isElsewhere(at) && size - key != ELSEWHERE_BYTES) return -1;
    at += HEADER_BYTES;
    largest = max(largest, <u32>size);
    const most = min(shared, key);
    let same: usize = 0;
    while (same < most && load<u8>(at + same) == load<u8>(first + same)) same++;
    shared = same;
    at += size;
  }
  return count;
}

/**
 * Sorts the records that were counted last.
 *
 * @param spare memory for as many entries.
 * @returns where the entries are, of these two, or 0 where two records have the same key.
 */
export function sortRecords(from: usize, end: usize, entries: usize, spare: usize): usize {
  let last = entries;
  for (let at = from; at < end; at += HEADER_BYTES + sizeOf(at)) {
    const key = at + HEADER_BYTES;
    store<u64>(last, sortableWord(key + shared, key + keyBytesOf(at)));
    store<u32>(last, <u32>at, 8);
    last += ENTRY_BYTES;
  }
  const sorted = sort(entries, spare, last - entries);
  for (let at = sorted + ENTRY_BYTES; at < sorted + (last - entries); at += ENTRY_BYTES) {
    if (!isBefore(at - ENTRY_BYTES, at)) return 0;
  }
  return sorted;
}

function isBefore(a: usize, b: usize): bool {
  const x = load<u64>(a);
  const y = load<u64>(b);
  return x == y ? keyIsBefore(load<u32>(a, 8), load<u32>(b, 8)) : x < y;
}

function keyIsBefore(a: usize, b: usize): bool {
  return compareBytes(a + HEADER_BYTES, keyBytesOf(a), b + HEADER_BYTES, keyBytesOf(b)) < 0;
}

/** Merges ever longer runs, from one memory into the other. */
function sort(entries: usize, spare: usize, bytes: usize): usize {
  const end = entries + bytes;
  for (let from = entries; from < end; from += FEW * ENTRY_BYTES) {
    insert(from, min(end, from + FEW * ENTRY_BYTES));
  }
  let run = FEW * ENTRY_BYTES;
  for (; run < bytes; run *= 2) {
    for (let from: usize = 0; from < bytes; from += 2 * run) {
      const middle = min(bytes, from + run);
      merge(entries + from, entries + middle, entries + min(bytes, middle + run), spare + from);
    }
    const merged = spare;
    spare = entries;
    entries = merged;
  }
  return entries;
}

function insert(from: usize, end: usize): void {
  for (let next = from + ENTRY_BYTES; next < end; next += ENTRY_BYTES) {
    let at = next;
    while (at > from && isBefore(at, at - ENTRY_BYTES)) {
      swap(at, at - ENTRY_BYTES);
      at -= ENTRY_BYTES;
    }
  }
}

function swap(a: usize, b: usize): void {
  const word = load<u64>(a);
  const rest = load<u64>(a, 8);
  copyEntry(a, b);
  store<u64>(b, word);
  store<u64>(b, rest, 8);
}

function merge(a: usize, b: usize, end: usize, to: usize): void {
  const middle = b;
  // Mostly they are not, but sorted records come as they are.
  if (a == middle || b == end || !isBefore(b, b - ENTRY_BYTES)) {
    memory.copy(to, a, end - a);
    return;
  }
  while (a < middle && b < end) {
    if (isBefore(b, a)) {
      copyEntry(to, b);
      b += ENTRY_BYTES;
    } else {
      copyEntry(to, a);
      a += ENTRY_BYTES;
    }
    to += ENTRY_BYTES;
  }
  if (a < middle) memory.copy(to, a, middle - a);
  else memory.copy(to, b, end - b);
}

function copyEntry(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
}
