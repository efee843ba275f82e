import { BulkFile, type PlacedRun } from '../cache/bulk/bulk-file.js';
import { joinRuns } from '../cache/bulk/join-runs.js';
import type { LeafRun } from '../cache/bulk/leaf-run.js';
import { Segments } from './segments.js';
import type { SpoolRef } from './tasks.js';

/**
 * Writes runs of pages to a generation, in the order of their keys, and tells where they are: as one, if there are any.
 *
 * @throws {CacheError} `CACHE_FULL`, `CACHE_IO`.
 */
export function writeRuns(
  { dir, target, segments: memory }: Pick<SpoolRef, 'dir' | 'target' | 'segments'>,
  runs: Iterable<LeafRun>,
): PlacedRun[] {
  const segments = new Segments(target, memory);
  const file = new BulkFile(dir, target);
  const placed: PlacedRun[] = [];
  try {
    for (const run of runs) placed.push(file.write(run, segments.takePages(run.pageCount)));
  } finally {
    file.close();
  }
  return placed.length > 1 ? [joinRuns(placed)] : placed;
}
