/**
 * The data file of lmdb-js, as far as it is needed to tell a sound one from a damaged one, and to load records in bulk: a
 * file of pages, the first two of which (meta pages) say where the trees begin. All numbers are little-endian.
 *
 * The layout is that of `mdb.c` in lmdb-js's fork of LMDB (`MDB_page_header`, `MDB_meta`, `MDB_db`, `MDB_node`,
 * `MDB_ovpage`, `MDB_IDL`), which differs from LMDB's own: each page names the transaction that wrote it.
 */

export const MAGIC = 0xbeefc0de;
export const DATA_VERSION = 2;
export const META_PAGES = 2;
/** What a database without pages has as its root. */
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
/** Of a tree's flags: the state that it belongs to may not have reached the disk yet. */
const IS_UNFLUSHED = 0x1000;

// Page: u64 number, u64 transaction, u16 pad, u16 flags, then u16 lower and u16 upper, or u32 pages of an overflow.
export const PAGE_HEADER_BYTES = 24;
export const AT_PAGE_FLAGS = 18;
export const AT_LOWER = 20;
export const AT_UPPER = 22;
export const AT_OVERFLOW_PAGES = 20;
export const IS_BRANCH = 0x01;
export const IS_LEAF = 0x02;
export const IS_OVERFLOW = 0x04;

// Node: u16 low, u16 high, u16 flags, u16 key size; then key and data. In a branch the first three are a page's number.
export const NODE_HEADER_BYTES = 8;
export const AT_NODE_FLAGS = 4;
export const AT_KEY_SIZE = 6;
export const IS_BIG = 0x01;
export const IS_DATABASE = 0x02;
/** The data of a node that lies on overflow pages: u64 first page, u64 transaction, u64 pages. */
export const OVERFLOW_REFERENCE_BYTES = 24;

/** Of a tree: u32 pad, u16 flags, u16 depth, u64 branch pages, leaf pages, overflow pages, entries, root page. */
export const TREE_BYTES = 48;

const AT_META_MAGIC = PAGE_HEADER_BYTES;
const AT_META_VERSION = PAGE_HEADER_BYTES + 4;
const AT_TREE_FLAGS = 4;
const AT_FREE_TREE = PAGE_HEADER_BYTES + 24;
const AT_MAIN_TREE = AT_FREE_TREE + TREE_BYTES;
const AT_LAST_PAGE = AT_MAIN_TREE + TREE_BYTES;
const AT_TRANSACTION = AT_LAST_PAGE + 8;
/** Behind the magic number, the version and an address: what differs from one state to the next. */
export const META_BODY = PAGE_HEADER_BYTES + 16;
/** Bytes of a meta page that mean something; the last ones name the machine's boot. */
export const META_BYTES = AT_TRANSACTION + 16;

/** One b-tree of the file. */
export interface Tree {
  /** Pages from the root to a leaf; 0 for an empty tree. */
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** Null for an empty tree. */
  readonly root: number | null;
}

/** A state of the file, as one of its meta pages tells. */
export interface Meta {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: bigint;
  /** Pages that may be used again. */
  readonly free: Tree;
  /** The named databases. */
  readonly main: Tree;
}

/** Bytes that a node may take in a leaf: the value of a larger one lies on overflow pages (`me_nodemax`). */
export function largestNode(pageSize: number): number {
  return (((pageSize - PAGE_HEADER_BYTES) >> 1) & ~1) - 2;
}

/** Pages that a value takes that lies on overflow pages (`OVPAGES`). */
export function overflowPagesOf(valueBytes: number, pageSize: number): number {
  return Math.floor((PAGE_HEADER_BYTES - 1 + valueBytes) / pageSize) + 1;
}

/** A node takes an even number of bytes. */
export function even(bytes: number): number {
  return bytes + (bytes & 1);
}

/** @returns null for bytes that are no meta page. */
export function parseMeta(bytes: Buffer): Meta | null {
  if (bytes.length < META_BYTES) return null;
  if (bytes.readUInt32LE(AT_META_MAGIC) !== MAGIC) return null;
  if (bytes.readUInt32LE(AT_META_VERSION) !== DATA_VERSION) return null;
  const pageSize = bytes.readUInt32LE(AT_FREE_TREE);
  const isPowerOfTwo = (pageSize & (pageSize - 1)) === 0;
  if (!isPowerOfTwo || pageSize < 512 || pageSize > 65536) return null;
  return {
    pageSize,
    lastPage: Number(bytes.readBigUInt64LE(AT_LAST_PAGE)),
    transaction: bytes.readBigUInt64LE(AT_TRANSACTION),
    free: parseTree(bytes, AT_FREE_TREE),
    main: parseTree(bytes, AT_MAIN_TREE),
  };
}

/** The tree that a record of {@link TREE_BYTES} describes. */
export function parseTree(bytes: Buffer, at: number): Tree {
  const count = (field: number) => Number(bytes.readBigUInt64LE(at + field));
  const root = bytes.readBigUInt64LE(at + 40);
  return {
    depth: bytes.readUInt16LE(at + 6),
    branchPages: count(8),
    leafPages: count(16),
    overflowPages: count(24),
    entries: count(32),
    root: root === NO_PAGE ? null : Number(root),
  };
}

/** Changes what a record of {@link TREE_BYTES} says of its tree; the kind of the tree stays. */
export function writeTree(bytes: Buffer, at: number, tree: Tree): void {
  bytes.writeUInt16LE(tree.depth, at + 6);
  const counts = [tree.branchPages, tree.leafPages, tree.overflowPages, tree.entries];
  for (const [i, count] of counts.entries()) bytes.writeBigUInt64LE(BigInt(count), at + 8 + 8 * i);
  bytes.writeBigUInt64LE(tree.root === null ? NO_PAGE : BigInt(tree.root), at + 40);
}

/** Makes the bytes of a meta page those of another state, one that is on disk. */
export function writeMeta(bytes: Buffer, meta: Omit<Meta, 'pageSize'>): void {
  const flags = bytes.readUInt16LE(AT_FREE_TREE + AT_TREE_FLAGS);
  bytes.writeUInt16LE(flags & ~IS_UNFLUSHED, AT_FREE_TREE + AT_TREE_FLAGS);
  writeTree(bytes, AT_FREE_TREE, meta.free);
  writeTree(bytes, AT_MAIN_TREE, meta.main);
  bytes.writeBigUInt64LE(BigInt(meta.lastPage), AT_LAST_PAGE);
  bytes.writeBigUInt64LE(meta.transaction, AT_TRANSACTION);
}
