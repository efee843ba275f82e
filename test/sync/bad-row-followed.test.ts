import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  openChangeLog,
  RowRejectedError,
  StorageSync,
  WorkerPool,
  type TableDefinition,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 1 });
});
after(async () => {
  await pool.close();
});

const FOLLOWED: readonly (readonly [string, boolean, Partial<TableDefinition>])[] = [
  ['by the change log', true, {}],
  ['by the change log, within a limit', true, { limit: { count: 3, newestBy: 'c' } }],
  ['by a cursor', false, { cursor: { column: 'c', sweepEveryMs: 0 } }],
];
/** Rows that no cache can hold. A server cannot even give the first by a plain list. */
const BAD = [`('bad', 9, CAST(x'61ff' AS TEXT))`, `('bad' || printf('%.*c', 3000, 'k'), 9, 1)`];

void describe('a bad row among the changes', () => {
  for (const way of ['file', 'http', 'ws'] as const) {
    for (const [followed, isLogged, definition] of FOLLOWED) {
      void it(`is told by name, or set aside: ${followed}, over ${way}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(
          file,
          `PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, c INTEGER, v);
           INSERT INTO t VALUES ('a', 1, 1), ('b', 2, 2)`,
        );
        if (isLogged) {
          await using log = await openChangeLog({ url: `file:${file}` });
          await log.install();
        }
        await using server = way === 'file' ? null : await startHranaServer({ file });
        const url = { file: `file:${file}`, http: server?.httpUrl, ws: server?.wsUrl }[way]!;
        const options = {
          source: { url },
          cacheDir: dir.join('cache'),
          tables: [{ name: 't', ...definition }],
          retryInitialMs: 1,
          retryMaxMs: 5,
          pool,
        };
        await using storage = await StorageSync.open(options);
        await storage.sync();
        for (const row of BAD) {
          changeDatabase(
            file,
            `INSERT INTO t VALUES ${row}; UPDATE t SET v = -v, c = 9 WHERE k < 'bad'`,
          );
          await assert.rejects(storage.sync().then(), (error: unknown) => {
            assert.ok(error instanceof RowRejectedError, String(error));
            assert.match(error.message, /bad/);
            return true;
          });
          await using lenient = await StorageSync.open({ ...options, onRowError: 'quarantine' });
          const report = await lenient.sync();
          assert.equal(report.mode, 'incremental');
          // A sweep comes to it once more.
          assert.ok(report.tables['t']!.rowsQuarantined >= 1, JSON.stringify(report));
          await assertCacheEquals(file, options.cacheDir, {
            where: { t: `k NOT LIKE 'bad%'` },
          });
          changeDatabase(file, `DELETE FROM t WHERE k LIKE 'bad%'`);
          await storage.sync();
          await assertCacheEquals(file, options.cacheDir);
        }
      });
    }
  }
});
