import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, it } from 'node:test';
import { StorageSync, StorageSyncError, WorkerPool, type SyncReport } from '../../src/index.js';
import { setFault, type Fault, type FaultSwitch } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { CacheUnderTest } from './cache-under-test.js';
import { firstSync, memory, resync, type Scenario } from './scenarios.js';

/** Far more than anything here takes: beyond it, something hangs. */
const HANG_MS = 15_000;

/** A cache with threads of its own that meet a fault, all in this process. */
class Stage implements AsyncDisposable {
  readonly cache: CacheUnderTest;
  readonly fault: FaultSwitch;
  readonly pool: WorkerPool;
  readonly storage: StorageSync;

  private constructor(
    cache: CacheUnderTest,
    fault: FaultSwitch,
    pool: WorkerPool,
    storage: StorageSync,
  ) {
    this.cache = cache;
    this.fault = fault;
    this.pool = pool;
    this.storage = storage;
  }

  static async set(scenario: Scenario, fault: Fault | null): Promise<Stage> {
    const cache = await CacheUnderTest.make(scenario);
    if (scenario.published) {
      await using storage = await StorageSync.open(cache.options);
      await cache.checkCompleted(await storage.sync(), 0);
      cache.changeSource();
    }
    const faultSwitch = setFault(fault);
    const pool = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    const storage = await StorageSync.open({ ...cache.options, pool });
    return new Stage(cache, faultSwitch, pool, storage);
  }

  /** The next sync in this process, with the same threads: it goes on and comes to its end. */
  async syncsOn(): Promise<void> {
    const before = this.fault.rowsFetched;
    const report = await soon(this.storage.sync());
    await this.cache.checkCompleted(report, this.fault.rowsFetched - before);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fault.release();
    await soon(this.storage.close());
    await soon(this.pool.close());
    await this.cache[Symbol.asyncDispose]();
    assert.deepEqual(openFiles(this.cache.options.cacheDir), [], 'no file is left open');
  }
}

const at = (point: string, occurrence: number, action: Fault['action']): Fault => ({
  point,
  occurrence,
  action,
});

void describe('a sync that is aborted', () => {
  // The source is asked and rows are encoded while the thread goes on with its other work: nobody waits for it.
  for (const [scenario, point, occurrence] of [
    [firstSync, 'schema:before-read', 2],
    [firstSync, 'page:before-read', 7],
    [resync, 'page:after-read', 12],
  ] as const) {
    void it(`does not wait for the source at ${point}`, async () => {
      await using stage = await Stage.set(scenario, at(point, occurrence, 'hold'));
      const stop = new AbortController();
      const run = stage.storage.sync({ signal: stop.signal });
      await stage.fault.held();
      stop.abort();
      await fails(run, 'ABORTED');
      stage.fault.release();
      await stage.cache.check();
      await stage.syncsOn();
    });
  }

  for (const [scenario, point, occurrence] of [
    [firstSync, 'environment:opened', 1],
    [firstSync, 'prepare:before-commit', 1],
    [firstSync, 'write:after-put', 120],
    [firstSync, 'write:done', 5],
    [resync, 'write:received', 3],
    [resync, 'write:before-commit', 4],
    [memory, 'write:before-commit', 12],
  ] as const) {
    void it(`stops behind the transaction under way at ${point} of ${scenario.name}`, async () => {
      await using stage = await Stage.set(scenario, at(point, occurrence, 'hold'));
      const stop = new AbortController();
      const run = stage.storage.sync({ signal: stop.signal });
      await stage.fault.held();
      stop.abort();
      stage.fault.release();
      await fails(run, 'ABORTED');
      await stage.cache.check();
      await stage.syncsOn();
    });
  }

  for (const [scenario, point] of [
    [resync, 'sweep:before-commit'],
    [resync, 'complete:received'],
    [firstSync, 'complete:before-commit'],
    [firstSync, 'close:received'],
    [firstSync, 'close:flushed'],
  ] as const) {
    void it(`is either completed or gone on from when it is aborted at ${point} of ${scenario.name}`, async () => {
      await using stage = await Stage.set(scenario, at(point, 1, 'hold'));
      const stop = new AbortController();
      const run = stage.storage.sync({ signal: stop.signal });
      await stage.fault.held();
      stop.abort();
      stage.fault.release();
      const settled = await soon(settle(run));
      if (settled.report !== null) {
        await stage.cache.checkCompleted(settled.report, stage.fault.rowsFetched);
        return;
      }
      assert.equal(codeOf(settled.error), 'ABORTED');
      await stage.cache.check();
      await stage.syncsOn();
    });
  }

  void it('does nothing when it was aborted before', async () => {
    await using stage = await Stage.set(firstSync, null);
    await fails(stage.storage.sync({ signal: AbortSignal.abort() }), 'ABORTED');
    assert.equal(stage.fault.rowsFetched, 0);
    await stage.cache.check();
    await stage.syncsOn();
  });

  void it('can be aborted again and again, and loses nothing', async () => {
    await using stage = await Stage.set({ ...resync, options: { batchSize: 10 } }, null);
    for (let i = 0; i < 5; i++) {
      const stop = new AbortController();
      const before = stage.cache.rowsKept;
      const run = stage.storage.sync({
        signal: stop.signal,
        onProgress: ({ rowsRead }) => {
          if (rowsRead > before) stop.abort();
        },
      });
      await fails(run, 'ABORTED');
      await stage.cache.check();
      assert.ok(stage.cache.rowsKept > before, 'each one comes further');
    }
    await stage.syncsOn();
  });
});

