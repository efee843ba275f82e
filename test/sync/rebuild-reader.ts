import { setImmediate } from 'node:timers/promises';
import { openCache } from '../../src/index.js';

/** What a reading process tells at its end. */
export interface RebuildReaderResult {
  readonly views: number;
  /** The editions that it saw, each once, in order. */
  readonly editions: readonly number[];
  readonly generations: number;
  readonly complaint: string | null;
}

/** Reads whole views of a cache whose rows are all of one edition, until it is told to end. */
async function read(cacheDir: string): Promise<RebuildReaderResult> {
  const cache = openCache(cacheDir);
  const editions: number[] = [];
  const generations = new Set<number | null>();
  let views = 0;
  let ending = false;
  let complaint: string | null = null;
  process.on('message', () => (ending = true));
  process.send!('reading');
  while (!ending && complaint === null) {
    try {
      using snapshot = cache.snapshot();
      generations.add(cache.generation);
      const rows = snapshot.table('t');
      const [first] = rows.range({ limit: 1 });
      const edition = first!['edition'] as number;
      let seen = 0;
      for (const row of rows.range()) {
        if (row['edition'] !== edition) complaint = `${edition} and ${String(row['edition'])}`;
        seen++;
      }
      if (seen !== rows.count()) complaint = `${seen} rows of ${rows.count()}`;
      const marker = snapshot.table('marker').get(1);
      if (marker?.['edition'] !== edition) complaint = `the marker says ${JSON.stringify(marker)}`;
      if (editions.at(-1) !== edition) editions.push(edition);
      views++;
    } catch (error) {
      complaint = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    await setImmediate();
  }
  await cache.close();
  return { views, editions, generations: generations.size, complaint };
}

process.send!(await read(process.argv[2]!));
process.disconnect();
