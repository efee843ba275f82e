import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCache, readStatus, StorageSync, WorkerPool } from '../../src/index.js';
import { syncInChild } from '../source/sync-child.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import type { HranaServer } from '../support/hrana/server.js';
import { setFault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { numbers, Stage } from './stage.js';

/*
 * Failures that other sync tools had when their server was gone, silent or asked by many at once, each with a test of
 * its own, named after it. Where they were seen stands before each test.
 */

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const BUILD = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
  ${numbers(600)} INSERT INTO t SELECT i, 'row ' || i FROM n;`;
const IMPATIENT = { requestTimeoutMs: 400, retries: 1, retryInitialMs: 1, retryMaxMs: 10 };

async function untilRequested(server: HranaServer, requests: number): Promise<void> {
  while ((await server.stats()).requests < requests) await sleep(5);
}

/** A server of this test's own on a free port. */
async function listening(server: Server): Promise<AsyncDisposable & { readonly address: string }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

void describe('a server', () => {
  // libsql #1224. A sync without a timeout would not end, and the test with it.
  for (const way of ['http', 'ws'] as const) {
    void it(`that takes connections and never says a word does not hang a sync for ever: ${way}`, async () => {
      await using silent = await listening(createServer());
      await using stage = await Stage.make({ build: BUILD, way, sync: IMPATIENT });
      await stage.sync(pool);
      const digests = await recordDigests(stage.options.cacheDir);
      const source = { url: `${way}://${silent.address}` };
      const fresh = { ...IMPATIENT, source, cacheDir: stage.dir.join('other') };
      await using storage = await StorageSync.open({ ...fresh, pool });
      await assert.rejects(Promise.resolve(storage.sync()), { code: 'SOURCE_TIMEOUT' });

      await stage.server!.fault({ action: { kind: 'stall' }, times: Infinity });
      assert.equal((await stage.sync(pool)).outage?.code, 'SOURCE_TIMEOUT');
      assert.deepEqual(await recordDigests(stage.options.cacheDir), digests);
      await stage.server!.clearFaults();
      await stage.sync(pool);
    });
  }

  // libsql #1224: a timeout that begins anew with each byte is none.
  void it('that goes on sending a byte now and then does not hang a sync for ever', async () => {
    const drip = createHttpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => response.write(' '), 50);
      response.on('close', () => clearInterval(timer));
    });
    await using dripping = await listening(drip);
    await using stage = await Stage.make({ build: BUILD });
    const source = { url: `http://${dripping.address}` };
    await using storage = await StorageSync.open({
      ...IMPATIENT,
      source,
      cacheDir: stage.options.cacheDir,
      pool,
    });
    await assert.rejects(Promise.resolve(storage.sync()), { code: 'SOURCE_TIMEOUT' });
  });

  // libsql-client-ts #293
  for (const way of ['http', 'ws'] as const) {
    for (const requests of [2, 9]) {
      void it(`that stops does not take the client's process with it: ${way}, after ${requests} requests`, async () => {
        await using stage = await Stage.make({
          build: BUILD,
          way,
          sync: { ...IMPATIENT, batchSize: 20 },
        });
        await stage.server!.fault({ action: { kind: 'latency', ms: 30 }, times: Infinity });
        const order = { mode: 'sync', options: stage.options, readerThreads: 2 } as const;
        const running = runChild({ ...order, fault: null });
        if (way === 'http') await untilRequested(stage.server!, requests);
        else while ((await stage.server!.stats()).wsMessages < requests) await sleep(5);
        await stage.server!.stop();
        const end = await running;
        assert.equal(end.kind, 'failed', JSON.stringify(end));
        if (end.kind === 'failed') assert.equal(end.code, 'SOURCE_UNAVAILABLE', end.message);
        await stage.server!.start();
        await stage.server!.clearFaults();
        await stage.sync(pool);
        await assertCacheEquals(stage.file, stage.options.cacheDir);
      });
    }
  }

  // libsql-client-ts #293
  for (const way of ['http', 'ws'] as const) {
    void it(`that stops between two syncs does not take the client's process with it: ${way}`, async () => {
      await using stage = await Stage.make({ build: BUILD, way, sync: IMPATIENT });
      await using storage = await StorageSync.open({ ...stage.options, pool });
      await storage.sync();
      await stage.server!.stop();
      await sleep(50);
      assert.equal((await storage.sync()).outage?.code, 'SOURCE_UNAVAILABLE');
      assert.equal(storage.cache.table('t').count(), 600);
      await stage.server!.start();
      await storage.sync();
    });
  }
});

