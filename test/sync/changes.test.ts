import assert from 'node:assert/strict';
import { copyFile, rename } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import {
  openChangeLog,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase, insert } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { startHranaServer } from '../support/hrana/server.js';
import { commit, KEYED_TABLES, transaction } from '../support/keyed-tables.js';
import { TempDirectory } from '../support/temp.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

const SEED = 20_261_122;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions, full = false): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync({ full });
}

async function capture(file: string, tables?: readonly string[]): Promise<void> {
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install(tables);
}

async function withCaptured(
  build: string,
  use: (file: string, options: StorageSyncOptions, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${build}`);
  await capture(file);
  await use(file, { source: { url: `file:${file}` }, cacheDir: dir.join('cache') }, dir);
}

const modes = (report: SyncReport) =>
  Object.fromEntries(Object.entries(report.tables).map(([name, { mode }]) => [name, mode]));

void describe('the change log', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`brings over any history of writes: ${way} (seed ${SEED})`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(transaction, { minLength: 1, maxLength: 12 }),
          fc.constantFrom(1, 3, 1000),
          async (history, batchSize) => {
            await withCaptured(Object.values(KEYED_TABLES).join(';'), async (file, own) => {
              await using server = way === 'http' ? await startHranaServer({ file }) : null;
              const source = server ? { url: server.httpUrl } : own.source;
              const options = { ...own, source, batchSize };
              await sync(options);
              for (const each of history) {
                commit(file, each);
                const report = await sync(options);
                assert.equal(report.mode, 'incremental', JSON.stringify(modes(report)));
                await assertCacheEquals(file, options.cacheDir);
              }
            });
          },
        ),
        { seed: SEED, numRuns: (way === 'file' ? 28 : 7) * THOROUGHNESS },
      );
    });
  }

  void it('costs what changed: no row is read where none did', async () => {
    await withCaptured(KEYED_TABLES.texts, async (file, options) => {
      const rows = Array.from({ length: 5000 }, (_, i) => [`k${i}`, BigInt(i), null]);
      changeDatabase(file, (db) => insert(db, 'texts', rows));
      assert.equal((await sync(options)).tables['texts']?.mode, 'full');
      const idle = await sync(options);
      assert.equal(idle.mode, 'incremental');
      assert.equal(idle.tables['texts']?.rowsRead, 0);
      changeDatabase(
        file,
        `UPDATE texts SET v = 1 WHERE u < 10; DELETE FROM texts WHERE u = 20; INSERT INTO texts VALUES ('new', 'n', 2)`,
      );
      const { texts } = (await sync(options)).tables;
      assert.deepEqual([texts?.rowsRead, texts?.rowsWritten, texts?.rowsDeleted], [11, 11, 1]);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('does not take the row of another key for that of one that is gone', async () => {
    await withCaptured(KEYED_TABLES.spelled, async (file, options) => {
      changeDatabase(file, `INSERT INTO spelled VALUES ('a', 1, 0), ('A', 2, 0), ('b', 3, 0)`);
      await sync(options);
      // As many rows are equal to the changed keys as there are such keys, in the column's own way of comparing.
      changeDatabase(file, `UPDATE spelled SET v = 1 WHERE u = 1; DELETE FROM spelled WHERE u = 3`);
      const { spelled } = (await sync(options)).tables;
      assert.deepEqual([spelled?.rowsRead, spelled?.rowsDeleted], [1, 1]);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('shows changes of several tables together', async () => {
    const build = `CREATE TABLE a (k INTEGER PRIMARY KEY, v); CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v);
      INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES ('x', 0)`;
    await withCaptured(build, async (file, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      const { cache } = storage;
      let torn = 0;
      let looks = 0;
      let watching = true;
      const watch = async () => {
        while (watching) {
          using snapshot = cache.snapshot();
          const a = snapshot.table('a').get(1) as { v: number };
          const b = snapshot.table('b').get('x') as { v: number };
          if (a.v !== b.v) torn++;
          looks++;
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const watched = watch();
      for (let v = 1; v <= 30; v++) {
        changeDatabase(file, `BEGIN; UPDATE a SET v = ${v}; UPDATE b SET v = ${v}; COMMIT`);
        assert.equal((await storage.sync()).mode, 'incremental');
      }
      watching = false;
      await watched;
      assert.ok(looks > 30);
      assert.equal(torn, 0);
    });
  });

  void it('is kept by a compaction as far as a cache still needs it', async () => {
    await withCaptured(KEYED_TABLES.texts, async (file, options) => {
      await sync(options);
      changeDatabase(file, `INSERT INTO texts VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3)`);
      await using log = await openChangeLog(options.source);
      await log.compact();
      const report = await sync(options);
      assert.deepEqual([report.mode, report.tables['texts']?.rowsRead], ['incremental', 3]);
      assert.deepEqual(report.warnings, []);
      await log.compact();
      changeDatabase(file, `DELETE FROM texts WHERE k = 'b'`);
      assert.equal((await sync(options)).mode, 'incremental');
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  for (const [what, how] of Object.entries<(file: string) => Promise<void>>({
    'was compacted beyond where the cache is': async (file) => {
      await using log = await openChangeLog({ url: `file:${file}` });
      changeDatabase(file, 'DELETE FROM storage_sync_reader');
      await log.compact({ all: true });
    },
    'was installed anew': async (file) => {
      await using log = await openChangeLog({ url: `file:${file}` });
      await log.uninstall();
      await log.install();
    },
    'is gone': async (file) => {
      await using log = await openChangeLog({ url: `file:${file}` });
      await log.uninstall();
    },
    'lacks a trigger': (file) => {
      changeDatabase(file, 'DROP TRIGGER storage_sync_log_1_delete');
      return Promise.resolve();
    },
  })) {
    void it(`is not followed where it ${what}: the table is read in full`, async () => {
      await withCaptured(KEYED_TABLES.texts, async (file, options) => {
        changeDatabase(file, `INSERT INTO texts VALUES ('a', 1, 1), ('b', 2, 2)`);
        await sync(options);
        changeDatabase(
          file,
          `DELETE FROM texts WHERE k = 'a'; INSERT INTO texts VALUES ('c', 3, 3)`,
        );
        changeDatabase(file, `UPDATE texts SET v = 9 WHERE k = 'c'`);
        await how(file);
        changeDatabase(file, `INSERT INTO texts VALUES ('d', 4, 4)`);
        assert.equal((await sync(options)).tables['texts']?.mode, 'full');
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  for (const [what, told] of [
    ['before the last sync', 2],
    ['before any', 0],
  ] as const) {
    void it(`is not followed where the source was put back to a state from ${what}, and has gone on since`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      // Without a write-ahead log, so that the file is all there is to put back.
      changeDatabase(file, KEYED_TABLES.texts);
      await capture(file);
      const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
      if (told > 0) {
        changeDatabase(file, `INSERT INTO texts VALUES ('a', 1, 1), ('b', 2, 2)`);
        await sync(options);
      }
      await copyFile(file, `${file}.backup`);
      changeDatabase(file, `INSERT INTO texts VALUES ('c', 3, 3), ('d', 4, 4)`);
      assert.equal((await sync(options)).mode, told > 0 ? 'incremental' : 'full');
      await rename(`${file}.backup`, file);
      changeDatabase(file, `INSERT INTO texts VALUES ('e', 5, 5), ('f', 6, 6), ('g', 7, 7)`);
      const report = await sync(options);
      assert.equal(report.tables['texts']?.mode, 'full');
      assert.match(report.warnings.join(), /older state/);
      await assertCacheEquals(file, options.cacheDir);

      changeDatabase(file, `INSERT INTO texts VALUES ('h', 8, 8)`);
      const next = await sync(options);
      assert.deepEqual([next.mode, next.warnings], ['incremental', []]);
      await assertCacheEquals(file, options.cacheDir);
    });
  }

  void it('is not followed where that is not wanted', async () => {
    await withCaptured(KEYED_TABLES.texts, async (file, options) => {
      await sync(options);
      changeDatabase(file, `INSERT INTO texts VALUES ('a', 1, 1)`);
      assert.equal((await sync(options, true)).mode, 'full');
      assert.equal((await sync(options)).mode, 'incremental');
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('takes a row out that can no longer be cached, and names it', async () => {
    await withCaptured(KEYED_TABLES.texts, async (file, options) => {
      changeDatabase(file, `INSERT INTO texts VALUES ('a', 1, 1), ('b', 2, 2)`);
      const kept = { ...options, onRowError: 'quarantine' as const };
      await sync(kept);
      changeDatabase(file, `UPDATE texts SET v = CAST(x'ff' AS TEXT) WHERE k = 'a'`);
      await assert.rejects(sync(options), { code: 'ROW_REJECTED' });
      const report = await sync(kept);
      assert.equal(report.tables['texts']?.rowsQuarantined, 1);
      await using storage = await StorageSync.open({ ...options, pool });
      assert.equal(storage.cache.table('texts').get('a'), undefined);
      assert.equal(storage.cache.table('texts').count(), 1);
    });
  });
});
