/**
 * Syncs and rebuilds on a timetable, in one process. Run it with
 * `npm run build && node dist/examples/nightly-rebuild.js`: here they come every second, and end after some.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cron } from 'croner';
import { defineTable, describeError, StorageSync } from 'storage-sync';
import { changeShop, makeSampleShop } from './sample-shop.js';

// In earnest, say, '*/5 * * * *' and '0 4 * * *'.
const SYNCS = '* * * * * *';
const REBUILDS = '* * * * * *';

const customers = defineTable({
  name: 'customers',
  columns: { id: 'integer', name: 'text', points: 'integer' },
});

const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
const database = join(directory, 'shop.db');
makeSampleShop(database, 1000);

{
  await using storage = await StorageSync.open({
    source: { url: `file:${database}` },
    cacheDir: join(directory, 'cache'),
    tables: [customers],
  });
  await storage.sync();
  console.log('at start: generation', storage.cache.generation);

  // `protect` leaves a run out while the one before goes on; a failure is told, and the next run comes all the same.
  const options = {
    protect: true,
    catch: (error: unknown) => console.error(describeError(error)),
  };

  await ended('sync', SYNCS, 2, options, async (run) => {
    changeShop(database, `UPDATE customers SET points = points + 100 WHERE id = ${run}`);
    const { mode, tables } = await storage.sync();
    console.log(`sync ${run}: ${mode}, ${tables['customers']?.rowsWritten} written`);
  });
  await ended('rebuild', REBUILDS, 1, options, async (run) => {
    const { mode, generation } = await storage.rebuild();
    console.log(`rebuild ${run}: ${mode}, generation ${generation}`);
  });
  console.log('points of customer 2:', storage.cache.table(customers).get(2)?.points);
}

await rm(directory, { recursive: true });

/** Runs a job by a timetable until it was done so many times. */
async function ended(
  name: string,
  pattern: string,
  times: number,
  options: { readonly protect: boolean; readonly catch: (error: unknown) => void },
  work: (run: number) => Promise<void>,
): Promise<void> {
  let runs = 0;
  await new Promise<void>((resolve) => {
    const job = new Cron(pattern, options, async () => {
      await work(++runs);
      if (runs < times) return;
      job.stop();
      resolve();
    });
    console.log(`the next ${name} is at`, job.nextRun()?.toISOString());
  });
}
