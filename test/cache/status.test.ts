import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { describe, it } from 'node:test';
import { readStatus, StorageSync, type StorageSyncOptions } from '../../src/index.js';
import { manifestPath } from '../../src/cache/layout.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const HOUR_MS = 3_600_000;
const { copyFileSync, openSync } = fs;

async function withSource(
  use: (options: StorageSyncOptions, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)`);
  await use({ source: { url: `file:${file}` }, cacheDir: dir.join('cache') }, dir);
}

void describe('the status of a cache', () => {
  for (const [what, shift, state] of [
    ['fresh while the cache is young', 1000, 'fresh'],
    ['stale when the cache is old', HOUR_MS, 'stale'],
    ['fresh where the clock was put right by a little', -1000, 'fresh'],
    [
      'stale where the clock was set back, for nobody knows how old the cache is',
      -HOUR_MS,
      'stale',
    ],
  ] as const) {
    void it(`is ${what}`, async (t) => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, 'CREATE TABLE t (k INTEGER PRIMARY KEY)');
      const cacheDir = dir.join('cache');
      await using storage = await StorageSync.open({ source: { url: `file:${file}` }, cacheDir });
      await storage.sync();
      const now = Date.now();
      t.mock.method(Date, 'now', () => now + shift);
      const status = await readStatus(cacheDir, { staleAfterMs: 60_000 });
      assert.equal(status.state, state);
      assert.equal(status.ageMs === null, shift === -HOUR_MS);
    });
  }

  void it('is that of the generation which is published while it is looked at', async () => {
    await withSource(async (options) => {
      const { cacheDir } = options;
      await using storage = await StorageSync.open(options);
      await storage.sync();
      const before = `${cacheDir}.before`;
      copyFileSync(manifestPath(cacheDir), before);
      await storage.rebuild();
      let looks = 0;
      fs.openSync = (path, ...how) => {
        const isFirst = path === manifestPath(cacheDir) && looks++ === 0;
        return openSync(isFirst ? before : path, ...how);
      };
      syncBuiltinESMExports();
      try {
        const { state, generation } = await readStatus(cacheDir);
        assert.deepEqual([state, generation], ['fresh', 2]);
        assert.ok(looks > 1);
      } finally {
        Object.assign(fs, { openSync });
        syncBuiltinESMExports();
      }
    });
  });
});
