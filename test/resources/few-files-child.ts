import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CacheError, openCache, WorkerError, type StorageSync } from '../../src/index.js';
import { Stage } from './stage.js';

/**
 * A process that may open few files, and has used up all but some of them as it syncs, rebuilds, tells the status and
 * reads: each either does what it should or says what is missing, and later does it.
 */
const left = process.argv.slice(2).map(Number);

await using stage = await Stage.set(20);
let storage = await stage.open({ readerThreads: 1 });
await storage.sync();

const works: Record<string, (storage: StorageSync) => Promise<unknown>> = {
  sync: async (each) => await each.sync(),
  rebuild: async (each) => await each.rebuild(),
  status: async (each) => await each.status(),
  read: async () => {
    await using cache = openCache(stage.cacheDir);
    assert.equal(cache.table('t').count(), 20);
  },
};

function starve(free: number): () => void {
  const opened: number[] = [];
  try {
    for (;;) opened.push(openSync('/dev/null', 'r'));
  } catch {
    for (const fd of opened.splice(0, free)) closeSync(fd);
  }
  return () => opened.forEach((fd) => closeSync(fd));
}

/** Threads that could not start are started again after a while. */
async function syncs(): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await storage.sync();
      return;
    } catch (error) {
      if (!(error instanceof WorkerError) || tries === 20) throw error;
      await sleep(500);
    }
  }
}

const read = () => String(storage.cache.table('t').get(1)?.['v']);

let failures = 0;
for (const [name, work] of Object.entries(works)) {
  for (const free of left) {
    // More than any of these takes beside its threads: then they are started anew as well.
    if (free > 12) {
      await storage.close();
      storage = await stage.open({ readerThreads: 1 });
    }
    stage.change(`${name} with ${free}`);
    const release = starve(free);
    try {
      await work(storage);
    } catch (error) {
      failures++;
      const isTold = error instanceof CacheError && /too many files/.test(error.message);
      if (!isTold && !(error instanceof WorkerError)) throw error;
    } finally {
      release();
    }
    await syncs();
    const expected = new RegExp(`^${name} with ${free}`);
    // A reader follows to another generation within a tenth of a second.
    for (let tries = 0; tries < 50 && !expected.test(read()); tries++) await sleep(20);
    assert.match(read(), expected);
  }
}
await storage.close();
assert.ok(failures > left.length);
console.log('survived');
