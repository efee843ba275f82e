import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs, {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { open } from 'lmdb';
import { BulkFile, openBulk, PageCounter, type PlacedRun } from '../../src/cache/bulk/bulk-file.js';
import { finishBulk } from '../../src/cache/bulk/finish-bulk.js';
import { joinRuns } from '../../src/cache/bulk/join-runs.js';
import { LeafRunBuilder, memoryOf } from '../../src/cache/bulk/leaf-run.js';
import { Environment, type BytesDatabase } from '../../src/cache/environment.js';
import { dataPath } from '../../src/cache/layout.js';
import { readPageUse } from '../../src/cache/pinned-pages.js';
import { preflight } from '../../src/cache/preflight.js';
import { MAX_KEY_BYTES } from '../../src/transform/key-codec.js';
import fc from '../support/fast-check.js';
import { Random } from '../support/random.js';
import { TempDirectory } from '../support/temp.js';
import {
  assertHolds,
  assertSound,
  bulkLoad,
  fileState,
  LOADED,
  makeEmpty,
  numbered,
  packRuns,
  randomBytes,
  randomEntries,
  treeOf,
  withEnvironment,
  type Entry,
} from './bulk-load.js';
import type { ThreadOrder } from './bulk-thread.js';

const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;
const STATS = ['treeLeafPageCount', 'overflowPages', 'entryCount', 'pageSize'];

const random = new Random(7);
const SHAPES: Readonly<Record<string, readonly Entry[]>> = {
  'no record': [],
  'one record': numbered(1, 10, 100),
  'one record without a value': numbered(1, 10, 0),
  'one leaf': numbered(9, 36, 350),
  'two leaves': numbered(12, 36, 350),
  'rows of the usual size': randomEntries(random, 3000, [36, 36], [300, 400]),
  'tiny records': randomEntries(random, 5000, [5, 7], [0, 3]),
  'records of all sizes': randomEntries(random, 600, [1, 200], [0, 3000]),
  'values around the limit of a leaf': Array.from({ length: 60 }, (_, i): Entry => [
    Buffer.from([0x20, i]),
    Buffer.alloc(1990 + i, i),
  ]),
  'values around full overflow pages': Array.from({ length: 120 }, (_, i): Entry => [
    Buffer.from([0x20, i]),
    Buffer.alloc(4096 * (1 + (i % 3)) - 84 + i, i),
  ]),
  'large values': numbered(5, 20, 3_000_000),
  'small records among large ones': numbered(300, 20, 60).map(([key, value], i) => [
    key,
    i % 7 === 0 ? Buffer.alloc(i * 1000, i) : value,
  ]),
  'the longest keys': numbered(400, MAX_KEY_BYTES, 40),
  'long keys that differ early': randomEntries(random, 400, [1800, MAX_KEY_BYTES], [10, 60]),
};

void describe('a bulk load', () => {
  for (const [name, entries] of Object.entries(SHAPES)) {
    void it(`gives what was put: ${name}`, async () => {
      await using dir = await TempDirectory.make();
      await makeEmpty(dir.path, ['r1', 'r2']);
      bulkLoad(dir.path, { r1: entries });
      assertSound(dir.path);
      await withEnvironment(dir.path, (environment) => {
        assertHolds(environment.rows(1), entries);
        assertHolds(environment.rows(2), []);
        assert.equal(environment.source(), 'somewhere');
      });
      preflight(dir.path);
    });
  }

  for (const [name, entries] of Object.entries(SHAPES)) {
    void it(`gives it too of runs that are told of together: ${name}`, async () => {
      await using dir = await TempDirectory.make();
      await makeEmpty(dir.path, ['r1']);
      bulkLoad(dir.path, { r1: entries }, { gap: (run) => run % 3, together: 3 });
      assertSound(dir.path);
      await withEnvironment(dir.path, (environment) => assertHolds(environment.rows(1), entries));
    });
  }

  void it('makes trees of all depths', async () => {
    const depths: number[] = [];
    for (const count of [1, 2, 6, 14, 20, 60]) {
      await using dir = await TempDirectory.make();
      await makeEmpty(dir.path, ['r1']);
      const entries = numbered(count, 1900, 10);
      bulkLoad(dir.path, { r1: entries });
      assertSound(dir.path);
      await withEnvironment(dir.path, (environment) => {
        assertHolds(environment.rows(1), entries);
        const { treeDepth } = environment.rows(1).getStats() as { treeDepth: number };
        depths.push(treeDepth);
      });
    }
    assert.deepEqual(depths, [1, 1, 2, 3, 4, 5]);
  });

  void it('holds what a model holds after any later writes, however often it is opened', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1', 'r2', 'i1']);
    const choice = new Random(11);
    const loaded = {
      r1: randomEntries(choice, 2500, [36, 36], [300, 400]),
      i1: randomEntries(choice, 4000, [10, 60], [4, 20]),
      r2: randomEntries(choice, 300, [1, 300], [0, 9000]),
    };
    bulkLoad(dir.path, loaded, { gap: (run) => (run % 3 === 0 ? run : 0) });
    assertSound(dir.path);
    const models = Object.entries(loaded).map(([name, entries]) => ({
      name,
      entries: new Map(entries.map(([key, value]) => [key.toString('latin1'), value])),
    }));
    for (let opening = 0; opening < 6; opening++) {
      await withEnvironment(dir.path, (environment) => {
        for (let commit = 0; commit < 12; commit++) {
          environment.transaction(() => {
            for (const { name, entries } of models) {
              changeRandomly(choice, environment.database(name), entries, opening);
            }
          });
          assertSound(dir.path);
        }
        for (const { name, entries } of models) {
          assertHolds(environment.database(name), sorted(entries));
        }
      });
      preflight(dir.path);
    }
  });

  void it('fills the same leaves as LMDB does with records that are appended', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.integer({ min: 0, max: 800 }),
        fc.integer({ min: 1, max: 400 }),
        fc.constantFrom(0, 30, 500, 2500, 20_000),
        fc.constantFrom(4096, 8192, 32768, 65536),
        async (seed, count, keyBytes, valueBytes, pageSize) => {
          await using dir = await TempDirectory.make();
          const choice = new Random(seed);
          const entries = randomEntries(choice, count, [2, 1 + keyBytes], [0, valueBytes]);
          const stats: unknown[] = [];
          for (const kind of ['put', 'loaded']) {
            const path = dir.join(kind);
            await makeSized(path, pageSize, kind === 'put' ? entries : []);
            if (kind === 'loaded') bulkLoad(path, { r1: entries }, { runBytes: Infinity });
            assertSound(path);
            await withEnvironment(path, (environment) => {
              assertHolds(environment.rows(1), entries);
              const found = environment.rows(1).getStats() as Record<string, unknown>;
              stats.push(STATS.map((name) => found[name]));
            });
          }
          assert.deepEqual(stats[1], stats[0]);
        },
      ),
      { numRuns: 25 },
    );
  });

  void it('can follow on another one, of other databases', async () => {
    await using dir = await TempDirectory.make();
    const names = Array.from({ length: 200 }, (_, i) => `r${i}`);
    await makeEmpty(dir.path, names);
    const entries = numbered(40, 36, 350);
    // So many databases take several leaves to list, and each load replaces some of these.
    for (let i = 0; i < names.length; i += 10) {
      bulkLoad(dir.path, Object.fromEntries(names.slice(i, i + 10).map((name) => [name, entries])));
      assertSound(dir.path);
    }
    await withEnvironment(dir.path, (environment) => {
      for (const name of names) assertHolds(environment.database(name), entries);
      environment.transaction(() => {
        for (const name of names) environment.database(name).clearSync();
      });
    });
    assertSound(dir.path);
  });

  void it('leaves no page lost', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1', 'r2']);
    bulkLoad(
      dir.path,
      { r1: numbered(500, 36, 350), r2: numbered(50, 10, 9000) },
      { gap: () => 3 },
    );
    const { lastPage, pageSize } = fileState(dir.path);
    const use = readPageUse(dataPath(dir.path))!;
    const free = use.freed.reduce((sum, { bytes }) => sum + bytes, 0);
    const { free: list } = fileState(dir.path);
    const listPages = list.branchPages + list.leafPages + list.overflowPages;
    assert.equal(2 + use.dataBytes / pageSize + free / pageSize + listPages, lastPage + 1);
  });

  void it('is written by two threads at once', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    const target = openBulk(dir.path, ['r1']);
    const counter = new PageCounter(target.nextPage);
    const count = 6000;
    const parts = await Promise.all(
      [0, 1].map(async (part) => {
        const order: ThreadOrder = {
          dir: dir.path,
          target,
          pages: counter.memory,
          count,
          from: (part * count) / 2,
          to: ((part + 1) * count) / 2,
        };
        const thread = new Worker(new URL('./bulk-thread.js', import.meta.url), {
          workerData: order,
        });
        const [runs] = (await once(thread, 'message')) as [PlacedRun[]];
        await once(thread, 'exit');
        return runs;
      }),
    );
    const tree = treeOf('r1', dir.path, target, counter, parts.flat());
    finishBulk(dir.path, target, [tree], () => counter.next);
    assertSound(dir.path);
    await withEnvironment(dir.path, (environment) => {
      assertHolds(environment.rows(1), numbered(count, 36, 350));
    });
  });

  void it('takes runs that came from another thread', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    const entries = numbered(300, 20, 5000);
    const target = openBulk(dir.path, ['r1']);
    const counter = new PageCounter(target.nextPage);
    const file = new BulkFile(dir.path, target);
    const runs = packRuns(entries, target.pageSize, 100_000).map((run) => {
      const received = structuredClone(run, { transfer: memoryOf(run) });
      assert.equal(run.chunks[0]!.length, 0);
      return file.write(received, counter.take(received.pageCount));
    });
    file.close();
    const tree = treeOf('r1', dir.path, target, counter, runs);
    finishBulk(dir.path, target, [tree], () => counter.next);
    assertSound(dir.path);
    await withEnvironment(dir.path, (environment) => {
      assertHolds(environment.rows(1), entries);
    });
  });

  void it('is read by another process while this one writes', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1', 'r2']);
    const entries = randomEntries(new Random(3), 2000, [36, 36], [300, 400]);
    bulkLoad(dir.path, { r1: entries });
    const hash = createHash('sha256');
    for (const [key, value] of entries) hash.update(key).update(value);
    await withEnvironment(dir.path, async (environment) => {
      const child = runChild('digest', dir.path, 'r1');
      for (const [key, value] of entries) {
        environment.transaction(() => {
          environment.database('r2').putSync(key, value);
        });
      }
      assert.equal((await child).stdout, hash.digest('hex'));
      assertHolds(environment.database('r2'), entries);
    });
  });
});

