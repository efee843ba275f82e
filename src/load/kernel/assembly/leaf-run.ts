import { copyBytes } from './bytes';
import {
  AT_PAGE_FLAGS,
  AT_PAGE_PAD,
  NODE_HEADER_BYTES,
  OVERFLOW_REFERENCE_BYTES,
  overflowPagesOf,
  PAGE_HEADER_BYTES,
  writeOverflow,
} from './lmdb-pages';
import { ENTRY_BYTES } from './sort';
import {
  HEADER_BYTES,
  isElsewhere,
  keyBytesOf,
  referenceElsewhere,
  sizeOf,
  valueBytesElsewhere,
} from './spooled-record';

/** Sorted records to pages of LMDB, the same that `LeafRunBuilder` makes: see there, and `lmdb-format.ts`. */

const AT_LOWER: usize = 20;
const AT_UPPER: usize = 22;
const IS_LEAF: u16 = 0x02;
const IS_BIG: u16 = 0x01;

let pageBytes: usize = 0;
let largestNode: usize = 0;
let limitBytes: usize = 0;

// Where the parts of a run are.
let run: usize = 0;
let leafNumbers: usize = 0;
let separators: usize = 0;
let separatorEnds: usize = 0;
let references: usize = 0;

// What of them there is.
let runBytes: usize = 0;
let leaves: u32 = 0;
let overflowPages: u32 = 0;
let separatorBytes: u32 = 0;
let referenceCount: u32 = 0;

// The leaf that is being filled.
let leaf: usize = 0;
let lower: usize = 0;
let upper: usize = 0;

// The record at hand.
let keyBytes: usize = 0;
let valueBytes: usize = 0;
let isBig: bool = false;
/** Whether the value is on its pages already. */
let isMoved: bool = false;
let nodeBytes: usize = 0;

/**
 * @param largest a node with more bytes has its value on pages of its own.
 * @param limit bytes that a run has at most, unless it is of one record.
 */
export function setPages(bytes: u32, largest: u32, limit: u32): void {
  pageBytes = bytes;
  largestNode = largest;
  limitBytes = limit;
}

/** Sets where the parts of runs go: pages, and of each leaf its number, its separator, and where that ends. */
export function setRun(
  pages: usize,
  numbers: usize,
  keys: usize,
  ends: usize,
  bigValues: usize,
): void {
  run = pages;
  leafNumbers = numbers;
  separators = keys;
  separatorEnds = ends;
  references = bigValues;
}

export function runSize(): u32 {
  return <u32>runBytes;
}

export function leafCount(): u32 {
  return leaves;
}

export function overflowCount(): u32 {
  return overflowPages;
}

export function separatorSize(): u32 {
  return separatorBytes;
}

export function bigCount(): u32 {
  return referenceCount;
}

/**
 * Packs sorted records until the run is full.
 *
 * @param from of their entries.
 * @returns the entry that is not in the run any more.
 */
export function packRun(from: usize, end: usize): usize {
  runBytes = 0;
  leaves = 0;
  overflowPages = 0;
  separatorBytes = 0;
  referenceCount = 0;
  lower = 0;
  upper = 0;
  let at = from;
  for (; at < end; at += ENTRY_BYTES) {
    const record: usize = load<u32>(at, 8);
    measure(record);
    if (at > from && runBytes + morePages() * pageBytes > limitBytes) break;
    addRecord(record, at == from ? 0 : load<u32>(at - ENTRY_BYTES, 8));
  }
  if (leaves > 0) sealLeaf();
  return at;
}

/** Finds out how the record is stored. */
function measure(record: usize): void {
  keyBytes = keyBytesOf(record);
  isMoved = isElsewhere(record);
  valueBytes = isMoved ? valueBytesElsewhere(record) : sizeOf(record) - keyBytes;
  const whole = NODE_HEADER_BYTES + keyBytes + valueBytes;
  isBig = isMoved || whole > largestNode;
  const exact = isBig ? NODE_HEADER_BYTES + keyBytes + OVERFLOW_REFERENCE_BYTES : whole;
  nodeBytes = exact + (exact & 1);
}

function needsLeaf(): bool {
  return upper - lower < nodeBytes + 2;
}

/** Pages that the run needs for the record. */
function morePages(): usize {
  return (needsLeaf() ? 1 : 0) + (isBig && !isMoved ? overflowPagesOf(valueBytes, pageBytes) : 0);
}

function addRecord(record: usize, before: usize): void {
  const key = record + HEADER_BYTES;
  if (needsLeaf()) beginLeaf(key, before == 0 ? keyBytes : separatorOf(key, before));
  upper -= nodeBytes;
  store<u16>(leaf + PAGE_HEADER_BYTES + lower, <u16>upper);
  lower += 2;

  const node = leaf + PAGE_HEADER_BYTES + upper;
  store<u32>(node, <u32>valueBytes);
  store<u16>(node, isBig ? IS_BIG : 0, 4);
  store<u16>(node, <u16>keyBytes, 6);
  // What follows overwrites it but for the byte that makes the node's size even.
  store<u8>(node + nodeBytes - 1, 0);
  if (isBig) {
    const reference = node + NODE_HEADER_BYTES + keyBytes;
    copyBytes(node + NODE_HEADER_BYTES, key, keyBytes);
    if (isMoved) addMoved(reference, referenceElsewhere(record));
    else addBig(reference, key + keyBytes, valueBytes);
  } else copyBytes(node + NODE_HEADER_BYTES, key, keyBytes + valueBytes);
}

/** The bytes of a key that tell it from the one before. */
function separatorOf(key: usize, before: usize): usize {
  const other = before + HEADER_BYTES;
  const most = min(keyBytes, keyBytesOf(before));
  let common: usize = 0;
  while (common < most && load<u8>(key + common) == load<u8>(other + common)) common++;
  return min(keyBytes, common + 1);
}

function beginLeaf(key: usize, separator: usize): void {
  if (leaves > 0) sealLeaf();
  store<u32>(leafNumbers + 4 * leaves, <u32>(runBytes / pageBytes));
  memory.copy(separators + separatorBytes, key, separator);
  separatorBytes += <u32>separator;
  store<u32>(separatorEnds + 4 * leaves, separatorBytes);
  leaves++;
  leaf = run + runBytes;
  runBytes += pageBytes;
  lower = 0;
  upper = pageBytes - PAGE_HEADER_BYTES;
}

function sealLeaf(): void {
  store<u16>(leaf, 0, AT_PAGE_PAD);
  store<u16>(leaf, IS_LEAF, AT_PAGE_FLAGS);
  store<u16>(leaf, <u16>lower, AT_LOWER);
  store<u16>(leaf, <u16>upper, AT_UPPER);
  // The memory may be that of other records.
  memory.fill(leaf + PAGE_HEADER_BYTES + lower, 0, upper - lower);
}

/** Puts a value on pages of its own, and what refers to it into the leaf. */
function addBig(reference: usize, value: usize, bytes: usize): void {
  const pages = writeOverflow(run + runBytes, value, bytes, pageBytes);
  const entry = references + 12 * referenceCount++;
  store<u32>(entry, 0);
  store<u32>(entry, <u32>(reference - run), 4);
  store<u32>(entry, <u32>(runBytes / pageBytes), 8);
  store<u64>(reference, <u64>pages, 16);
  overflowPages += <u32>pages;
  runBytes += pages * pageBytes;
}

function addMoved(reference: usize, from: usize): void {
  memory.copy(reference, from, OVERFLOW_REFERENCE_BYTES);
  overflowPages += load<u32>(from, 16);
}
