import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { SourceError, StorageSync, WorkerPool, type StorageSyncOptions } from '../../src/index.js';
import { recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type FaultAction, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { assertFound, tamper, tamperWithTen } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function withServer(
  way: 'http' | 'ws',
  use: (server: HranaServer, options: StorageSyncOptions) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
     INSERT INTO items SELECT 'k' || i, 'value ' || i FROM n`,
  );
  await using server = await startHranaServer({ file });
  await use(server, {
    source: { url: way === 'http' ? server.httpUrl : server.wsUrl },
    cacheDir: dir.join('cache'),
    batchSize: 100,
    requestTimeoutMs: 1000,
    retries: 5,
    retryInitialMs: 1,
    retryMaxMs: 5,
  });
}

const PASSING: Readonly<Record<string, FaultAction>> = {
  'a reset': { kind: 'reset' },
  'a reset within the body': { kind: 'reset-after-bytes', bytes: 40 },
  'a body cut off': { kind: 'end-after-bytes', bytes: 40 },
  'status 503': { kind: 'status', status: 503 },
};

void describe('a connection that is cut', () => {
  for (const [name, action] of Object.entries(PASSING)) {
    void it(`at a page and at a second look is made again: ${name}`, async () => {
      await withServer('http', async (server, options) => {
        await using storage = await StorageSync.open({ ...options, pool });
        await storage.sync();
        const digests = await recordDigests(options.cacheDir);
        const wrong = await tamper(options.cacheDir, 'items', (table) =>
          tamperWithTen(table, [['k'], ['zz']]),
        );
        await server.fault({ action, sql: /FROM main\."items"/, every: 3, times: 6 });
        const report = await storage.verify({ level: 'deep', repair: true });
        assertFound(report.tables['items']!, wrong, true);
        assert.equal(report.left, 0, JSON.stringify(report));
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
      });
    });
  }

  void it('over WebSocket is made again', async () => {
    await withServer('ws', async (server, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      const wrong = await tamper(options.cacheDir, 'items', (table) => [table.flip(500, 3)]);
      await server.fault({
        action: { kind: 'close' },
        sql: /FROM main\."items"/,
        every: 4,
        times: 2,
      });
      const report = await storage.verify({ level: 'deep', repair: true });
      assertFound(report.tables['items']!, wrong, true);
      assert.equal(report.left, 0, JSON.stringify(report));
    });
  });

  void it('for good fails the verify, keeps how far it came, and leaves the cache as it was', async () => {
    await withServer('http', async (server, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      await tamper(options.cacheDir, 'items', (table) => table.flip(990, 3));
      const digests = await recordDigests(options.cacheDir);
      const fault = await server.fault({
        action: { kind: 'reset' },
        sql: /FROM main\."items"/,
        skip: 5,
        times: Infinity,
      });
      await assert.rejects(storage.verify({ level: 'deep' }).then(), (error: unknown) => {
        assert.ok(error instanceof SourceError);
        assert.equal(error.code, 'SOURCE_UNAVAILABLE');
        return true;
      });
      assert.deepEqual(await recordDigests(options.cacheDir), digests);
      assert.equal(storage.cache.table('items').count(), 1000);
      assert.equal((await storage.status()).lastError, null);
      await fault.clear();
      const report = await storage.verify({ level: 'deep' });
      assert.equal(report.resumed, true);
      assert.equal(report.tables['items']!.rowsCompared, 1000);
      assert.equal(report.differences, 1);
      assert.ok(report.sourceRowsRead < 1000, `${report.sourceRowsRead} rows read`);
    });
  });
});
