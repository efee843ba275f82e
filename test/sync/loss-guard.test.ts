import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  LossError,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncOptions,
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

const ROWS = 1000;
const KINDS = {
  'a table in key order': 'CREATE TABLE items (id INTEGER PRIMARY KEY, v)',
  'a table in another order': 'CREATE TABLE items (id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v)',
};
const FILL = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO items SELECT i, 'row ' || i FROM n`;

async function run(
  how: 'sync' | 'rebuild',
  options: StorageSyncOptions,
  more: SyncOptions = {},
): Promise<unknown> {
  // Nothing of the earlier process is left but the files.
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage[how](more);
}

async function count(options: StorageSyncOptions): Promise<number> {
  await using storage = await StorageSync.open({ ...options, pool });
  return storage.cache.table('items').count();
}

void describe('a source that seems to have lost its rows', () => {
  for (const [kind, schema] of Object.entries(KINDS)) {
    for (const how of ['sync', 'rebuild'] as const) {
      void it(`takes none of the cache's by ${how}, until it is believed or has them again: ${kind}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, `${schema}; ${FILL}`);
        const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
        await run('sync', options);
        changeDatabase(file, 'DELETE FROM items WHERE CAST(id AS INTEGER) > 100');
        for (let again = 0; again < 2; again++) {
          await assert.rejects(run(how, options), (error: unknown) => {
            assert.ok(error instanceof LossError);
            assert.equal(error.code, 'LOSS_SUSPECTED');
            assert.match(error.message, /"items" would lose 900 of its 1000 rows \(90 %\)/);
            return true;
          });
          assert.equal(await count(options), ROWS);
        }
        changeDatabase(file, `DELETE FROM items; ${FILL}; DELETE FROM items WHERE id = '7'`);
        await run(how, options);
        await assertCacheEquals(file, options.cacheDir);

        changeDatabase(file, 'DELETE FROM items WHERE CAST(id AS INTEGER) > 100');
        await assert.rejects(run(how, options), LossError);
        await run(how, options, { allowLoss: true });
        await assertCacheEquals(file, options.cacheDir);
      });
    }
  }

  void it('may lose the share that is allowed, and small tables may lose all', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, `${KINDS['a table in key order']}; ${FILL}`);
    const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
    await run('sync', options);
    changeDatabase(file, 'DELETE FROM items WHERE id > 500');
    await run('sync', options);
    changeDatabase(file, 'DELETE FROM items WHERE id > 99');
    await assert.rejects(run('sync', options), LossError);
    await run('sync', { ...options, maxLossShare: 0.9 });
    changeDatabase(file, 'DELETE FROM items');
    await run('sync', options);
    assert.equal(await count(options), 0);
  });

  void it('may give all rows other keys', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, `${KINDS['a table in key order']}; ${FILL}`);
    const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
    await run('sync', options);
    changeDatabase(file, 'UPDATE items SET id = -id');
    await run('sync', options);
    await assertCacheEquals(file, options.cacheDir);
  });

  for (const how of ['sync', 'rebuild'] as const) {
    void it(`does not lose a whole table that is not found any more by ${how}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, `${KINDS['a table in key order']}; ${FILL}; CREATE TABLE other (id)`);
      const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
      await run('sync', options);
      changeDatabase(file, 'DROP TABLE items');
      await assert.rejects(run(how, options), /would lose 1000 of its 1000 rows/);
      assert.equal(await count(options), ROWS);
      await run(how, options, { allowLoss: true });
      await assertCacheEquals(file, options.cacheDir);
    });
  }
});
