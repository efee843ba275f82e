import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { describe, it } from 'node:test';
import { readStatus, StorageSync, type StorageSyncOptions } from '../../src/index.js';
import { manifestPath } from '../../src/cache/layout.js';
import { changeDatabase } from '../support/databases.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const HOUR_MS = 3600_000;
const { readFileSync } = fs;

async function withSource(
  use: (options: StorageSyncOptions, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)`);
  await use({ source: { url: `file:${file}` }, cacheDir: dir.join('cache') }, dir);
}

void describe('the status of a cache', () => {
  for (const hours of [-5, 5]) {
    void it(`is not fresh by a clock that was ${hours} h ahead when it was synced`, async () => {
      await withSource(async (options) => {
        const order = { mode: 'sync', options, readerThreads: 1, fault: null } as const;
        const end = await runChild(order, { clockAheadMs: hours * HOUR_MS });
        assert.equal(end.kind, 'completed');
        assert.equal((await readStatus(options.cacheDir)).state, 'stale');
        await runChild(order);
        assert.equal((await readStatus(options.cacheDir)).state, 'fresh');
      });
    });
  }

  void it('is that of the generation which is published while it is looked at', async () => {
    await withSource(async (options) => {
      const { cacheDir } = options;
      await using storage = await StorageSync.open(options);
      await storage.sync();
      const before = readFileSync(manifestPath(cacheDir), 'utf8');
      await storage.rebuild();
      let looks = 0;
      fs.readFileSync = ((...args: Parameters<typeof readFileSync>) => {
        if (args[0] === manifestPath(cacheDir) && looks++ === 0) return before;
        return readFileSync(...args);
      }) as typeof readFileSync;
      syncBuiltinESMExports();
      try {
        const { state, generation } = await readStatus(cacheDir);
        assert.deepEqual([state, generation], ['fresh', 2]);
        assert.ok(looks > 1);
      } finally {
        Object.assign(fs, { readFileSync });
        syncBuiltinESMExports();
      }
    });
  });
});
