import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  CacheError,
  openCache,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
} from '../../src/index.js';
import { DamageLog, MAX_DAMAGED_RECORDS, readDamage } from '../../src/cache/damage-notes.js';
import { damagePath } from '../../src/cache/layout.js';
import { encodeKey } from '../../src/transform/key-codec.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from '../verify/tamper.js';
import { flipKey, flipValue } from './file-bytes.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 1500;
const SCHEMA = `
  CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v, w, at INTEGER NOT NULL DEFAULT 1);
  CREATE TABLE other (k TEXT PRIMARY KEY NOT NULL, v);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO items SELECT printf('k%04d', i), printf('value <%d>', i), i % 7, i FROM n;
  INSERT INTO other SELECT k, 'other ' || v FROM items`;
const ITEMS = {
  name: 'items',
  indexes: [
    { name: 'by_w', columns: ['w', 'v'] },
    { name: 'one_v', columns: ['v'], unique: true },
  ],
};
/** Read by its cursor, so that a sync reads nothing again that did not change. */
const BY_CURSOR = { ...ITEMS, cursor: { column: 'at' } };

interface Stage {
  readonly storage: StorageSync;
  readonly options: StorageSyncOptions;
  readonly file: string;
  readonly cacheDir: string;
}

async function withCache(
  use: (stage: Stage) => Promise<void>,
  more: Partial<StorageSyncOptions> = {},
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, SCHEMA);
  const cacheDir = dir.join('cache');
  const options = {
    source: { url: `file:${file}` },
    cacheDir,
    validateChecksums: true,
    tables: [ITEMS, { name: 'other' }],
    ...more,
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await use({ storage, options, file, cacheDir });
}

function corruption(error: unknown): boolean {
  return error instanceof CacheError && error.code === 'CACHE_CORRUPT';
}

function meet({ storage }: Stage, table: string, ...keys: readonly string[]): void {
  for (const key of keys) assert.throws(() => storage.cache.table(table).get(key), corruption, key);
}

/** A sync that builds the cache anew, which the reader then follows. */
async function rebuilds({ storage }: Stage): Promise<void> {
  const { mode, generation } = await storage.sync();
  assert.equal(mode, 'rebuild');
  while (storage.cache.generation !== generation) await sleep(10);
}

function keyOf(at: number): string {
  return `k${String(at).padStart(4, '0')}`;
}

/** Flips a bit in the value of a record of `items`. */
function damage(cacheDir: string, at: number): void {
  flipValue(cacheDir, keyOf(at), 4, `value <${at}>`);
}

/** Tables and keys of what is noted, for people. */
function noted(cacheDir: string, generation = 1): string[] {
  const { records, beyondRecords } = readDamage(cacheDir, generation);
  const keys = [...records].flatMap(([table, each]) =>
    each.map((key) => `${table}:${Buffer.from(key).toString('latin1', 1)}`),
  );
  return [...keys, ...(beyondRecords ? ['beyond'] : [])];
}

