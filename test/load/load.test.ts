import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { StorageSync } from '../../src/index.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import type { LoadTasks } from '../../src/load/tasks.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { assertEqualToSource, assertNothingLeftBehind, onStage } from './stage.js';

const ROWS = 24_000;
const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})`;

/** Tables whose rows lie in another order than their keys, and one in the same. */
const TABLES: Readonly<Record<string, string>> = {
  uuids: `CREATE TABLE uuids (k TEXT PRIMARY KEY NOT NULL, i INTEGER, r REAL, t TEXT, b BLOB);
    ${numbers} INSERT INTO uuids SELECT printf('%08x-%d', (i * 2654435761) % 4294967296, i), i * 1000003 - 5000,
      CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN i * 1.0 ELSE i / 7.0 END, 'é' || i, randomblob(i % 60) FROM n`,
  numbered: `CREATE TABLE numbered (k INTEGER PRIMARY KEY, v);
    ${numbers} INSERT INTO numbered SELECT (i - 7000) * 1000000007, 'row ' || i FROM n`,
  unkeyed: `CREATE TABLE unkeyed (v TEXT, w);
    ${numbers} INSERT INTO unkeyed SELECT 'row ' || i, i * 0.25 FROM n; DELETE FROM unkeyed WHERE rowid % 3 = 0 AND rowid < 9000`,
  pairs: `CREATE TABLE pairs (a, b, v, PRIMARY KEY (a, b));
    ${numbers} INSERT INTO pairs SELECT CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN i % 77 ELSE 'a' || (i % 9) END,
      CASE i % 3 WHEN 0 THEN randomblob(6) ELSE i END, i FROM n`,
  nocase: `CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY, v);
    ${numbers} INSERT INTO nocase SELECT CASE i % 2 WHEN 0 THEN 'Key ' ELSE 'kEY ' END || (i * 7919 % 100003), i FROM n`,
  wide: `CREATE TABLE wide (k TEXT PRIMARY KEY NOT NULL, v BLOB);
    ${numbers} INSERT INTO wide SELECT printf('%05d', i * 7919 % 100003), CASE WHEN i % 400 = 0 THEN randomblob(30000 + i) END FROM n`,
};

/** All records of all tables, past the product's reader. */
async function recordsOf(cacheDir: string): Promise<Record<string, string[]>> {
  const [number] = readdirSync(join(cacheDir, 'generations')).map(Number);
  const environment = new Environment(generationPath(cacheDir, number!));
  const found: Record<string, string[]> = {};
  for (const { id, plan } of environment.catalog().tables) {
    found[plan.name] = [...environment.rows(id).getRange()].map(
      ({ key, value }) => `${key.toString('hex')} ${value.toString('hex')}`,
    );
  }
  await environment.close();
  return found;
}

void describe('a table that is loaded', () => {
  void it('has the records that it has when it is read in order, by another path', async () => {
    await onStage(Object.values(TABLES).join(';'), async ({ file, dir, pool, options }) => {
      {
        await using storage = await StorageSync.open(options);
        const report = await storage.sync();
        for (const name of Object.keys(TABLES)) {
          const { rowsRead, rowsWritten, sourceRowsRead } = report.tables[name]!;
          assert.equal(rowsRead, rowsWritten);
          assert.equal(sourceRowsRead, rowsRead, `${name}: each row was read once`);
        }
        assert.ok(pool.count('spool') > 2 * Object.keys(TABLES).length, 'in many ranges');
        assert.equal(pool.count('page'), 0, 'no table was read in order');
        assertNothingLeftBehind(options.cacheDir);
        await assertEqualToSource(storage);
      }
      await using server = await startHranaServer({ file });
      const cacheDir = dir.join('other');
      await using other = await StorageSync.open({
        ...options,
        source: { url: server.httpUrl },
        cacheDir,
      });
      await other.sync();
      assert.deepEqual(await recordsOf(options.cacheDir), await recordsOf(cacheDir));
    });
  });

  void it('may have rows that are much smaller than their records', async () => {
    const build = `CREATE TABLE tiny (k INTEGER PRIMARY KEY, v);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900000)
      INSERT INTO tiny SELECT i, i % 100 FROM n`;
    await onStage(build, async ({ pool, options }) => {
      await using storage = await StorageSync.open({ ...options, maxBytesInFlight: undefined });
      const report = await storage.sync();
      assert.equal(report.tables['tiny']!.rowsWritten, 900_000);
      assert.equal(pool.count('page'), 0, 'not read in order');
      assert.equal(storage.cache.table('tiny').count(), 900_000);
      assert.deepEqual(storage.cache.table('tiny').get(777_777), { k: 777_777, v: 77 });
    });
  });

  void it('can be synced, changed and read as any other', async () => {
    await onStage(TABLES['uuids']!, async ({ file, pool, options }) => {
      await using storage = await StorageSync.open(options);
      await storage.sync();
      for (let round = 0; round < 3; round++) {
        changeDatabase(
          file,
          `DELETE FROM uuids WHERE i % 3 = ${round}; UPDATE uuids SET t = 'in ${round}' WHERE i % 5 = ${round};
           INSERT INTO uuids SELECT k || '${round}', i + 1, r, t || printf('%.*c', 3000, 'x'), b FROM uuids LIMIT 500`,
        );
        await storage.sync({ allowLoss: true });
        await assertEqualToSource(storage);
      }
      await storage.rebuild();
      assert.ok(pool.count('pack') > 0);
      await assertEqualToSource(storage);
    });
  });

  void it('sets bad rows aside, or fails by the first of them and goes on when it is put right', async () => {
    const bad = `INSERT INTO uuids VALUES ('bad', 1, 1, CAST(x'61ff' AS TEXT), NULL),
      ('bad' || printf('%.*c', 3000, 'k'), 1, 1, 'x', NULL)`;
    await onStage(`${TABLES['uuids']!}; ${bad}`, async ({ file, options }) => {
      await using failing = await StorageSync.open({ ...options, onRowError: 'fail' });
      await assert.rejects(failing.sync().then(), { code: 'ROW_REJECTED', message: /uuids.*bad/s });
      await failing.close();
      await using storage = await StorageSync.open({ ...options, onRowError: 'quarantine' });
      const report = await storage.sync();
      const { rowsRead, rowsWritten, rowsQuarantined } = report.tables['uuids']!;
      assert.deepEqual([rowsRead, rowsWritten, rowsQuarantined], [ROWS + 2, ROWS, 2]);
      await assertEqualToSource(storage);
      changeDatabase(file, `DELETE FROM uuids WHERE k LIKE 'bad%'`);
      assert.equal((await storage.sync()).tables['uuids']!.rowsQuarantined, 0);
    });
  });

  for (const [task, answer] of [
    ['spool', { spooled: null } satisfies LoadTasks['spool']['response']],
    ['pack', { runs: null } satisfies LoadTasks['pack']['response']],
  ] as const) {
    void it(`is read in order after all, where that is found out by ${task}`, async () => {
      await onStage(TABLES['uuids']!, async ({ pool, options }) => {
        pool.instead = (each, nth) => (each === task && nth === 3 ? answer : null);
        await using storage = await StorageSync.open(options);
        const report = await storage.sync();
        assert.equal(report.tables['uuids']!.rowsWritten, ROWS);
        assert.ok(pool.count('page') > 0, 'read in order');
        await assertEqualToSource(storage);
        assertNothingLeftBehind(options.cacheDir);
      });
    });

    void it(`is empty when ${task} fails, and loaded by the next sync`, async () => {
      await onStage(`${TABLES['numbered']!}; ${TABLES['uuids']!}`, async ({ pool, options }) => {
        pool.instead = (each, nth) => (each === task && nth === 3 ? new Error('broken') : null);
        await using storage = await StorageSync.open(options);
        await assert.rejects(storage.sync().then(), /broken/);
        pool.instead = () => null;
        const report = await storage.sync();
        for (const { rowsWritten } of Object.values(report.tables)) assert.equal(rowsWritten, ROWS);
        await assertEqualToSource(storage);
      });
    });
  }

  void it('with a row that moved while it was read is read in order', async () => {
    await onStage(TABLES['uuids']!, async ({ file, pool, options }) => {
      let moved = false;
      pool.instead = (each, nth) => {
        if (each === 'spool' && nth === 6 && !moved) {
          moved = true;
          // From the first leaves to behind the last.
          changeDatabase(
            file,
            `UPDATE uuids SET rowid = rowid + 1000000 WHERE rowid BETWEEN 3 AND 5`,
          );
        }
        return null;
      };
      await using storage = await StorageSync.open(options);
      await storage.sync();
      assert.ok(moved);
      assert.ok(pool.count('page') > 0, 'read in order');
      await assertEqualToSource(storage);
    });
  });

  void it('leaves small tables, tables of large rows, limits and indexes to be read in order', async () => {
    const build = `CREATE TABLE small (k TEXT PRIMARY KEY NOT NULL); INSERT INTO small VALUES ('a');
      CREATE TABLE documents (k TEXT PRIMARY KEY NOT NULL, v BLOB);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
        INSERT INTO documents SELECT 'k' || i, randomblob(300000) FROM n;
      CREATE TABLE empty (k TEXT PRIMARY KEY NOT NULL, v); ${TABLES['uuids']!}; ${TABLES['pairs']!}`;
    await onStage(build, async ({ pool, options }) => {
      await using storage = await StorageSync.open({
        ...options,
        tables: [
          'small',
          'documents',
          'empty',
          { name: 'uuids', limit: { count: 22_000, newestBy: 'i' } },
          { name: 'pairs', indexes: [{ name: 'v', columns: ['v'] }] },
        ],
      });
      await storage.sync();
      assert.equal(pool.count('spool'), 0);
      await assertEqualToSource(storage);
    });
  });
});