void describe('many at once', () => {
  // libsql #2076
  void it('syncs that are asked for while one is under way do not pile up', async () => {
    // By a statement for each page, so that one can be held at a page.
    const sync = { batchSize: 100, transport: 'http-pipeline' } as const;
    await using stage = await Stage.make({ build: BUILD, way: 'http', sync });
    await stage.sync(pool);
    await stage.server!.resetStats();
    await stage.sync(pool);
    const ofOne = (await stage.server!.stats()).statements;
    await stage.server!.resetStats();

    const fault = setFault({ point: 'page:before-read', occurrence: 3, action: 'hold' });
    await using held = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    await using storage = await StorageSync.open({ ...stage.options, pool: held });
    const first = storage.sync().then((report) => report);
    await fault.held();
    // As an interval does that is shorter than a sync: each is told, and none waits for its turn.
    for (let tick = 0; tick < 3; tick++) {
      await assert.rejects(Promise.resolve(storage.sync()), { code: 'CACHE_LOCKED' });
    }
    await assert.rejects(stage.sync(pool), { code: 'CACHE_LOCKED' });
    fault.release();
    assert.equal((await first).validation.passed, true);
    assert.deepEqual((await stage.server!.stats()).statements, ofOne, 'the source was read once');
    await storage.sync();
  });

  // PostHog #75149
  void it('processes that find one stale cache at once do not stampede its source', async () => {
    await using stage = await Stage.make({ build: BUILD, way: 'http', sync: { batchSize: 100 } });
    await stage.sync(pool);
    await stage.server!.resetStats();
    await stage.sync(pool);
    const { statementCount } = await stage.server!.stats();
    await stage.server!.resetStats();
    const slow = { action: { kind: 'latency', ms: 250 }, times: Infinity } as const;
    await stage.server!.fault(slow);
    const ends = await Promise.all(
      Array.from({ length: 4 }, async () => await syncInChild([stage.options])),
    );
    const told = ends.map(({ exit, outcomes: [outcome] }) => [
      exit,
      outcome?.error?.code ?? 'done',
    ]);
    const done = told.filter(([, code]) => code === 'done').length;
    assert.ok(done >= 1, JSON.stringify(told));
    for (const [exit, code] of told) {
      assert.equal(exit, '0');
      assert.ok(code === 'done' || code === 'CACHE_LOCKED', code);
    }
    // One that comes late may find the lock free again.
    assert.equal((await stage.server!.stats()).statementCount, done * statementCount);
    await assertCacheEquals(stage.file, stage.options.cacheDir);
  });

  // PostHog #75149
  void it('readers of a stale cache ask the source for nothing', async () => {
    await using stage = await Stage.make({ build: BUILD, way: 'http' });
    await stage.sync(pool);
    await stage.server!.resetStats();
    await sleep(5);
    const { cacheDir } = stage.options;
    assert.equal((await readStatus(cacheDir, { staleAfterMs: 1 })).state, 'stale');
    await using storage = await StorageSync.open({ ...stage.options, staleAfterMs: 1, pool });
    for (let reader = 0; reader < 20; reader++) {
      await using cache = openCache(cacheDir);
      assert.equal(cache.table('t').get(7)?.['v'], 'row 7');
      assert.equal(storage.cache.table('t').count(), 600);
      assert.equal((await storage.status()).state, 'stale');
    }
    const { requests, connections } = await stage.server!.stats();
    assert.deepEqual([requests, connections], [0, 0]);
  });
});
