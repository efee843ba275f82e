import { BulkFile, PageCounter, type BulkTarget, type PlacedRun } from '../cache/bulk/bulk-file.js';
import { LeafRunBuilder } from '../cache/bulk/leaf-run.js';
import type { GroupedRecords } from './spool.js';
import type { PagesRef } from './tasks.js';

/** Writes records as pages of LMDB. Keeps its memory for the next ones. */
export class PageWriter {
  #builder: LeafRunBuilder | null = null;
  #pageSize = 0;

  /**
   * @param places the records in the order of their keys.
   * @throws {CacheError} `KEY_INVALID`, `CACHE_FULL`, `CACHE_IO`.
   */
  write(
    { dir, target, taken }: PagesRef,
    bytes: Buffer,
    records: GroupedRecords,
    places: Uint32Array,
  ): PlacedRun[] {
    const builder = this.#builderFor(target);
    const counter = new PageCounter(taken);
    const file = new BulkFile(dir, target);
    const runs: PlacedRun[] = [];
    try {
      for (let from = 0; from < places.length;) {
        from = addUntilFull(builder, bytes, records, places, from);
        const run = builder.finish();
        runs.push(file.write(run, counter.take(run.pageCount)));
        builder.recycle(run);
      }
    } catch (error) {
      // What was begun is not to be found in the next run.
      this.#builder = null;
      throw error;
    } finally {
      file.close();
    }
    return runs;
  }

  #builderFor({ pageSize }: BulkTarget): LeafRunBuilder {
    if (this.#builder === null || this.#pageSize !== pageSize) {
      this.#builder = new LeafRunBuilder(pageSize);
      this.#pageSize = pageSize;
    }
    return this.#builder;
  }
}

/** Adds records from a place on, and returns the place of the first that is not in the run. */
function addUntilFull(
  builder: LeafRunBuilder,
  bytes: Buffer,
  { keyStarts, valueStarts, ends }: GroupedRecords,
  places: Uint32Array,
  from: number,
): number {
  let at = from;
  while (at < places.length && !builder.isFull) {
    const record = places[at++]!;
    builder.add(bytes, keyStarts[record]!, valueStarts[record]!, ends[record]!);
  }
  return at;
}