void describe('a bulk load that is killed', () => {
  for (const within of ['before', 'within']) {
    void it(`leaves the old state or the new one: ${within} a write`, async () => {
      const found = new Set<string>();
      for (let call = 1; ; call++) {
        await using dir = await TempDirectory.make();
        await makeEmpty(dir.path, ['r1', 'i1']);
        const { signal } = await runChild('load', dir.path, String(call), within);
        preflight(dir.path);
        assertSound(dir.path);
        await withEnvironment(dir.path, (environment) => {
          const isNew = environment.rows(1).getStats();
          found.add(`${signal}: ${(isNew as { entryCount: number }).entryCount}`);
        });
        if (found.has(`null: ${LOADED.r1.length}`)) break;
        if (![...found].at(-1)!.endsWith(` ${LOADED.r1.length}`)) bulkLoad(dir.path, LOADED);
        assertSound(dir.path);
        await withEnvironment(dir.path, (environment) => {
          assertHolds(environment.rows(1), LOADED.r1);
          assertHolds(environment.indexes(1), LOADED.i1);
        });
      }
      assert.deepEqual([...found], ['SIGKILL: 0', 'SIGKILL: 1000', 'null: 1000']);
    });
  }

  void it('leaves a file that LMDB goes on with', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1', 'i1']);
    const target = openBulk(dir.path, ['i1']);
    const file = new BulkFile(dir.path, target);
    let next = target.nextPage;
    for (const run of packRuns(LOADED.i1, target.pageSize, 100_000)) {
      next = file.write(run, next).base + run.pageCount;
    }
    file.close();
    await withEnvironment(dir.path, (environment) => {
      environment.transaction(() => {
        for (const [key, value] of LOADED.r1.slice(0, 500)) environment.rows(1).putSync(key, value);
      });
    });
    assertSound(dir.path);
    bulkLoad(dir.path, { i1: LOADED.i1 });
    assertSound(dir.path);
    await withEnvironment(dir.path, (environment) => {
      assertHolds(environment.rows(1), LOADED.r1.slice(0, 500));
      assertHolds(environment.indexes(1), LOADED.i1);
    });
  });

  void it('leaves the old state where the disk is full at any write that matters', async () => {
    await using dir = await TempDirectory.make();
    mkdirSync(dir.join('made'));
    await makeEmpty(dir.join('made'), ['r1', 'i1']);
    const { transaction } = fileState(dir.join('made'));
    for (let failing = 0; ; failing++) {
      const path = dir.join(String(failing));
      cpSync(dir.join('made'), path, { recursive: true });
      let writes = 0;
      const load = () => {
        recordSteps(
          () => bulkLoad(path, LOADED),
          () => {
            if (writes++ === failing) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
          },
        );
      };
      assert.throws(load, { code: 'CACHE_FULL' });
      assertSound(path);
      // The last write is a copy of the meta page.
      if (fileState(path).transaction !== transaction) break;
      bulkLoad(path, LOADED);
      assertSound(path);
    }
  });

  void it('leaves one of both states on disk, whatever of the last writes was lost', async () => {
    await using dir = await TempDirectory.make();
    mkdirSync(dir.join('made'));
    await makeEmpty(dir.join('made'), ['r1', 'i1']);
    const base = readFileSync(dataPath(dir.join('made')));
    const steps = recordSteps(() => bulkLoad(dir.join('made'), LOADED, { runBytes: 100_000 }));
    const choice = new Random(5);
    const found = new Set<number>();
    for (let image = 0; image < 60; image++) {
      // Up to one step all is on disk that was flushed, and of the rest any part.
      const end = choice.int(1, steps.length);
      const flushed = steps.slice(0, end).lastIndexOf('flush');
      const path = dir.join(String(image));
      cpSync(dir.join('made'), path, { recursive: true });
      writeFileSync(dataPath(path), base);
      const fd = openSync(dataPath(path), 'r+');
      for (const [i, step] of steps.slice(0, end).entries()) {
        if (step === 'flush' || (i > flushed && choice.chance(0.5))) continue;
        writeSync(fd, step.bytes, 0, step.bytes.length, step.at);
      }
      closeSync(fd);
      preflight(path);
      const environment = new Environment(path);
      const entries = Array.from(environment.rows(1).getKeys()).length;
      found.add(entries);
      if (entries > 0) assertHolds(environment.indexes(1), LOADED.i1);
      environment.transaction(() => {
        environment.rows(1).putSync(Buffer.from([0x40]), Buffer.alloc(100));
      });
      await environment.close();
      assertSound(path);
      rmSync(path, { recursive: true });
    }
    assert.deepEqual(
      [...found].toSorted((a, b) => a - b),
      [0, LOADED.r1.length],
    );
  });
});

