import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statfsSync, statSync, type Stats } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CacheError, openCache, type StorageSync } from '../../src/index.js';
import { run } from '../cli/command.js';
import { ReadingProcess } from './reading-process.js';
import { Stage } from './stage.js';

const MEBIBYTE = 1024 * 1024;
/** Of 5000 rows of 400 bytes, a sync that rewrites all of them takes some 2.3 MiB. */
const ROWS = 5000;

function dataFile({ cacheDir }: Stage, generation: number): Stats {
  return statSync(join(cacheDir, 'generations', String(generation), 'data.mdb'));
}

function dataBytes(stage: Stage, generation: number): number {
  return dataFile(stage, generation).size;
}

async function syncTimes(stage: Stage, storage: StorageSync, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    stage.change(`change ${i}`);
    await storage.sync();
  }
}

void describe('a snapshot that is never closed', () => {
  void it('is named in the status, in the report and by the command, with how far it lags behind', async () => {
    await using stage = await Stage.set(200);
    await using storage = await stage.open();
    await storage.sync();
    await using reading = await ReadingProcess.start(stage.cacheDir);
    assert.deepEqual(
      (await storage.status()).snapshots,
      [],
      'one of the newest state is no burden',
    );

    await syncTimes(stage, storage, 1);
    const [first] = (await storage.status()).snapshots;
    assert.equal(first?.pid, reading.pid);
    assert.match(first.thread, /^[0-9a-f]+$/);
    assert.ok(first.behind > 0);
    assert.ok(first.pinnedBytes! > 0);

    stage.change('again');
    const begun = Date.now();
    const { warnings } = await storage.sync();
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      new RegExp(`held by process ${reading.pid}, thread ${first.thread}`),
    );
    const [second] = (await storage.status()).snapshots;
    assert.equal(second?.transaction, first.transaction);
    assert.ok(second.behind > first.behind);
    assert.ok(second.pinnedBytes! > first.pinnedBytes!);
    assert.ok(Date.parse(second.since!) >= begun - 1000);

    stage.change('and again');
    await storage.sync();
    assert.equal((await storage.status()).snapshots[0]?.since, second.since, 'since stays');
    const told = await run(['status', '--cache', stage.cacheDir]);
    assert.match(told.stdout, new RegExp(`snapshot +A snapshot is held by process ${reading.pid}`));

    await reading.kill();
    assert.deepEqual((await storage.sync()).warnings, []);
    assert.deepEqual((await storage.status()).snapshots, []);
    assert.doesNotMatch(readFileSync(join(stage.cacheDir, 'state.json'), 'utf8'), /snapshots/);
  });

  void it('makes the file grow to a limit only; then a generation is built beside it, and it reads on', async () => {
    await using stage = await Stage.set(ROWS);
    await using storage = await stage.open();
    await storage.sync();
    await using reading = await ReadingProcess.start(stage.cacheDir);
    let last = await storage.sync();
    for (let i = 0; i < 20 && last.generation === 1; i++) {
      assert.ok(dataBytes(stage, 1) < 24 * MEBIBYTE, `${dataBytes(stage, 1)} bytes`);
      stage.change(`change ${i}`);
      last = await storage.sync();
    }
    assert.equal(last.generation, 2);
    assert.equal(last.mode, 'rebuild');
    assert.match(last.warnings[0]!, new RegExp(`built anew.*process ${reading.pid}`));
    assert.equal(await reading.look(), `${ROWS} rows, 1 values, first---`);
    await using cache = openCache(stage.cacheDir);
    assert.match(String(cache.table('t').get(1)?.['v']), /^change/);
    // The snapshot keeps nothing of the new one.
    await syncTimes(stage, storage, 4);
    assert.ok(dataBytes(stage, 2) < 8 * MEBIBYTE, `${dataBytes(stage, 2)} bytes`);
    assert.deepEqual(readdirSync(join(stage.cacheDir, 'generations')), ['2']);
  });

  void it('fails the sync where the cache is not to be built anew, and the cache stays', async () => {
    await using stage = await Stage.set(ROWS);
    await using storage = await stage.open({ autoRebuild: false, maxHeldShare: 0 });
    await storage.sync();
    await using reading = await ReadingProcess.start(stage.cacheDir);
    await assert.rejects(syncTimes(stage, storage, 20), (error: unknown) => {
      assert.ok(error instanceof CacheError && error.code === 'CACHE_SNAPSHOT_HELD', String(error));
      assert.equal(error.context['pid'], reading.pid);
      assert.match(error.message, new RegExp(`process ${reading.pid}`));
      return true;
    });
    assert.equal((await storage.status()).lastError?.code, 'CACHE_SNAPSHOT_HELD');
    assert.equal(storage.cache.table('t').count(), ROWS);
    await reading.kill();
    assert.equal((await storage.sync()).generation, 1);
  });

  void it('is ended and warned of once it is collected', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    const lose = () => void storage.cache.snapshot().table('t').count();
    lose();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const warned = once(process, 'warning') as Promise<[Error & { readonly code?: string }]>;
    let warning: (Error & { readonly code?: string }) | undefined;
    void warned.then(([each]) => (warning = each));
    for (let i = 0; i < 200 && warning === undefined; i++) {
      collect();
      await sleep(10);
    }
    assert.equal(warning?.code, 'STORAGE_SYNC_SNAPSHOT_LOST');
    assert.match(warning.message, /at lose .*snapshots\.test/s);
    stage.change('again');
    await storage.sync();
    assert.deepEqual((await storage.status()).snapshots, [], 'it holds nothing any more');
  });

  void it('may be closed twice', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    const other = storage.cache.snapshot();
    const snapshot = storage.cache.snapshot();
    snapshot.close();
    snapshot.close();
    stage.change('again');
    await storage.sync();
    assert.match(String(other.table('t').get(1)?.['v']), /^first/);
    other.close();
  });
});

void describe('the files of an old generation', { skip: process.platform !== 'linux' }, () => {
  void it('give their space back when the last reader is killed, who saw it whole until then', async (t) => {
    await using stage = await Stage.set(ROWS);
    try {
      execFileSync('mkdir', ['-p', stage.cacheDir]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=700', 'tmpfs', stage.cacheDir], {
        stdio: 'ignore',
      });
    } catch {
      return t.skip('only root can mount a small file system');
    }
    try {
      await using storage = await stage.open();
      await storage.sync();
      const size = 512 * dataFile(stage, 1).blocks;
      await using one = await ReadingProcess.start(stage.cacheDir);
      await using two = await ReadingProcess.start(stage.cacheDir);
      stage.change('second');
      await storage.rebuild();
      assert.ok(!existsSync(join(stage.cacheDir, 'generations/1')));
      const held = used(stage);
      for (const each of [one, two]) {
        assert.equal(await each.look(), `${ROWS} rows, 1 values, first---`);
      }
      await one.kill();
      assert.equal(await two.look(), `${ROWS} rows, 1 values, first---`);
      assert.ok(used(stage) > held - size, 'the other still reads it');
      await two.kill();
      assert.ok(used(stage) <= held - size, `${used(stage)} of ${held}, ${size}`);
    } finally {
      execFileSync('umount', ['-l', stage.cacheDir]);
    }
    function used({ cacheDir }: Stage): number {
      const { blocks, bfree, bsize } = statfsSync(cacheDir);
      return (blocks - bfree) * bsize;
    }
  });
});
