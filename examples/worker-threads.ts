/**
 * Several worker threads that read one cache, each its share of the keys, while the main thread syncs. Run it with
 * `npm run build && node dist/examples/worker-threads.js`.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { defineTable, openCache, StorageSync } from 'storage-sync';
import { changeShop, makeSampleShop } from './sample-shop.js';

const CUSTOMERS = 20_000;
const THREADS = 4;

const customers = defineTable({
  name: 'customers',
  columns: { id: 'integer', name: 'text', points: 'integer' },
});

interface Share {
  readonly cacheDir: string;
  /** The first key of the share, and the first behind it. */
  readonly from: number;
  readonly to: number;
}

interface Sum {
  readonly rows: number;
  readonly points: number;
}

if (isMainThread) await main();
else await addUp(workerData as Share);

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
  const database = join(directory, 'shop.db');
  const cacheDir = join(directory, 'cache');
  makeSampleShop(database, CUSTOMERS);
  {
    await using storage = await StorageSync.open({
      source: { url: `file:${database}` },
      cacheDir,
      tables: [customers],
    });
    await storage.sync();

    // A sync meanwhile changes nothing for a thread: it reads one state.
    changeShop(database, 'UPDATE customers SET name = upper(name) WHERE id % 100 = 0');
    const [report, ...sums] = await Promise.all([
      storage.sync(),
      ...Array.from({ length: THREADS }, (_, i) => sumOf(shareOf(cacheDir, i))),
    ]);
    console.log(`${sums.length} threads read ${total(sums.map(({ rows }) => rows))} rows`);
    console.log(`${total(sums.map(({ points }) => points))} points in all`);
    console.log(`${report.tables['customers']?.rowsWritten} rows were written meanwhile`);
  }
  await rm(directory, { recursive: true });
}

function shareOf(cacheDir: string, i: number): Share {
  const size = Math.ceil(CUSTOMERS / THREADS);
  return { cacheDir, from: 1 + i * size, to: 1 + (i + 1) * size };
}

async function sumOf(share: Share): Promise<Sum> {
  const worker = new Worker(new URL(import.meta.url), { workerData: share });
  const [sum] = (await once(worker, 'message')) as [Sum];
  return sum;
}

/** A thread: it opens the cache itself, for a reader cannot be sent to another thread. */
async function addUp({ cacheDir, from, to }: Share): Promise<void> {
  await using cache = openCache(cacheDir);
  let rows = 0;
  let points = 0;
  for (const row of cache.table(customers).range({ gte: from, lt: to })) {
    rows++;
    points += Number(row.points);
  }
  parentPort?.postMessage({ rows, points } satisfies Sum);
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
