import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageSync, WorkerError, WorkerPool } from '../../src/index.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { CacheUnderTest } from './cache-under-test.js';
import { firstSync, memory, rebuild, resync, severalTables, type Scenario } from './scenarios.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

/** Changes, and takes the rows at both ends and in the middle: before and behind any checkpoint. */
function move(scenario: Scenario, cache: CacheUnderTest): void {
  cache.changeSource();
  cache.withSource((database) => {
    for (const { name } of scenario.tables) {
      for (const by of ['rowid ASC', 'rowid DESC', 'random()']) {
        const order = name === 'by_pair' ? by.replace('rowid', 'tenant') : by;
        const key = name === 'by_pair' ? 'code' : 'rowid';
        database.exec(
          `DELETE FROM ${name} WHERE ${key} IN (SELECT ${key} FROM ${name} ORDER BY ${order} LIMIT 7)`,
        );
      }
    }
  });
}

void describe('a source that changes while a sync is interrupted', () => {
  for (const [i, scenario] of [firstSync, resync, severalTables, memory, rebuild].entries()) {
    for (const batches of THOROUGHNESS > 1 ? [1, 12] : [i % 2 === 0 ? 12 : 1]) {
      void it(`is caught up with by the sync after the one that goes on: ${scenario.name}, after ${batches} batches`, async () => {
        await using cache = await CacheUnderTest.make(scenario);
        const syncOnce = async (mode: 'sync' | 'rebuild') => {
          await using storage = await StorageSync.open(cache.options);
          return await storage[mode]();
        };
        if (scenario.published) {
          await syncOnce('sync');
          cache.changeSource();
        }

        setFault({ point: 'write:before-commit', occurrence: batches + 1, action: 'throw' });
        await using pool = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
        await using storage = await StorageSync.open({ ...cache.options, pool });
        await assert.rejects(async () => await storage[scenario.mode](), WorkerError);

        move(scenario, cache);
        const resumed = await syncOnce(scenario.mode);
        assert.ok(Object.values(resumed.tables).some((table) => table.resumed));
        await cache.checkServedNow(false);
        await syncOnce('sync');
        await cache.checkServedNow(true);
      });
    }
  }
});
