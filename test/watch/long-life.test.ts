import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MAX_ROUNDS_KEPT, openChangeLog, StorageSync } from '../../src/index.js';
import { openDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const ROUNDS = 1000;
const MAX_HEAP_GROWTH_MB = 2;
const MAX_ANON_GROWTH_MB = 48;
/** The driver closes its files when its statements are collected, which threads see to now and then. */
const MAX_MORE_FILES = 16;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const onLinux = process.platform === 'linux' ? false : 'looks at the process by /proc';

interface Footprint {
  readonly heapMb: number;
  /** Memory of the process's own, without what is mapped of files. */
  readonly anonMb: number;
  readonly files: number;
  readonly threads: number;
  readonly listeners: number;
  readonly resources: number;
}

async function footprint(): Promise<Footprint> {
  // What a round leaves behind is let go of in the turns after it.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    collectGarbage();
  }
  const { heapUsed } = process.memoryUsage();
  const [, anonKb] = /^RssAnon:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  return {
    heapMb: heapUsed / 2 ** 20,
    anonMb: Number(anonKb) / 1024,
    files: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    listeners: listeners.reduce((sum, each) => sum + each, 0),
    resources: process.getActiveResourcesInfo().length,
  };
}

void describe('a watch that lives long', () => {
  void it(`holds after ${ROUNDS} rounds what it held before them`, { skip: onLinux }, async () => {
    await using dir = await TempDirectory.make();
    const url = `file:${dir.join('source.db')}`;
    const database = openDatabase(dir.join('source.db'));
    database.exec(`
      CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
      INSERT INTO notes SELECT i, 'the body of note ' || i FROM n`);
    await using log = await openChangeLog({ url });
    await log.install();
    await using storage = await StorageSync.open({
      source: { url },
      cacheDir: dir.join('cache'),
      readerThreads: 1,
    });
    const watch = storage.watch({ intervalMs: 3600_000 });
    await watch.sync();
    const stop = new AbortController();
    const run = async (rounds: number) => {
      for (let i = 0; i < rounds; i++) {
        // Every other round has something to do.
        if (i % 2 === 0) database.exec(`UPDATE notes SET body = body || '.' WHERE id = ${1 + i}`);
        const { tables } = await watch.sync({ signal: stop.signal });
        assert.equal(tables['notes']!.rowsWritten, i % 2 === 0 ? 1 : 0);
        storage.cache.table('notes').get(1 + i);
      }
    };
    // So many are kept for the status page: until then it grows.
    await run(MAX_ROUNDS_KEPT + 20);
    const before = await footprint();
    await run(ROUNDS);
    const after = await footprint();
    const told = JSON.stringify({ before, after });
    const { rounds, failedRounds } = await watch.status();
    assert.ok(rounds > ROUNDS + MAX_ROUNDS_KEPT, told);
    assert.equal(failedRounds, 0);
    assert.ok(after.files <= before.files + MAX_MORE_FILES, told);
    assert.ok(after.threads <= before.threads, told);
    assert.ok(after.listeners <= before.listeners, told);
    assert.ok(after.resources <= before.resources + 2, told);
    assert.ok(after.heapMb - before.heapMb <= MAX_HEAP_GROWTH_MB, told);
    assert.ok(after.anonMb - before.anonMb <= MAX_ANON_GROWTH_MB, told);
    assert.deepEqual(getEventListeners(stop.signal, 'abort'), []);
    database.close();
  });
});
