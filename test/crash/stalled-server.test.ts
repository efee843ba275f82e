import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '../support/databases.js';
import { readStatus, StorageSync, StorageSyncError, type Transport } from '../../src/index.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';

/** Far more than anything here takes, and far less than the request that is never answered. */
const HANG_MS = 15_000;
const REQUEST_TIMEOUT_MS = 120_000;
const ROWS = 600;

interface Stage {
  readonly server: HranaServer;
  readonly storage: StorageSync;
  readonly cacheDir: string;
  readonly file: string;
}

async function onStage(transport: Transport, use: (stage: Stage) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'storage-sync-stall-'));
  try {
    const file = join(dir, 'source.db');
    const database = openDatabase(file);
    database.exec(
      `CREATE TABLE good (id INTEGER PRIMARY KEY, body TEXT);
       CREATE TABLE other (id TEXT PRIMARY KEY NOT NULL, body TEXT);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
       INSERT INTO good SELECT i, 'body ' || i FROM n;
       INSERT INTO other SELECT 'k' || id, body FROM good;`,
    );
    database.close();
    const server = await startHranaServer({ file });
    try {
      const cacheDir = join(dir, 'cache');
      await using storage = await StorageSync.open({
        source: { url: server.httpUrl },
        cacheDir,
        transport,
        batchSize: 20,
        readerThreads: 2,
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
      });
      await use({ server, storage, cacheDir, file });
    } finally {
      await server.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

void describe('a server that does not answer', () => {
  // By pipelines there are as many answers as there are pages.
  for (const [skip, transport] of [
    [0, 'auto'],
    [3, 'auto'],
    [6, 'auto'],
    [12, 'http-pipeline'],
    [30, 'http-pipeline'],
  ] as const) {
    void it(`does not hold up an abort: after ${skip} answers, ${transport}`, async () => {
      await onStage(transport, async ({ server, storage, cacheDir }) => {
        await server.fault({ action: { kind: 'stall' }, skip, times: Infinity });
        const stop = new AbortController();
        const failed = failsWith(storage.sync({ signal: stop.signal }), 'ABORTED');
        await untilStalled(server, skip);
        stop.abort();
        await soon(failed);
        assert.equal((await readStatus(cacheDir)).holder, null);
        await server.clearFaults();
        const report = await soon(storage.sync());
        assert.equal(report.validation.passed, true);
        assert.equal(storage.cache.table('good').count(), ROWS);
        assert.equal(storage.cache.table('other').count(), ROWS);
      });
    });
  }

  for (const transport of ['http-protobuf-cursor', 'http-json-cursor'] as const) {
    void it(`does not hold up an abort in the middle of a table: ${transport}`, async () => {
      await onStage(transport, async ({ server, storage, cacheDir }) => {
        const action = { kind: 'stall', afterBytes: 5000 } as const;
        const fault = await server.fault({ action, path: /cursor/, sql: /FROM main/ });
        const stop = new AbortController();
        const failed = failsWith(storage.sync({ signal: stop.signal }), 'ABORTED');
        while ((await fault.fired()) === 0) await sleep(10);
        await sleep(100);
        stop.abort();
        await soon(failed);
        assert.equal((await readStatus(cacheDir)).holder, null);
        const report = await soon(storage.sync());
        assert.equal(report.validation.passed, true);
        assert.equal(storage.cache.table('good').count(), ROWS);
      });
    });
  }

  void it('does not hold up close', async () => {
    await onStage('http-pipeline', async ({ server, storage }) => {
      await server.fault({ action: { kind: 'stall' }, skip: 10, times: Infinity });
      const failed = failsWith(storage.sync(), 'ABORTED');
      await untilStalled(server, 10);
      await soon(storage.close());
      await failed;
    });
  });

  void it('does not hold up the failure of another table', async () => {
    await onStage('http-pipeline', async ({ server, storage, file }) => {
      const database = openDatabase(file);
      database.exec(`INSERT INTO other VALUES ('k5${'x'.repeat(3000)}', 'its key is too long')`);
      database.close();
      await server.fault({ action: { kind: 'stall' }, sql: /"good"/, skip: 4, times: Infinity });
      await soon(failsWith(storage.sync(), 'ROW_REJECTED'));
    });
  });
});

async function untilStalled(server: HranaServer, answers: number): Promise<void> {
  const deadline = Date.now() + HANG_MS;
  while ((await server.stats()).requests <= answers) {
    assert.ok(Date.now() < deadline, 'the sync did not get so far');
    await sleep(10);
  }
  await sleep(50);
}

async function failsWith(run: PromiseLike<unknown>, code: string): Promise<void> {
  await assert.rejects(
    async () => await run,
    (error) => error instanceof StorageSyncError && error.code === code,
  );
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