void describe('close', () => {
  void it('stops a sync at its next batch and waits for it', async () => {
    await using stage = await Stage.set(firstSync, at('write:before-commit', 3, 'hold'));
    const run = stage.storage.sync();
    await stage.fault.held();
    const closed = stage.storage.close();
    stage.fault.release();
    await fails(run, 'ABORTED');
    await soon(closed);
    assert.throws(
      () => stage.storage.sync(),
      (error) => codeOf(error) === 'CACHE_CLOSED',
    );
    await stage.cache.check();
    assert.ok(stage.cache.rowsKept > 0);
    await using again = await StorageSync.open(stage.cache.options);
    const report = await soon(again.sync());
    await stage.cache.checkCompleted(report, 0);
  });

  void it('ends threads of its own that are in a sync', async () => {
    await using cache = await CacheUnderTest.make(firstSync);
    const storage = await StorageSync.open(cache.options);
    const failed = fails(storage.sync(), 'ABORTED');
    await soon(storage.close());
    await failed;
    await cache.check();
    assert.deepEqual(openFiles(cache.options.cacheDir), []);
  });
});

void describe('one pool', () => {
  void it('serves two caches at once, and an aborted one does not disturb the other', async () => {
    await using stage = await Stage.set(firstSync, at('write:before-commit', 6, 'hold'));
    await using other = await CacheUnderTest.make(memory);
    await using otherStorage = await StorageSync.open({ ...other.options, pool: stage.pool });
    const stop = new AbortController();
    const run = stage.storage.sync({ signal: stop.signal });
    const otherRun = otherStorage.sync();
    await stage.fault.held();
    stop.abort();
    stage.fault.release();
    await fails(run, 'ABORTED');
    await other.checkCompleted(await soon(otherRun), 0);
    await stage.cache.check();
    await stage.syncsOn();
  });

  void it('refuses a second sync of a cache that is being synced, and the first goes on', async () => {
    await using stage = await Stage.set(firstSync, at('write:before-commit', 3, 'hold'));
    await using second = await StorageSync.open({ ...stage.cache.options, pool: stage.pool });
    const run = stage.storage.sync();
    await stage.fault.held();
    await fails(second.sync(), 'CACHE_LOCKED');
    stage.fault.release();
    await stage.cache.checkCompleted(await soon(run), stage.fault.rowsFetched);
  });
});

