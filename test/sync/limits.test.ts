import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  defineTable,
  openChangeLog,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { startHranaServer } from '../support/hrana/server.js';
import {
  LIMITED_SCHEMA,
  limitedStatement,
  limitedTables,
  limitedWhere,
} from '../support/limited-tables.js';
import { TempDirectory } from '../support/temp.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

const SEED = 20_261_123;
const LIMIT = 5;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions, allowLoss = false): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync({ allowLoss });
}

async function withCaptured(
  use: (file: string, options: StorageSyncOptions) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${LIMITED_SCHEMA}`);
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install();
  await use(file, {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    tables: limitedTables(LIMIT),
  });
}

void describe('tables with a limit, and tables that refer to them, by the change log', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`hold exactly the newest after any history of writes: ${way} (seed ${SEED})`, async () => {
      const modes = new Set<string>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(limitedStatement, { minLength: 1, maxLength: 10 }), {
            minLength: 1,
            maxLength: 12,
          }),
          fc.constantFrom(10, 1000),
          async (history, batchSize) => {
            await withCaptured(async (file, own) => {
              await using server = way === 'http' ? await startHranaServer({ file }) : null;
              const source = server ? { url: server.httpUrl } : own.source;
              const options = { ...own, source, batchSize };
              await sync(options);
              for (const each of history) {
                changeDatabase(file, `BEGIN; ${each.join(';')}; COMMIT`);
                const report = await sync(options);
                modes.add(report.mode);
                if (batchSize === 1000) assert.equal(report.mode, 'incremental');
                await assertCacheEquals(file, options.cacheDir, { where: limitedWhere(LIMIT) });
              }
            });
          },
        ),
        { seed: SEED, numRuns: (way === 'file' ? 28 : 6) * THOROUGHNESS },
      );
      assert.deepEqual([...modes].sort(), ['full', 'incremental'], 'both ways were taken');
    });
  }

  void it('cost what changed, not what they hold', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE items (id INTEGER PRIMARY KEY, at); CREATE INDEX items_at ON items (at);
       CREATE TABLE parts (id INTEGER PRIMARY KEY, item); CREATE INDEX parts_item ON parts (item);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
       INSERT INTO items SELECT i, i FROM n;
       INSERT INTO parts SELECT id, id FROM items`,
    );
    await using log = await openChangeLog({ url: `file:${file}` });
    await log.install();
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: [
        defineTable({ name: 'items', limit: { count: 1000, newestBy: 'at' } }),
        defineTable({ name: 'parts', references: [{ columns: ['item'], table: 'items' }] }),
      ],
    };
    const first = await sync(options);
    assert.deepEqual(
      [first.tables['items']?.rowsWritten, first.tables['parts']?.rowsWritten],
      [1000, 1000],
    );
    const idle = await sync(options);
    assert.deepEqual(
      [idle.mode, idle.tables['items']?.rowsRead, idle.tables['parts']?.rowsRead],
      ['incremental', 0, 0],
    );
    changeDatabase(
      file,
      'INSERT INTO items VALUES (9001, 9001), (9002, 9002); DELETE FROM items WHERE id = 4500',
    );
    const { mode, tables: told } = await sync(options);
    assert.equal(mode, 'incremental');
    assert.ok(told['items']!.rowsRead <= 3 * 3, `${told['items']!.rowsRead} items were read`);
    assert.ok(told['parts']!.rowsRead <= 3 * 3, `${told['parts']!.rowsRead} parts were read`);
    assert.deepEqual(
      [told['items']!.rowsWritten, told['items']!.rowsDeleted, told['parts']!.rowsDeleted],
      [2, 2, 1],
    );
    // The part of the deleted item refers to nothing now, and stays.
    await assertCacheEquals(file, options.cacheDir, {
      where: {
        items: 'id IN (SELECT id FROM items ORDER BY at DESC LIMIT 1000)',
        parts:
          'item IN (SELECT id FROM items ORDER BY at DESC LIMIT 1000) OR item NOT IN (SELECT id FROM items)',
      },
    });
  });

  void it('refuse a suspicious loss by what was lost, not by what was looked at', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE items (id INTEGER PRIMARY KEY, at);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
       INSERT INTO items SELECT i, i FROM n`,
    );
    await using log = await openChangeLog({ url: `file:${file}` });
    await log.install();
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: [defineTable({ name: 'items', limit: { count: 200, newestBy: 'at' } })],
    };
    await sync(options);
    // As many as are in the cache are looked at, and none is lost: others follow from behind the limit.
    changeDatabase(file, 'DELETE FROM items WHERE id > 800');
    const report = await sync(options);
    assert.deepEqual([report.mode, report.tables['items']?.rowsDeleted], ['incremental', 200]);
    changeDatabase(file, 'DELETE FROM items WHERE id > 50');
    await assert.rejects(sync(options), { code: 'LOSS_SUSPECTED' });
    assert.equal((await sync(options, true)).tables['items']?.rowsDeleted, 200);
    await assertCacheEquals(file, options.cacheDir);
  });
});