void describe('a bulk load is refused', () => {
  const entries = numbered(100, 20, 300);
  const refused = (message: RegExp) => ({ code: 'CACHE_CORRUPT', message });

  void it('for a database that has records, or is not there', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    assert.throws(() => openBulk(dir.path, ['r1', 'r2']), refused(/has no database "r2"/));
    assert.throws(() => openBulk(dir.path, ['meta']), refused(/"meta" has records already/));
    bulkLoad(dir.path, { r1: entries });
    assert.throws(() => bulkLoad(dir.path, { r1: entries }), refused(/"r1" has records already/));
    assertSound(dir.path);
  });

  void it('for runs that are not in order, overlap, or were not written', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    const target = openBulk(dir.path, ['r1']);
    const file = new BulkFile(dir.path, target);
    const counter = new PageCounter(target.nextPage);
    const [first, second, third] = packRuns(entries, target.pageSize, 4096 * 3).map((run) =>
      file.write(run, counter.take(run.pageCount)),
    ) as [PlacedRun, PlacedRun, PlacedRun];
    const [other] = packRuns(entries, 8192, Infinity);
    assert.throws(() => file.write(other!, counter.next), refused(/have 4096 bytes, not 8192/));
    const [run] = packRuns(entries, target.pageSize, Infinity);
    assert.throws(() => file.write(run!, target.nextPage - 1), refused(/is in use/));
    file.close();
    const finish = (runs: PlacedRun[], nextPage?: number) => {
      const tree = treeOf('r1', dir.path, target, counter, runs);
      finishBulk(dir.path, target, [tree], () => nextPage ?? counter.next);
    };
    assert.throws(() => finish([second, first]), refused(/not in the order of their keys/));
    assert.throws(() => joinRuns([second, first]), RangeError);
    assert.throws(() => finish([first, movedTo(third, first.base)]), refused(/was used twice/));
    assert.throws(() => finish([movedTo(first, 1)]), refused(/was used twice/));
    assert.throws(() => finish([first, third], third.base), refused(/reaches beyond page/));
    const far = movedTo(third, third.base + 10_000);
    assert.throws(() => finish([first, far], far.base + 100), refused(/reaches beyond page/));
    assert.equal(fileState(dir.path).transaction, BigInt(target.transaction - 1));
    finish([first, third]);
    assertSound(dir.path);
  });

  void it('when the file was written meanwhile', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    const target = openBulk(dir.path, ['r1']);
    const file = new BulkFile(dir.path, target);
    const [run] = packRuns(entries, target.pageSize, Infinity);
    const placed = file.write(run!, target.nextPage);
    file.close();
    await withEnvironment(dir.path, (environment) => {
      environment.transaction(() => {
        environment.putSource('elsewhere');
      });
    });
    const counter = new PageCounter(target.nextPage + run!.pageCount);
    const tree = treeOf('r1', dir.path, target, counter, [placed]);
    assert.throws(
      () => finishBulk(dir.path, target, [tree], () => counter.next),
      refused(/was changed while/),
    );
    assertSound(dir.path);
  });

  void it('for a file that is cut short, but not for one that goes on behind its last page', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1']);
    const path = dataPath(dir.path);
    const { size } = fileState(dir.path);
    const whole = readFileSync(path);
    truncateSync(path, size - 4096);
    assert.throws(() => openBulk(dir.path, ['r1']), refused(/the file ends|it ends|is not there/));
    truncateSync(path, 100);
    assert.throws(() => openBulk(dir.path, ['r1']), refused(/meta page is damaged/));
    writeFileSync(path, Buffer.concat([whole, Buffer.alloc(50_001, 7)]));
    bulkLoad(dir.path, { r1: entries.slice(0, 5) });
    const { size: after, lastPage } = fileState(dir.path);
    assert.equal(after, (lastPage + 1) * 4096);
    assertSound(dir.path);
  });

  void it('for keys that LMDB does not take, or that are not in order', () => {
    const invalid = { code: 'KEY_INVALID' };
    const builder = new LeafRunBuilder(4096);
    const add = (key: Buffer) =>
      builder.add(Buffer.concat([key, Buffer.of(1)]), 0, key.length, key.length + 1);
    add(Buffer.from('b'));
    for (const key of ['b', 'a', 'a1', '']) assert.throws(() => add(Buffer.from(key)), invalid);
    assert.throws(() => add(Buffer.alloc(MAX_KEY_BYTES + 1, 'c')), invalid);
    add(Buffer.from('b\0'));
    assert.throws(() => add(Buffer.from('b')), invalid);
    add(Buffer.alloc(MAX_KEY_BYTES, 'c'));
    const run = builder.finish();
    assert.equal(run.entries, 3);
    assert.deepEqual(Buffer.from(run.lastKey), Buffer.alloc(MAX_KEY_BYTES, 'c'));
    add(Buffer.from('a'));
    assert.equal(builder.finish().entries, 1);
    assert.equal(builder.finish().entries, 0);
  });
});

