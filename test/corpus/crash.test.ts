import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openCache, readStatus, StorageSync, WorkerPool } from '../../src/index.js';
import { startReader } from '../cache/reader-peer.js';
import { readGeneration } from '../crash/stored-generation.js';
import { assertCacheEquals } from '../support/compare.js';
import { bytes } from '../support/databases.js';
import { setFault, type Fault } from '../support/kill/fault.js';
import { runChild, type ChildEnd } from '../support/kill/run-child.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { readInChild } from '../sync/read-child.js';
import { numbers, Stage } from './stage.js';

/*
 * Failures that other sync tools had when they were killed or their files were damaged, each with a test of its own,
 * named after it. Where they were seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 1 });
});
after(async () => {
  await pool.close();
});

const ROWS = 400;
const BATCH = 50;
const BUILD = `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
  ${numbers(ROWS)} INSERT INTO t SELECT 'key ' || i, 'value ' || i FROM n;`;
const OPTIONS = { batchSize: BATCH };

async function syncInChild(stage: Stage, fault: Fault | null): Promise<ChildEnd> {
  return await runChild({ mode: 'sync', options: stage.options, readerThreads: 1, fault });
}

async function killAt(stage: Stage, point: string, occurrence: number): Promise<void> {
  const end = await syncInChild(stage, { point, occurrence, action: 'kill' });
  assert.equal(end.kind, 'killed', `${point} was reached`);
}

interface Manifest {
  readonly live: number | null;
  readonly building: { readonly generation: number; readonly boot: string } | null;
}

const manifestPath = ({ options }: Stage) => join(options.cacheDir, 'manifest.json');
const manifestOf = async (stage: Stage) =>
  JSON.parse(await readFile(manifestPath(stage), 'utf8')) as Manifest;

async function generationDir(stage: Stage): Promise<string> {
  const { live, building } = await manifestOf(stage);
  return join(stage.options.cacheDir, 'generations', String(building?.generation ?? live));
}

void describe('a process killed', () => {
  // dlt #4052, #3767
  for (const [point, occurrence, batches] of [
    ['write:after-put', 40, 2],
    ['write:before-commit', 3, 2],
    ['write:after-commit', 3, 3],
  ] as const) {
    for (const first of [true, false]) {
      void it(`data are not committed without their position, nor the position without data: ${first ? 'first' : 'second'} sync, ${point}`, async () => {
        await using stage = await Stage.make({ build: BUILD, sync: OPTIONS });
        if (!first) {
          assert.equal((await syncInChild(stage, null)).kind, 'completed');
          stage.change(`UPDATE t SET v = 'new ' || k`);
        }
        await killAt(stage, point, occurrence);
        const { tables } = await readGeneration(await generationDir(stage));
        const { cells, state } = tables.get('t')!;
        const { lanes, counters } = state.checkpoint!;
        const written = first
          ? cells.size
          : [...cells.values()].filter((row) => row[1]?.includes(hex('new '))).length;
        assert.equal(written, counters.rowsWritten);
        assert.equal(written, lanes[0]?.rowsSeen);
        assert.equal(lanes[0]?.sequence, batches);
        assert.equal(cells.size, state.rows);

        const end = await syncInChild(stage, null);
        assert.equal(end.kind, 'completed');
        if (end.kind === 'completed') {
          assert.equal(end.rowsFetched, ROWS - written, 'no row is read twice, none is left out');
        }
        await assertCacheEquals(stage.file, stage.options.cacheDir);
      });
    }
  }

  // dlt #4052, #3767
  for (const [point, occurrence, rounds] of [
    ['apply:after-put', 3 * BATCH - 10, 2],
    ['apply:before-commit', 3, 2],
    ['apply:after-commit', 3, 3],
  ] as const) {
    void it(`changes are not committed without their version, nor the version without changes: ${point}`, async () => {
      await using stage = await Stage.make({ build: BUILD, captured: true, sync: OPTIONS });
      assert.equal((await syncInChild(stage, null)).kind, 'completed');
      stage.change(`UPDATE t SET v = 'new ' || k`);
      await killAt(stage, point, occurrence);
      const { tables } = await readGeneration(await generationDir(stage));
      const { cells, state } = tables.get('t')!;
      const { log, counters } = state.checkpoint!;
      const written = [...cells.values()].filter((row) => row[1]?.includes(hex('new '))).length;
      assert.equal(written, counters.rowsWritten);
      // Each row was changed once, so each change has a version of its own.
      assert.equal(written, log?.version);
      assert.equal(written, rounds * BATCH);
      const end = await syncInChild(stage, null);
      assert.equal(end.kind === 'completed' && end.report.mode, 'incremental');
      if (end.kind === 'completed') {
        assert.equal(end.report.tables['t']?.rowsRead, ROWS - written);
      }
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }

  // Zero (rocicorp/mono) #6427
  for (const [point, occurrence] of [
    ['manifest:opened', 1],
    ['begin:written', 1],
    ['begin:renamed', 1],
    ['generation:directory-made', 1],
    ['environment:before-open', 1],
    ['environment:opened', 1],
    ['prepare:before-commit', 1],
    ['write:before-commit', 2],
    ['close:before-flush', 1],
    ['publish:written', 1],
  ] as const) {
    void it(`a half-made file does not block recovery: first sync killed at ${point}`, async () => {
      await using stage = await Stage.make({ build: BUILD, sync: OPTIONS });
      await killAt(stage, point, occurrence);
      assert.equal((await readStatus(stage.options.cacheDir)).state, 'empty');
      assert.equal((await syncInChild(stage, null)).kind, 'completed');
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }

  // Zero (rocicorp/mono) #6427
  for (const [what, spoil] of Object.entries<(data: string) => Promise<void>>({
    'without content': async (data) => await writeFile(data, ''),
    'cut in half': async (data) => await truncate(data, ((await stat(data)).size / 8192) * 4096),
    'of zeros': async (data) => await writeFile(data, Buffer.alloc((await stat(data)).size)),
  })) {
    void it(`a half-made file does not block recovery: one ${what} where the cache is to be`, async () => {
      await using stage = await Stage.make({ build: BUILD, sync: OPTIONS });
      await killAt(stage, 'write:after-commit', 3);
      await spoil(join(await generationDir(stage), 'data.mdb'));
      assert.equal((await syncInChild(stage, null)).kind, 'completed');
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }
});

void describe('a loss of power', () => {
  // libsql #2115, #2254, #1607
  for (const [what, isDamaged] of [
    ['half of which never reached the disk', true],
    ['that looks whole and may lack what never reached the disk', false],
  ] as const) {
    void it(`a half-built cache ${what} is not gone on from`, async () => {
      await using stage = await Stage.make({ build: BUILD, sync: OPTIONS });
      await killAt(stage, 'write:after-commit', 5);
      const manifest = await manifestOf(stage);
      const building = { ...manifest.building!, boot: 'the boot before' };
      await writeFile(manifestPath(stage), JSON.stringify({ ...manifest, building }));
      if (isDamaged) await zeroBehind(join(await generationDir(stage), 'data.mdb'), 4);
      const end = await syncInChild(stage, null);
      assert.equal(end.kind, 'completed', JSON.stringify(end));
      if (end.kind === 'completed') assert.equal(end.rowsFetched, ROWS, 'all is read anew');
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }

  // libsql #2115, #2254, #1607
  for (const [what, spoil] of Object.entries<(data: string) => Promise<void>>({
    'that is empty': async (data) => await truncate(data, 0),
    'that lacks its end': async (data) =>
      await truncate(data, Math.floor((await stat(data)).size / 2 / 4096) * 4096),
    'of zeros': async (data) => await writeFile(data, Buffer.alloc((await stat(data)).size)),
    'with zeros behind its first pages': async (data) => await zeroBehind(data, 2),
    'of garbage': async (data) => await writeFile(data, bytes((await stat(data)).size, 5)),
  })) {
    void it(`a cache file ${what} does not pass for an empty cache, and a rebuild makes it good`, async () => {
      await using stage = await Stage.make({ build: BUILD, sync: OPTIONS });
      assert.equal((await syncInChild(stage, null)).kind, 'completed');
      await spoil(join(await generationDir(stage), 'data.mdb'));
      const { exit, told, stderr } = await readInChild(stage.options.cacheDir);
      assert.equal(exit, '0', stderr);
      assert.equal(told['code'], 'CACHE_CORRUPT', JSON.stringify(told));
      assert.ok(existsSync(manifestPath(stage)), 'nothing was begun anew unasked');
      assert.equal((await manifestOf(stage)).live, 1);
      await using storage = await StorageSync.open({ ...stage.options, pool });
      await storage.rebuild();
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }
});

void describe('a sync under way', () => {
  // libsql #979
  for (const mode of ['sync', 'rebuild'] as const) {
    void it(`reads do not stall while a batch is written: ${mode}`, async () => {
      const build = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
        ${numbers(ROWS)} INSERT INTO t SELECT i, 'old' FROM n;`;
      await using stage = await Stage.make({ build, sync: OPTIONS });
      await stage.sync(pool);
      stage.change(`UPDATE t SET v = 'new'; DELETE FROM t WHERE id < 20`);
      const fault = setFault({ point: 'write:before-commit', occurrence: 1, action: 'hold' });
      await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
      await using storage = await StorageSync.open({ ...stage.options, pool: held });
      await using elsewhere = await startReader('process', stage.options.cacheDir);
      const before = { rows: ROWS, old: ROWS };
      assert.deepEqual(await elsewhere.ask('count'), before);
      await using here = openCache(stage.options.cacheDir);
      const syncing = storage[mode]();
      await fault.held();
      // Whoever waited for the writer here would wait until it is no longer held, and see what it has written.
      assert.deepEqual(await elsewhere.ask('count'), before);
      const rows = [...here.table('t').range()];
      assert.equal(rows.filter((row) => row['v'] === 'old').length, ROWS);
      fault.release();
      await syncing;
      await assertCacheEquals(stage.file, stage.options.cacheDir);
    });
  }
});

/** Leaves a file its first pages, as if the others had never been written. */
async function zeroBehind(path: string, pages: number): Promise<void> {
  const file = await open(path, 'r+');
  const at = pages * 4096;
  const { size } = await file.stat();
  await file.write(Buffer.alloc(size - at), 0, size - at, at);
  await file.close();
}

const hex = (text: string) => Buffer.from(text).toString('hex');
