import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageSync, type StorageSyncOptions } from '../../src/index.js';
import { Environment } from '../../src/cache/environment.js';
import type { TableCheckpoint } from '../../src/cache/catalog.js';
import { generationPath } from '../../src/cache/layout.js';
import { readManifest } from '../../src/cache/manifest.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

/** Enough that, as slowly as they come, some seconds are left when the table is divided. */
const ROWS = 60_000;
/** So few that threads of a busy machine, which seem to wait less, still mostly wait. */
const BYTES_PER_SECOND = 500_000;
/** Few, so that a sync can be stopped while lanes are under way, however they come on. */
const PAGE_ROWS = 1000;

const TABLE = `PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v, w);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO t SELECT hex(randomblob(8)), i, hex(randomblob(30)) FROM n`;

interface Far {
  readonly file: string;
  readonly server: HranaServer;
  readonly options: StorageSyncOptions;
}

/** A database whose rows come more slowly than they could be taken. */
async function withFar(sql: string, use: (far: Far) => Promise<void>): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, sql);
  await using server = await startHranaServer({ file, bytesPerSecond: BYTES_PER_SECOND });
  const options = {
    source: { url: server.httpUrl },
    cacheDir: dir.join('cache'),
    batchSize: PAGE_ROWS,
    retries: 1,
    retryInitialMs: 1,
  };
  await use({ file, server, options });
}

/** How far the table has come, in the generation that is being written. */
async function checkpointOf(cacheDir: string): Promise<TableCheckpoint> {
  const manifest = readManifest(cacheDir)!;
  const generation = manifest.building?.generation ?? manifest.live!;
  const environment = new Environment(generationPath(cacheDir, generation));
  try {
    const { tables, pending } = environment.catalog();
    const [table] = [...pending, ...tables];
    return environment.tableState(table!.id).checkpoint!;
  } finally {
    await environment.close();
  }
}

/** Statements that gave rows of the table by ranges of its keys. */
async function ranges(server: HranaServer): Promise<number> {
  const { statements } = await server.stats();
  return statements.filter((sql) => sql.includes('FROM main."t" WHERE ("k" >')).length;
}

/** Those that had been passed when the server said where they end are not among them. */
async function assertRanges(server: HranaServer): Promise<void> {
  const found = await ranges(server);
  assert.ok(found >= 2 && found <= 4, `${found} statements over ranges`);
}

async function isDivided(cacheDir: string): Promise<boolean> {
  return (await checkpointOf(cacheDir)).lanes.length > 1;
}

/** Syncs until so many rows were read, and gives that up. */
async function syncUpTo(storage: StorageSync, rows: number): Promise<void> {
  const abort = new AbortController();
  const run = storage.sync({
    signal: abort.signal,
    onProgress: ({ rowsRead }) => {
      if (rowsRead >= rows) abort.abort();
    },
  });
  await assert.rejects(async () => await run, { name: 'SyncAbortedError' });
}

