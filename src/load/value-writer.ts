import { BulkFile } from '../cache/bulk/bulk-file.js';
import type { PageRange } from '../cache/bulk/bulk-tree.js';
import type { RowKernel } from './kernel/row-kernel.js';
import { Segments } from './segments.js';
import type { SpoolRef } from './tasks.js';

/** Pages are written together up to here: a call costs little then, and they are still in the processor's cache. */
const WRITTEN_AT_ONCE = 512 * 1024;

/**
 * Writes the values that LMDB keeps on pages of their own to a generation's file, as they come: they are not spooled,
 * sorted and copied as other records are, only their keys and where they lie.
 */
export class ValueWriter {
  readonly pageSize: number;
  readonly #transaction: number;
  readonly #segments: Segments;
  readonly #file: BulkFile;
  #ranges: PageRange[] = [];

  /** @throws {CacheError} `CACHE_IO`. */
  constructor({ dir, target, segments }: Pick<SpoolRef, 'dir' | 'target' | 'segments'>) {
    this.pageSize = target.pageSize;
    this.#transaction = target.transaction;
    this.#segments = new Segments(target, segments);
    this.#file = new BulkFile(dir, target);
  }

  /** The pages that were written. */
  get ranges(): readonly PageRange[] {
    return this.#ranges;
  }

  /** Forgets what was written: its pages belong to nothing then. */
  begin(): void {
    this.#ranges = [];
  }

  /**
   * Writes the values that wait in a kernel, once they are many.
   *
   * @throws {CacheError} `CACHE_FULL`, `CACHE_IO`.
   */
  take(kernel: RowKernel): void {
    if (kernel.valueBytes >= WRITTEN_AT_ONCE) this.takeAll(kernel);
  }

  /** The same of all that wait. */
  takeAll(kernel: RowKernel): void {
    const pages = kernel.valueBytes / this.pageSize;
    if (pages === 0) return;
    const first = this.#segments.takePages(pages);
    this.#file.writePages(kernel.placeValues(first, this.#transaction), first);
    this.#ranges.push({ first, pages });
  }

  close(): void {
    this.#file.close();
  }
}
