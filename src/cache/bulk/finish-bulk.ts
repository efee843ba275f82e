import { fstatSync, fsyncSync } from 'node:fs';
import { META_BODY, writeMeta, type Meta, type Tree } from '../lmdb-format.js';
import { BranchBuilder } from './branch-pages.js';
import type { BulkTarget } from './bulk-file.js';
import type { BulkTree, PageRange } from './bulk-tree.js';
import { readState, unusable, withFile, writeFully, type FileState } from './data-file.js';
import { LeafRunBuilder } from './leaf-run.js';
import { NamedTrees } from './named-trees.js';
import { PageWriter } from './page-writer.js';
import { firstKeyOf, readSmallTree } from './small-tree.js';

/**
 * Makes trees that were written into `target` those of their databases, in one transaction that is on disk when this
 * returns. Ended at any instant, the file has either the state from before or the new one.
 *
 * Pages that the new state does not need, and those that were reserved and belong to no tree, go to the list of free
 * pages.
 *
 * @param nextPage tells the first page that was not reserved, once the trees are whole.
 * @throws {CacheError} `CACHE_CORRUPT` when the file was changed meanwhile, a database is not empty, or the runs do not
 *   belong together; `CACHE_FULL`, `CACHE_IO`. The file's state is as it was, or else, where the new one could not be
 *   forced to disk, the new one.
 */
export function finishBulk(
  generationDir: string,
  target: BulkTarget,
  trees: readonly BulkTree[],
  nextPage: () => number,
): void {
  const filled = trees.filter(({ entries }) => entries > 0);
  if (filled.length === 0) return;
  withFile(generationDir, (fd, path) => {
    const state = readState(fd, path);
    const { transaction, lastPage } = state.meta;
    const isSame =
      Number(transaction) + 1 === target.transaction && lastPage + 1 === target.nextPage;
    if (!isSame) throw unusable(path, 'it was changed while records were loaded');
    const described = filled.map((each) => ({ name: each.name, tree: each.finish() }));
    const ranges = filled.flatMap((each) => each.ranges);
    new Commit(fd, path, target, state, nextPage()).run(described, ranges);
  });
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

  constructor(
    fd: number,
    path: string,
    target: BulkTarget,
    { meta, bytes }: FileState,
    nextPage: number,
  ) {
    this.#fd = fd;
    this.#path = path;
    this.#target = target;
    this.#meta = meta;
    this.#metaBytes = bytes;
    this.#databases = new NamedTrees(fd, path, meta);
    this.#nextPage = nextPage;
    this.#writer = new PageWriter(fd, path, meta.pageSize, nextPage, target.transaction);
  }

  /** @param used pages of the trees. */
  run(trees: readonly { name: string; tree: Tree }[], used: readonly PageRange[]): void {
    for (const { name, tree } of trees) this.#databases.describe(name, tree);
    this.#freeUnused(used);
    const main = this.#mainTree();
    const free = this.#freeTree();
    this.#writer.flush();
    fsyncSync(this.#fd);
    this.#commit(main, free);
  }

  /** Frees what was reserved and not used. */
  #freeUnused(used: readonly PageRange[]): void {
    let next = this.#target.nextPage;
    for (const { first, pages } of used.toSorted((a, b) => a.first - b.first)) {
      if (first < next) throw unusable(this.#path, `page ${first} was used twice`);
      if (first > next) this.#freed.push({ first: next, pages: first - next });
      next = first + pages;
    }
    const { size } = fstatSync(this.#fd);
    if (next > this.#nextPage || size < next * this.#meta.pageSize) {
      throw unusable(this.#path, `what was loaded reaches beyond page ${this.#nextPage}`);
    }
    if (this.#nextPage > next) this.#freed.push({ first: next, pages: this.#nextPage - next });
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
