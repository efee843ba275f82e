import { fstatSync, fsyncSync } from 'node:fs';
import { META_BODY, writeMeta, type Meta, type Tree } from '../lmdb-format.js';
import { BranchBuilder } from './branch-pages.js';
import type { BulkTarget, PlacedRun } from './bulk-file.js';
import { readState, unusable, withFile, writeFully } from './data-file.js';
import { LeafRunBuilder } from './leaf-run.js';
import { NamedTrees } from './named-trees.js';
import { PageWriter } from './page-writer.js';
import { firstKeyOf, readSmallTree } from './small-tree.js';

/** The runs of a named database. */
export interface BulkTable {
  readonly name: string;
  /** In the order of their keys. */
  readonly runs: readonly PlacedRun[];
}

/**
 * Makes the records of runs that were written into `target` those of their databases, in one transaction that is on
 * disk when this returns. Ended at any instant, the file has either the state from before or the new one.
 *
 * Pages that the new state does not need, and those that were reserved and belong to no run, go to the list of free
 * pages.
 *
 * @param nextPage the first page that was not reserved for a run.
 * @throws {CacheError} `CACHE_CORRUPT` when the file was changed meanwhile, a database is not empty, or the runs do not
 *   belong together; `CACHE_FULL`, `CACHE_IO`. The file's state is as it was, or else, where the new one could not be
 *   forced to disk, the new one.
 */
export function finishBulk(
  generationDir: string,
  target: BulkTarget,
  tables: readonly BulkTable[],
  nextPage: number,
): void {
  const filled = tables
    .map(({ name, runs }) => ({ name, runs: runs.filter(({ entries }) => entries > 0) }))
    .filter(({ runs }) => runs.length > 0);
  if (filled.length === 0) return;
  withFile(generationDir, (fd, path) => new Commit(fd, path, target, nextPage).run(filled));
}

/** Pages that follow on one another. */
interface PageRange {
  readonly first: number;
  readonly pages: number;
}

class Commit {
  readonly #fd: number;
  readonly #path: string;
  readonly #target: BulkTarget;
  readonly #meta: Meta;
  readonly #metaBytes: Buffer;
  readonly #databases: NamedTrees;
  readonly #nextPage: number;
  readonly #writer: PageWriter;
  /** Pages that the new state does not need. */
  readonly #freed: PageRange[] = [];

  constructor(fd: number, path: string, target: BulkTarget, nextPage: number) {
    this.#fd = fd;
    this.#path = path;
    this.#target = target;
    const { meta, bytes } = readState(fd, path);
    const isSame =
      Number(meta.transaction) + 1 === target.transaction && meta.lastPage + 1 === target.nextPage;
    if (!isSame) throw unusable(path, 'it was changed while records were loaded');
    this.#meta = meta;
    this.#metaBytes = bytes;
    this.#databases = new NamedTrees(fd, path, meta);
    this.#nextPage = nextPage;
    this.#writer = new PageWriter(fd, path, meta.pageSize, nextPage, target.transaction);
  }

