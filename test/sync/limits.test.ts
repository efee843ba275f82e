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
import { TempDirectory } from '../support/temp.js';

const SEED = 20_261_123;
const LIMIT = 5;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

/** Tables with a limit by each kind of key, and one that refers to two of them. */
const SCHEMA = `
  CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, t, v);
  CREATE TABLE without (k TEXT, k2 INTEGER, t, v, PRIMARY KEY (k, k2)) WITHOUT ROWID;
  CREATE TABLE nullable (k TEXT PRIMARY KEY, t, v);
  CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, t TEXT COLLATE NOCASE, v);
  CREATE TABLE notes (id INTEGER PRIMARY KEY, kind TEXT, text_k TEXT, without_k TEXT, without_k2 INTEGER, v);
  CREATE INDEX notes_by_text ON notes (text_k)`;
const LIMITED = ['texts', 'without', 'nullable', 'nocase'] as const;
const limit = { count: LIMIT, newestBy: 't' };
const tables = [
  ...LIMITED.map((name) => defineTable({ name, limit })),
  defineTable({
    name: 'notes',
    references: [
      { columns: ['text_k'], table: 'texts', when: { column: 'kind', equals: 'text' } },
      { columns: ['without_k', 'without_k2'], table: 'without' },
    ],
  }),
];

/** What the cache must hold, said in another way than the library says it. */
const isNewest = (table: string, key: string, same: string) =>
  `(SELECT count(*) FROM ${table} o WHERE ${table}.t IS NULL AND o.t IS NOT NULL OR o.t > ${table}.t ` +
  `OR (o.t IS ${table}.t AND (${key}) > (${same}))) < ${LIMIT}`;
const NEWEST = {
  texts: isNewest('texts', 'o.k', 'texts.k'),
  without: isNewest('without', 'o.k, o.k2', 'without.k, without.k2'),
  nocase: isNewest('nocase', 'o.k', 'nocase.k'),
  nullable:
    '(SELECT count(*) FROM nullable o WHERE nullable.t IS NULL AND o.t IS NOT NULL OR o.t > nullable.t OR (o.t IS nullable.t AND ' +
    '(nullable.k IS NULL AND o.k IS NOT NULL OR o.k > nullable.k OR (o.k IS nullable.k AND o.rowid > nullable.rowid)))) ' +
    `< ${LIMIT}`,
};
const where = {
  ...NEWEST,
  notes:
    `NOT EXISTS (SELECT 1 FROM texts WHERE kind = 'text' AND k = text_k AND NOT (${NEWEST.texts})) AND ` +
    `NOT EXISTS (SELECT 1 FROM without WHERE k = without_k AND k2 = without_k2 AND NOT (${NEWEST.without}))`,
};

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'é', '');
const number = fc.integer({ min: 1, max: 4 });
/** Few values, so that there are ties at the limit; of several storage classes. */
const time = fc.constantFrom('1', '2', '2', '3', '3', '4', '5', 'NULL', "'x'", "'X'", '2.5');
const statement = fc
  .tuple(
    fc.constantFrom(...LIMITED, ...(['texts', 'notes', 'notes', 'notes'] as const)),
    fc.constantFrom(
      'put',
      'put',
      'put',
      'put',
      'put',
      'put',
      'touch',
      'move',
      'delete',
      'delete newest',
      'null',
      'key',
    ),
    key,
    key,
    number,
    time,
  )
  .map(([table, kind, a, b, n, t]): string => {
    if (table === 'notes') {
      const id = (a.codePointAt(0) ?? 0) + n * 256;
      if (kind.startsWith('delete')) return `DELETE FROM notes WHERE id = ${id}`;
      const isText = n % 2 === 0;
      return `INSERT OR REPLACE INTO notes VALUES (${id}, '${isText ? 'text' : 'other'}', '${b}', '${a}', ${n}, ${n})`;
    }
    const columns = table === 'without' ? `'${a}', ${n}` : `'${a}'`;
    switch (kind) {
      case 'touch':
        return `UPDATE ${table} SET v = ${n} WHERE k >= '${a}'`;
      case 'move':
        return `UPDATE ${table} SET t = ${t} WHERE k = '${a}'`;
      case 'key':
        return `UPDATE OR IGNORE ${table} SET k = '${b}' WHERE k = '${a}'`;
      case 'delete':
        return `DELETE FROM ${table} WHERE k = '${a}'`;
      case 'delete newest':
        return `DELETE FROM ${table} WHERE k IN (SELECT k FROM ${table} ORDER BY t DESC LIMIT ${n})`;
      case 'null':
        return `INSERT INTO nullable VALUES (NULL, ${t}, ${n})`;
      default:
        return `INSERT OR REPLACE INTO ${table} VALUES (${columns}, ${t}, ${n})`;
    }
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
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${SCHEMA}`);
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install();
  await use(file, { source: { url: `file:${file}` }, cacheDir: dir.join('cache'), tables });
}

void describe('tables with a limit, and tables that refer to them, by the change log', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`hold exactly the newest after any history of writes: ${way} (seed ${SEED})`, async () => {
      const modes = new Set<string>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(statement, { minLength: 1, maxLength: 10 }), {
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
                await assertCacheEquals(file, options.cacheDir, { where });
              }
            });
          },
        ),
        { seed: SEED, numRuns: way === 'file' ? 50 : 10 },
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
