import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SourceError, StorageSync, type CacheStatus } from '../../src/index.js';
import { isOutage, OutageBreaker } from '../../src/outage.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

const away = () => Promise.reject(new SourceError('SOURCE_UNAVAILABLE', 'away'));

void describe('a source that keeps failing', () => {
  void it('is left alone after five failures, then asked once, and trusted once it answers', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 });
    const breaker = new OutageBreaker();
    let asked = 0;
    const attempt = async (work: () => Promise<unknown>) => {
      const before = asked;
      const outcome = await breaker
        .run(async () => {
          asked++;
          return await work();
        })
        .then(
          () => 'done',
          (error: unknown) => (isOutage(error) ? 'outage' : 'other'),
        );
      return [outcome, asked > before ? 'asked' : 'left alone'].join(', ');
    };
    for (let i = 0; i < 5; i++) assert.equal(await attempt(away), 'outage, asked');
    assert.equal(await attempt(away), 'outage, left alone');
    t.mock.timers.tick(2500);
    assert.equal(await attempt(away), 'outage, asked', 'once the pause is over');
    assert.equal(await attempt(away), 'outage, left alone');
    t.mock.timers.tick(120_000);
    assert.equal(await attempt(() => Promise.resolve()), 'done, asked');
    for (let i = 0; i < 4; i++) assert.equal(await attempt(away), 'outage, asked');
  });

  void it('is asked by who has a pace of its own, and trusted once it answers', async () => {
    const breaker = new OutageBreaker();
    for (let i = 0; i < 5; i++) await assert.rejects(breaker.run(away), { message: 'away' });
    await assert.rejects(breaker.run(away), /not asked again/);
    await assert.rejects(breaker.run(away, true), { message: 'away' });
    await assert.rejects(breaker.run(away), /not asked again/);
    assert.equal(await breaker.run(() => Promise.resolve('there'), true), 'there');
    for (let i = 0; i < 5; i++) await assert.rejects(breaker.run(away), { message: 'away' });
  });

  void it('is not left alone for what is no outage', async () => {
    const breaker = new OutageBreaker();
    const refused = () => Promise.reject(new SourceError('SOURCE_UNAUTHORIZED', 'no'));
    for (let i = 0; i < 10; i++) {
      await assert.rejects(breaker.run(refused), { code: 'SOURCE_UNAUTHORIZED' });
    }
  });

  void it('answers no read slower, and is fresh again with the first sync after', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `PRAGMA journal_mode = WAL; CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'one')`,
    );
    await using server = await startHranaServer({ file });
    const options = {
      source: { url: server.httpUrl },
      cacheDir: dir.join('cache'),
      retries: 1,
      retryInitialMs: 10,
      retryMaxMs: 20,
    };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    await server.stop();
    let reads = 0;
    for (let round = 0; round < 7; round++) {
      const run = storage.sync();
      let running = true;
      const ended = Promise.resolve(run).finally(() => (running = false));
      do {
        assert.equal(storage.cache.table('t').get(1)?.['v'], 'one');
        reads++;
        await new Promise((resolve) => setImmediate(resolve));
      } while (running);
      const report = await ended;
      assert.deepEqual([report.mode, report.stale, report.generation], ['skipped', true, 1]);
      const status = await storage.status();
      assert.deepEqual([status.state, status.failedSyncs], ['stale', round + 1]);
    }
    assert.ok(reads > 50);
    await server.start();
    changeDatabase(file, `UPDATE t SET v = 'two'`);
    // Another process has no circuit that is open.
    await using other = await StorageSync.open(options);
    assert.equal((await other.sync()).mode, 'full');
    const { state, failedSyncs, lastError } = await other.status();
    assert.deepEqual([state, failedSyncs, lastError], ['fresh', 0, null]);
    await assertCacheEquals(file, options.cacheDir);
  });

  void it('is synced by the first round of a watch that begins once it is back', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      'PRAGMA journal_mode = WAL; CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1)',
    );
    await using server = await startHranaServer({ file });
    const options = { source: { url: server.httpUrl }, cacheDir: dir.join('cache'), retries: 0 };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    await server.stop();
    const watch = storage.watch({ intervalMs: 50 });
    const until = async (isSo: (status: CacheStatus) => boolean) => {
      const deadline = performance.now() + 20_000;
      for (;;) {
        const status = await storage.status();
        if (isSo(status)) return;
        assert.ok(performance.now() < deadline, JSON.stringify(status));
        await sleep(10);
      }
    };
    // More than a circuit breaker puts up with.
    await until(({ failedSyncs, state }) => failedSyncs > 12 && state !== 'fresh');
    await server.start();
    const backAt = new Date().toISOString();
    await until(({ state }) => state === 'fresh');
    const { history } = await watch.status();
    const outcomes = history
      .filter(({ startedAt }) => startedAt > backAt)
      .map(({ outcome }) => outcome);
    assert.ok(outcomes.length > 0);
    assert.deepEqual(
      outcomes.filter((outcome) => outcome !== 'done'),
      [],
    );
    await watch.stop();
    await assertCacheEquals(file, options.cacheDir);
  });
});
