import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { CacheError, StorageSyncError } from '../../errors.js';
import { cacheIoError } from '../files.js';
import { dataPath } from '../layout.js';
import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_PAGE_FLAGS,
  IS_BRANCH,
  IS_DATABASE,
  META_BYTES,
  META_PAGES,
  NODE_HEADER_BYTES,
  PAGE_HEADER_BYTES,
  parseMeta,
  parseTree,
  writeLastPage,
  writeTree,
  type Meta,
  type Tree,
} from '../lmdb-format.js';
import type { LeafRun } from './leaf-run.js';
import { NodePage, POINTER_BYTES, writePageNumber } from './page-build.js';

/**
 * Pages that are written to an LMDB file past LMDB, behind all that it has: for a generation that nobody serves yet,
 * and while no process has it open. They belong to the file's last transaction.
 *
 * Until {@link finishBulk} nothing refers to them, and whoever writes next writes over them.
 */
export interface BulkFile {
  readonly path: string;
  readonly pageSize: number;
  readonly transaction: bigint;
  /** The first page that the file does not have. */
  readonly nextPage: number;
}

/** A table's pages, in the order of their keys. */
export interface BulkTable {
  /** The name of its database, which is there and empty. */
  readonly name: string;
  readonly runs: readonly LeafRun[];
}

/** @throws {CacheError} `CACHE_CORRUPT` for a file that is not one of LMDB's, `CACHE_IO`. */
export function beginBulk(generationDir: string): BulkFile {
  const path = dataPath(generationDir);
  return withFile(path, 'r', (fd) => {
    const { meta } = currentMeta(fd, path);
    const { pageSize, transaction, lastPage } = meta;
    return { path, pageSize, transaction, nextPage: lastPage + 1 };
  });
}

/**
 * Makes the pages that were written the tables' own: builds the branches above their leaves, then lets the file's last
 * state include all pages, and last, database by database, lets each refer to its tree. A process that is killed in
 * between leaves each of the databases empty or whole.
 *
 * @param lastPage the last page that was written.
 * @throws {CacheError} `CACHE_CORRUPT`, `CACHE_FULL`, `CACHE_IO`.
 */
export function finishBulk(
  generationDir: string,
  lastPage: number,
  tables: readonly BulkTable[],
): void {
  const path = dataPath(generationDir);
  withFile(path, 'r+', (fd) => {
    const current = currentMeta(fd, path);
    const { meta } = current;
    if (fstatSync(fd).size < (lastPage + 1) * meta.pageSize) {
      throw corrupt(path, 'pages that were written to it are missing');
    }
    let nextPage = lastPage + 1;
    const entered = tables.map(({ name, runs }) => {
      const at = findDatabase(fd, path, meta, name);
      const { tree, pages, branchPages } = buildTree(runs, meta, nextPage);
      writeAll(fd, pages, nextPage * meta.pageSize);
      nextPage += branchPages;
      return { at, tree };
    });
    writeLastPage(current.bytes, nextPage - 1);
    writeAll(fd, current.bytes, current.at);
    for (const { at, tree } of entered) {
      const record = Buffer.alloc(at.record.length);
      at.record.copy(record);
      writeTree(record, 0, tree);
      writeAll(fd, record, at.offset);
    }
  });
}

interface CurrentMeta {
  readonly meta: Meta;
  readonly bytes: Buffer;
  /** Where the bytes are in the file. */
  readonly at: number;
}

/** The meta page of the last transaction. */
function currentMeta(fd: number, path: string): CurrentMeta {
  const first = readMeta(fd, 0);
  const pageSize = first?.meta.pageSize ?? 0;
  const found = [first, pageSize > 0 ? readMeta(fd, pageSize) : null].filter(
    (each) => each !== null,
  );
  if (found.length < META_PAGES) throw corrupt(path, 'its beginning is not that of such a file');
  return found.reduce((a, b) => (a.meta.transaction >= b.meta.transaction ? a : b));
}

function readMeta(fd: number, at: number): CurrentMeta | null {
  const bytes = Buffer.alloc(META_BYTES);
  readSync(fd, bytes, 0, META_BYTES, at);
  const meta = parseMeta(bytes);
  return meta && { meta, bytes, at };
}

interface FoundDatabase {
  /** Where its description is in the file, and what it says. */
  readonly offset: number;
  readonly record: Buffer;
}

/** Finds the description of an empty database. */
function findDatabase(fd: number, path: string, meta: Meta, name: string): FoundDatabase {
  // lmdb-js ends names with a NUL.
  const wanted = Buffer.from(`${name}\0`);
  const { pageSize } = meta;
  const waiting = meta.main.root === null ? [] : [meta.main.root];
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
    const page = Buffer.alloc(pageSize);
    readSync(fd, page, 0, pageSize, number * pageSize);
    const isBranch = (page.readUInt16LE(AT_PAGE_FLAGS) & IS_BRANCH) !== 0;
    for (const node of nodesOf(page)) {
      if (isBranch) waiting.push(childOf(page, node));
      else if (isNamed(page, node, wanted)) {
        const at = node + NODE_HEADER_BYTES + wanted.length;
        const record = page.subarray(at, at + page.readUInt32LE(node));
        if (parseTree(record, 0).root !== null) {
          throw corrupt(path, `the database ${JSON.stringify(name)} has records already`);
        }
        return { offset: number * pageSize + at, record };
      }
    }
  }
  throw corrupt(path, `the database ${JSON.stringify(name)} is missing`);
}