/** Makes an environment whose pages have this size, with records put in order. */
async function makeSized(path: string, pageSize: number, entries: readonly Entry[]): Promise<void> {
  const root = open<Buffer, Buffer>(path, { ...BYTES, noSubdir: false, maxDbs: 8, pageSize });
  root.openDB('meta', BYTES);
  const rows = root.openDB<Buffer, Buffer>('r1', BYTES);
  root.transactionSync(() => {
    for (const [key, value] of entries) rows.putSync(key, value, { append: true });
  });
  await root.close();
}

/** What the bulk load does to the file, in its order. */
function recordSteps(load: () => void, beforeWrite = () => {}): (Write | 'flush')[] {
  const steps: (Write | 'flush')[] = [];
  const { writeSync: write, fsyncSync: flush } = fs;
  fs.writeSync = ((fd: number, bytes: Uint8Array, offset: number, length: number, at: number) => {
    beforeWrite();
    steps.push({ at, bytes: Buffer.from(bytes.subarray(offset, offset + length)) });
    return write(fd, bytes, offset, length, at);
  }) as typeof write;
  fs.fsyncSync = (fd) => {
    steps.push('flush');
    flush(fd);
  };
  syncBuiltinESMExports();
  try {
    load();
  } finally {
    Object.assign(fs, { writeSync: write, fsyncSync: flush });
    syncBuiltinESMExports();
  }
  return steps;
}

