import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Environment, rowsName } from '../../src/cache/environment.js';
import { dataPath, generationPath } from '../../src/cache/layout.js';
import { StorageSync } from '../../src/index.js';
import type { LoadTasks } from '../../src/load/tasks.js';
import { changeDatabase } from '../support/databases.js';
import { walkFile, type WalkedFile } from './page-walk.js';
import { assertEqualToSource, assertNothingLeftBehind, onStage } from './stage.js';

const ROWS = 21_000;
/** As few as are loaded. */
const FEW_ROWS = 11_000;

/** Rows whose keys are in no order, of which some are short, most are long, and some have many pages. */
const documents = (
  rows: number,
) => `CREATE TABLE documents (k TEXT PRIMARY KEY NOT NULL, i INTEGER, body, more BLOB);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
  INSERT INTO documents SELECT printf('%08x-%d', (i * 2654435761) % 4294967296, i), i,
    CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'short ' || i WHEN 2 THEN randomblob(1900 + i % 200)
      ELSE printf('%d %.*c', i, 2000 + i * 31 % 4000, 'x') END,
    CASE WHEN i % 1000 = 7 THEN randomblob(20000 + i * 7) END FROM n`;

const KILLED_LOAD = fileURLToPath(new URL('./killed-load.js', import.meta.url));

interface Held {
  readonly file: WalkedFile;
  /** Bytes of all keys and values. */
  readonly bytes: number;
  readonly rows: number;
  /** Pages that values of LMDB's own choice take. */
  readonly overflowPages: number;
}

/** The only table of a cache that nobody has open. */
async function lookInto(cacheDir: string): Promise<Held> {
  const [number] = readdirSync(join(cacheDir, 'generations')).map(Number);
  const dir = generationPath(cacheDir, number!);
  const file = walkFile(dataPath(dir));
  const environment = new Environment(dir);
  const [table] = environment.catalog().tables;
  let bytes = 0;
  let rows = 0;
  let overflowPages = 0;
  for (const { key, value } of environment.rows(table!.id).getRange()) {
    bytes += key.length + value.length;
    rows++;
    const isLong = 8 + key.length + value.length > 2034;
    if (isLong) overflowPages += Math.ceil((24 + value.length) / 4096);
  }
  const tree = file.trees.get(rowsName(table!.id));
  assert.deepEqual([tree?.entries ?? 0, tree?.overflowPages ?? 0], [rows, overflowPages]);
  await environment.close();
  return { file, bytes, rows, overflowPages };
}

