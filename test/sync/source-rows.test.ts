import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  defineTable,
  openChangeLog,
  StorageSync,
  WorkerPool,
  type SyncReport,
} from '../../src/index.js';
import { bytes, changeDatabase, insert } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 2000;
const BUILD = `PRAGMA journal_mode = WAL;
  CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
  CREATE TABLE other (id INTEGER PRIMARY KEY, v);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO t SELECT 'k' || i, i FROM n;
  INSERT INTO other VALUES (1, 1);`;

interface Source {
  readonly file: string;
  readonly sync: () => Promise<SyncReport>;
}

async function withSource(
  url: (file: string) => string,
  use: (source: Source) => Promise<void>,
  dir: TempDirectory,
): Promise<void> {
  const file = dir.join('source.db');
  const options = { source: { url: url(file) }, cacheDir: dir.join('cache'), batchSize: 300 };
  const sync = async () => {
    await using storage = await StorageSync.open({ ...options, pool });
    return await storage.sync();
  };
  await use({ file, sync });
}

async function build(dir: TempDirectory): Promise<void> {
  const file = dir.join('source.db');
  changeDatabase(file, BUILD);
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install();
}

void describe('the source rows of a report', () => {
  for (const way of ['http', 'ws'] as const) {
    void it(`are those that the server gave, to the row: ${way}`, async () => {
      await using dir = await TempDirectory.make();
      await build(dir);
      await using server = await startHranaServer({ file: dir.join('source.db') });
      const url = way === 'http' ? server.httpUrl : server.wsUrl;
      await withSource(
        () => url,
        async ({ file, sync }) => {
          const agrees = async (): Promise<SyncReport> => {
            await server.resetStats();
            const report = await sync();
            assert.equal(report.sourceRowsRead, (await server.stats()).rowsReturned);
            return report;
          };
          assert.equal((await agrees()).tables['t']?.sourceRowsRead, ROWS);
          await agrees();
          changeDatabase(file, 'UPDATE t SET v = -v WHERE v % 10 = 0');
          assert.equal((await agrees()).tables['t']?.sourceRowsRead, ROWS / 10 + 1);
          changeDatabase(file, 'DELETE FROM t WHERE v = 3; UPDATE t SET v = 0 WHERE v = 4');
          const { t } = (await agrees()).tables;
          // One row tells of the run, and where a row is gone, the keys of the run are read as well.
          assert.deepEqual([t?.rowsRead, t?.rowsDeleted, t?.sourceRowsRead], [1, 1, 1 + 1 + 2]);
          // Rows too large to come with others are asked for once more.
          changeDatabase(file, (db) => insert(db, 't', [['large', bytes(3_000_000)]]));
          const large = await agrees();
          assert.ok(large.tables['t']!.sourceRowsRead > large.tables['t']!.rowsRead);
        },
        dir,
      );
    });
  }

  for (const mode of ['limits by the log', 'a cursor, and a sweep of keys'] as const) {
    void it(`are those that the server gave, to the row: ${mode}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(
        file,
        `PRAGMA journal_mode = WAL;
         CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, at INTEGER, gone INTEGER);
         CREATE TABLE notes (id INTEGER PRIMARY KEY, k TEXT, at INTEGER);
         CREATE INDEX by_at ON t (at);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
         INSERT INTO t SELECT 'k' || i, i, i % 7 = 0 FROM n;
         INSERT INTO notes SELECT rowid, k, at FROM t`,
      );
      const softDelete = { column: 'gone', alive: [0] };
      const cursor = { column: 'at', overlap: 10, sweepEveryMs: 0 };
      const tables =
        mode === 'limits by the log'
          ? [
              defineTable({ name: 't', softDelete, limit: { count: 100, newestBy: 'at' } }),
              defineTable({ name: 'notes', references: [{ columns: ['k'], table: 't' }] }),
            ]
          : [
              defineTable({ name: 't', softDelete, cursor }),
              defineTable({ name: 'notes', cursor }),
            ];
      if (mode === 'limits by the log') {
        await using log = await openChangeLog({ url: `file:${file}` });
        await log.install();
      }
      await using server = await startHranaServer({ file });
      const source = { url: server.httpUrl };
      const options = { source, cacheDir: dir.join('cache'), batchSize: 300, tables, pool };
      const agrees = async (): Promise<SyncReport> => {
        await server.resetStats();
        await using storage = await StorageSync.open(options);
        const report = await storage.sync();
        assert.equal(report.sourceRowsRead, (await server.stats()).rowsReturned);
        const told = Object.values(report.tables).reduce((sum, t) => sum + t.sourceRowsRead, 0);
        assert.ok(
          report.sourceRowsRead - told < 100,
          'what tells the schema, the logs and cursors',
        );
        return report;
      };
      await agrees();
      await agrees();
      changeDatabase(file, `UPDATE t SET at = at + 5000, gone = k LIKE '%1' WHERE at % 90 = 1`);
      changeDatabase(file, 'DELETE FROM t WHERE at % 50 = 3; DELETE FROM notes WHERE id % 100 = 1');
      const { mode: way, tables: told } = await agrees();
      assert.equal(way, 'incremental');
      assert.ok(told['t']!.sourceRowsRead > 0 && told['notes']!.sourceRowsRead > 0);
      // More than is looked up by the log: what that took to find out counts too.
      changeDatabase(file, 'DELETE FROM notes WHERE id % 5 = 2');
      await agrees();
    });
  }

  void it('are of a file the rows that were read, however far', async () => {
    await using dir = await TempDirectory.make();
    await build(dir);
    await withSource(
      (file) => `file:${file}`,
      async ({ file, sync }) => {
        const first = await sync();
        assert.equal(first.tables['t']?.sourceRowsRead, ROWS);
        const idle = await sync();
        assert.equal(idle.tables['t']?.sourceRowsRead, 0);
        assert.ok(idle.sourceRowsRead < 100, 'what tells the schema and the logs');
        changeDatabase(file, 'INSERT INTO t SELECT k || k, v FROM t');
        await sync();
        assert.equal((await sync()).sourceRowsRead, idle.sourceRowsRead, 'at any size');
        changeDatabase(file, 'UPDATE t SET v = -v WHERE v % 10 = 0');
        const { t } = (await sync()).tables;
        assert.deepEqual([t?.rowsRead, t?.sourceRowsRead], [ROWS / 5, ROWS / 5 + 2]);
      },
      dir,
    );
  });
});
