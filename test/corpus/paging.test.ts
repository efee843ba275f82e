import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openCache, WorkerPool } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { setFault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { numbers, Stage, WAYS } from './stage.js';

/*
 * Failures that other sync tools had in reading pages, each with a test of its own, named after it. Where they were
 * seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 63;

/** Events of which seven share each time. */
const events = (
  key: string,
  time = 'i / 7',
) => `CREATE TABLE events (at INTEGER, id TEXT, v, ${key});
  ${numbers(ROWS)} INSERT INTO events SELECT ${time}, 'e' || (i * 31 % 64), i FROM n;`;
/** Every third time is NULL. */
const WITH_NULLS = 'CASE WHEN (i / 7) % 3 THEN i / 7 END';

const LARGE = `CREATE TABLE large (id INTEGER PRIMARY KEY, v TEXT);
  ${numbers(21_000)} INSERT INTO large SELECT i, 'row ' || i FROM n;`;

void describe('pages', () => {
  // Airbyte #15427, Kafka Connect JDBC #1093
  for (const way of WAYS) {
    void it(`rows sharing a cursor value at a page edge are not skipped: ${way}`, async () => {
      for (const batchSize of [1, 5, 7, 8]) {
        await using stage = await Stage.make({
          build: events('PRIMARY KEY (at, id)', WITH_NULLS),
          way,
          sync: { batchSize },
        });
        const report = await stage.sync(pool);
        assert.equal(report.tables['events']?.rowsRead, ROWS, 'and none is read twice');
        await assertCacheEquals(stage.file, stage.options.cacheDir);
      }
    });

    void it(`rows sharing a cursor value at the edge of a page or limit are not skipped among the newest: ${way}`, async () => {
      for (const [batchSize, count] of [
        [1, 10],
        [3, 10],
        [4, 40],
        [5, 60],
      ] as const) {
        const tables = [{ name: 'events', limit: { count, newestBy: 'at' } }];
        const build = events('PRIMARY KEY (id)');
        await using stage = await Stage.make({ build, way, sync: { batchSize, tables } });
        await stage.sync(pool);
        await assertNewest(stage, count);
      }
    });
  }

  // Airbyte #15427
  void it('rows sharing a cursor value at a checkpoint edge are not skipped by the process that goes on', async () => {
    for (const occurrence of [1, 2, 3, 5]) {
      await using stage = await Stage.make({
        build: events('PRIMARY KEY (at, id)'),
        sync: { batchSize: 5 },
      });
      const { options } = stage;
      const fault = { point: 'write:after-commit', occurrence, action: 'kill' } as const;
      const killed = await runChild({ mode: 'sync', options, readerThreads: 1, fault });
      assert.equal(killed.kind, 'killed');
      const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault: null });
      assert.equal(end.kind, 'completed');
      if (end.kind !== 'completed') return;
      assert.equal(end.report.tables['events']?.resumed, true);
      assert.ok(end.rowsFetched < ROWS, 'what was committed is not read again');
      await assertCacheEquals(stage.file, options.cacheDir);
    }
  });

  // Kafka Connect JDBC #1093
  for (const way of WAYS) {
    void it(`no page cut by its bytes advances past a value before its last row is read: ${way}`, async () => {
      const build = `CREATE TABLE files (dir TEXT NOT NULL, name TEXT NOT NULL, body BLOB, PRIMARY KEY (dir, name));
        ${numbers(60)} INSERT INTO files SELECT 'd' || (i / 20), printf('f%03d', i), randomblob(i % 4 * 5000) FROM n;`;
      await using stage = await Stage.make({ build, way, sync: { maxPageBytes: 16_384 } });
      const report = await stage.sync(pool);
      assert.equal(report.tables['files']?.rowsRead, 60);
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }

  // sling #380
  for (const way of WAYS) {
    void it(`rows whose cursor is NULL are read: ${way}`, async () => {
      const build = `CREATE TABLE keyed (k TEXT PRIMARY KEY, v);
        ${numbers(40)} INSERT INTO keyed SELECT CASE WHEN i % 2 THEN 'k' || i END, i FROM n;
        CREATE TABLE pairs (a INTEGER, b TEXT, v, PRIMARY KEY (a, b));
        ${numbers(40)} INSERT INTO pairs SELECT CASE WHEN i % 5 = 0 THEN i END, CASE WHEN i % 3 = 0 THEN 'b' END, i FROM n;`;
      for (const batchSize of [1, 3, 1000]) {
        await using stage = await Stage.make({ build, way, sync: { batchSize } });
        await stage.sync(pool);
        stage.change(
          `INSERT INTO keyed VALUES (NULL, 'late'); DELETE FROM pairs WHERE a IS NULL AND v < 20;
           UPDATE keyed SET v = 'new' WHERE k IS NULL AND v % 4 = 0`,
        );
        await stage.sync(pool);
        await assertCacheEquals(stage.file, stage.options.cacheDir);
      }
    });

    void it(`rows whose cursor is NULL are read where the limit reaches them: ${way}`, async () => {
      const build = events('PRIMARY KEY (id)', WITH_NULLS);
      for (const batchSize of [4, 1000]) {
        for (const count of [30, 60, 100]) {
          const tables = [{ name: 'events', limit: { count, newestBy: 'at' } }];
          await using stage = await Stage.make({ build, way, sync: { batchSize, tables } });
          await stage.sync(pool);
          await assertNewest(stage, count);
        }
      }
    });
  }

  // Meltano SDK #2103: 21k rows became 1k
  for (const way of ['http', 'ws'] as const) {
    void it(`a partial read deletes nothing of what was not read: a server that breaks off over ${way}`, async () => {
      await using stage = await Stage.make({
        build: LARGE,
        way,
        sync: { batchSize: 1000, retries: 1, retryInitialMs: 1, requestTimeoutMs: 2000 },
      });
      await stage.sync(pool);
      const sql = /FROM main\."large"/;
      const reset = { kind: 'reset' } as const;
      for (let round = 0; round < 3; round++) {
        await stage.server!.clearFaults();
        // Over HTTP a table comes by one statement: it is cut, and what asks for the rest is refused.
        const cut = { kind: 'reset-after-bytes', bytes: 100_000 } as const;
        if (way === 'http') await stage.server!.fault({ action: cut, sql });
        const skip = way === 'http' ? 0 : 2;
        await stage.server!.fault({ action: reset, sql, skip, times: Infinity });
        assert.equal((await stage.sync(pool)).outage?.code, 'SOURCE_UNAVAILABLE');
        await assertKeeps(stage, 21_000);
      }
      await stage.server!.clearFaults();
      stage.change('DELETE FROM large WHERE id > 20000');
      await stage.sync(pool);
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }

  // Meltano SDK #2103
  void it('a partial read deletes nothing of what was not read: a process killed, a sync stopped', async () => {
    await using stage = await Stage.make({ build: LARGE, sync: { batchSize: 1000 } });
    const { options } = stage;
    await stage.sync(pool);
    stage.change('DELETE FROM large WHERE id > 20000 OR id < 500');
    for (const occurrence of [1, 3]) {
      const fault = { point: 'write:after-commit', occurrence, action: 'kill' } as const;
      const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault });
      assert.equal(end.kind, 'killed');
      await assertKeeps(stage, 21_000);
    }
    const fault = setFault({ point: 'page:before-read', occurrence: 6, action: 'hold' });
    await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    const stop = new AbortController();
    const stopped = assert.rejects(stage.sync(held, { signal: stop.signal }), { code: 'ABORTED' });
    await fault.held();
    stop.abort();
    fault.release();
    await stopped;
    await assertKeeps(stage, 21_000);
    await stage.sync(pool);
    await assertCacheEquals(stage.file, options.cacheDir);
  });

  // libsql-client-ts #191
  for (const way of ['http', 'ws'] as const) {
    void it(`answers that would be too large do not end a sync: ${way}`, async () => {
      await using stage = await Stage.make({
        build: `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, body TEXT);
          ${numbers(4000)} INSERT INTO t SELECT printf('k%06d', i), hex(randomblob(i % 200)) FROM n;`,
        way,
        server: { maxResponseBytes: 100_000 },
        sync: { batchSize: 20_000 },
      });
      const report = await stage.sync(pool);
      assert.equal(report.tables['t']?.rowsRead, 4000);
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }
});

async function assertKeeps({ options }: Stage, rows: number): Promise<void> {
  await using cache = openCache(options.cacheDir, { validateChecksums: true });
  const table = cache.table('large');
  let streamed = 0;
  for await (const _row of table.stream()) streamed++;
  assert.deepEqual([table.count(), streamed], [rows, rows], 'no row was deleted');
}

/** Holds the cached events against the newest of the source, NULLs oldest. */
async function assertNewest({ file, options }: Stage, count: number): Promise<void> {
  const newest = `SELECT rowid FROM events ORDER BY at DESC NULLS LAST, id DESC LIMIT ${count}`;
  await assertCacheEquals(file, options.cacheDir, { where: { events: `rowid IN (${newest})` } });
}
