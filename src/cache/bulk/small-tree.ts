import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_PAGE_FLAGS,
  IS_LEAF,
  NODE_HEADER_BYTES,
  PAGE_HEADER_BYTES,
  type Meta,
  type Tree,
} from '../lmdb-format.js';
import { readPage, unusable } from './data-file.js';

/** A leaf of a tree, in memory. */
export interface Leaf {
  readonly number: number;
  readonly page: Buffer;
}

/** The pages of a tree that is small: the list of databases, or that of free pages. */
export interface SmallTree {
  /** In the order of their keys. */
  readonly leaves: readonly Leaf[];
  readonly branchNumbers: readonly number[];
}

/** @throws {CacheError} `CACHE_CORRUPT`. */
export function readSmallTree(fd: number, path: string, meta: Meta, tree: Tree): SmallTree {
  const branchNumbers: number[] = [];
  let level = tree.root === null ? [] : [tree.root];
  for (let depth = tree.depth; depth > 1; depth--) {
    branchNumbers.push(...level);
    level = level.flatMap((number) => childrenOf(pageOf(fd, path, meta, number)));
  }
  const leaves = level.map((number) => ({ number, page: pageOf(fd, path, meta, number) }));
  const isSound =
    branchNumbers.length === tree.branchPages &&
    leaves.length === tree.leafPages &&
    leaves.every(({ page }) => (page.readUInt16LE(AT_PAGE_FLAGS) & IS_LEAF) !== 0);
  if (!isSound) throw unusable(path, 'a list in it is damaged');
  return { leaves, branchNumbers };
}

function pageOf(fd: number, path: string, meta: Meta, number: number): Buffer {
  if (number > meta.lastPage) throw unusable(path, `page ${number} lies behind the last one`);
  const page = readPage(fd, path, meta.pageSize, number);
  if (Number(page.readBigUInt64LE(0)) === number) return page;
  throw unusable(path, `page ${number} is not there`);
}

/** Where the nodes of a page begin. */
export function nodesOf(page: Buffer): number[] {
  return Array.from(
    { length: page.readUInt16LE(AT_LOWER) >> 1 },
    (_, i) => PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES + 2 * i),
  );
}

export function keyOf(page: Buffer, node: number): Buffer {
  const start = node + NODE_HEADER_BYTES;
  return page.subarray(start, start + page.readUInt16LE(node + AT_KEY_SIZE));
}

export function firstKeyOf(page: Buffer): Buffer {
  return keyOf(page, PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES));
}

function childrenOf(page: Buffer): number[] {
  return nodesOf(page).map(
    (node) => page.readUInt32LE(node) + page.readUInt16LE(node + AT_NODE_FLAGS) * 2 ** 32,
  );
}