interface Write {
  readonly at: number;
  readonly bytes: Buffer;
}

const CHILD = fileURLToPath(new URL('./bulk-child.js', import.meta.url));

async function runChild(
  ...args: readonly string[]
): Promise<{ signal: NodeJS.Signals | null; stdout: string }> {
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  assert.ok(code === 0 || signal === 'SIGKILL', `the child ended with ${code ?? signal}`);
  return { signal, stdout };
}

function sorted(entries: ReadonlyMap<string, Buffer>): Entry[] {
  return [...entries]
    .map(([key, value]): Entry => [Buffer.from(key, 'latin1'), value])
    .toSorted(([a], [b]) => a.compare(b));
}

function movedTo(run: PlacedRun, base: number): PlacedRun {
  return { ...run, base, ranges: run.ranges.map(({ pages }) => ({ first: base, pages })) };
}

/** Puts and removes records; later ones remove more, down to none. */
function changeRandomly(
  choice: Random,
  database: BytesDatabase,
  entries: Map<string, Buffer>,
  opening: number,
): void {
  const keys = [...entries.keys()];
  const start = choice.int(0, Math.max(0, keys.length - 1));
  const removed = Math.round((keys.length * opening) / 20);
  for (let i = 0; i < removed; i++) {
    // Neighbours first, so that whole pages become empty; then any.
    const key = i % 2 === 0 ? keys[(start + i) % keys.length]! : choice.pick(keys);
    if (!entries.delete(key)) continue;
    database.removeSync(Buffer.from(key, 'latin1'));
  }
  for (let i = 0; i < 40; i++) {
    const isNew = choice.chance(0.6) || entries.size === 0;
    const key = isNew
      ? `${String.fromCharCode(0x10 + choice.int(0, 3))}${randomBytes(choice, choice.int(1, 40)).toString('latin1')}`
      : choice.pick(keys);
    const value = randomBytes(choice, choice.chance(0.05) ? 20_000 : choice.int(0, 600));
    entries.set(key, value);
    database.putSync(Buffer.from(key, 'latin1'), value);
  }
}
