import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  openChangeLog,
  StorageSync,
  WorkerPool,
  type ChangeLog,
  type StorageSyncOptions,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { TempDirectory } from '../support/temp.js';

const TABLES = `CREATE TABLE a (k INTEGER PRIMARY KEY, v); CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v);
  INSERT INTO a VALUES (1, 0), (2, 0), (3, 0); INSERT INTO b VALUES ('x', 0), ('y', 0)`;
const CHANGE = `DELETE FROM a WHERE k = 2; UPDATE a SET v = v + 1; UPDATE b SET v = v + 1`;
/** How a log may change between a sync's look at it and the reading of its changes. */
const UPHEAVALS: Readonly<Record<string, (log: ChangeLog) => Promise<unknown>>> = {
  'is compacted and the cache forgotten': async (log) =>
    await log.compact({ all: true, forgetReadersAfterMs: 0 }),
  'is installed anew': async (log) => {
    await log.uninstall();
    await log.install();
  },
  'is installed anew for one table': async (log) => {
    await log.uninstall(['a']);
    await log.install();
  },
  'is removed': async (log) => await log.uninstall(),
  'is removed for one table': async (log) => await log.uninstall(['b']),
};

void describe('a change log that changes while it is followed', () => {
  for (const way of ['file', 'http'] as const) {
    for (const [upheaval, change] of Object.entries(UPHEAVALS)) {
      void it(`loses nothing when it ${upheaval}: ${way}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, `PRAGMA journal_mode = WAL; ${TABLES}`);
        await using server = way === 'http' ? await startHranaServer({ file }) : null;
        const source = { url: server?.httpUrl ?? `file:${file}` };
        const options: StorageSyncOptions = { source, cacheDir: dir.join('cache') };
        await using log = await openChangeLog({ url: `file:${file}` });
        await log.install();
        await syncOnce(options);
        changeDatabase(file, CHANGE);

        const fault = setFault({ point: 'prepare:done', occurrence: 1, action: 'hold' });
        await using pool = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
        await using storage = await StorageSync.open({ ...options, pool });
        const syncing = storage.sync();
        await fault.held();
        await change(log);
        fault.release();
        const report = await syncing;
        assert.equal(report.validation.passed, true);
        await assertCacheEquals(file, options.cacheDir);

        changeDatabase(file, CHANGE);
        await syncOnce(options);
        await assertCacheEquals(file, options.cacheDir);
      });
    }
  }
});

async function syncOnce(options: StorageSyncOptions): Promise<void> {
  await using storage = await StorageSync.open(options);
  await storage.sync();
}