  run(tables: readonly BulkTable[]): void {
    this.#freeUnused(tables.flatMap(({ runs }) => runs));
    for (const { name, runs } of tables) this.#databases.describe(name, this.#tree(name, runs));
    const main = this.#mainTree();
    const free = this.#freeTree();
    this.#writer.flush();
    fsyncSync(this.#fd);
    this.#commit(main, free);
  }

  /** Frees what was reserved for no run. */
  #freeUnused(runs: readonly PlacedRun[]): void {
    let next = this.#target.nextPage;
    for (const { base, pageCount } of runs.toSorted((a, b) => a.base - b.base)) {
      if (base < next) throw unusable(this.#path, `two runs have page ${base}`);
      if (base > next) this.#freed.push({ first: next, pages: base - next });
      next = base + pageCount;
    }
    const { size } = fstatSync(this.#fd);
    if (next > this.#nextPage || size < next * this.#meta.pageSize) {
      throw unusable(this.#path, `the runs reach beyond page ${this.#nextPage}`);
    }
    if (this.#nextPage > next) this.#freed.push({ first: next, pages: this.#nextPage - next });
  }

  /** Builds the branch pages over the leaves of a database. */
  #tree(name: string, runs: readonly PlacedRun[]): Tree {
    const branches = this.#branchBuilder();
    const total = { leafPages: 0, overflowPages: 0, entries: 0 };
    let lastKey: Uint8Array | null = null;
    for (const run of runs) {
      const { separators, separatorEnds, leafNumbers } = run;
      const firstKey = separators.subarray(0, separatorEnds[0]);
      if (lastKey !== null && Buffer.compare(lastKey, firstKey) >= 0) {
        throw unusable(this.#path, `the runs of ${name} are not in the order of their keys`);
      }
      let start = 0;
      for (let i = 0; i < leafNumbers.length; i++) {
        const end = separatorEnds[i]!;
        branches.add(run.base + leafNumbers[i]!, separators.subarray(start, end));
        start = end;
      }
      lastKey = run.lastKey;
      total.leafPages += run.leafPages;
      total.overflowPages += run.overflowPages;
      total.entries += run.entries;
    }
    return { ...total, ...branches.finish() };
  }

  /** Writes the leaves of the list of databases anew that were changed, and all its branches. */
  #mainTree(): Tree {
    const { leaves, branchNumbers } = this.#databases.pages;
    this.#freePages(branchNumbers);
    const branches = this.#branchBuilder();
    for (const leaf of leaves) {
      let { number } = leaf;
      if (this.#databases.isChanged(leaf)) {
        this.#freePages([number]);
        number = this.#writer.put(leaf.page);
      }
      branches.add(number, firstKeyOf(leaf.page));
    }
    return { ...this.#meta.main, ...branches.finish() };
  }

  /** Adds a leaf to the list of free pages, with what this transaction frees, and writes all its branches anew. */
  #freeTree(): Tree {
    const { pageSize, free } = this.#meta;
    const { leaves, branchNumbers } = readSmallTree(this.#fd, this.#path, this.#meta, free);
    this.#freePages(branchNumbers);
    const builder = new LeafRunBuilder(pageSize);
    const record = freeRecord(this.#target.transaction, this.#freed);
    builder.add(record, 0, 8, record.length);
    const run = builder.finish();
    const branches = this.#branchBuilder();
    for (const { number, page } of leaves) branches.add(number, firstKeyOf(page));
    branches.add(this.#writer.putRun(run), record.subarray(0, 8));
    return {
      ...branches.finish(),
      leafPages: free.leafPages + 1,
      overflowPages: free.overflowPages + run.overflowPages,
      entries: free.entries + 1,
    };
  }

  /**
   * Writes the meta page, as LMDB does with one write that leaves its magic number alone (`mdb_env_write_meta`). The copy
   * in the middle of the first page tells the newest state that is known to be on disk.
   */
  #commit(main: Tree, free: Tree): void {
    const { pageSize } = this.#meta;
    const transaction = BigInt(this.#target.transaction);
    writeMeta(this.#metaBytes, { main, free, lastPage: this.#writer.next - 1, transaction });
    const body = this.#metaBytes.subarray(META_BODY);
    const page = this.#target.transaction % 2;
    writeFully(this.#fd, this.#path, body, page * pageSize + META_BODY);
    fsyncSync(this.#fd);
    writeFully(this.#fd, this.#path, body, pageSize / 2 + META_BODY);
  }

  #branchBuilder(): BranchBuilder {
    return new BranchBuilder(this.#meta.pageSize, (page) => this.#writer.put(page));
  }

  #freePages(numbers: readonly number[]): void {
    for (const first of numbers) this.#freed.push({ first, pages: 1 });
  }
}

/** Of the list of free pages: the transaction, the number of elements, then pages, and blocks of n as -n and a page. */
function freeRecord(transaction: number, ranges: readonly PageRange[]): Buffer {
  const elements = ranges
    .toSorted((a, b) => b.first - a.first)
    .flatMap(({ first, pages }) => (pages === 1 ? [first] : [-pages, first]));
  const record = Buffer.alloc(16 + 8 * elements.length);
  record.writeBigUInt64LE(BigInt(transaction), 0);
  record.writeBigInt64LE(BigInt(elements.length), 8);
  for (const [i, element] of elements.entries()) {
    record.writeBigInt64LE(BigInt(element), 16 + 8 * i);
  }
  return record;
}
