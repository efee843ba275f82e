import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { StorageSync, WorkerPool } from '../../src/index.js';
import { startReader } from '../cache/reader-peer.js';
import { assertCacheEquals } from '../support/compare.js';
import { openDatabase } from '../support/databases.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { numbers, Stage, WAYS } from './stage.js';

/*
 * Failures that other sync tools had in following changes, each with a test of its own, named after it. Where they
 * were seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const DOCUMENTS = `CREATE TABLE documents (id TEXT PRIMARY KEY NOT NULL, slug TEXT UNIQUE, body, updated_at INTEGER);
  ${numbers(200)} INSERT INTO documents SELECT 'd' || (i * 37 % 211), 's' || i, 'body ' || i, 1000 + i FROM n;`;

async function assertFollows(stage: Stage, by = pool): Promise<void> {
  assert.equal((await stage.sync(by)).mode, 'incremental');
  await assertCacheEquals(stage.file, stage.options.cacheDir);
}

/** Holds a sync at a point while the source is changed. */
async function syncHeldAt(
  stage: Stage,
  point: string,
  occurrence: number,
  change: () => void,
): Promise<void> {
  const fault = setFault({ point, occurrence, action: 'hold' });
  await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
  const syncing = stage.sync(held);
  await fault.held();
  try {
    change();
  } finally {
    fault.release();
    await syncing;
  }
}