void describe('a table of long rows that is loaded', () => {
  void it('has each page of its file once, the values of its source, and true numbers', async () => {
    await onStage(documents(ROWS), async ({ pool, options }) => {
      {
        await using storage = await StorageSync.open(options);
        const report = await storage.sync();
        assert.equal(pool.count('page'), 0, 'not read in order');
        const { rowsWritten, bytesWritten } = report.tables['documents']!;
        assertNothingLeftBehind(options.cacheDir);
        await assertEqualToSource(storage);
        await storage.close();
        const held = await lookInto(options.cacheDir);
        assert.equal(rowsWritten, ROWS);
        assert.deepEqual([held.rows, held.bytes], [rowsWritten, bytesWritten]);
        assert.ok(held.overflowPages > ROWS / 2);
        // What was spooled is taken by pages again: few are left over.
        assert.ok(held.file.freePages < held.file.pages / 10, `${held.file.freePages} are free`);
      }
    });
  });

  void it('can be changed and built anew, and what its values took is used again', async () => {
    await onStage(documents(ROWS), async ({ file, options }) => {
      await using first = await StorageSync.open(options);
      await first.sync();
      await first.close();
      const { pages } = (await lookInto(options.cacheDir)).file;
      for (let round = 0; round < 2; round++) {
        changeDatabase(
          file,
          `DELETE FROM documents WHERE i % 7 = ${round};
           UPDATE documents SET body = CASE WHEN i % 2 THEN 'short' ELSE randomblob(2500 + i % 3000) END
             WHERE i % 11 = ${round};
           INSERT INTO documents SELECT 'new ${round} ' || k, i, randomblob(3000), NULL FROM documents
             WHERE i % 10 = ${round + 3}`,
        );
        await using storage = await StorageSync.open(options);
        await storage.sync({ allowLoss: true });
        await assertEqualToSource(storage);
        await storage.close();
        await lookInto(options.cacheDir);
      }
      const after = (await lookInto(options.cacheDir)).file;
      assert.ok(after.pages < 1.3 * pages, `${pages} pages became ${after.pages}`);
      await using storage = await StorageSync.open(options);
      await storage.rebuild();
      await assertEqualToSource(storage);
      await storage.close();
      await lookInto(options.cacheDir);
    });
  });

  void it('may have rows that only seem to be long, long keys, and values too long for pages of their own at once', async () => {
    const count = 24_000;
    const all = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) INSERT INTO t SELECT`;
    for (const build of [
      // A few bytes less than what a leaf has room for.
      `CREATE TABLE t (k INTEGER PRIMARY KEY, v); ${all} i, printf('%.*c', 1985, 'x') FROM n`,
      // Of these little but the key is spooled, which is most of them.
      `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
        ${all} printf('%05d %.*c', i * 7919 % 100003, 1800, 'k'), printf('%.*c', 300, 'x') FROM n`,
      `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v); ${all} printf('%05d', i * 7919 % 100003),
         CASE i % 800 WHEN 0 THEN zeroblob(2600000) ELSE printf('%.*c', 70, 'x') END FROM n`,
    ]) {
      await onStage(build, async ({ pool, options }) => {
        await using storage = await StorageSync.open(options);
        const report = await storage.sync();
        assert.equal(report.tables['t']!.rowsWritten, count);
        assert.equal(pool.count('page'), 0, 'not read in order');
        await storage.close();
        const { bytes } = await lookInto(options.cacheDir);
        assert.equal(bytes, report.tables['t']!.bytesWritten);
      });
    }
  });

  void it('may have keys that go on where others end', async () => {
    // Each run of leaves ends with a value that is elsewhere, and the next key may begin with all of the one before.
    const build = `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1700)
      INSERT INTO t SELECT printf('%.*c', i * 911 % 1777, char(1)), zeroblob(10000) FROM n`;
    await onStage(build, async ({ pool, options }) => {
      await using storage = await StorageSync.open(options);
      await storage.sync();
      assert.equal(pool.count('page'), 0, 'not read in order');
      await assertEqualToSource(storage);
      await storage.close();
      await lookInto(options.cacheDir);
    });
  });
});

void describe('a load of long rows that is not brought to its end', () => {
  for (const [task, answer] of [
    ['spool', { spooled: null } satisfies LoadTasks['spool']['response']],
    ['pack', { runs: null } satisfies LoadTasks['pack']['response']],
  ] as const) {
    void it(`leaves no page behind where ${task} gives it up`, async () => {
      await onStage(documents(FEW_ROWS), async ({ pool, options }) => {
        pool.instead = (each, nth) => (each === task && nth === 3 ? answer : null);
        await using storage = await StorageSync.open(options);
        await storage.sync();
        assert.ok(pool.count('page') > 0, 'read in order');
        await assertEqualToSource(storage);
        await storage.close();
        assert.equal((await lookInto(options.cacheDir)).rows, FEW_ROWS);
      });
    });

    void it(`leaves the file as it was where it is aborted by ${task}`, async () => {
      await onStage(documents(FEW_ROWS), async ({ pool, options }) => {
        const aborting = new AbortController();
        pool.instead = (each, nth) => {
          if (each === task && nth === 3) aborting.abort();
          return null;
        };
        await using storage = await StorageSync.open(options);
        await assert.rejects(storage.sync({ signal: aborting.signal }).then());
        await storage.close();
        assert.ok(pool.count(task) >= 3);
        assertNothingLeftBehind(options.cacheDir);
        const { file, rows } = await lookInto(options.cacheDir);
        assert.equal(rows, 0);
        assert.ok(file.pages < 40, `${file.pages} pages`);
        pool.instead = () => null;
        await using again = await StorageSync.open(options);
        await again.sync();
        await again.close();
        assert.equal((await lookInto(options.cacheDir)).rows, FEW_ROWS);
      });
    });

    void it(`leaves the table empty where the process is killed by ${task}`, async () => {
      await onStage(documents(FEW_ROWS), async ({ file, options }) => {
        const { cacheDir } = options;
        const args = [KILLED_LOAD, file, cacheDir, task, '9'];
        const { signal } = spawnSync(process.execPath, args, { stdio: 'inherit' });
        assert.equal(signal, 'SIGKILL');
        const path = dataPath(generationPath(cacheDir, 1));
        const { pages, trees } = walkFile(path);
        assert.equal(
          [...trees.values()].filter(({ overflowPages }) => overflowPages > 0).length,
          0,
        );
        assert.ok(
          statSync(path).size > 2 * pages * 4096,
          'there is something behind the last page',
        );
        await using storage = await StorageSync.open(options);
        await storage.sync();
        await assertEqualToSource(storage);
        await storage.close();
        assert.equal((await lookInto(cacheDir)).rows, FEW_ROWS);
      });
    });
  }

  void it('since a row moved: the table is read in order', async () => {
    await onStage(documents(FEW_ROWS), async ({ file, pool, options }) => {
      pool.instead = (each, nth) => {
        if (each === 'spool' && nth === 6) {
          changeDatabase(
            file,
            'UPDATE documents SET rowid = rowid + 1000000 WHERE rowid IN (2, 3, 4, 7)',
          );
        }
        return null;
      };
      await using storage = await StorageSync.open(options);
      await storage.sync();
      assert.ok(pool.count('page') > 0, 'read in order');
      await assertEqualToSource(storage);
      await storage.close();
      assert.equal((await lookInto(options.cacheDir)).rows, FEW_ROWS);
    });
  });
});
