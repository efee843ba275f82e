import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { openCache, readStatus, StorageSync } from '../../src/index.js';
import { CacheLock } from '../../src/cache/lock.js';
import { lockPath, statePath } from '../../src/cache/layout.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { servedFile } from './file-bytes.js';

async function withCache(
  use: (storage: StorageSync, cacheDir: string, file: string) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, 'CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)');
  const cacheDir = dir.join('cache');
  await using storage = await StorageSync.open({ source: { url: `file:${file}` }, cacheDir });
  await storage.sync();
  await use(storage, cacheDir, file);
}

const HOSTILE = [
  'null',
  '5',
  '"x"',
  '[]',
  '{}',
  '{"writer":"me"}',
  '{"writer":null}',
  '{"bytes":{},"modified":[]}',
  '{"lastError":7,"failedSyncs":"many","rows":"none"}',
  '{"lastError":{"at":1,"code":2,"message":3},"failedSyncs":-1,"rows":{"t":"x","u":null}}',
  '{"pid":null}',
  '\0',
  '',
];

void describe('small files of a cache that hold something else', () => {
  for (const text of HOSTILE) {
    void it(`stop neither reads, status nor syncs: ${JSON.stringify(text)}`, async () => {
      await withCache(async (storage, cacheDir, file) => {
        const seal = join(dirname(servedFile(cacheDir)), 'seal.json');
        for (const path of [seal, statePath(cacheDir)]) writeFileSync(path, text);
        {
          await using cache = openCache(cacheDir);
          assert.equal(cache.table('t').count(), 2);
        }
        const { lastError, failedSyncs } = await readStatus(cacheDir);
        assert.deepEqual([lastError, failedSyncs], [null, 0]);
        writeFileSync(seal, text);
        changeDatabase(file, 'INSERT INTO t VALUES (3)');
        await storage.sync();
        assert.equal(storage.cache.table('t').count(), 3);
      });
    });

    void it(`name no holder of the lock: ${JSON.stringify(text)}`, async () => {
      await withCache(async (storage, cacheDir) => {
        await using _lock = await CacheLock.acquire(cacheDir, 'sync');
        writeFileSync(lockPath(cacheDir), text);
        await assert.rejects(async () => await storage.sync(), { code: 'CACHE_LOCKED' });
        assert.equal((await readStatus(cacheDir)).holder?.pid, 0);
      });
    });
  }
});
