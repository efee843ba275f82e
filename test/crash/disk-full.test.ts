import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CacheError, StorageSync } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { SmallDisk } from '../support/small-disk.js';
import { TempDirectory } from '../support/temp.js';
import { Chain } from './chain.js';
import { firstLoad, firstSync, memory, rebuild, rebuildByLoad, resync } from './scenarios.js';

/** Starts a process that can make no file larger than this many blocks of 512 bytes. */
const limited = (blocks: number) => `trap '' XFSZ; ulimit -f ${blocks}; exec "$@"`;

void describe('a disk that is full', { skip: process.platform === 'win32' }, () => {
  for (const [scenario, blocks] of [
    [firstSync, 0],
    [firstSync, 300],
    [resync, 700],
    [memory, 500],
    [rebuild, 0],
    [rebuild, 300],
    [firstLoad, 1000],
    [rebuildByLoad, 3000],
  ] as const) {
    void it(`fails the sync, keeps what was committed, and with room it goes on: ${scenario.name}, ${blocks} blocks`, async () => {
      await using chain = await Chain.begin(scenario);
      const end = await chain.fail(limited(blocks));
      assert.equal(end.kind, 'failed', JSON.stringify(end));
      if (end.kind === 'failed') assert.equal(end.code, 'CACHE_FULL', end.message);
      await chain.finish();
    });
  }

  const disks = [
    ...[8, 32, 64, 200].map((kibibytes) => [firstSync, kibibytes] as const),
    // Too little for the spool and the long values of a load; for its other pages.
    [firstLoad, 2000],
    [firstLoad, 4700],
  ] as const;
  for (const [scenario, kibibytes] of disks) {
    void it(`fails the sync and not the process on a file system of ${kibibytes} KiB: ${scenario.name}`, async (t) => {
      using disk = SmallDisk.mount(kibibytes);
      if (!disk) return t.skip('only root can mount a small file system');
      await using chain = await Chain.begin(scenario, disk.path);
      const end = await chain.fail('exec "$@"');
      assert.equal(end.kind, 'failed', JSON.stringify(end));
      if (end.kind === 'failed') assert.equal(end.code, 'CACHE_FULL', end.message);
      disk.grow();
      await chain.finish();
    });
  }
});

void describe('a disk without room for another generation', () => {
  void it('refuses a rebuild before it reads anything, and serves on', async (t) => {
    using disk = SmallDisk.mount(1500);
    if (!disk) return t.skip('only root can mount a small file system');
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (k INTEGER PRIMARY KEY, v);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       INSERT INTO t SELECT i, printf('%.*c', 400, 'x') FROM n`,
    );
    const options = { source: { url: `file:${file}` }, cacheDir: join(disk.path, 'cache') };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    let looked = false;
    const rebuilt = storage.rebuild({ onProgress: ({ rowsRead }) => (looked ||= rowsRead > 0) });
    await assert.rejects(Promise.resolve(rebuilt), (error: unknown) => {
      assert.ok(error instanceof CacheError && error.code === 'CACHE_FULL', String(error));
      assert.match(error.message, /needs about \d+ bytes/);
      return true;
    });
    assert.equal(looked, false);
    assert.equal(storage.cache.table('t').count(), 2000);
    assert.equal((await storage.sync()).generation, 1);
  });
});
