import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { cacheIoError } from '../files.js';
import { dataPath } from '../layout.js';
import { findDamage } from '../lmdb-check.js';
import { AT_OVERFLOW_PAGES, AT_PAGE_FLAGS, IS_OVERFLOW, type Meta } from '../lmdb-format.js';
import { readState, unusable, withFile, writeFully, type FileState } from './data-file.js';
import type { PageRange } from './bulk-tree.js';
import type { LeafRun, RunOutline } from './leaf-run.js';
import { NamedTrees } from './named-trees.js';

/** Where runs go. Crosses threads. */
export interface BulkTarget {
  readonly pageSize: number;
  /** The first page behind the file's last one. */
  readonly nextPage: number;
  /** The transaction that the pages are of. */
  readonly transaction: number;
}

/** A run that lies in the file, in one place or in several. */
export interface PlacedRun extends Omit<RunOutline, 'pageSize' | 'pageCount'> {
  /** The page of the file from which its leaves are numbered. */
  readonly base: number;
  /** The pages that it has. */
  readonly ranges: readonly PageRange[];
}

/**
 * Looks at a data file whose environment is closed, and stays closed in all threads and processes until
 * {@link finishBulk} is done. Cuts off what earlier loads that were not finished left behind its last page.
 *
 * @param names the databases to load. They are there, and empty.
 * @throws {CacheError} `CACHE_CORRUPT` when the file is not as this needs it.
 */
export function openBulk(generationDir: string, names: readonly string[]): BulkTarget {
  return withFile(generationDir, (fd, path) => {
    const { meta } = readState(fd, path);
    const trees = new NamedTrees(fd, path, meta);
    for (const name of names) trees.refuseFilled(name);
    const nextPage = meta.lastPage + 1;
    const end = nextPage * meta.pageSize;
    const { size } = fstatSync(fd);
    // LMDB does not write pages at the end that were freed in the transaction that took them.
    const damage = size < end ? findDamage(fd, meta) : null;
    if (damage !== null) throw unusable(path, damage);
    cutOff(fd, meta);
    return { pageSize: meta.pageSize, nextPage, transaction: Number(meta.transaction) + 1 };
  });
}

/** Cuts off what a load wrote behind the last page of a data file whose environment is closed. */
export function abandonBulk(generationDir: string, { transaction }: BulkTarget): void {
  withFile(generationDir, (fd, path) => {
    const { meta } = readState(fd, path);
    if (Number(meta.transaction) + 1 === transaction) cutOff(fd, meta);
  });
}

/** The same of any load, which was interrupted. A file whose state cannot be read is left as it is. */
export function abandonAnyBulk(generationDir: string): void {
  withFile(generationDir, (fd, path) => {
    let state: FileState;
    try {
      state = readState(fd, path);
    } catch {
      return;
    }
    cutOff(fd, state.meta);
  });
}

function cutOff(fd: number, { lastPage, pageSize }: Meta): void {
  const end = (lastPage + 1) * pageSize;
  if (fstatSync(fd).size > end) ftruncateSync(fd, end);
}

/** Pages that are given away one run after the other, over all threads that share the memory. */
export class PageCounter {
  readonly memory: SharedArrayBuffer;
  readonly #next: BigInt64Array;

  /** @param from the first page, or the memory of another counter. */
  constructor(from: number | SharedArrayBuffer) {
    this.memory = typeof from === 'number' ? new SharedArrayBuffer(8) : from;
    this.#next = new BigInt64Array(this.memory);
    if (typeof from === 'number') this.#next[0] = BigInt(from);
  }

  /** The first of so many pages that nobody else gets. */
  take(pages: number): number {
    return Number(Atomics.add(this.#next, 0, BigInt(pages)));
  }

  /** The first page that nobody has. */
  get next(): number {
    return Number(Atomics.load(this.#next, 0));
  }
}

/** The data file, open for the runs of one thread. */
export class BulkFile {
  readonly #path: string;
  readonly #target: BulkTarget;
  readonly #fd: number;

  /** @throws {CacheError} `CACHE_IO`. */
  constructor(generationDir: string, target: BulkTarget) {
    this.#path = dataPath(generationDir);
    this.#target = target;
    try {
      this.#fd = openSync(this.#path, 'r+');
    } catch (error) {
      throw cacheIoError(error, this.#path);
    }
  }

  /**
   * Writes a run's pages from page `base` on: a place that was reserved for them alone. May be tried again.
   *
   * @throws {CacheError} `CACHE_FULL` or `CACHE_IO`; `CACHE_CORRUPT` when the run would not fit, or lie in the file's
   *   present state.
   */
  write(run: LeafRun, base: number): PlacedRun {
    const { pageSize } = this.#target;
    if (run.pageSize !== pageSize) {
      throw unusable(this.#path, `its pages have ${pageSize} bytes, not ${run.pageSize}`);
    }
    this.#refuseUsed(base);
    const { chunks, references: _, pageSize: __, pageCount, ...outline } = run;
    placeRun(run, base, this.#target.transaction);
    let at = base * run.pageSize;
    for (const chunk of chunks) {
      writeFully(this.#fd, this.#path, chunk, at);
      at += chunk.length;
    }
    return { ...outline, base, ranges: [{ first: base, pages: pageCount }] };
  }

  /**
   * Writes pages that have their numbers and their transaction, the first of them `base`, as {@link write} does.
   *
   * @throws {CacheError} as that does.
   */
  writePages(pages: Uint8Array, base: number): void {
    this.#refuseUsed(base);
    writeFully(this.#fd, this.#path, pages, base * this.#target.pageSize);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #refuseUsed(page: number): void {
    if (page < this.#target.nextPage) throw unusable(this.#path, `page ${page} is in use`);
  }
}

/** Gives the pages of a run their numbers in the file, and their transaction. May be done again. */
export function placeRun(run: LeafRun, base: number, transaction: number): void {
  let number = base;
  const views = run.chunks.map(
    ({ buffer, byteOffset, length }) => new DataView(buffer, byteOffset, length),
  );
  for (const view of views) {
    for (let at = 0; at < view.byteLength;) {
      setNumber(view, at, number);
      setNumber(view, at + 8, transaction);
      const isOverflow = (view.getUint16(at + AT_PAGE_FLAGS, true) & IS_OVERFLOW) !== 0;
      const pages = isOverflow ? view.getUint32(at + AT_OVERFLOW_PAGES, true) : 1;
      number += pages;
      at += pages * run.pageSize;
    }
  }
  const { references } = run;
  for (let i = 0; i < references.length; i += 3) {
    const view = views[references[i]!]!;
    const at = references[i + 1]!;
    setNumber(view, at, base + references[i + 2]!);
    setNumber(view, at + 8, transaction);
  }
}

/** Without a BigInt for each page. */
function setNumber(view: DataView, at: number, number: number): void {
  view.setUint32(at, number >>> 0, true);
  view.setUint32(at + 4, Math.floor(number / 2 ** 32), true);
}