void describe('damage that a read meets', () => {
  void it('is noted, shown, repaired by the next sync alone, told and forgotten', async () => {
    await withCache(async (stage) => {
      const { storage, file, cacheDir } = stage;
      const digests = await recordDigests(cacheDir);
      for (const at of [3, 700, 1500]) {
        damage(cacheDir, at);
        flipValue(cacheDir, keyOf(at), 2, `other value <${at}>`);
      }
      meet(stage, 'items', 'k0003', 'k0700');
      meet(stage, 'items', 'k0003');
      // By an index, and by a stream, as well.
      assert.throws(() => [...storage.cache.table('items').byIndex('by_w', 1500 % 7)], corruption);
      meet(stage, 'other', 'k0700');
      assert.equal(storage.cache.table('items').get('k0004')?.['v'], 'value <4>');
      const before = await storage.status();
      assert.equal(before.tables['items']?.damagedRecords, noted(cacheDir).length - 1);
      assert.equal(before.tables['other']?.damagedRecords, 1);
      assert.equal(before.state, 'fresh');
      assert.equal(statSync(damagePath(cacheDir)).mode & 0o777, 0o600);

      meet(stage, 'items', 'k1500');
      meet(stage, 'other', 'k0003', 'k1500');
      const report = await storage.sync();
      assert.deepEqual(report.repaired, { items: 3, other: 3 });
      assert.equal(report.warnings.filter((each) => each.includes('damaged')).length, 2);
      assert.deepEqual(noted(cacheDir), []);
      assert.deepEqual(await recordDigests(cacheDir), digests);
      await assertCacheEquals(file, cacheDir);
      const now = await storage.status();
      assert.equal(now.tables['items']?.damagedRecords, 0);
      assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
      assert.equal((await storage.sync()).repaired, undefined);

      // What is damaged again is noted again.
      damage(cacheDir, 4);
      meet(stage, 'items', 'k0004');
      assert.deepEqual((await storage.sync()).repaired, { items: 1 });
    });
  });

  void it('costs the source those rows alone where it is read by a cursor', async () => {
    const tables = [BY_CURSOR];
    await withCache(
      async (stage) => {
        const { storage, cacheDir } = stage;
        assert.equal((await storage.sync()).mode, 'incremental');
        damage(cacheDir, 9);
        meet(stage, 'items', 'k0009');
        const report = await storage.sync();
        assert.equal(report.mode, 'incremental');
        assert.deepEqual(report.repaired, { items: 1 });
        assert.ok(report.tables['items']!.rowsRead < ROWS / 5);
        assert.equal(storage.cache.table('items').get('k0009')?.['v'], 'value <9>');
      },
      { tables },
    );
  });

  void it('is repaired also where the row has changed since, in its indexes too', async () => {
    await withCache(async (stage) => {
      const { storage, file, cacheDir } = stage;
      for (const at of [10, 20, 30]) damage(cacheDir, at);
      meet(stage, 'items', 'k0010');
      // Changed rows are written over without a read of ours having met them.
      changeDatabase(
        file,
        `UPDATE items SET v = 'new ' || k, w = -1 WHERE k IN ('k0010', 'k0020')`,
      );
      changeDatabase(file, `DELETE FROM items WHERE k = 'k0030'`);
      await storage.sync();
      await assertCacheEquals(file, cacheDir);
      const table = storage.cache.table('items');
      assert.deepEqual(
        [...table.byIndex('by_w', -1)].map(({ k }) => k),
        ['k0010', 'k0020'],
      );
      const verified = await storage.verify({ level: 'deep', tables: ['items'] });
      assert.equal(verified.differences, 0, JSON.stringify(verified, null, 1));
    });
  });

  void it('is noted by any process and repaired by any', async () => {
    await withCache(async ({ options, file, cacheDir }) => {
      const peer = fileURLToPath(new URL('./damage-peer.js', import.meta.url));
      const keys = Array.from({ length: 6 }, (_, i) => keyOf(100 + i));
      for (let i = 0; i < 6; i++) damage(cacheDir, 100 + i);
      const ran = await Promise.all(
        [0, 1, 2].map(async (from) =>
          promisify(execFile)(process.execPath, [
            peer,
            cacheDir,
            'items',
            ...keys.slice(from, from + 4),
          ]),
        ),
      );
      for (const { stdout } of ran) assert.equal(stdout, Array(4).fill('CACHE_CORRUPT').join(' '));
      assert.equal(noted(cacheDir).length, 6);
      await using other = await StorageSync.open({ ...options, pool });
      assert.deepEqual((await other.sync()).repaired, { items: 6 });
      const again = await promisify(execFile)(process.execPath, [peer, cacheDir, 'items', ...keys]);
      assert.equal(again.stdout, Array(6).fill('row').join(' '));
      await other.verify({ level: 'deep', repair: true });
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('is kept in mind while the source is away, and reads go on', async () => {
    await withCache(async (stage) => {
      const { storage, options, cacheDir } = stage;
      damage(cacheDir, 5);
      meet(stage, 'items', 'k0005');
      const path = (options.source as { url: string }).url.slice('file:'.length);
      await rename(path, `${path}.away`);
      await assert.rejects(async () => await storage.sync());
      assert.deepEqual(noted(cacheDir).length, 1);
      assert.equal(storage.cache.table('items').get('k0006')?.['v'], 'value <6>');
      assert.equal((await storage.status()).tables['items']?.damagedRecords, 1);
      await rename(`${path}.away`, path);
      assert.deepEqual((await storage.sync()).repaired, { items: 1 });
    });
  });

  void it('is repaired by the next sync where one was cut off half-way', async () => {
    await withCache(async (stage) => {
      const { options, cacheDir, file } = stage;
      await tamper(cacheDir, 'items', (table) => {
        for (let at = 0; at < 250; at++) table.flip(4 * at, 3);
      });
      for (let at = 0; at < 250; at++) meet(stage, 'items', keyOf(4 * at + 1));
      let repairs = 0;
      const cut = new Proxy(pool, {
        get(target, name) {
          const value = Reflect.get(target, name, target) as unknown;
          if (typeof value !== 'function') return value;
          const call = value.bind(target) as (...args: unknown[]) => unknown;
          if (name !== 'write') return call;
          return (...args: unknown[]) => {
            if (args[0] !== 'repairRows' || ++repairs !== 2) return call(...args);
            return Promise.reject(new CacheError('CACHE_FULL', 'There is no room.'));
          };
        },
      });
      await using storage = await StorageSync.open({ ...options, pool: cut });
      await assert.rejects(
        async () => await storage.sync(),
        (error) => error instanceof CacheError && error.code === 'CACHE_FULL',
      );
      assert.equal(noted(cacheDir).length, 250);
      // A hundred of them are sound by now.
      assert.deepEqual((await storage.sync()).repaired, { items: 150 });
      assert.deepEqual(noted(cacheDir), []);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('of a row that the source has no more takes a full read, which removes it', async () => {
    await withCache(
      async (stage) => {
        const { storage, file, cacheDir } = stage;
        await storage.sync();
        damage(cacheDir, 40);
        meet(stage, 'items', 'k0040');
        changeDatabase(file, `DELETE FROM items WHERE k = 'k0040'`);
        const report = await storage.sync();
        assert.match(report.warnings.join('\n'), /does not have/);
        assert.equal(report.mode, 'full');
        assert.deepEqual(noted(cacheDir), []);
        assert.equal(storage.cache.table('items').get('k0040'), undefined);
        await assertCacheEquals(file, cacheDir, { tables: ['items'] });
        assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
      },
      { tables: [BY_CURSOR] },
    );
  });

  void it('of a key brings the row of the right key back', async () => {
    await withCache(
      async (stage) => {
        const { storage, file, cacheDir } = stage;
        await storage.sync();
        // `k1500` is the last, and stays it as `k1508`.
        flipKey(cacheDir, 'k1500', 4, 'value <1500>', 4);
        assert.throws(() => [...storage.cache.table('items').range({ gte: 'k1500' })], corruption);
        await storage.sync();
        assert.equal(storage.cache.table('items').get('k1500')?.['v'], 'value <1500>');
        await assertCacheEquals(file, cacheDir, { tables: ['items'] });
        const verified = await storage.verify({ level: 'deep' });
        assert.equal(verified.differences, 0, JSON.stringify(verified, null, 1));
      },
      { tables: [BY_CURSOR] },
    );
  });
});

void describe('damage beyond single records', () => {
  void it('makes the next sync build the cache anew, where it may', async () => {
    await withCache(async (stage) => {
      const { options, cacheDir, file } = stage;
      new DamageLog(cacheDir).note({ generation: 1, record: null });
      {
        await using careful = await StorageSync.open({ ...options, autoRebuild: false, pool });
        await assert.rejects(
          async () => await careful.sync(),
          (error) => corruption(error) && /rebuild/.test((error as CacheError).hint ?? ''),
        );
        assert.equal((await careful.status()).rebuildDue, true);
        assert.equal(careful.cache.table('items').count(), ROWS);
      }
      const report = await stage.storage.sync();
      assert.equal(report.mode, 'rebuild');
      assert.equal(report.generation, 2);
      assert.deepEqual([...noted(cacheDir, 1), ...noted(cacheDir, 2)], []);
      assert.equal((await stage.storage.status()).rebuildDue, false);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('is also what many damaged records of a table are', async () => {
    await withCache(async (stage) => {
      const { storage, cacheDir, file } = stage;
      const keys = await tamper(cacheDir, 'items', (table) => {
        for (let at = 0; at <= MAX_DAMAGED_RECORDS; at++) table.flip(at, 3);
        return table.keys.slice(0, MAX_DAMAGED_RECORDS + 1);
      });
      assert.equal(keys.length, MAX_DAMAGED_RECORDS + 1);
      for (let at = 1; at <= MAX_DAMAGED_RECORDS; at++) meet(stage, 'items', keyOf(at));
      assert.equal((await storage.status()).rebuildDue, false);
      meet(stage, 'items', keyOf(MAX_DAMAGED_RECORDS + 1));
      assert.equal((await storage.status()).rebuildDue, true);
      assert.equal((await storage.sync()).mode, 'rebuild');
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('is a record that is not found by its key', async () => {
    await withCache(async (stage) => {
      const { storage, cacheDir, file } = stage;
      flipKey(cacheDir, 'k0777', 2, 'other value <777>', 0);
      await assert.rejects(async () => {
        for await (const row of storage.cache.table('other').stream()) void row;
      }, corruption);
      const report = await storage.sync();
      assert.equal(report.mode, 'rebuild', report.warnings.join('\n'));
      await assertCacheEquals(file, cacheDir);
    });
  });
});

void describe('the notes of damage', () => {
  void it('that are nonsense, or of another generation or table, do nothing', async () => {
    await withCache(async (stage) => {
      const { storage, cacheDir } = stage;
      const digests = await recordDigests(cacheDir);
      const path = damagePath(cacheDir);
      const key = encodeKey(['k0001']).toString('hex');
      const lines = [
        'garbage',
        '{"generation":1',
        '{"generation":1,"table":"../../etc/passwd","key":"00"}',
        '{"generation":1,"table":1,"key":"/etc/passwd"}',
        `{"generation":1,"table":1,"key":"${'00'.repeat(5000)}"}`,
        `{"generation":1,"table":-1,"key":"00"}`,
        `{"generation":1,"table":12345,"key":"00"}`,
        `{"generation":1,"table":1,"key":"ff00ff"}`,
        `{"generation":1,"table":0,"key":"${key}"}`,
        `{"generation":1,"table":1,"key":"${key}"}`,
        '{"generation":7}',
        '{"generation":"1"}',
        '[]',
        'null',
        '\0\xff\xfe',
        '['.repeat(100_000),
      ];
      writeFileSync(path, lines.join('\n'));
      const report = await storage.sync();
      assert.deepEqual([report.mode, report.repaired], ['full', undefined]);
      assert.deepEqual(await recordDigests(cacheDir), digests);
      assert.deepEqual(noted(cacheDir), []);

      damage(cacheDir, 8);
      writeFileSync(path, '{"generation":1,"tab');
      meet(stage, 'items', 'k0008');
      assert.deepEqual((await storage.sync()).repaired, { items: 1 });
    });
  });

  void it('do not grow beyond their bound, and a huge file is not read whole', async () => {
    await withCache(async (stage) => {
      const { storage, cacheDir } = stage;
      const path = damagePath(cacheDir);
      writeFileSync(path, '');
      for (let i = 0; i < 20; i++) appendFileSync(path, `${'x'.repeat(1024 * 1024)}\n`);
      const { size } = statSync(path);
      damage(cacheDir, 8);
      meet(stage, 'items', 'k0008');
      assert.equal(statSync(path).size, size);
      // The sync finds the damage by itself: the file was touched by others.
      const report = await storage.sync();
      assert.deepEqual([report.mode, report.repaired], ['full', { items: 1 }]);
      assert.equal(statSync(path).size, 0);
    });
  });

  void it('follow no link and open no directory', async () => {
    await withCache(async (stage) => {
      const { storage, cacheDir } = stage;
      const path = damagePath(cacheDir);
      damage(cacheDir, 8);
      const target = `${cacheDir}.target`;
      writeFileSync(target, 'precious');
      symlinkSync(target, path);
      meet(stage, 'items', 'k0008');
      await rebuilds(stage);
      assert.equal(await readFile(target, 'utf8'), 'precious');
      await rm(path);
      mkdirSync(path);
      damage(cacheDir, 9);
      meet(stage, 'items', 'k0009');
      await storage.status();
      await rebuilds(stage);
      await rm(path, { recursive: true });
      damage(cacheDir, 10);
      meet(stage, 'items', 'k0010');
      assert.deepEqual((await storage.sync()).repaired, { items: 1 });
      await rm(target);
    });
  });

  void it('are written by a sync too that finds records damaged which no read has met', async () => {
    await withCache(async ({ storage, cacheDir, file }) => {
      const before = await recordDigests(cacheDir);
      for (const at of [3, 700, 1500]) damage(cacheDir, at);
      const report = await storage.sync();
      assert.deepEqual([report.generation, report.repaired], [1, { items: 3 }]);
      assert.deepEqual(noted(cacheDir), []);
      assert.deepEqual(await recordDigests(cacheDir), before);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('are not there where nothing was damaged', async () => {
    await withCache(async ({ storage, cacheDir }) => {
      await using cache = openCache(cacheDir, { validateChecksums: true });
      for await (const row of cache.table('items').stream()) void row;
      await storage.sync();
      assert.ok(!existsSync(damagePath(cacheDir)));
    });
  });
});
