import { closeSync, openSync, readSync } from 'node:fs';
import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_PAGE_FLAGS,
  IS_BIG,
  IS_DATABASE,
  IS_LEAF,
  META_BYTES,
  NODE_HEADER_BYTES,
  PAGE_HEADER_BYTES,
  parseMeta,
  parseTree,
  type Meta,
  type Tree,
} from './lmdb-format.js';

/** What the pages of an LMDB file are used for, as its newest state tells. */
export interface PageUse {
  /** The number of the newest transaction. */
  readonly transaction: number;
  /** What the newest state itself takes: its trees, without free pages. */
  readonly dataBytes: number;
  /** Free pages by the transaction that freed them, oldest first: LMDB reuses them once no snapshot is as old. */
  readonly freed: readonly { readonly transaction: number; readonly bytes: number }[];
}

const WHOLE_TREE_DEPTH = 32;

/**
 * Reads what the pages of a data file are used for. For a file that nobody writes meanwhile; of one that is written,
 * the answer may be null.
 *
 * The lists of free pages are those of lmdb-js's fork of LMDB, whose layout is told in `lmdb-format.ts`.
 */
export function readPageUse(path: string): PageUse | null {
  const fd = openSync(path, 'r');
  try {
    const meta = newestMeta(fd);
    return meta && pageUse(fd, meta);
  } catch (error) {
    if (error instanceof Torn || error instanceof RangeError) return null;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Bytes that cannot be used again while a snapshot of this transaction is held. */
export function pinnedBytes({ freed }: PageUse, transaction: number): number {
  return freed.reduce(
    (sum, entry) => (entry.transaction < transaction ? sum : sum + entry.bytes),
    0,
  );
}

/** What was read is not of one state, or not LMDB's. */
class Torn extends Error {}

function newestMeta(fd: number): Meta | null {
  const first = readMeta(fd, 0);
  const second = first && readMeta(fd, first.pageSize);
  if (!first || !second) return null;
  return second.transaction > first.transaction ? second : first;
}

function readMeta(fd: number, at: number): Meta | null {
  const bytes = Buffer.alloc(META_BYTES);
  return parseMeta(bytes.subarray(0, readSync(fd, bytes, 0, META_BYTES, at)));
}

function pageUse(fd: number, meta: Meta): PageUse {
  let dataPages = pagesOf(meta.main);
  for (const { flags, data } of leafNodes(fd, meta, meta.main)) {
    if (flags === IS_DATABASE) dataPages += pagesOf(parseTree(data, 0));
  }
  const freed = Array.from(leafNodes(fd, meta, meta.free), ({ key, data }) => ({
    transaction: Number(key.readBigUInt64LE(0)),
    bytes: freePages(data) * meta.pageSize,
  }));
  return {
    transaction: Number(meta.transaction),
    dataBytes: dataPages * meta.pageSize,
    freed: freed.toSorted((a, b) => a.transaction - b.transaction),
  };
}

function pagesOf({ branchPages, leafPages, overflowPages }: Tree): number {
  return branchPages + leafPages + overflowPages;
}

/** A list is its number of elements, then page numbers, of which -n says that the next one begins a block of n pages. */
function freePages(list: Buffer): number {
  const count = Number(list.readBigInt64LE(0));
  let pages = 0;
  for (let i = 1; i <= count; i++) {
    const entry = list.readBigInt64LE(8 * i);
    if (entry === 0n) continue;
    if (entry < 0n) i++;
    pages += entry < 0n ? Number(-entry) : 1;
  }
  return pages;
}

interface LeafNode {
  readonly key: Buffer;
  readonly flags: number;
  readonly data: Buffer;
}

function leafNodes(fd: number, meta: Meta, tree: Tree): LeafNode[] {
  return tree.root === null ? [] : nodesBelow(fd, meta, tree.root, WHOLE_TREE_DEPTH);
}

function nodesBelow(fd: number, meta: Meta, number: number, depth: number): LeafNode[] {
  if (depth === 0 || number > meta.lastPage) throw new Torn();
  const page = read(fd, number * meta.pageSize, meta.pageSize);
  if (Number(page.readBigUInt64LE(0)) !== number) throw new Torn();
  const isLeaf = (page.readUInt16LE(AT_PAGE_FLAGS) & IS_LEAF) !== 0;
  const nodes = page.readUInt16LE(AT_LOWER) >> 1;
  return Array.from({ length: nodes }, (_, i) => i).flatMap((i) => {
    const node = PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES + 2 * i);
    if (isLeaf) return [leafNode(fd, meta, page, node)];
    const child = page.readUInt32LE(node) + page.readUInt16LE(node + AT_NODE_FLAGS) * 2 ** 32;
    return nodesBelow(fd, meta, child, depth - 1);
  });
}

function leafNode(fd: number, meta: Meta, page: Buffer, node: number): LeafNode {
  const flags = page.readUInt16LE(node + AT_NODE_FLAGS);
  const keyAt = node + NODE_HEADER_BYTES;
  const dataAt = keyAt + page.readUInt16LE(node + AT_KEY_SIZE);
  const size = page.readUInt32LE(node);
  const data =
    flags === IS_BIG
      ? read(fd, Number(page.readBigUInt64LE(dataAt)) * meta.pageSize + PAGE_HEADER_BYTES, size)
      : page.subarray(dataAt, dataAt + size);
  return { key: page.subarray(keyAt, dataAt), flags, data };
}

/** No list of free pages is larger, and no length that is read from a page in use may make more memory. */
const LARGEST_READ = 256 * 1024 * 1024;

function read(fd: number, at: number, length: number): Buffer {
  if (length > LARGEST_READ) throw new Torn();
  const bytes = Buffer.alloc(length);
  if (readSync(fd, bytes, 0, length, at) < length) throw new Torn();
  return bytes;
}