void describe('a failure in a write', () => {
  for (const [scenario, point, occurrence] of [
    [firstSync, 'environment:before-open', 1],
    [firstSync, 'environment:opened', 1],
    [firstSync, 'prepare:before-commit', 1],
    [firstSync, 'write:after-put', 130],
    [resync, 'write:before-put', 20],
    [resync, 'write:before-commit', 4],
    [memory, 'write:after-put', 700],
    [resync, 'sweep:before-commit', 1],
    [resync, 'complete:before-commit', 1],
    [firstSync, 'close:before-flush', 1],
  ] as const) {
    void it(`is rolled back, and the cache stays usable: ${point} of ${scenario.name}`, async () => {
      await using stage = await Stage.set(scenario, at(point, occurrence, 'throw'));
      const { error } = await soon(settle(stage.storage.sync()));
      assert.ok(error instanceof Error);
      assert.match(describeCauses(error), /a fault was injected/);
      await stage.cache.check();
      await stage.syncsOn();
    });
  }
});

void describe('a thread that ends', () => {
  for (const [point, occurrence, action] of [
    ['schema:before-read', 1, 'crash'],
    ['page:before-read', 5, 'crash'],
    ['page:encoded', 3, 'exit'],
    ['page:after-read', 9, 'exit'],
    ['write:received', 4, 'crash'],
    ['write:received', 4, 'exit'],
    ['write:done', 4, 'exit'],
    ['complete:received', 1, 'crash'],
  ] as const) {
    void it(`fails the sync, and the next one has a new thread: ${action} at ${point}`, async () => {
      await using stage = await Stage.set(resync, at(point, occurrence, action));
      await fails(stage.storage.sync(), 'WORKER_FAILED');
      await stage.cache.check();
      await stage.syncsOn();
    });
  }
});

void describe('a row that cannot be cached', () => {
  const tooLong = 'k'.repeat(5000);

  void it('stops the sync in mid-table; corrected, the sync goes on', async () => {
    await using stage = await Stage.set(firstSync, null);
    stage.cache.withSource((database) =>
      database.exec(`INSERT INTO items (id, title) VALUES ('8${tooLong}', 'too long')`),
    );
    await fails(stage.storage.sync(), 'ROW_REJECTED');
    stage.cache.withSource((database) =>
      database.exec(`DELETE FROM items WHERE length(id) > 2000`),
    );
    await stage.cache.check();
    assert.ok(stage.cache.rowsKept > 500, 'the rows before it are kept');
    await stage.syncsOn();
  });

  void it('leaves what is served as it is', async () => {
    await using stage = await Stage.set(resync, null);
    stage.cache.withSource((database) =>
      database.exec(`INSERT INTO items (id, title) VALUES ('8${tooLong}', 'too long')`),
    );
    await fails(stage.storage.sync(), 'ROW_REJECTED');
    stage.cache.withSource((database) =>
      database.exec(`DELETE FROM items WHERE length(id) > 2000`),
    );
    await stage.cache.check();
    await stage.syncsOn();
  });
});

void describe('the host', () => {
  void it('goes on with its own work during a sync', async () => {
    await using stage = await Stage.set(
      {
        ...firstSync,
        options: { batchSize: 1000 },
        create: (database) => {
          firstSync.create(database);
          for (let i = 1; i <= 30; i++) firstSync.change(database, i);
        },
      },
      null,
    );
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const report = await soon(stage.storage.sync());
    delay.disable();
    await stage.cache.checkCompleted(report, stage.fault.rowsFetched);
    const p99 = delay.percentile(99) / 1e6;
    assert.ok(p99 < 500, `the event loop was late by ${p99} ms`);
  });
});

type Settled =
  | { readonly report: SyncReport; readonly error: null }
  | { readonly report: null; readonly error: unknown };

async function settle(run: PromiseLike<SyncReport>): Promise<Settled> {
  try {
    return { report: await run, error: null };
  } catch (error) {
    return { report: null, error };
  }
}

async function fails(run: PromiseLike<SyncReport>, code: string): Promise<void> {
  const { error } = await soon(settle(run));
  assert.equal(codeOf(error), code, describeCauses(error));
}

/** The result, or an error when it takes so long that something must hang. */
async function soon<T>(work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Error(`still not settled after ${HANG_MS} ms`)),
          HANG_MS,
        );
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof StorageSyncError ? error.code : null;
}

function describeCauses(error: unknown): string {
  return error instanceof Error ? `${error.message} ${describeCauses(error.cause)}` : '';
}

/** Files below a directory that this process has open. Empty where the system does not tell. */
function openFiles(dir: string): string[] {
  try {
    return readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        return path.startsWith(dir) ? [path] : [];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}
