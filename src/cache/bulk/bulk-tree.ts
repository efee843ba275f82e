import { dataPath } from '../layout.js';
import type { Tree } from '../lmdb-format.js';
import { BranchBuilder } from './branch-pages.js';
import type { BulkTarget, PlacedRun } from './bulk-file.js';
import { unusable, withFile, writeFully } from './data-file.js';

/** Pages that follow on one another. */
export interface PageRange {
  readonly first: number;
  readonly pages: number;
}

/** Pages that are taken, and written, at once. */
const PAGES_AT_ONCE = 64;

/**
 * The tree of a named database, as its runs become known: branch pages are written as soon as they are full, so that
 * little of it is in memory, however large it is.
 */
export class BulkTree {
  readonly name: string;
  readonly #dir: string;
  readonly #target: BulkTarget;
  readonly #takePages: (count: number) => number;
  readonly #branches: BranchBuilder;
  readonly #ranges: PageRange[] = [];
  readonly #total = { leafPages: 0, overflowPages: 0, entries: 0 };
  #lastKey: Uint8Array | null = null;
  /** Branch pages that are not written yet, and the first of those that were taken for them. */
  #pending: Buffer[] = [];
  #base = 0;

  /** @param takePages reserves pages that follow on one another, and tells the first. */
  constructor(
    name: string,
    generationDir: string,
    target: BulkTarget,
    takePages: (count: number) => number,
  ) {
    this.name = name;
    this.#dir = generationDir;
    this.#target = target;
    this.#takePages = takePages;
    this.#branches = new BranchBuilder(target.pageSize, (page) => this.#put(page));
  }

  get entries(): number {
    return this.#total.entries;
  }

  /** The pages that it has. */
  get ranges(): readonly PageRange[] {
    return this.#ranges;
  }

  /**
   * Adds runs, in the order of their keys.
   *
   * @throws {CacheError} `CACHE_CORRUPT` when they are in another order; `CACHE_FULL`, `CACHE_IO`.
   */
  add(runs: readonly PlacedRun[]): void {
    for (const run of runs) if (run.entries > 0) this.#add(run);
  }

  /** Adds overflow pages that are of no run, though references in runs are to them. */
  addOverflow(pages: readonly PageRange[]): void {
    // There may be more than a call takes arguments.
    for (const range of pages) this.#ranges.push(range);
  }

  /** What is told of a tree with entries. Nothing can be added afterwards. */
  finish(): Tree {
    const branches = this.#branches.finish();
    this.#flush();
    return { ...this.#total, ...branches };
  }

  #add(run: PlacedRun): void {
    const { separators, separatorEnds, leafNumbers } = run;
    const firstKey = separators.subarray(0, separatorEnds[0]);
    if (this.#lastKey !== null && Buffer.compare(this.#lastKey, firstKey) >= 0) {
      throw unusable(
        dataPath(this.#dir),
        `the runs of ${this.name} are not in the order of their keys`,
      );
    }
    let start = 0;
    for (let i = 0; i < leafNumbers.length; i++) {
      const end = separatorEnds[i]!;
      this.#branches.add(run.base + leafNumbers[i]!, separators.subarray(start, end));
      start = end;
    }
    this.#lastKey = run.lastKey;
    this.#ranges.push(...run.ranges);
    this.#total.leafPages += run.leafPages;
    this.#total.overflowPages += run.overflowPages;
    this.#total.entries += run.entries;
  }

  #put(page: Buffer): number {
    if (this.#pending.length === 0) this.#base = this.#takePages(PAGES_AT_ONCE);
    const number = this.#base + this.#pending.length;
    page.writeBigUInt64LE(BigInt(number), 0);
    page.writeBigUInt64LE(BigInt(this.#target.transaction), 8);
    this.#pending.push(page);
    if (this.#pending.length === PAGES_AT_ONCE) this.#flush();
    return number;
  }

  #flush(): void {
    const pages = this.#pending.length;
    if (pages === 0) return;
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#ranges.push({ first: this.#base, pages });
    withFile(this.#dir, (fd, path) =>
      writeFully(fd, path, bytes, this.#base * this.#target.pageSize),
    );
  }
}