void describe('the lanes of a table on a server far away', { concurrency: 3 }, () => {
  void it('take what is left of it, each row once, and compare what is there when they come again', async () => {
    await withFar(TABLE, async ({ file, server, options }) => {
      await using storage = await StorageSync.open(options);
      const first = await storage.sync();
      await assertRanges(server);
      assert.equal(first.tables['t']!.rowsRead, ROWS);
      assert.equal(first.tables['t']!.rowsWritten, ROWS);
      // 256 rows are looked at, and the two ends.
      assert.ok(first.sourceRowsRead <= ROWS + 300, `${first.sourceRowsRead} source rows`);
      await assertCacheEquals(file, options.cacheDir);

      changeDatabase(
        file,
        `DELETE FROM t WHERE v % 10 = 0; UPDATE t SET w = 'new' WHERE v % 10 = 1;
         UPDATE t SET k = hex(randomblob(8)) WHERE v % 10 = 2; INSERT INTO t VALUES ('', 0, 0), ('z', 0, 0)`,
      );
      await server.resetStats();
      const next = await storage.sync();
      await assertRanges(server);
      const { rowsWritten, rowsUnchanged, rowsDeleted } = next.tables['t']!;
      assert.deepEqual(
        { rowsWritten, rowsUnchanged, rowsDeleted },
        { rowsWritten: ROWS / 5 + 2, rowsUnchanged: (7 * ROWS) / 10, rowsDeleted: ROWS / 5 },
      );
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('are each gone on from where they were, by another process', async () => {
    await withFar(TABLE, async ({ file, server, options }) => {
      {
        await using storage = await StorageSync.open(options);
        await syncUpTo(storage, (2 * ROWS) / 3);
      }
      const { lanes } = await checkpointOf(options.cacheDir);
      assert.ok(lanes.length > 1, `${lanes.length} lanes`);
      assert.ok(lanes.filter(({ sequence }) => sequence > 0).length > 1, 'several were under way');
      await server.resetStats();
      await using storage = await StorageSync.open(options);
      const { tables } = await storage.sync();
      assert.equal(tables['t']!.resumed, true);
      assert.equal(tables['t']!.rowsRead, ROWS);
      const { rowsReturned } = await server.stats();
      assert.ok(rowsReturned < ROWS / 2, `${rowsReturned} rows were read again`);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  for (const point of ['divide:received', 'divide:before-commit', 'divide:after-commit']) {
    void it(`are whole or not there after a kill at ${point}`, async () => {
      await withFar(TABLE, async ({ file, options }) => {
        const order = { mode: 'sync', options, readerThreads: 2 } as const;
        const fault = { point, occurrence: 1, action: 'kill' } as const;
        const end = await runChild({ ...order, fault });
        assert.equal(end.kind, 'killed');
        assert.equal(await isDivided(options.cacheDir), point === 'divide:after-commit');
        await using storage = await StorageSync.open({ ...options, lanes: 2 });
        assert.equal((await storage.sync()).tables['t']!.rowsRead, ROWS);
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  void it('are whole after kills at their commits, and by chance', async () => {
    await withFar(TABLE, async ({ file, options }) => {
      const order = { mode: 'sync', options, readerThreads: 2 } as const;
      for (const [point, occurrence] of [
        ['write:after-put', 30 * PAGE_ROWS + 9],
        ['write:before-commit', 3],
        ['write:after-commit', 3],
      ] as const) {
        await runChild({ ...order, fault: { point, occurrence, action: 'kill' } });
      }
      await runChild({ ...order, fault: null }, { killAfterMs: 3000 });
      await using storage = await StorageSync.open(options);
      assert.equal((await storage.sync()).tables['t']!.rowsRead, ROWS);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('all end when one fails, and are gone on from by the next sync', async () => {
    await withFar(TABLE, async ({ file, server, options }) => {
      await using storage = await StorageSync.open(options);
      // The lanes in the middle are the only ones with an end and a beginning.
      const sql = /"k" > \? COLLATE BINARY AND "k" <= \?/;
      const fault = await server.fault({
        sql,
        action: { kind: 'status', status: 400 },
        times: Infinity,
      });
      await assert.rejects(async () => await storage.sync(), { name: 'SourceError' });
      assert.ok((await fault.fired()) > 0);
      assert.ok(await isDivided(options.cacheDir));
      await fault.clear();
      assert.equal((await storage.sync()).tables['t']!.rowsRead, ROWS);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('are not made where a server cannot say where', async () => {
    await withFar(TABLE, async ({ file, server, options }) => {
      await server.fault({
        sql: /storage_sync_probe/,
        action: { kind: 'status', status: 500 },
        times: Infinity,
      });
      await using storage = await StorageSync.open(options);
      assert.equal((await storage.sync()).tables['t']!.rowsRead, ROWS);
      assert.equal(await ranges(server), 0);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('are not made near a server, nor where one is all that is allowed', async () => {
    await withFar(TABLE, async ({ file, server, options }) => {
      await using near = await startHranaServer({ file });
      const source = { url: near.httpUrl };
      await using storage = await StorageSync.open({ ...options, source });
      await storage.sync();
      assert.equal(await ranges(near), 0, 'near');
      await using single = await StorageSync.open({
        ...options,
        cacheDir: `${options.cacheDir}-single`,
        lanes: 1,
      });
      await single.sync();
      assert.equal(await ranges(server), 0, 'one');
    });
  });
});
