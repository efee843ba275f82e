import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { tryLock } from 'fs-native-extensions';
import { openCache, readStatus, StorageSync } from '../../src/index.js';
import { CacheLock } from '../../src/cache/lock.js';
import { lockPath, statePath } from '../../src/cache/layout.js';
import { changeDatabase } from '../support/databases.js';
import { RunningCommand } from '../cli/command.js';
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

/** Runs a command that must not wait for ever. */
async function ends(args: readonly string[]): Promise<{ code: number | null; told: string }> {
  const command = new RunningCommand(args);
  const timer = setTimeout(() => command.process.kill('SIGKILL'), 20_000);
  const { code, stdout, stderr } = await command.ended;
  clearTimeout(timer);
  assert.notEqual(code, null, `${args[0]} waits`);
  return { code, told: stdout + stderr };
}

/** Something that is no file, in the place of one. */
const IN_THE_WAY: Record<string, (path: string) => void> = {
  'a pipe': (path) => void execFileSync('mkfifo', [path]),
  'a directory': (path) => mkdirSync(join(path, 'with'), { recursive: true }),
};

void describe('in the place of a file of a cache', { skip: process.platform === 'win32' }, () => {
  for (const [what, put] of Object.entries(IN_THE_WAY)) {
    for (const [name, mends] of [
      ['manifest.json', what === 'a pipe'],
      ['manifest.backup.json', true],
      ['state.json', what === 'a pipe'],
      ['lock', false],
      ['generations/1/seal.json', true],
      ['generations/1/data.mdb', true],
      ['generations/1/lock.mdb', true],
      ['generations/1/commit.lock', true],
      ['generations/1', true],
    ] as const) {
      void it(`${what} holds nobody up, and is mended or told: ${name}`, async () => {
        await withCache(async (storage, cacheDir, file) => {
          await storage.close();
          rmSync(join(cacheDir, name), { recursive: true });
          put(join(cacheDir, name));
          changeDatabase(file, 'INSERT INTO t VALUES (3)');
          const cache = ['--cache', cacheDir];
          const { told: status } = await ends(['status', ...cache]);
          assert.doesNotMatch(status, /internal|EISDIR:|ENOTDIR:/);
          const { told: diagnosis } = await ends(['doctor', '--source', `file:${file}`, ...cache]);
          assert.match(diagnosis, /cache/);
          assert.doesNotMatch(diagnosis, /internal|EISDIR:|ENOTDIR:/);
          const { code, told } = await ends(['sync', '--source', `file:${file}`, ...cache]);
          assert.equal(code, mends ? 0 : 1, told);
          if (!mends) assert.match(told, /Remove|is not a file|directory is in the way/);
          if (name === 'lock') return;
          const read = await ends(['get', 't', '3', ...cache]);
          if (mends) assert.equal(read.told.trim(), '{"k":3}');
          // What is served is, whatever cannot be written.
          assert.equal((await ends(['get', 't', '2', ...cache])).told.trim(), '{"k":2}');
        });
      });
    }
  }
});

void describe('the lock of a cache', () => {
  void it('is not taken for that of a writer by two who look at the same time', async () => {
    await withCache(async (_, cacheDir) => {
      // As a look at the status does, for an instant.
      const looking = openSync(lockPath(cacheDir), 'r+');
      try {
        assert.ok(tryLock(looking, { shared: true }));
        const { state, holder } = await readStatus(cacheDir);
        assert.deepEqual([state, holder], ['fresh', null]);
      } finally {
        closeSync(looking);
      }
    });
  });

  void it('is not waited for until a clock that was set back is where it was', async (t) => {
    await withCache(async (_, cacheDir) => {
      await using _lock = await CacheLock.acquire(cacheDir, 'sync');
      let now = Date.now();
      t.mock.method(Date, 'now', () => (now -= 60_000));
      const timeout = AbortSignal.timeout(10_000);
      const waits = new Promise((_resolve, reject) => {
        timeout.addEventListener('abort', () => reject(new Error('It waits.')));
      });
      await assert.rejects(Promise.race([CacheLock.acquire(cacheDir, 'sync'), waits]), {
        code: 'CACHE_LOCKED',
      });
    });
  });
});
