import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  LossError,
  openChangeLog,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncOptions,
  type SyncReport,
  type TableDefinition,
  type TableMode,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions, more: SyncOptions = {}): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync(more);
}

const MODES: readonly TableMode[] = ['full', 'change-log', 'cursor'];
const KINDS = {
  'a rowid table': '(k TEXT PRIMARY KEY NOT NULL, c INTEGER NOT NULL, v, d)',
  'a table without rowid': '(k TEXT PRIMARY KEY NOT NULL, c INTEGER NOT NULL, v, d) WITHOUT ROWID',
} as const;
const ALIVE = `d IS NULL OR d = 0 OR d = ''`;
const FILL = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO t SELECT 'k' || i, i, i, CASE i % 8 WHEN 0 THEN 1 WHEN 1 THEN 'yes' WHEN 2 THEN '2024-01-01'
    WHEN 3 THEN 0 WHEN 4 THEN '' END FROM n`;

interface Source {
  readonly file: string;
  readonly options: Omit<StorageSyncOptions, 'tables'> & {
    readonly tables: readonly [TableDefinition];
  };
}

async function withSource(
  mode: TableMode,
  columns: string,
  use: (source: Source) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; CREATE TABLE t ${columns}; ${FILL}`);
  const source = { url: `file:${file}` };
  if (mode === 'change-log') {
    await using log = await openChangeLog(source);
    await log.install();
  }
  const tables = [
    { name: 't', mode, cursor: { column: 'c' }, softDelete: { column: 'd' } },
  ] as const;
  await use({ file, options: { source, cacheDir: dir.join('cache'), tables } });
}

for (const mode of MODES) {
  void describe(`rows that are marked as deleted, where a table is brought up to date by: ${mode}`, () => {
    for (const [kind, columns] of Object.entries(KINDS)) {
      void it(`are not in the cache, leave it and come back: ${kind}`, async () => {
        await withSource(mode, columns, async ({ file, options }) => {
          const holds = async () => {
            await assertCacheEquals(file, options.cacheDir, { where: { t: ALIVE } });
          };
          const narrow = { ...options, batchSize: 60 };
          await sync(narrow);
          await holds();
          for (const change of [
            // What dies has the same values otherwise, but for the cursor.
            `UPDATE t SET d = 1, c = c + 1000 WHERE c % 8 = 5`,
            `UPDATE t SET d = NULL, c = c + 2000 WHERE d = 'yes'`,
            `UPDATE t SET d = CASE WHEN ${ALIVE} THEN 'gone' ELSE '' END, c = c + 4000 WHERE c % 2 = 0`,
            `INSERT INTO t VALUES ('alive', 9000, 0, NULL), ('dead', 9000, 0, 7)`,
          ]) {
            changeDatabase(file, change);
            const report = await sync(narrow);
            assert.equal(report.tables['t']?.mode, mode);
            assert.ok(report.validation.passed);
            await holds();
          }
        });
      });
    }

    void it('are held to what a sync may take at once', async () => {
      await withSource(mode, KINDS['a rowid table'], async ({ file, options }) => {
        await sync(options);
        changeDatabase(file, `UPDATE t SET d = 1, c = c + 1000 WHERE c % 8 <> 6`);
        await assert.rejects(sync(options), LossError);
        await using storage = await StorageSync.open({ ...options, pool });
        assert.equal(storage.cache.table('t').count(), 250);
        await assert.rejects(sync(options), LossError);
        await sync(options, { allowLoss: true });
        await assertCacheEquals(file, options.cacheDir, { where: { t: ALIVE } });
      });
    });

    void it('are those that the definition says, and a change of it begins with a full read', async () => {
      await withSource(mode, KINDS['a rowid table'], async ({ file, options }) => {
        await sync(options);
        const [table] = options.tables;
        const definitions: readonly [TableDefinition, string][] = [
          [
            { ...table, softDelete: { column: 'd', alive: [null, '2024-01-01'] } },
            `d IS NULL OR d = '2024-01-01'`,
          ],
          [{ ...table, softDelete: { column: 'd', alive: [true, 'yes'] } }, `d IN (1, 'yes')`],
          [
            { ...table, softDelete: { column: 'd', alive: [null, false, '', 1, 'yes'] } },
            `d IS NULL OR d <> '2024-01-01'`,
          ],
          [{ name: 't', mode, cursor: { column: 'c' } }, 'TRUE'],
        ];
        for (const [definition, where] of definitions) {
          const other = { ...options, tables: [definition] };
          assert.equal((await sync(other, { allowLoss: true })).mode, 'full');
          await assertCacheEquals(file, options.cacheDir, { where: { t: where } });
          assert.equal((await sync(other)).tables['t']?.mode, mode);
          await assertCacheEquals(file, options.cacheDir, { where: { t: where } });
        }
      });
    });
  });
}

void describe('rows that are marked as deleted', () => {
  void it('do not count among the newest, nor as what is pointed at', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE e (k INTEGER PRIMARY KEY, at INTEGER, d); CREATE TABLE p (k INTEGER PRIMARY KEY, e INTEGER);
       INSERT INTO e VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, 1), (4, 4, NULL);
       INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)`,
    );
    const cacheDir = dir.join('cache');
    await sync({
      source: { url: `file:${file}` },
      cacheDir,
      tables: [
        { name: 'e', limit: { count: 2, newestBy: 'at' }, softDelete: { column: 'd' } },
        { name: 'p', references: [{ columns: ['e'], table: 'e' }] },
      ],
    });
    // What points at a row that is not there stays, as where that was really deleted.
    await assertCacheEquals(file, cacheDir, { where: { e: 'k IN (2, 4)', p: 'e <> 1' } });
  });
});
