import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openChangeLog, StorageSync, WorkerPool } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaVersions } from '../support/hrana/server.js';
import { RoundTrips } from '../support/round-trips.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

interface Source {
  readonly file: string;
  readonly cacheDir: string;
  /** Does something with a cache, and gives the number of round trips that followed one another. */
  readonly trips: (work: (storage: StorageSync) => Promise<unknown>) => Promise<number>;
}

async function withSource(
  versions: HranaVersions,
  use: (source: Source) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
     INSERT INTO t SELECT 'k' || i, i FROM n`,
  );
  await using server = await startHranaServer({ file, versions });
  await using counter = await RoundTrips.before(server.port);
  const cacheDir = dir.join('cache');
  await using storage = await StorageSync.open({ source: { url: counter.url }, cacheDir, pool });
  const trips = async (work: (storage: StorageSync) => Promise<unknown>) => {
    counter.take();
    await work(storage);
    return counter.take().length;
  };
  await use({ file, cacheDir, trips });
}

const sync = async (storage: StorageSync) => await storage.sync();

function assertAtMost(trips: number, limit: number, what: string): void {
  assert.ok(trips > 0 && trips <= limit, `${what}: ${trips} round trips, not ${limit} at most`);
}

void describe('round trips that follow one another', () => {
  void it('are three of a full sync, first and next: the schema, the rows, the schema again', async () => {
    await withSource({}, async ({ file, cacheDir, trips }) => {
      assertAtMost(await trips(sync), 3, 'first sync');
      await assertCacheEquals(file, cacheDir);
      changeDatabase(file, `DELETE FROM t WHERE k = 'k7'; UPDATE t SET v = 0 WHERE k = 'k8'`);
      assertAtMost(await trips(sync), 3, 'next sync');
      await assertCacheEquals(file, cacheDir);
      assertAtMost(await trips(async (storage) => await storage.verify()), 3, 'verify');
    });
  });

  for (const [what, versions] of [
    ['cursors in JSON alone', { v3Protobuf: false }],
    ['no cursors', { v3Protobuf: false, v3: false }],
  ] as const) {
    void it(`are one more, to find it out, of a server with ${what}`, async () => {
      await withSource(versions, async ({ file, cacheDir, trips }) => {
        assertAtMost(await trips(sync), 4, 'first sync');
        await assertCacheEquals(file, cacheDir);
      });
    });
  }

  void it('are three of a sync by the change log that finds nothing new', async () => {
    await withSource({}, async ({ file, cacheDir, trips }) => {
      await using log = await openChangeLog({ url: `file:${file}` });
      await log.install();
      await trips(sync);
      assertAtMost(await trips(sync), 3, 'nothing new');
      changeDatabase(file, `UPDATE t SET v = 0 WHERE k = 'k8'`);
      await trips(sync);
      await assertCacheEquals(file, cacheDir);
    });
  });
});
