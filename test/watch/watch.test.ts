import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { damagePath } from '../../src/cache/layout.js';
import { CacheError, SourceError, SyncAbortedError } from '../../src/index.js';
import type { VerifyReport, WatchRound } from '../../src/index.js';
import { FakeCache, synced } from './fake-cache.js';

const OUTAGE = new SourceError('SOURCE_UNAVAILABLE', 'The source is away.');

void describe('a watch', () => {
  void it('does one round at a time, and gives who asks one that began after the asking', async () => {
    using cache = new FakeCache();
    await using watch = cache.watch();
    const first = await cache.round(0);
    const asked = watch.sync();
    const alike = watch.sync();
    const other = watch.sync({ full: true });
    const rebuilt = watch.rebuild();
    assert.equal(cache.begun.length, 1, 'the first is under way');
    first.end.resolve(synced({ generation: 1 }));
    (await cache.round(1)).end.resolve(synced({ generation: 2 }));
    (await cache.round(2)).end.resolve(synced({ generation: 3 }));
    (await cache.round(3)).end.resolve(synced({ generation: 4 }));
    assert.equal((await asked).generation, 2);
    assert.equal((await alike).generation, 2, 'the same is asked for once');
    assert.equal((await other).generation, 3);
    assert.equal((await rebuilt).generation, 4);
    assert.equal(cache.most, 1);
    assert.deepEqual(
      cache.begun.map(({ job, options }) => [job, options]),
      [
        ['sync', {}],
        ['sync', {}],
        ['sync', { full: true }],
        ['rebuild', {}],
      ],
    );
  });

  void it('goes on after every kind of failure', async () => {
    using cache = new FakeCache();
    await using watch = cache.watch({ syncOnStart: false });
    const failures: readonly (readonly [unknown, string, string])[] = [
      [OUTAGE, 'failed', 'SOURCE_UNAVAILABLE'],
      [new CacheError('CACHE_LOCKED', 'Another writes.'), 'skipped', 'CACHE_LOCKED'],
      [new SourceError('TABLE_NOT_FOUND', 'No such table.'), 'failed', 'TABLE_NOT_FOUND'],
      [new TypeError('undefined is not a function'), 'failed', 'UNEXPECTED'],
      ['a text', 'failed', 'UNEXPECTED'],
    ];
    for (const [i, [failure, outcome, code]] of failures.entries()) {
      const asked = watch.sync();
      (await cache.round(i)).end.reject(failure);
      await assert.rejects(asked, (error) => error === failure);
      const { history } = await watch.status();
      assert.deepEqual([history.at(-1)!.outcome, history.at(-1)!.error?.code], [outcome, code]);
    }
    cache.failure = new Error('no status');
    const asked = watch.sync();
    (await cache.round(failures.length)).end.resolve(synced());
    assert.equal((await asked).generation, 1);
    cache.failure = null;
    const { rounds, failedRounds, source } = await watch.status();
    assert.deepEqual([rounds, failedRounds], [6, 4]);
    assert.doesNotMatch(source, /hidden/);
  });

  void it('tries again soon after an outage, by itself', async () => {
    using cache = new FakeCache();
    // The wait is no longer than the interval.
    await using watch = cache.watch({ intervalMs: 20 });
    (await cache.round(0)).end.reject(OUTAGE);
    (await cache.round(1)).end.resolve(synced({ mode: 'skipped', outage: OUTAGE }));
    (await cache.round(2)).end.resolve(synced());
    (await cache.round(3)).end.resolve(synced());
    const { history } = await watch.status();
    assert.deepEqual(
      history.slice(0, 3).map(({ reason, outcome }) => [reason, outcome]),
      [
        ['start', 'failed'],
        ['recovery', 'skipped'],
        ['recovery', 'done'],
      ],
    );
  });

  void it('mends what reads found damaged, once', async () => {
    using cache = new FakeCache();
    await using watch = cache.watch();
    (await cache.round(0)).end.resolve(synced());
    appendFileSync(damagePath(cache.cacheDir), '{"generation":1}\n');
    const mending = await cache.round(1);
    mending.end.resolve(synced());
    const asked = watch.sync();
    (await cache.round(2)).end.resolve(synced());
    await asked;
    // The notes are still there, as of a sync that could do nothing about them: they are no news any more.
    const { history, nextRoundAt } = await watch.status();
    assert.deepEqual(
      history.map(({ reason }) => reason),
      ['start', 'recovery', 'request'],
    );
    assert.ok(Date.parse(nextRoundAt!) > Date.now() + 60_000);
  });

  void it('stops at once where it waits, and lets the round under way come to its end', async () => {
    using cache = new FakeCache();
    const waiting = cache.watch({ syncOnStart: false });
    await waiting.stop();
    assert.equal(waiting.state, 'stopped');
    await assert.rejects(waiting.sync(), SyncAbortedError);

    const running = cache.watch();
    await cache.round(0);
    const asked = running.sync();
    const stopped = running.stop();
    assert.equal(running.state, 'stopping');
    await Promise.all([stopped, running.stop(), assert.rejects(asked, SyncAbortedError)]);
    assert.equal(cache.begun.length, 1);
    const { history, state } = await running.status();
    assert.deepEqual([history.at(-1)!.outcome, state], ['aborted', 'stopped']);
  });

  void it('lets one who asked give up, and goes on for the others', async () => {
    using cache = new FakeCache();
    await using watch = cache.watch({ syncOnStart: false });
    const impatient = new AbortController();
    const given = watch.sync({ signal: impatient.signal });
    const kept = watch.sync();
    const round = await cache.round(0);
    impatient.abort(new Error('enough'));
    await assert.rejects(given, /enough/);
    round.end.resolve(synced({ generation: 7 }));
    assert.equal((await kept).generation, 7);
    await assert.rejects(watch.sync({ signal: AbortSignal.abort(new Error('before')) }), /before/);
  });

  void it('tells its rounds to all who listen, however slow, until it stops', async () => {
    using cache = new FakeCache();
    const watch = cache.watch({ syncOnStart: false });
    const quick: number[] = [];
    const listening = (async () => {
      for await (const { number } of watch.rounds()) quick.push(number);
    })();
    const slow = watch.rounds();
    const first = slow.next();
    const gone = watch.rounds({ signal: AbortSignal.timeout(1) });
    await assert.rejects(gone.next(), { name: 'TimeoutError' });
    for (let i = 0; i < 5; i++) {
      const asked = watch.sync();
      (await cache.round(i)).end.resolve(synced());
      await asked;
    }
    assert.equal(((await first).value as WatchRound).number, 1);
    assert.equal(((await slow.next()).value as WatchRound).number, 2);
    await slow.return(undefined);
    await watch.stop();
    await listening;
    assert.deepEqual(quick, [1, 2, 3, 4, 5]);
  });

  void it('keeps the last rounds, and what the last verify found', async () => {
    using cache = new FakeCache();
    await using watch = cache.watch({ syncOnStart: false });
    const differences = { damaged: 0, differs: 2, missing: 1, extra: 0 };
    const report = {
      level: 'deep',
      complete: true,
      differences: 3,
      repaired: 0,
      left: 3,
      sourceRowsRead: 10,
      warnings: [],
      tables: { t: { rowsCompared: 10, differences } },
    } as unknown as VerifyReport;
    const asked = watch.verify({ level: 'deep' });
    (await cache.round(0)).end.resolve(report);
    assert.equal((await asked).left, 3);
    for (let i = 1; i <= 520; i++) {
      const sync = watch.sync();
      (await cache.round(i)).end.resolve(synced());
      await sync;
    }
    const { history, lastVerify, rounds } = await watch.status();
    assert.deepEqual([history.length, history[0]!.number, rounds], [500, 22, 521]);
    assert.deepEqual(lastVerify?.tables, { t: { rowsCompared: 10, differences: 3 } });
    assert.equal(lastVerify?.left, 3);
  });
});
