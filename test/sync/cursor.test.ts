import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import {
  assertHoldsAll,
  commits,
  CREATE,
  CursorWriter,
  definitions,
  WHERE,
} from './cursor-history.js';

const SEED = 20_261_122;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync();
}

void describe('a table that is followed by its cursor', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`has any history of writes, and after a sweep no row too many: ${way} (seed ${SEED})`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ commits, sweeps: fc.boolean() }), { minLength: 1, maxLength: 8 }),
          fc.constantFrom(1, 3, 1000),
          async (history, batchSize) => {
            await using dir = await TempDirectory.make();
            const file = dir.join('source.db');
            changeDatabase(file, `PRAGMA journal_mode = WAL; ${CREATE}`);
            await using server = way === 'http' ? await startHranaServer({ file }) : null;
            const source = { url: server?.httpUrl ?? `file:${file}` };
            const options = { source, cacheDir: dir.join('cache'), batchSize };
            await sync({ ...options, tables: definitions(false) });
            const writer = new CursorWriter(file);
            for (const { commits: some, sweeps } of history) {
              for (const each of some) writer.commit(each);
              const report = await sync({ ...options, tables: definitions(sweeps) });
              assert.equal(report.mode, 'incremental');
              if (sweeps) await assertCacheEquals(file, options.cacheDir, { where: WHERE });
              else await assertHoldsAll(file, options.cacheDir);
            }
          },
        ),
        { seed: SEED, numRuns: way === 'file' ? 60 : 12 },
      );
    });
  }
});
