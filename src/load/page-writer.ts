import { BulkFile, PageCounter, type PlacedRun } from '../cache/bulk/bulk-file.js';
import type { LeafRun } from '../cache/bulk/leaf-run.js';
import type { PagesRef } from './tasks.js';

/**
 * Writes runs of pages to a generation, and tells where they are.
 *
 * @throws {CacheError} `CACHE_FULL`, `CACHE_IO`.
 */
export function writeRuns({ dir, target, taken }: PagesRef, runs: Iterable<LeafRun>): PlacedRun[] {
  const counter = new PageCounter(taken);
  const file = new BulkFile(dir, target);
  const placed: PlacedRun[] = [];
  try {
    for (const run of runs) placed.push(file.write(run, counter.take(run.pageCount)));
  } finally {
    file.close();
  }
  return placed;
}
