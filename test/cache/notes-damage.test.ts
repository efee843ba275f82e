import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  openCache,
  readStatus,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
} from '../../src/index.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath, statePath } from '../../src/cache/layout.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from '../verify/tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 1 });
});
after(async () => {
  await pool.close();
});

interface Cached {
  readonly file: string;
  readonly cacheDir: string;
  readonly generation: string;
  readonly sync: () => ReturnType<StorageSync['sync']>;
}

async function withCache(use: (cached: Cached) => Promise<void>): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a')`);
  const cacheDir = dir.join('cache');
  const options: StorageSyncOptions = { source: { url: `file:${file}` }, cacheDir };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await use({
    file,
    cacheDir,
    generation: generationPath(cacheDir, 1),
    sync: () => storage.sync(),
  });
}

/** What a file may hold after anything befell it. */
const CONTENTS = ['', '{', 'null', '5', '[]', '{}', '"text"', '{"rows":5,"failedSyncs":"x"}'];

void describe('files that are remarks', () => {
  for (const name of ['state.json', 'seal.json'] as const) {
    void it(`do no harm whatever they hold: ${name}`, async () => {
      await withCache(async ({ file, cacheDir, generation, sync }) => {
        const path = name === 'state.json' ? statePath(cacheDir) : join(generation, name);
        for (const content of CONTENTS) {
          writeFileSync(path, content);
          assert.equal((await readStatus(cacheDir)).state, 'fresh', content);
          writeFileSync(path, content);
          await assertCacheEquals(file, cacheDir);
          writeFileSync(path, content);
          assert.deepEqual((await sync()).warnings, [], content);
          assert.ok(!CONTENTS.includes(readFileSync(path, 'utf8')), `${content} was replaced`);
        }
      });
    });
  }
});

void describe('what a cache knows of itself', () => {
  for (const key of ['catalog', 'table:1', 'sync', 'source']) {
    void it(`is not believed when a bit of it is wrong: ${key}`, async () => {
      await withCache(async ({ file, cacheDir, generation, sync }) => {
        const environment = new Environment(generation);
        const meta = environment.database('meta');
        const sound = Buffer.from(meta.get(Buffer.from(key))!);
        try {
          for (let at = 0; at < sound.length; at++) {
            const damaged = Buffer.from(sound);
            damaged[at]! ^= 1 << (at % 8);
            environment.transaction(() => {
              meta.putSync(Buffer.from(key), damaged);
            });
            const read = () => {
              environment.refresh();
              environment.catalog();
              environment.tableState(1);
              environment.syncRecord();
              environment.source();
            };
            assert.throws(read, { code: 'CACHE_CORRUPT' }, `byte ${at}`);
          }
        } finally {
          await environment.close();
        }
        changeDatabase(file, `INSERT INTO t VALUES (2, 'b')`);
        const report = await sync();
        assert.deepEqual([report.mode, report.generation], ['rebuild', 2]);
        await assertCacheEquals(file, cacheDir);
      });
    });
  }

  void it('is never missing in what is served', async () => {
    await withCache(async ({ file, cacheDir, generation, sync }) => {
      const environment = new Environment(generation);
      environment.transaction(() => {
        environment.database('meta').removeSync(Buffer.from('catalog'));
      });
      await environment.close();
      assert.throws(() => openCache(cacheDir), { code: 'CACHE_CORRUPT' });
      assert.equal((await sync()).mode, 'rebuild');
      await assertCacheEquals(file, cacheDir);
    });
  });
});

void describe('an index entry', () => {
  void it('never gives a row that is not its own', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, printf('%.*c', 900, 'c'))`,
    );
    const cacheDir = dir.join('cache');
    const tables = [{ name: 't', indexes: [{ name: 'by_v', columns: ['v'] }] }];
    const options = { source: { url: `file:${file}` }, cacheDir, tables, pool };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    const rowsByIndex = async () => {
      await using cache = openCache(cacheDir, { validateChecksums: true });
      return [...cache.table('t').rangeByIndex('by_v')].map(({ k }) => k);
    };
    assert.deepEqual(await rowsByIndex(), [1, 2, 3]);
    await tamper(cacheDir, 't', (table) => table.addEntry());
    await assert.rejects(rowsByIndex(), { code: 'CACHE_CORRUPT' });
    const { left } = await storage.verify({ level: 'deep', repair: true });
    assert.equal(left, 0);
    assert.deepEqual(await rowsByIndex(), [1, 2, 3]);
  });
});
