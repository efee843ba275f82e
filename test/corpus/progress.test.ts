import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readStatus, StorageSync, WorkerPool, type SyncProgress } from '../../src/index.js';
import { setFault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { numbers, Stage } from './stage.js';

/*
 * Failures that other sync tools had in what they told of themselves, each with a test of its own, named after it.
 * Where they were seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 3000;
const BUILD = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
  ${numbers(ROWS)} INSERT INTO t SELECT i, 'row ' || i FROM n;
  CREATE TABLE few (id INTEGER PRIMARY KEY, v); INSERT INTO few VALUES (1, 1), (2, 2);`;
const MORE = `${numbers(5 * ROWS)} INSERT INTO t SELECT ${ROWS} + i, 'new' FROM n`;

/** Runs a sync and holds all that it tells against what can be. */
async function honest(stage: Stage, by: WorkerPool): Promise<readonly SyncProgress[]> {
  await using storage = await StorageSync.open({ ...stage.options, pool: by });
  const run = storage.sync();
  const told: SyncProgress[] = [];
  let before: SyncProgress | null = null;
  for await (const progress of run) {
    const { rowsRead, rowsTotal, tablesDone, tablesTotal, remainingMs, rowsPerSecond } = progress;
    const shown = JSON.stringify(progress);
    assert.ok(rowsTotal === null || rowsRead <= rowsTotal, shown);
    assert.ok(tablesDone <= tablesTotal, shown);
    assert.ok(remainingMs === null || remainingMs >= 0, shown);
    assert.ok(rowsPerSecond >= 0, shown);
    const inLanes = progress.lanes.reduce((sum, lane) => sum + lane.rowsRead, 0);
    assert.ok(inLanes <= rowsRead, shown);
    assert.ok(progress.lanes.length <= tablesTotal - tablesDone, shown);
    assert.ok(before === null || rowsRead >= before.rowsRead, `${shown} goes back`);
    before = progress;
    told.push(progress);
  }
  const report = await run;
  const read = Object.values(report.tables).reduce((sum, { rowsRead }) => sum + rowsRead, 0);
  const last = told.at(-1);
  assert.deepEqual([last?.phase, last?.rowsRead, last?.lanes], ['done', read, []]);
  return told;
}

void describe('progress', () => {
  // PowerSync Dart #287
  void it('does not say 18k of 3k when the source grows meanwhile', async () => {
    await using stage = await Stage.make({ build: BUILD, sync: { batchSize: 100 } });
    const fault = setFault({ point: 'page:encoded', occurrence: 8, action: 'hold' });
    await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    const telling = honest(stage, held);
    await fault.held();
    stage.change(MORE);
    fault.release();
    const told = await telling;
    assert.equal(told.at(-1)?.rowsRead, 6 * ROWS + 2);
  });

  // PowerSync Dart #287
  void it('does not count rows twice that an interrupted sync had read', async () => {
    await using stage = await Stage.make({ build: BUILD, sync: { batchSize: 100 } });
    const { options } = stage;
    for (const occurrence of [4, 9]) {
      const fault = { point: 'write:after-commit', occurrence, action: 'kill' } as const;
      const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault });
      assert.equal(end.kind, 'killed');
    }
    const told = await honest(stage, pool);
    const begun = told.find(({ phase }) => phase === 'reading')!;
    assert.ok(begun.rowsRead > 0, 'what was read before is progress');
    assert.equal(told.at(-1)?.rowsRead, ROWS + 2);
    for (const { rowsTotal } of told) assert.ok(rowsTotal === null || rowsTotal === ROWS + 2);
  });

  // PowerSync Dart #287
  void it('does not promise all rows where a limit keeps few', async () => {
    const tables = [{ name: 't', limit: { count: 250, newestBy: 'id' } }];
    await using stage = await Stage.make({ build: BUILD, sync: { batchSize: 20, tables } });
    const told = await honest(stage, pool);
    for (const { rowsTotal } of told) assert.ok(rowsTotal === null || rowsTotal === 250);
    assert.equal(told.at(-1)?.rowsRead, 250);
  });

  // PowerSync Dart #287
  void it('does not count more rows than changed', async () => {
    await using stage = await Stage.make({ build: BUILD, captured: true });
    await stage.sync(pool);
    stage.change(`UPDATE t SET v = 'new' WHERE id <= 40; UPDATE t SET v = 'newer' WHERE id <= 30`);
    const told = await honest(stage, pool);
    assert.equal(told.at(-1)?.rowsRead, 40);
  });
});

void describe('the status', () => {
  // Zero #6187
  for (const captured of [true, false]) {
    void it(`a source that is merely idle does not make the cache stale: ${captured ? 'by the change log' : 'read in full'}`, async () => {
      await using stage = await Stage.make({ build: BUILD, captured });
      await stage.sync(pool);
      for (let idle = 0; idle < 3; idle++) {
        await sleep(30);
        const begunAt = Date.now();
        const report = await stage.sync(pool);
        assert.equal(report.mode, captured ? 'incremental' : 'full');
        assert.equal(report.stale, false);
        const { ageMs, lastSyncAt } = await readStatus(stage.options.cacheDir);
        assert.ok(
          ageMs! <= Date.now() - begunAt,
          'the age is the last sync’s, not the last change’s',
        );
        assert.ok(Date.parse(lastSyncAt!) >= begunAt);
      }
    });
  }
});
