import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  CacheError,
  ConfigError,
  SourceError,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type VerifyReport,
} from '../../src/index.js';
import { CacheLock } from '../../src/cache/lock.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ITEMS = `CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v, w);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
  INSERT INTO items SELECT printf('k%04d', i), 'value ' || i, CASE WHEN i % 5 > 0 THEN i END FROM n`;
const INDEXED = {
  name: 'items',
  indexes: [
    { name: 'by_w', columns: ['w', { column: 'v', descending: true }] },
    { name: 'one_v', columns: ['v'], unique: true },
  ],
};

async function withCache(
  use: (storage: StorageSync, options: StorageSyncOptions, file: string) => Promise<void>,
  more: Partial<StorageSyncOptions> = {},
  build = ITEMS,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, build);
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    tables: [INDEXED],
    ...more,
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await use(storage, options, file);
}

const items = (report: VerifyReport) => report.tables['items']!;
const shown = (report: VerifyReport) => JSON.stringify(report, null, 1);

void describe('a repair', () => {
  void it('puts index entries right, and finds them whole afterwards', async () => {
    await withCache(async (storage, { cacheDir }) => {
      const digests = await recordDigests(cacheDir);
      await tamper(cacheDir, 'items', (table) => {
        table.removeEntries(3);
        table.addEntry();
      });
      const found = await storage.verify({ level: 'deep' });
      assert.deepEqual(items(found).indexEntries, { missing: 3, dangling: 1 }, shown(found));
      assert.ok(found.left >= 4);
      const repaired = await storage.verify({ level: 'deep', repair: true });
      assert.equal(repaired.left, 0, shown(repaired));
      assert.deepEqual(await recordDigests(cacheDir), digests);
      assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
    });
  });

  void it('of a missing entry and a dangling one, which together keep the count, too', async () => {
    await withCache(async (storage, { cacheDir }) => {
      const digests = await recordDigests(cacheDir);
      await tamper(cacheDir, 'items', (table) => {
        table.addEntry();
        table.removeEntries(1);
      });
      const found = await storage.verify({ level: 'deep' });
      assert.equal(
        items(found).checks.every(({ passed }) => passed),
        true,
        shown(found),
      );
      assert.deepEqual(items(found).indexEntries, { missing: 1, dangling: 1 });
      await storage.verify({ level: 'deep', repair: true });
      assert.deepEqual(await recordDigests(cacheDir), digests);
    });
  });

  for (const level of ['sample', 'deep'] as const) {
    void it(`leaves no entry of a damaged row dangling, nor a unique index miscounted: ${level}`, async () => {
      await withCache(async (storage, { cacheDir }, file) => {
        await tamper(cacheDir, 'items', (table) => {
          table.flip(10, 3);
          table.cut(20, 3);
          table.flip(999, -3);
        });
        // What the damaged rows were entered under is not what they are now.
        changeDatabase(
          file,
          `UPDATE items SET v = 'other ' || k, w = -1 WHERE k IN ('k0011', 'k0021', 'k1000')`,
        );
        const report = await storage.verify({ level, repair: true });
        assert.equal(items(report).differences.damaged, 3, shown(report));
        assert.equal(report.left, 0, shown(report));
        await assertCacheEquals(file, cacheDir);
        const table = storage.cache.table('items');
        assert.deepEqual(
          [...table.byIndex('by_w', -1)].map(({ k }) => k),
          ['k1000', 'k0021', 'k0011'],
        );
        assert.equal([...table.byIndex('one_v', 'value 11')].length, 0);
        assert.equal([...table.byIndex('one_v', 'other k0011')].length, 1);
        const digests = await recordDigests(cacheDir);
        assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
        await storage.rebuild();
        assert.deepEqual(await recordDigests(cacheDir), digests);
      });
    });
  }

  void it('makes a unique index readable that damage had violated', async () => {
    await withCache(async (storage, { cacheDir }, file) => {
      await tamper(cacheDir, 'items', (table) => table.replace(5, 6));
      changeDatabase(file, `UPDATE items SET v = 'swap' WHERE k = 'k0500'`);
      await storage.sync();
      await storage.verify({ level: 'deep', repair: true });
      await storage.sync();
      const found = [...storage.cache.table('items').byIndex('one_v', 'swap')];
      assert.equal(found.length, 1);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('of keys that are none removes them', async () => {
    await withCache(async (storage, { cacheDir }) => {
      const digests = await recordDigests(cacheDir);
      await tamper(cacheDir, 'items', (table) => {
        for (const bytes of ['', '\x10', '\x20\xff\xfe', '\x05', '\x7f', '\x30\0']) {
          table.addGarbage(Buffer.from(`${bytes}garbage`, 'latin1'));
        }
      });
      const report = await storage.verify({ level: 'deep', repair: true });
      assert.equal(items(report).differences.damaged, 6, shown(report));
      assert.equal(report.left, 0, shown(report));
      assert.deepEqual(await recordDigests(cacheDir), digests);
    });
  });

  void it('brings the row count to what there is, so that syncs go on', async () => {
    await withCache(
      async (storage, { cacheDir }, file) => {
        await tamper(cacheDir, 'items', (table) => {
          table.remove(3);
          table.remove(4);
        });
        const quick = await storage.verify({ level: 'quick' });
        assert.deepEqual(
          items(quick).checks.map(({ check, passed }) => [check, passed]),
          [
            ['rows', false],
            ['records', false],
            ['index entries', false],
          ],
          shown(quick),
        );
        await assert.rejects(storage.sync({ full: true }).then(), { code: 'CACHE_CORRUPT' });
        const report = await storage.verify({ level: 'deep', repair: true });
        assert.equal(report.left, 0, shown(report));
        await storage.sync();
        await assertCacheEquals(file, cacheDir);
      },
      { autoRebuild: false },
    );
  });

  void it('does not remove most of a table because the source lost it, unless it is believed', async () => {
    await withCache(async (storage, { cacheDir }, file) => {
      changeDatabase(
        file,
        `DELETE FROM items WHERE k > 'k0100'; UPDATE items SET v = 'new' || k WHERE k = 'k0050'`,
      );
      const guarded = await storage.verify({ level: 'deep', repair: true });
      assert.equal(items(guarded).differences.extra, 900, shown(guarded));
      assert.equal(guarded.left, 900);
      assert.equal(guarded.repaired, 1);
      assert.match(items(guarded).notes.join(), /would lose 900 of its 1000 rows/);
      assert.equal(storage.cache.table('items').count(), 1000);
      const believed = await storage.verify({ level: 'deep', repair: true, allowLoss: true });
      assert.equal(believed.left, 0, shown(believed));
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('touches no checkpoint: the next sync goes on from the last one', async () => {
    await withCache(async (storage, { cacheDir }, file) => {
      const before = await storage.status();
      await tamper(cacheDir, 'items', (table) => table.flip(10, 3));
      await storage.verify({ level: 'deep', repair: true });
      const after = await storage.status();
      assert.deepEqual({ ...after, ageMs: 0 }, { ...before, ageMs: 0 });
      changeDatabase(file, `DELETE FROM items WHERE k = 'k0001'`);
      await storage.sync();
      await assertCacheEquals(file, cacheDir);
    });
  });
});

void describe('rows that cannot be cached', () => {
  const build = `${ITEMS}; INSERT INTO items VALUES (printf('%2000s', 'long'), 1, 2), ('bad', CAST(x'ff' AS TEXT), 1);
    INSERT INTO items VALUES (printf('zz%2000s', 'long'), 1, 2)`;

  for (const batchSize of [1, 7, 20_000]) {
    void it(`are counted, and no difference (pages of ${batchSize})`, async () => {
      await withCache(
        async (storage, { cacheDir }, file) => {
          for (const level of ['deep', 'sample', 'quick'] as const) {
            const sound = await storage.verify({ level });
            assert.equal(sound.differences, 0, shown(sound));
            if (level === 'deep') assert.equal(items(sound).quarantined, 3);
          }
          // A row that was cached and has become one that cannot be.
          changeDatabase(file, `UPDATE items SET v = CAST(x'fe' AS TEXT) WHERE k = 'k0007'`);
          const found = await storage.verify({ level: 'deep', repair: true });
          assert.deepEqual(items(found).found, [
            { key: '"k0007"', kind: 'differs', repaired: true },
          ]);
          assert.equal(storage.cache.table('items').has('k0007'), false);
          assert.equal((await storage.verify({ level: 'deep' })).left, 0);
          void cacheDir;
        },
        { onRowError: 'quarantine', batchSize },
        build,
      );
    });
  }

  void it('keep what the cache has of them where a sync would fail', async () => {
    await withCache(async (storage, _, file) => {
      changeDatabase(file, `UPDATE items SET v = CAST(x'fe' AS TEXT) WHERE k = 'k0007'`);
      const report = await storage.verify({ level: 'deep', repair: true });
      assert.equal(items(report).differences.differs, 1, shown(report));
      assert.equal(report.left, 1);
      assert.equal(storage.cache.table('items').has('k0007'), true);
    });
  });
});

void describe('what a verify refuses', () => {
  void it('wrong options, by name', async () => {
    await withCache(async (storage) => {
      const wrong = { level: 'thorough', maxSourceRows: 0, seed: -1 } as never;
      assert.throws(
        () => storage.verify(wrong),
        (error: unknown) => {
          assert.ok(error instanceof ConfigError);
          assert.match(error.message, /level.*maxSourceRows.*seed/);
          return true;
        },
      );
    });
  });

  void it('a table that is nowhere, a cache that was never filled, and one that is being written', async () => {
    await withCache(async (storage, options) => {
      await assert.rejects(storage.verify({ tables: ['nowhere'] }).then(), (error: unknown) => {
        assert.ok(error instanceof SourceError);
        assert.equal(error.code, 'TABLE_NOT_FOUND');
        return true;
      });
      await using _lock = await CacheLock.acquire(options.cacheDir, 'sync');
      await assert.rejects(storage.verify().then(), { code: 'CACHE_LOCKED' });
      const empty = { ...options, cacheDir: `${options.cacheDir}-empty`, pool };
      await using never = await StorageSync.open(empty);
      await assert.rejects(never.verify().then(), (error: unknown) => {
        assert.ok(error instanceof CacheError);
        assert.equal(error.code, 'CACHE_EMPTY');
        return true;
      });
    });
  });

  void it('another source', async () => {
    await withCache(async (_, options, file) => {
      changeDatabase(`${file}.other`, ITEMS);
      await using other = await StorageSync.open({
        ...options,
        source: { url: `file:${file}.other` },
        pool,
      });
      await assert.rejects(other.verify().then(), { code: 'CACHE_DEFINITION_MISMATCH' });
    });
  });
});

void describe('a verify of another definition', () => {
  void it('says so, and compares the other tables', async () => {
    await withCache(
      async (storage, options, file) => {
        changeDatabase(
          file,
          'ALTER TABLE items ADD COLUMN more; CREATE TABLE late (k INTEGER PRIMARY KEY)',
        );
        const report = await storage.verify({ level: 'deep' });
        assert.equal(report.complete, false);
        assert.match(JSON.stringify(items(report).checks), /the column \\+"more\\+" is new/);
        assert.match(JSON.stringify(report.tables['late']!.checks), /does not have it/);
        assert.equal(report.tables['other']!.rowsCompared, 1);
        assert.equal(report.tables['other']!.complete, true);
        void options;
      },
      { tables: undefined },
      `${ITEMS}; CREATE TABLE other (k INTEGER PRIMARY KEY); INSERT INTO other VALUES (1)`,
    );
  });
});