function nodesOf(page: Buffer): number[] {
  const count = page.readUInt16LE(AT_LOWER) / POINTER_BYTES;
  return Array.from(
    { length: count },
    (_, i) => PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES + POINTER_BYTES * i),
  );
}

function childOf(page: Buffer, node: number): number {
  return page.readUInt32LE(node) + page.readUInt16LE(node + AT_NODE_FLAGS) * 2 ** 32;
}

function isNamed(page: Buffer, node: number, name: Buffer): boolean {
  const key = node + NODE_HEADER_BYTES;
  const isDatabase = page.readUInt16LE(node + AT_NODE_FLAGS) === IS_DATABASE;
  const keyBytes = page.readUInt16LE(node + AT_KEY_SIZE);
  return isDatabase && page.subarray(key, key + keyBytes).equals(name);
}

/** The pages of one level of a tree, in order, each with the first key in or below it. */
interface Level {
  readonly pages: readonly number[];
  readonly keys: readonly Uint8Array[];
}

interface BuiltTree {
  readonly tree: Tree;
  readonly pages: Buffer;
  readonly branchPages: number;
}

/** Builds the branch pages above the leaves of some runs, numbered from `first` on. */
function buildTree(runs: readonly LeafRun[], meta: Meta, first: number): BuiltTree {
  const sum = (field: 'leafPages' | 'overflowPages' | 'entries') =>
    runs.reduce((total, run) => total + run[field], 0);
  let level = leavesOf(runs);
  let depth = level.pages.length === 0 ? 0 : 1;
  const built: Buffer[] = [];
  while (level.pages.length > 1) {
    const above = buildBranches(level, meta, first + built.length);
    built.push(...above.bytes);
    level = above.level;
    depth++;
  }
  return {
    tree: {
      depth,
      branchPages: built.length,
      leafPages: sum('leafPages'),
      overflowPages: sum('overflowPages'),
      entries: sum('entries'),
      root: level.pages[0] ?? null,
    },
    pages: Buffer.concat(built),
    branchPages: built.length,
  };
}

function leavesOf(runs: readonly LeafRun[]): Level {
  const pages: number[] = [];
  const keys: Uint8Array[] = [];
  let last: Uint8Array | null = null;
  for (const run of runs) {
    const key = (i: number) => run.keys.subarray(run.keyStarts[i], run.keyStarts[i + 1]);
    for (let i = 0; i < run.leaves.length; i++) {
      pages.push(run.leaves[i]!);
      keys.push(key(i));
    }
    if (run.leaves.length === 0) continue;
    if (last !== null && Buffer.compare(last, key(0)) >= 0) {
      throw new StorageSyncError('WORKER_FAILED', 'Runs of records are out of the order of keys.');
    }
    last = key(run.leaves.length);
  }
  return { pages, keys };
}

/** A branch page has two children at least: LMDB's `MDB_MINKEYS`. A page has room for three, whatever their keys are. */
const MIN_CHILDREN = 2;

function buildBranches(
  below: Level,
  { pageSize, transaction }: Meta,
  first: number,
): { readonly level: Level; readonly bytes: readonly Buffer[] } {
  const bytes: Buffer[] = [];
  const pages: number[] = [];
  const keys: Uint8Array[] = [];
  const branch = new NodePage(IS_BRANCH, pageSize);
  const total = below.pages.length;
  for (let next = 0; next < total;) {
    const page = Buffer.alloc(pageSize);
    branch.begin(page, 0);
    const start = next;
    while (next < total) {
      // The first key of a branch page is never looked at.
      const key = next === start ? NO_KEY : below.keys[next]!;
      const nodeBytes = NODE_HEADER_BYTES + key.length;
      if (!branch.fits(nodeBytes)) break;
      const left = total - next;
      const leavesOne = next - start >= MIN_CHILDREN && left === MIN_CHILDREN;
      if (leavesOne && !fitsTwo(branch, nodeBytes, below.keys[next + 1]!)) break;
      const child = below.pages[next]!;
      const at = branch.add(nodeBytes, child % 2 ** 32, Math.floor(child / 2 ** 32), key.length);
      page.set(key, at);
      next++;
    }
    branch.end();
    writePageNumber(page, 0, first + bytes.length, transaction);
    pages.push(first + bytes.length);
    keys.push(below.keys[start]!);
    bytes.push(page);
  }
  return { level: { pages, keys }, bytes };
}

const NO_KEY = new Uint8Array(0);

/** Whether a page has room for the two children that are left: else both go to the next one. */
function fitsTwo(branch: NodePage, nodeBytes: number, nextKey: Uint8Array): boolean {
  const next = NODE_HEADER_BYTES + nextKey.length;
  return branch.fits(nodeBytes + (nodeBytes & 1) + POINTER_BYTES + next);
}

function withFile<T>(path: string, flags: string, work: (fd: number) => T): T {
  try {
    const fd = openSync(path, flags);
    try {
      return work(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof StorageSyncError) throw error;
    throw cacheIoError(error, path);
  }
}

export function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let written = 0; written < bytes.length;) {
    written += writeSync(fd, bytes, written, bytes.length - written, position + written);
  }
}

function corrupt(path: string, why: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `The cache file ${JSON.stringify(path)} is damaged: ${why}.`,
    {
      context: { path },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
