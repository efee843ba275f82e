import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { cp, mkdir, open, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  openCache,
  readStatus,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
} from '../../src/index.js';
import { syncInChild } from '../source/sync-child.js';
import { recordDigests } from '../support/compare.js';
import { bytes, changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { readInChild } from './read-child.js';

let pool: WorkerPool;
let dir: TempDirectory;
let options: StorageSyncOptions;
before(async () => {
  pool = new WorkerPool({ readerThreads: 1 });
  dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     INSERT INTO t SELECT 'key ' || i, 'value ' || i FROM n;
     CREATE TABLE u (id INTEGER PRIMARY KEY, b); INSERT INTO u VALUES (1, zeroblob(100000));`,
  );
  options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await storage.rebuild();
});
after(async () => {
  await dir[Symbol.asyncDispose]();
  await pool.close();
});

/** A copy of the cache to spoil. */
async function copyCache(name: string): Promise<{ cacheDir: string; data: string }> {
  const cacheDir = dir.join(name);
  await cp(options.cacheDir, cacheDir, { recursive: true });
  return { cacheDir, data: join(cacheDir, 'generations', '2', 'data.mdb') };
}

/** Puts another database in the source's place, for a time. */
async function moveSource(file: string): Promise<AsyncDisposable> {
  const source = dir.join('source.db');
  await rename(source, dir.join('kept.db'));
  await rename(file, source);
  return {
    [Symbol.asyncDispose]: async () => await rename(dir.join('kept.db'), source),
  };
}

async function overwrite(path: string, at: number, content: Uint8Array): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(content, 0, content.length, at);
  await file.close();
}

type Damage = (data: string) => Promise<void>;
const sizeOf = async (path: string): Promise<number> => (await stat(path)).size;

/** Damage that must be found before anything is read. */
const REFUSED: Readonly<Record<string, Damage>> = {
  'an empty file': async (data) => await truncate(data, 0),
  'half a file': async (data) =>
    await truncate(data, Math.floor((await sizeOf(data)) / 2 / 4096) * 4096),
  'one page': async (data) => await truncate(data, 4096),
  'a file of zeros': async (data) => await writeFile(data, Buffer.alloc(await sizeOf(data))),
  'a file of garbage': async (data) => await writeFile(data, bytes(await sizeOf(data), 9)),
  'another kind of file': async (data) => await writeFile(data, 'SQLite format 3\0'.repeat(10_000)),
  'no file': async (data) => await rm(data),
};

/** Damage to one of the two pages that name a state of the file: the other one is whole. */
const SET_BACK: Readonly<Record<string, Damage>> = {
  'a damaged first page': async (data) => await overwrite(data, 0, bytes(4096, 3)),
  'a damaged second page': async (data) => await overwrite(data, 4096, bytes(4096, 4)),
  'a first page without its mark': async (data) => await overwrite(data, 24, bytes(4, 5)),
  'a first page of zeros': async (data) => await overwrite(data, 0, Buffer.alloc(4096)),
};

/** Damage that may be found late, but must never end the process, nor give a wrong row. */
const SURVIVED: Readonly<Record<string, Damage>> = {
  // It may be a free one, which need not be there.
  'a file without its last page': async (data) => await truncate(data, (await sizeOf(data)) - 4096),
  'zeros in the second half': async (data) => {
    const size = await sizeOf(data);
    await overwrite(data, Math.floor(size / 2), Buffer.alloc(Math.ceil(size / 2)));
  },
  'zeros in all but the first two pages': async (data) =>
    await overwrite(data, 8192, Buffer.alloc((await sizeOf(data)) - 8192)),
  'garbage in all but the first two pages': async (data) =>
    await overwrite(data, 8192, bytes((await sizeOf(data)) - 8192, 7)),
  'garbage in each tenth page': async (data) => {
    const size = await sizeOf(data);
    for (let at = 8192; at < size; at += 40_960) await overwrite(data, at, bytes(4096, at));
  },
  'a garbage root': async (data) => {
    for (const page of [0, 4096]) await overwrite(data, page + 136, bytes(8, page + 1));
  },
  'a root beyond the end': async (data) => {
    for (const page of [0, 4096])
      await overwrite(data, page + 136, Uint8Array.of(255, 255, 3, 0, 0, 0, 0, 0));
  },
  'garbage for the root of free pages': async (data) => {
    for (const page of [0, 4096]) await overwrite(data, page + 88, bytes(8, page + 1));
  },
};

void describe('a damaged cache file', () => {
  for (const [name, damage] of Object.entries(REFUSED)) {
    void it(`is refused: ${name}`, async () => {
      const { cacheDir, data } = await copyCache(`refused ${name}`);
      await damage(data);
      const { exit, told, stderr } = await readInChild(cacheDir, options.source.url);
      assert.equal(exit, '0', stderr);
      assert.equal(told['code'], 'CACHE_CORRUPT', JSON.stringify(told));
      assert.equal(told['sync'], undefined, 'a sync builds it anew');
      assert.deepEqual((await readInChild(cacheDir)).told, {});
      assert.deepEqual(await recordDigests(cacheDir), await recordDigests(options.cacheDir));
    });

    void it(`is left as it is where that is asked for: ${name}`, async () => {
      const { cacheDir, data } = await copyCache(`left ${name}`);
      await damage(data);
      const left = await readFile(data).catch(() => null);
      await using storage = await StorageSync.open({
        ...options,
        cacheDir,
        pool,
        autoRebuild: false,
      });
      await assert.rejects(Promise.resolve(storage.sync()), { code: 'CACHE_CORRUPT' });
      const status = await readStatus(cacheDir);
      assert.deepEqual([status.state, status.lastError?.code], ['corrupt', 'CACHE_CORRUPT']);
      assert.deepEqual(await readFile(data).catch(() => null), left);
    });
  }

  for (const [name, damage] of Object.entries(SET_BACK)) {
    void it(`is set back by a transaction: ${name}`, async () => {
      const { cacheDir, data } = await copyCache(`set back ${name}`);
      await damage(data);
      assert.throws(() => openCache(cacheDir), { code: 'CACHE_CORRUPT' });
      await using storage = await StorageSync.open({ ...options, cacheDir, pool });
      const report = await storage.sync();
      assert.equal(report.validation.passed, true);
      assert.match(report.warnings.join(), /set back/);
      assert.deepEqual((await readInChild(cacheDir)).told, {});
      assert.deepEqual(await recordDigests(cacheDir), await recordDigests(options.cacheDir));
      assert.deepEqual((await storage.sync()).warnings, []);
    });
  }

  void it('is held against the rows that it had, when it is built anew', async () => {
    const { cacheDir, data } = await copyCache('lossy');
    await truncate(data, 0);
    const file = dir.join('emptied.db');
    await cp(dir.join('source.db'), file);
    changeDatabase(file, 'DELETE FROM t WHERE length(k) > 5');
    await using _renamed = await moveSource(file);
    await using storage = await StorageSync.open({ ...options, cacheDir, pool });
    await assert.rejects(Promise.resolve(storage.sync()), { code: 'LOSS_SUSPECTED' });
    assert.equal((await storage.sync({ allowLoss: true })).mode, 'rebuild');
    assert.equal(storage.cache.table('t').count(), 9);
  });

  void it('is made good by a rebuild', async () => {
    const { cacheDir, data } = await copyCache('rebuilt');
    await REFUSED['half a file']!(data);
    await using storage = await StorageSync.open({ ...options, cacheDir, pool });
    const report = await storage.rebuild();
    assert.equal(report.tables['t']?.rowsWritten, 3000);
    assert.deepEqual(await recordDigests(cacheDir), await recordDigests(options.cacheDir));
  });

  for (const [name, damage] of Object.entries(SURVIVED)) {
    void it(`does not end the process: ${name}`, async () => {
      const { cacheDir, data } = await copyCache(`survived ${name}`);
      await damage(data);
      const { exit, told, stderr } = await readInChild(cacheDir, options.source.url);
      assert.equal(exit, '0', `${exit} ${stderr.slice(0, 300)}`);
      const shown = JSON.stringify(told);
      assert.equal(told['wrong'], undefined, shown);
      // What is not read is not found: then all went well, and the rows are right.
      assert.match(told['code'] ?? '', /^(CACHE_CORRUPT|TABLE_NOT_FOUND|)$/, shown);
      assert.equal(told['sync'], undefined, shown);
      assert.deepEqual((await readInChild(cacheDir)).told, {});
    });
  }
});

void describe('the manifest', () => {
  for (const [name, change, code] of [
    [
      'of a newer format',
      (manifest: object) => JSON.stringify({ ...manifest, format: 2 }),
      'CACHE_FORMAT_UNSUPPORTED',
    ],
    [
      'of another product',
      (manifest: object) => JSON.stringify({ ...manifest, product: 'other' }),
      'CACHE_FORMAT_UNSUPPORTED',
    ],
  ] as const) {
    void it(`${name} is refused`, async () => {
      const { cacheDir } = await copyCache(`manifest ${name}`);
      const path = join(cacheDir, 'manifest.json');
      await writeFile(path, change(JSON.parse(await readFile(path, 'utf8')) as object));
      // As whoever wrote it does.
      await cp(path, join(cacheDir, 'manifest.backup.json'));
      const spoiled = await readFile(path);
      assert.throws(() => openCache(cacheDir), { name: 'CacheError', code });
      const synced = async () => {
        await using storage = await StorageSync.open({ ...options, cacheDir, pool });
        await storage.sync();
      };
      await assert.rejects(synced(), { name: 'CacheError', code });
      assert.deepEqual(await readFile(path), spoiled, 'and left as it is');
    });
  }

  for (const [name, change] of Object.entries<(manifest: string) => string | null>({
    'is cut': (manifest) => manifest.slice(0, 30),
    'is empty': () => '',
    'is null': () => 'null',
    'has a strange generation': (manifest) => manifest.replace('"live": 2', '"live": -1'),
    'has a format that never was': (manifest) => manifest.replace('"format": 1', '"format": "x"'),
    'is missing': () => null,
  })) {
    const spoil = async (path: string) => {
      const changed = change(await readFile(path, 'utf8'));
      if (changed === null) await rm(path);
      else await writeFile(path, changed);
    };

    void it(`that ${name} is read from its backup, and restored by a sync`, async () => {
      const { cacheDir } = await copyCache(`manifest ${name}`);
      const path = join(cacheDir, 'manifest.json');
      const whole = await readFile(path, 'utf8');
      await spoil(path);
      assert.deepEqual((await readInChild(cacheDir)).told, {});
      assert.equal((await readStatus(cacheDir)).generation, 2);
      await using storage = await StorageSync.open({ ...options, cacheDir, pool });
      const report = await storage.sync();
      assert.deepEqual([report.mode, report.generation], ['full', 2]);
      assert.match(report.warnings.join(), /restored from its backup/);
      assert.equal(await readFile(path, 'utf8'), whole);
    });

    void it(`that ${name}, as its backup does, is made anew by a sync`, async () => {
      const { cacheDir } = await copyCache(`manifests ${name}`);
      await spoil(join(cacheDir, 'manifest.json'));
      await spoil(join(cacheDir, 'manifest.backup.json'));
      await using storage = await StorageSync.open({ ...options, cacheDir, pool });
      await storage.sync();
      assert.deepEqual((await readInChild(cacheDir)).told, {});
      assert.deepEqual(await recordDigests(cacheDir), await recordDigests(options.cacheDir));
    });
  }

  for (const [name, from, to] of [
    ['another product', 'storage-sync', 'storage-symc'],
    ['a newer format', '"format": 1', '"format": 3'],
  ] as const) {
    void it(`that one bit makes seem of ${name} is restored from its backup`, async () => {
      const { cacheDir } = await copyCache(`manifest seems of ${name}`);
      const path = join(cacheDir, 'manifest.json');
      const whole = await readFile(path, 'utf8');
      await writeFile(path, whole.replace(from, to));
      assert.deepEqual((await readInChild(cacheDir)).told, {});
      await using storage = await StorageSync.open({ ...options, cacheDir, pool });
      assert.match((await storage.sync()).warnings.join(), /restored from its backup/);
      assert.equal(await readFile(path, 'utf8'), whole);
    });
  }

  void it('of a generation that is not there: the cache is built anew', async () => {
    const { cacheDir } = await copyCache('manifest of nothing');
    const path = join(cacheDir, 'manifest.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"live": 2', '"live": 77'));
    assert.throws(() => openCache(cacheDir), { code: 'CACHE_CORRUPT' });
    await using storage = await StorageSync.open({ ...options, cacheDir, pool });
    assert.equal((await storage.sync()).generation, 78);
    assert.deepEqual((await readInChild(cacheDir)).told, {});
  });

  void it('is never written with a number that no manifest may have', async () => {
    const { cacheDir } = await copyCache('greatest number');
    await mkdir(join(cacheDir, 'generations', String(Number.MAX_SAFE_INTEGER)));
    await using storage = await StorageSync.open({ ...options, cacheDir, pool });
    assert.equal((await storage.rebuild()).generation, 3);
    assert.deepEqual((await readInChild(cacheDir)).told, {});
  });
});

void describe('the lock', () => {
  void it('tells another process who writes', async () => {
    const file = dir.join('source.db');
    await using server = await startHranaServer({ file });
    await server.fault({ action: { kind: 'latency', ms: 500 }, times: Infinity });
    const cacheDir = dir.join('locked');
    await using storage = await StorageSync.open({
      source: { url: server.httpUrl },
      cacheDir,
      batchSize: 200,
      pool,
    });
    const running = storage.sync();
    while ((await readStatus(cacheDir)).holder === null) await setTimeout(20);
    const { outcomes, exit } = await syncInChild([{ source: { url: server.httpUrl }, cacheDir }]);
    assert.equal(exit, '0');
    assert.equal(outcomes[0]?.error?.code, 'CACHE_LOCKED', JSON.stringify(outcomes));
    assert.match(outcomes[0].error.message, new RegExp(`process ${process.pid}\\b`));
    // The same process is no exception, nor is the same object.
    await assert.rejects(Promise.resolve(storage.sync()), { code: 'CACHE_LOCKED' });
    const status = await readStatus(cacheDir);
    assert.equal(status.state, 'syncing');
    assert.equal(status.holder?.pid, process.pid);
    await server.clearFaults();
    await running;
    assert.equal((await readStatus(cacheDir)).holder, null);
    const again = await syncInChild([{ source: { url: server.httpUrl }, cacheDir }]);
    assert.equal(again.outcomes[0]?.error, undefined);
  });

  void it('ends with a process that is killed', async () => {
    const file = dir.join('source.db');
    await using server = await startHranaServer({ file });
    const stalled = await server.fault({
      action: { kind: 'stall' },
      sql: /FROM main\./,
      times: Infinity,
    });
    const cacheDir = dir.join('killed');
    const own = { source: { url: server.httpUrl }, cacheDir };
    const path = new URL('../source/sync-child.js', import.meta.url);
    const child = fork(path, [JSON.stringify([own])], { stdio: 'ignore' });
    while ((await stalled.fired()) === 0) await setTimeout(20);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    await server.clearFaults();
    await using storage = await StorageSync.open({ ...own, pool });
    const report = await storage.sync();
    assert.equal(report.tables['t']?.rowsRead, 3000);
  });
});
