import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { WorkerError, WorkerPool } from '../../src/index.js';
import { LOSS_FILE, type Loss } from './faulty-threads.js';
import { Stage } from './stage.js';

const URLS = {
  reader: new URL('./reader.js', import.meta.url).href,
  writer: new URL('./writer.js', import.meta.url).href,
};
/** Loses a thread in the second sync of a cache, with the same threads all the while. */
export async function loses(loss: Loss): Promise<void> {
  await using stage = await Stage.set(300);
  const file = stage.dir.join('loss.json');
  process.env[LOSS_FILE] = file;
  await using pool = new WorkerPool({ urls: URLS, readerThreads: 1 });
  await using storage = await stage.open({ pool, batchSize: 100 });
  await storage.sync();
  stage.change('second');
  writeFileSync(file, JSON.stringify(loss));
  // What is thrown later may come when the sync has all it needs of the thread.
  let failure: unknown = null;
  await storage.sync().then(
    () => undefined,
    (error: unknown) => (failure = error),
  );
  assert.equal(existsSync(file), false, 'the thread was lost');
  if (failure !== null || loss.way === 'exit' || loss.way === 'memory') {
    assert.ok(failure instanceof WorkerError, String(failure));
    assert.ok(failure.cause instanceof Error);
    assert.match(failure.cause.message, /lost in|exited with code: 3|out of memory/);
    assert.match(String(failure.hint), /next sync/);
  }
  const [row] = storage.cache.table('t').range({ limit: 1 });
  assert.match(String(row?.['v']), /^(first|second)/);
  await storage.sync();
  const rows = [...storage.cache.table('t').range()];
  assert.equal(rows.length, 300);
  assert.ok(rows.every((each) => String(each['v']).startsWith('second')));
  assert.equal((await storage.verify({ level: 'deep' })).left, 0);
}