void describe('changes', () => {
  for (const way of WAYS) {
    // Airbyte #15427, Kafka Connect JDBC #1093
    void it(`rows changed in one transaction, and so at one time, are not skipped at a round's edge: ${way}`, async () => {
      for (const batchSize of [7, 64]) {
        await using stage = await Stage.make({
          build: DOCUMENTS,
          way,
          captured: true,
          sync: { batchSize },
        });
        await stage.sync(pool);
        stage.change(
          `BEGIN; UPDATE documents SET body = 'new', updated_at = 5000 WHERE length(id) > 2;
           DELETE FROM documents WHERE id LIKE '%7'; COMMIT`,
        );
        await assertFollows(stage);
      }
    });

    // Kafka Connect JDBC #1093
    void it(`no round cut by its bytes advances past a change before its row is read: ${way}`, async () => {
      await using stage = await Stage.make({
        build: DOCUMENTS,
        way,
        captured: true,
        sync: { maxPageBytes: 16_384 },
      });
      await stage.sync(pool);
      stage.change(
        `UPDATE documents SET body = randomblob(length(id) * 1500); DELETE FROM documents WHERE id LIKE '%3'`,
      );
      await assertFollows(stage);
    });
  }

  // Airbyte #85918
  for (const way of ['file', 'http'] as const) {
    for (const [when, point, occurrence] of [
      ['before the rows are read', 'page:before-read', 1],
      ['between two pages of them', 'page:encoded', 2],
      ['after the last page', 'complete:received', 1],
    ] as const) {
      void it(`a change between the reading of the position and of the rows is not lost: ${way}, ${when}`, async () => {
        await using stage = await Stage.make({
          build: DOCUMENTS,
          way,
          captured: true,
          sync: { batchSize: 40 },
        });
        await syncHeldAt(stage, point, occurrence, () => changeEverywhere(stage));
        await assertFollows(stage);
      });
    }

    for (const [when, point, occurrence] of [
      ['between log and rows', 'page:before-read', 1],
      ['after the rows', 'apply:received', 1],
    ] as const) {
      void it(`a change between the reading of the log and of the rows is not lost: ${way}, ${when}`, async () => {
        await using stage = await Stage.make({ build: DOCUMENTS, way, captured: true });
        await stage.sync(pool);
        changeEverywhere(stage);
        await syncHeldAt(stage, point, occurrence, () =>
          stage.change(
            `DELETE FROM documents WHERE slug = 's100'; INSERT INTO documents VALUES ('again', 's100', 'again', 1);
             UPDATE documents SET body = 'changed twice' WHERE slug LIKE 's1%'`,
          ),
        );
        await assertFollows(stage);
      });
    }
  }

  // Kafka Connect JDBC #27, #915; Airbyte #9668
  for (const way of WAYS) {
    void it(`rows committed late with an older timestamp are read: ${way}`, async () => {
      await using stage = await Stage.make({ build: DOCUMENTS, way, captured: true });
      await stage.sync(pool);
      const slow = openDatabase(stage.file);
      try {
        slow.exec(
          `BEGIN IMMEDIATE; INSERT INTO documents VALUES ('late', 'late', 'begun before', 1);
           UPDATE documents SET body = 'late, too', updated_at = 2 WHERE slug = 's5'`,
        );
        await stage.sync(pool);
        slow.exec('COMMIT');
      } finally {
        slow.close();
      }
      stage.change(`INSERT INTO documents VALUES ('newer', 'newer', '', 9000)`);
      await assertFollows(stage);
      stage.change(`INSERT INTO documents VALUES ('older', 'older', '', -1)`);
      await assertFollows(stage);
    });

    // sling #380
    void it(`changes of rows whose cursor or key is NULL are read: ${way}`, async () => {
      const build = `CREATE TABLE loose (k TEXT PRIMARY KEY, v, updated_at INTEGER);
        ${numbers(30)} INSERT INTO loose SELECT CASE WHEN i % 2 THEN 'k' || i END, i, NULL FROM n;`;
      for (const batchSize of [2, 1000]) {
        await using stage = await Stage.make({ build, way, captured: true, sync: { batchSize } });
        await stage.sync(pool);
        stage.change(
          `UPDATE loose SET v = 'new' WHERE v % 3 = 0; INSERT INTO loose VALUES (NULL, 'more', NULL);
           DELETE FROM loose WHERE v IN (2, 5); UPDATE loose SET k = NULL WHERE v = 7`,
        );
        await assertFollows(stage);
      }
    });

    // turso #5279, sqlite-chronicle #7, #20
    for (const recursive of ['off', 'on'] as const) {
      void it(`rows that INSERT OR REPLACE takes away without a DELETE trigger are not kept: ${way}, recursive_triggers ${recursive}`, async () => {
        await using stage = await Stage.make({ build: DOCUMENTS, way, captured: true });
        await stage.sync(pool);
        stage.change(
          `PRAGMA recursive_triggers = ${recursive};
           INSERT OR REPLACE INTO documents VALUES ('d1', 's2', 'takes the row of s2 as well', 1);
           REPLACE INTO documents VALUES ('fresh', 's50', 'takes the row of s50', 2);
           UPDATE OR REPLACE documents SET slug = 's9' WHERE slug = 's10'`,
        );
        const report = await stage.sync(pool);
        assert.equal(report.mode, 'incremental');
        assert.equal(report.tables['documents']?.rowsDeleted, 3);
        await assertCacheEquals(stage.file, stage.options.cacheDir);
      });
    }
  }

  // libsql-client-ts #191
  for (const way of ['http', 'ws'] as const) {
    void it(`a log too large for one answer does not end a sync: ${way}`, async () => {
      const build = `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v);
        ${numbers(3000)} INSERT INTO t SELECT printf('%0200d', i), i FROM n;`;
      await using stage = await Stage.make({
        build,
        way,
        captured: true,
        server: { maxResponseBytes: 100_000 },
      });
      await stage.sync(pool);
      stage.change('UPDATE t SET v = -v WHERE v % 3; DELETE FROM t WHERE v % 3 = 0');
      await assertFollows(stage);
    });
  }

  // libsql #979
  void it('reads do not stall while changes are applied, and see none of them before all', async () => {
    const build = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
      ${numbers(200)} INSERT INTO t SELECT i, 'old' FROM n;`;
    await using stage = await Stage.make({ build, captured: true });
    await stage.sync(pool);
    stage.change(`UPDATE t SET v = 'new'; DELETE FROM t WHERE id = 1`);
    const fault = setFault({ point: 'apply:before-commit', occurrence: 1, action: 'hold' });
    await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    await using storage = await StorageSync.open({ ...stage.options, pool: held });
    await using elsewhere = await startReader('process', stage.options.cacheDir);
    const before = { rows: 200, old: 200 };
    assert.deepEqual(await elsewhere.ask('count'), before);
    assert.equal(storage.cache.table('t').count(), 200);
    const syncing = storage.sync();
    await fault.held();
    // Whoever waited for the writer here would wait until it is no longer held, and see what it has written.
    assert.deepEqual(await elsewhere.ask('count'), before);
    const rows = [...storage.cache.table('t').range()];
    assert.equal(rows.filter((row) => row['v'] === 'old').length, 200);
    fault.release();
    await syncing;
    await assertCacheEquals(stage.file, stage.options.cacheDir);
  });
});

/** Changes rows at both ends and in the middle of the key's order, takes some away and brings others. */
function changeEverywhere(stage: Stage): void {
  stage.change(
    `BEGIN; UPDATE documents SET body = 'new' WHERE slug IN ('s1', 's40', 's90', 's150', 's199');
     DELETE FROM documents WHERE slug IN ('s2', 's41', 's91', 's151', 's198');
     INSERT INTO documents VALUES ('a', 'a', 'first', 1), ('d100x', 'm', 'middle', 2), ('z', 'z', 'last', 3); COMMIT`,
  );
}
