/**
 * One process syncs, another only reads: it has no source and no token, and follows what the first one does. Run it with
 * `npm run build && node dist/examples/second-process.js`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { defineTable, openCache, readStatus, StorageSync } from 'storage-sync';
import { changeShop, makeSampleShop } from './sample-shop.js';

const customers = defineTable({
  name: 'customers',
  columns: { id: 'integer', name: 'text', points: 'integer' },
});

const [role, givenCacheDir = ''] = process.argv.slice(2);
if (role === 'reader') await read(givenCacheDir);
else await sync();

/** The process that syncs. */
async function sync(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
  const database = join(directory, 'shop.db');
  const cacheDir = join(directory, 'cache');
  makeSampleShop(database, 1000);
  {
    await using storage = await StorageSync.open({
      source: { url: `file:${database}` },
      cacheDir,
      tables: [customers],
    });
    await storage.sync();

    const reader = fork(fileURLToPath(import.meta.url), ['reader', cacheDir]);
    await once(reader, 'message');

    changeShop(database, 'UPDATE customers SET points = 77 WHERE id = 1');
    await storage.sync();
    reader.send('synced');
    await once(reader, 'message');

    await storage.rebuild();
    reader.send('rebuilt');
    await once(reader, 'exit');
  }
  await rm(directory, { recursive: true });
}

/** The process that reads. */
async function read(cacheDir: string): Promise<void> {
  await using cache = openCache(cacheDir);
  const table = cache.table(customers);
  console.log(`reader: generation ${cache.generation}, customer 1 has`, table.get(1)?.points);
  process.send?.('ready');

  // What a sync commits is there with the next read; a snapshot keeps the state that it was opened in.
  const snapshot = cache.snapshot();
  await once(process, 'message');
  console.log('reader: now', table.get(1)?.points);
  console.log('reader: in the snapshot', snapshot.table(customers).get(1)?.points);
  snapshot.close();
  const before = cache.generation;
  process.send?.('read');

  // A new generation is noticed within a tenth of a second, and needs nothing to be opened again.
  await once(process, 'message');
  while (cache.generation === before) await sleep(20);
  console.log(`reader: generation ${cache.generation}, customer 1 has`, table.get(1)?.points);
  console.log('reader: the cache is', (await readStatus(cacheDir)).state);
  process.disconnect();
}
