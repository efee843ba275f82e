import { copyBytes } from './bytes';
import { ENTRY_BYTES, HEADER_BYTES } from './sort';

/** Sorted records to pages of LMDB, the same that `LeafRunBuilder` makes: see there, and `lmdb-format.ts`. */

const PAGE_HEADER_BYTES: usize = 24;
const AT_PAGE_PAD: usize = 16;
const AT_PAGE_FLAGS: usize = 18;
const AT_LOWER: usize = 20;
const AT_UPPER: usize = 22;
const AT_OVERFLOW_PAGES: usize = 20;
const IS_LEAF: u16 = 0x02;
const IS_OVERFLOW: u16 = 0x04;
const NODE_HEADER_BYTES: usize = 8;
const IS_BIG: u16 = 0x01;
const OVERFLOW_REFERENCE_BYTES: usize = 24;

let pageBytes: usize = 0;
let largestNode: usize = 0;
let fullBytes: usize = 0;

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
let entries: u32 = 0;
let separatorBytes: u32 = 0;
let referenceCount: u32 = 0;

// The leaf that is being filled.
let leaf: usize = 0;
let lower: usize = 0;
let upper: usize = 0;

/**
 * @param largest a node with more bytes has its value on pages of its own.
 * @param full bytes from which on a run ends before a record that needs more pages.
 */
export function setPages(bytes: u32, largest: u32, full: u32): void {
  pageBytes = bytes;
  largestNode = largest;
  fullBytes = full;
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
  entries = 0;
  separatorBytes = 0;
  referenceCount = 0;
  lower = 0;
  upper = 0;
  let at = from;
  for (; at < end; at += ENTRY_BYTES) {
    const record: usize = load<u32>(at, 8);
    // Never grows by more than one record, which memory was laid out for.
    if (runBytes >= fullBytes && takesPages(record)) break;
    addRecord(record, at == from ? 0 : load<u32>(at - ENTRY_BYTES, 8));
  }
  if (leaves > 0) sealLeaf();
  return at;
}

function isBig(record: usize): bool {
  return NODE_HEADER_BYTES + load<u32>(record, 4) > largestNode;
}

/** The bytes that a record takes in its leaf. */
function nodeBytesOf(record: usize): usize {
  const exact = isBig(record)
    ? NODE_HEADER_BYTES + load<u16>(record) + OVERFLOW_REFERENCE_BYTES
    : NODE_HEADER_BYTES + load<u32>(record, 4);
  return exact + (exact & 1);
}

/** Whether a record needs more than the room that is left in the leaf. */
function takesPages(record: usize): bool {
  return isBig(record) || upper - lower < nodeBytesOf(record) + 2;
}

function addRecord(record: usize, before: usize): void {
  const keyBytes: usize = load<u16>(record);
  const bytes: usize = load<u32>(record, 4);
  const key = record + HEADER_BYTES;
  const big = isBig(record);
  const nodeBytes = nodeBytesOf(record);
  if (upper - lower < nodeBytes + 2) {
    beginLeaf(key, before == 0 ? keyBytes : min(keyBytes, commonBytes(key, keyBytes, before) + 1));
  }
  upper -= nodeBytes;
  store<u16>(leaf + PAGE_HEADER_BYTES + lower, <u16>upper);
  lower += 2;

  const node = leaf + PAGE_HEADER_BYTES + upper;
  store<u32>(node, <u32>(bytes - keyBytes));
  store<u16>(node, big ? IS_BIG : 0, 4);
  store<u16>(node, <u16>keyBytes, 6);
  // What follows overwrites it but for the byte that makes the node's size even.
  store<u8>(node + nodeBytes - 1, 0);
  if (big) {
    copyBytes(node + NODE_HEADER_BYTES, key, keyBytes);
    addBig(node + NODE_HEADER_BYTES + keyBytes, key + keyBytes, bytes - keyBytes);
  } else copyBytes(node + NODE_HEADER_BYTES, key, bytes);
  entries++;
}

function commonBytes(key: usize, keyBytes: usize, before: usize): usize {
  const other = before + HEADER_BYTES;
  const most = min(keyBytes, <usize>load<u16>(before));
  let common: usize = 0;
  while (common < most && load<u8>(key + common) == load<u8>(other + common)) common++;
  return common;
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
  const pages = (PAGE_HEADER_BYTES - 1 + bytes) / pageBytes + 1;
  const first = run + runBytes;
  store<u16>(first, 0, AT_PAGE_PAD);
  store<u16>(first, IS_OVERFLOW, AT_PAGE_FLAGS);
  store<u32>(first, <u32>pages, AT_OVERFLOW_PAGES);
  memory.copy(first + PAGE_HEADER_BYTES, value, bytes);
  memory.fill(first + PAGE_HEADER_BYTES + bytes, 0, pages * pageBytes - PAGE_HEADER_BYTES - bytes);
  const entry = references + 12 * referenceCount++;
  store<u32>(entry, 0);
  store<u32>(entry, <u32>(reference - run), 4);
  store<u32>(entry, <u32>(runBytes / pageBytes), 8);
  store<u64>(reference, <u64>pages, 16);
  overflowPages += <u32>pages;
  runBytes += pages * pageBytes;
}
