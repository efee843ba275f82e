import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  readStatus,
  StorageSync,
  WorkerError,
  WorkerPool,
  type CursorDefinition,
  type StorageSyncOptions,
  type SyncReport,
  type TableDefinition,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { startHranaServer } from '../support/hrana/server.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { TempDirectory } from '../support/temp.js';
import {
  assertHoldsAll,
  commits,
  CREATE,
  CursorWriter,
  definitions,
  WHERE,
} from './cursor-history.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

const SEED = 20_261_122;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync();
}

interface Followed {
  readonly file: string;
  readonly options: Omit<StorageSyncOptions, 'tables'> & {
    readonly tables: readonly [TableDefinition];
  };
}

/** A table `t` whose cursor is `c`. */
async function withTable(
  columns: string,
  use: (followed: Followed) => Promise<void>,
  cursor: Omit<CursorDefinition, 'column'> = {},
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; CREATE TABLE t (${columns})`);
  const tables = [{ name: 't', cursor: { column: 'c', ...cursor } }] as const;
  await use({
    file,
    options: { source: { url: `file:${file}` }, cacheDir: dir.join('cache'), tables },
  });
}

/** The table's definition with a sweep in every sync. */
function swept({ tables }: Followed['options']): TableDefinition {
  const [table] = tables;
  return { ...table, cursor: { column: 'c', ...table.cursor, sweepEveryMs: 0 } };
}

const numbers = (count: number, from = 1) =>
  `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + count - 1})`;

/** Runs a sync that fails when a thread comes to a point. */
async function failAt(
  point: string,
  occurrence: number,
  options: StorageSyncOptions,
): Promise<void> {
  setFault({ point, occurrence, action: 'throw' });
  await using faulty = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
  await using storage = await StorageSync.open({ ...options, pool: faulty });
  await assert.rejects(async () => await storage.sync(), WorkerError);
}

void describe('a table that is followed by its cursor', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`has any history of writes, and after a sweep no row too many: ${way} (seed ${SEED})`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ commits, sweeps: fc.boolean() }), { minLength: 1, maxLength: 8 }),
          fc.constantFrom(1, 3, 1000),
          async (history, batchSize) => {
            await using dir = await TempDirectory.make();
            const file = dir.join('source.db');
            changeDatabase(file, `PRAGMA journal_mode = WAL; ${CREATE}`);
            await using server = way === 'http' ? await startHranaServer({ file }) : null;
            const source = { url: server?.httpUrl ?? `file:${file}` };
            const options = { source, cacheDir: dir.join('cache'), batchSize };
            await sync({ ...options, tables: definitions(false) });
            const writer = new CursorWriter(file);
            for (const { commits: some, sweeps } of history) {
              for (const each of some) writer.commit(each);
              const report = await sync({ ...options, tables: definitions(sweeps) });
              assert.equal(report.mode, 'incremental');
              if (sweeps) await assertCacheEquals(file, options.cacheDir, { where: WHERE });
              else await assertHoldsAll(file, options.cacheDir);
            }
          },
        ),
        { seed: SEED, numRuns: (way === 'file' ? 30 : 8) * THOROUGHNESS },
      );
    });
  }

  void it('rows sharing a cursor value at a page or checkpoint edge are skipped: not here', async () => {
    await withTable(
      'k TEXT PRIMARY KEY NOT NULL, c INTEGER, v',
      async ({ file, options }) => {
        const narrow = { ...options, batchSize: 7 };
        await sync(narrow);
        changeDatabase(
          file,
          `${numbers(100)} INSERT INTO t SELECT printf('k%03d', i), 5, i FROM n`,
        );
        assert.equal((await sync(narrow)).tables['t']?.rowsRead, 100);
        await assertCacheEquals(file, options.cacheDir);
        // With the value at which the last round ended, and keys on both sides of those it read.
        changeDatabase(file, `INSERT INTO t VALUES ('a', 5, 0), ('k0505', 5, 0), ('z', 5, 0)`);
        await sync(narrow);
        await assertCacheEquals(file, options.cacheDir);
      },
      { overlap: 0 },
    );
  });

  for (const batches of [1, 2, 5]) {
    void it(`advancing past a value before its last row is read: not after ${batches} pages`, async () => {
      await withTable(
        'k TEXT PRIMARY KEY NOT NULL, c INTEGER, v',
        async ({ file, options }) => {
          const narrow = { ...options, batchSize: 7 };
          changeDatabase(file, `INSERT INTO t VALUES ('old', 4, 0)`);
          await sync(narrow);
          changeDatabase(
            file,
            `${numbers(100)} INSERT INTO t SELECT printf('k%03d', i), 5 + i / 50, i FROM n`,
          );
          await failAt('follow:received', batches + 1, narrow);
          // In the region that was read already, and in that which was not.
          changeDatabase(file, `INSERT INTO t VALUES ('a', 6, 0), ('k0005', 6, 0), ('z', 7, 0)`);
          const report = await sync(narrow);
          assert.deepEqual([report.mode, report.tables['t']?.resumed], ['incremental', true]);
          // Committed before the failure: the old row, and as many of the new ones as the pages have room for.
          assert.equal(report.tables['t']?.rowsWritten, 103 - (7 * batches - 1));
          await assertCacheEquals(file, options.cacheDir);
        },
        { overlap: 0 },
      );
    });
  }

  for (const first of [true, false]) {
    const what = first ? 'a full read' : 'a round';
    void it(`taking max(cursor) in one snapshot and reading in another loses rows: not in ${what}`, async () => {
      await withTable(
        'k TEXT PRIMARY KEY NOT NULL, c INTEGER, v',
        async ({ file, options }) => {
          const fill = (from: number) =>
            changeDatabase(file, `${numbers(50, from)} INSERT INTO t SELECT 'k' || i, i, 0 FROM n`);
          fill(1);
          if (!first) {
            await sync(options);
            fill(51);
          }
          const fault = setFault({ point: 'page:after-read', occurrence: 1, action: 'hold' });
          await using faulty = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
          await using storage = await StorageSync.open({ ...options, pool: faulty });
          const running = storage.sync().then((report) => report);
          // The cursor was looked at, and nothing else.
          await fault.held();
          fill(101);
          changeDatabase(
            file,
            `UPDATE t SET v = 1, c = 200 WHERE k = 'k3'; DELETE FROM t WHERE k = 'k50'`,
          );
          fault.release();
          await running;
          await sync({ ...options, tables: [swept(options)] });
          await assertCacheEquals(file, options.cacheDir);
        },
        { overlap: 0 },
      );
    });
  }

  void it('rows committed late with an older timestamp are never read: they are, within the overlap', async () => {
    await withTable('k TEXT PRIMARY KEY NOT NULL, c TEXT, v', async ({ file, options }) => {
      changeDatabase(file, `INSERT INTO t VALUES ('a', '2024-03-01T00:00:30.000Z', 0)`);
      await sync(options);
      for (const time of [
        '2024-03-01T00:00:29.999Z',
        '2024-02-29T23:59:31.000Z',
        '2024-02-29T23:59:30.000Z',
      ]) {
        changeDatabase(file, `INSERT INTO t VALUES ('${time}', '${time}', 0)`);
        const report = await sync(options);
        assert.deepEqual([report.mode, report.tables['t']?.rowsWritten], ['incremental', 1], time);
        await assertCacheEquals(file, options.cacheDir);
      }
    });
  });

  void it('finds rows that were committed later than the overlap by the next sweep', async () => {
    for (const table of [
      'k TEXT PRIMARY KEY NOT NULL, c INTEGER, v',
      'k INTEGER PRIMARY KEY, c INTEGER, v',
      'k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, c INTEGER, v',
      'k BLOB, c INTEGER, v, j REAL NOT NULL DEFAULT 1e300, PRIMARY KEY (k, j)',
      'k, c INTEGER, v',
    ]) {
      await withTable(table, async ({ file, options }) => {
        changeDatabase(
          file,
          `${numbers(900)} INSERT INTO t (k, c, v) SELECT i, i + 1000, i FROM n`,
        );
        await sync(options);
        changeDatabase(
          file,
          `${numbers(700)} INSERT INTO t (k, c, v) SELECT 1000 + i, i % 7, i FROM n`,
        );
        changeDatabase(file, 'DELETE FROM t WHERE v % 10 = 0');
        if (!/NULL|INTEGER PRIMARY/.test(table))
          changeDatabase(file, 'INSERT INTO t (k, c, v) VALUES (NULL, 0, 1), (NULL, 0, 2)');
        const between = await sync(options);
        assert.equal(between.tables['t']?.rowsDeleted, 0);
        const report = await sync({ ...options, tables: [swept(options)] });
        assert.equal(report.mode, 'incremental');
        assert.ok(report.tables['t']!.rowsDeleted > 80);
        await assertCacheEquals(file, options.cacheDir);
      });
    }
  });

  void it('rows whose cursor is NULL are never read: they are, by every sync, and counted', async () => {
    await withTable('k TEXT PRIMARY KEY NOT NULL, c INTEGER, v', async ({ file, options }) => {
      changeDatabase(file, `${numbers(20)} INSERT INTO t SELECT 'k' || i, NULL, i FROM n`);
      await sync(options);
      changeDatabase(
        file,
        `UPDATE t SET v = -1 WHERE v = 7; INSERT INTO t VALUES ('new', NULL, 0)`,
      );
      const report = await sync({ ...options, batchSize: 6 });
      assert.deepEqual(
        [report.mode, report.tables['t']?.rowsRead, report.tables['t']?.rowsWritten],
        ['incremental', 21, 2],
      );
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  for (const point of ['write:received', 'absentKeys:received', 'page:before-read']) {
    void it(`a delete sweep after a partial read deletes what was not read: not at ${point}`, async () => {
      await withTable('k TEXT PRIMARY KEY NOT NULL, c INTEGER, v', async ({ file, options }) => {
        changeDatabase(file, `${numbers(300)} INSERT INTO t SELECT 'k' || i, i, i FROM n`);
        await sync(options);
        changeDatabase(file, 'DELETE FROM t WHERE v % 3 = 0');
        const sweeping = { ...options, batchSize: 20, tables: [swept(options)] };
        await failAt(point, point.startsWith('page') ? 12 : 3, sweeping);
        await using storage = await StorageSync.open({ ...options, pool });
        assert.equal(storage.cache.table('t').count(), 300);
        const { tables } = await readStatus(options.cacheDir);
        assert.equal(tables['t']?.checkpoint?.phase, 'reading');
        // Rows that came again after their keys were found gone.
        changeDatabase(file, `INSERT INTO t VALUES ('k102', 1000, 'again'), ('k3', 1000, 'again')`);
        const report = await sync(sweeping);
        assert.deepEqual([report.mode, report.tables['t']?.resumed], ['incremental', true]);
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  for (const type of ['', 'TEXT', 'TEXT COLLATE NOCASE', 'INTEGER', 'BLOB', 'NUMERIC']) {
    void it(`compares values of every storage class as BINARY does: in a column of type ${type || 'none'}`, async () => {
      const numeric = ['-5', '-1.5', '0', '9007199254740993', '1e300'];
      const others = [`''`, `'A'`, `'B'`, `'a'`, `'é'`, `x''`, `x'00'`, `x'ff'`];
      const values = type.startsWith('TEXT') ? others : [...numeric, ...others];
      for (const index of [
        '',
        'CREATE INDEX i ON t (c)',
        'CREATE INDEX i ON t (c COLLATE BINARY DESC)',
      ]) {
        const inOrder = async ({ file, options }: Followed) => {
          changeDatabase(file, index);
          const narrow = { ...options, batchSize: 2 };
          await sync(narrow);
          for (const [k, value] of values.entries()) {
            changeDatabase(
              file,
              `INSERT INTO t VALUES (${k}, ${value}, 0), (${100 + k}, ${value}, 0)`,
            );
            assert.equal((await sync(narrow)).mode, 'incremental');
            await assertCacheEquals(file, options.cacheDir);
          }
        };
        await withTable(`k INTEGER PRIMARY KEY, c ${type}, v`, inOrder, { overlap: 0 });
      }
    });
  }

  for (const encoding of ['UTF-8', 'UTF-16le', 'UTF-16be']) {
    for (const kind of ['', 'WITHOUT ROWID']) {
      void it(`reads names and texts of any kind: ${encoding} ${kind}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(
          file,
          `PRAGMA encoding = '${encoding}'; CREATE TABLE "a ""b' c" ("k""1" TEXT, k2 BLOB, "c'""d" TEXT, "x y",
           PRIMARY KEY ("k""1", k2)) ${kind}; CREATE INDEX "i ""'" ON "a ""b' c" ("c'""d")`,
        );
        const definition = {
          name: `a "b' c`,
          cursor: { column: `c'"d`, overlap: 0, sweepEveryMs: 0 },
          softDelete: { column: 'x y', alive: ["it's", '\u{1F600}', -1.5] },
        };
        const options = {
          source: { url: `file:${file}` },
          cacheDir: dir.join('cache'),
          batchSize: 2,
        };
        const where = { [definition.name]: `"x y" IN ('it''s', '\u{1F600}', -1.5)` };
        await sync({ ...options, tables: [definition] });
        for (const [i, text] of ['', 'A', 'a', 'z', 'é', '\u{1F600}'].entries()) {
          changeDatabase(
            file,
            `DELETE FROM "a ""b' c" WHERE "k""1" = 'b${i - 2}' OR "x y" = 0;
             UPDATE "a ""b' c" SET "x y" = 0, "c'""d" = '${text}' WHERE "k""1" LIKE 'a%';
             INSERT INTO "a ""b' c" VALUES ('a${i}', x'00', '${text}', 'it''s'), ('b${i}', x'ff00', '${text}', '\u{1F600}'),
             ('${text}', x'', NULL, -1.5), ('d${i}', x'', '${text}', 0)`,
          );
          assert.equal((await sync({ ...options, tables: [definition] })).mode, 'incremental');
          await assertCacheEquals(file, options.cacheDir, { where });
        }
      });
    }
  }
});
