import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageSync, WorkerPool, type Watch, type WatchRound } from '../../src/index.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { numbers, Stage } from './stage.js';

/*
 * Failures that other sync tools had where they kept a copy true by themselves, each with a test of its own, named
 * after it. Where they were seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 1 });
});
after(async () => {
  await pool.close();
});

const BUILD = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
  ${numbers(600)} INSERT INTO t SELECT i, 'row ' || i FROM n;`;
/** Over long before any sync is. */
const INTERVAL = { intervalMs: 1, jitter: 0 } as const;

async function firstRounds(watch: Watch, count: number): Promise<WatchRound[]> {
  const rounds: WatchRound[] = [];
  for await (const round of watch.rounds()) {
    rounds.push(round);
    if (rounds.length === count) break;
  }
  return rounds;
}

void describe('a watch', () => {
  // libsql #2076
  void it('whose sync takes as long as its interval, or longer, lets none pile up', async () => {
    // By a statement for each page, so that one can be held at a page.
    const sync = { batchSize: 100, transport: 'http-pipeline' } as const;
    await using stage = await Stage.make({ build: BUILD, way: 'http', sync });
    await stage.sync(pool);
    await stage.server!.resetStats();
    await stage.sync(pool);
    const ofOne = (await stage.server!.stats()).statements.length;
    await stage.server!.resetStats();

    const fault = setFault({ point: 'page:before-read', occurrence: 3, action: 'hold' });
    await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    await using storage = await StorageSync.open({ ...stage.options, pool: held });
    await using watch = storage.watch(INTERVAL);
    const ended = firstRounds(watch, 3);
    await fault.held();
    await sleep(50);
    const { state, rounds } = await watch.status();
    assert.deepEqual([state, rounds], ['running', 0], 'fifty intervals, and one sync');
    const soFar = (await stage.server!.stats()).statements.length;
    assert.ok(soFar < ofOne, `${soFar} statements of a sync that takes ${ofOne}`);
    fault.release();
    for (const { outcome, reason, mode } of await ended) {
      // One that began beside another would be skipped, because the cache is locked.
      assert.deepEqual([outcome, mode], ['done', 'full'], reason);
    }
    await watch.stop();
    const { history } = await watch.status();
    const whole = history.filter(({ outcome }) => outcome === 'done').length;
    const statements = (await stage.server!.stats()).statements.length;
    assert.ok(statements >= whole * ofOne, 'each sync read the source');
    assert.ok(statements <= history.length * ofOne, 'once');
  });

  // Zero #6187
  for (const captured of [true, false]) {
    void it(`does not report its cache as stale while the source is merely idle: ${captured ? 'by the change log' : 'read in full'}`, async () => {
      await using stage = await Stage.make({ build: BUILD, captured });
      await stage.sync(pool);
      await using storage = await StorageSync.open({ ...stage.options, pool });
      // As old as this by the last change, the cache would be stale with the first round.
      await sleep(30);
      await using watch = storage.watch(INTERVAL);
      let rounds = 0;
      for await (const { mode, outcome, startedAt, ageAfterMs, rowsWritten } of watch.rounds()) {
        assert.deepEqual([outcome, rowsWritten], ['done', 0]);
        assert.equal(mode, captured ? 'incremental' : 'full');
        const sinceItBegan = Date.now() - Date.parse(startedAt);
        assert.ok(
          ageAfterMs! <= sinceItBegan,
          'the age is that of what the sync read, not of the last change',
        );
        const { cache } = await watch.status();
        assert.equal(cache.isFresh, true);
        if (++rounds === 4) break;
      }
    });
  }
});
