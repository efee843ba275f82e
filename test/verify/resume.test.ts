import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  StorageSync,
  SyncAbortedError,
  WorkerPool,
  type StorageSyncOptions,
  type TableDefinition,
} from '../../src/index.js';
import { verifyStatePath } from '../../src/cache/layout.js';
import { recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import type { Fault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';
import { assertFound, tamper, tamperWithTen } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 2000;
const KINDS: Readonly<
  Record<string, { readonly columns: string; readonly definition: TableDefinition }>
> = {
  'a table in key order': {
    columns: 'k TEXT PRIMARY KEY NOT NULL, at, v',
    definition: { name: 'items', indexes: [{ name: 'by_v', columns: ['v'] }] },
  },
  'a table in another order': {
    columns: 'k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, at, v',
    definition: { name: 'items' },
  },
  'a table with a limit': {
    columns: 'k TEXT PRIMARY KEY NOT NULL, at, v',
    definition: { name: 'items', limit: { count: 1200, newestBy: 'at' } },
  },
};

async function withTampered(
  kind: string,
  use: (
    options: StorageSyncOptions,
    wrong: ReturnType<typeof tamperWithTen>,
    digests: Record<string, string>,
    file: string,
  ) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  const { columns, definition } = KINDS[kind]!;
  changeDatabase(
    file,
    `CREATE TABLE items (${columns});
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO items SELECT 'k' || i, i * 31 % 4000, 'value ' || i FROM n;
     CREATE TABLE other (k INTEGER PRIMARY KEY); INSERT INTO other VALUES (1), (2)`,
  );
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    tables: [{ name: 'other' }, definition],
    batchSize: 150,
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  const digests = await recordDigests(options.cacheDir);
  const wrong = await tamper(options.cacheDir, 'items', (table) =>
    tamperWithTen(table, [['k0'], ['zz']]),
  );
  await use(options, wrong, digests, file);
}

void describe('a deep verify that stops', () => {
  for (const kind of Object.keys(KINDS)) {
    for (const repair of [false, true]) {
      void it(`at its budget goes on from there, and reads no row too many: ${kind}, repair ${repair}`, async () => {
        await withTampered(kind, async (options, wrong, digests) => {
          await using storage = await StorageSync.open({ ...options, pool });
          const limit = kind.endsWith('limit') ? 1200 : 0;
          const maxSourceRows = 500 + 4 * limit;
          let report = await storage.verify({
            level: 'deep',
            maxSourceRows,
            repair,
            allowLoss: true,
          });
          let runs = 1;
          while (!report.complete) {
            const mode = statSync(verifyStatePath(options.cacheDir)).mode;
            assert.equal(mode & 0o777, 0o600);
            assert.ok(report.sourceRowsRead <= maxSourceRows, `${report.sourceRowsRead} rows read`);
            report = await storage.verify({
              level: 'deep',
              maxSourceRows,
              repair,
              allowLoss: true,
            });
            assert.equal(report.resumed, true);
            assert.ok(++runs < 100, 'it comes to an end');
          }
          assert.ok(limit > 0 || runs > 3, `${runs} runs`);
          assert.equal(existsSync(verifyStatePath(options.cacheDir)), false);
          const items = report.tables['items']!;
          assertFound(items, wrong, repair);
          assert.equal(items.rowsCompared, limit || ROWS);
          if (!repair) return;
          assert.equal(report.left, 0, JSON.stringify(report, null, 1));
          assert.deepEqual(await recordDigests(options.cacheDir), digests);
        });
      });
    }

    void it(`by its signal goes on from there: ${kind}`, async () => {
      await withTampered(kind, async (options, wrong, digests) => {
        await using storage = await StorageSync.open({ ...options, pool });
        let aborted = 0;
        for (let stopAt = 1; ; stopAt += 300) {
          const abort = new AbortController();
          const run = storage.verify({
            level: 'deep',
            repair: true,
            signal: abort.signal,
            onProgress: ({ rowsRead }) => {
              if (rowsRead >= stopAt) abort.abort();
            },
          });
          try {
            const report = await run;
            assert.equal(report.left, 0);
            break;
          } catch (error) {
            assert.ok(error instanceof SyncAbortedError, String(error));
            aborted++;
          }
        }
        // One that is compared at once may be done before it hears of it.
        assert.ok(aborted > 0 || kind === 'a table in another order', 'it was aborted');
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
        const after = await storage.verify({ level: 'deep' });
        assert.equal(after.differences, 0);
        assert.equal(after.resumed, false);
        assert.equal(wrong.length, 10);
      });
    });
  }

  void it('begins anew when the cache, the tables or the purpose are others, or its file is damaged', async () => {
    await withTampered('a table in key order', async (options) => {
      const stop = async () => {
        await using storage = await StorageSync.open({ ...options, pool });
        const report = await storage.verify({ level: 'deep', maxSourceRows: 900 });
        assert.equal(report.complete, false);
        assert.ok(report.tables['items']!.unverifiedBehind);
        return storage;
      };
      const resumes = async (more: Partial<StorageSyncOptions>, repair = false) => {
        await using storage = await StorageSync.open({ ...options, ...more, pool });
        const report = await storage.verify({ level: 'deep', maxSourceRows: 10, repair });
        return report.resumed;
      };
      await stop();
      assert.equal(await resumes({}), true);
      await stop();
      assert.equal(await resumes({ tables: [KINDS['a table in key order']!.definition] }), false);
      await stop();
      // What it left behind it would not be repaired.
      assert.equal(await resumes({}, true), false);
      await stop();
      writeFileSync(
        verifyStatePath(options.cacheDir),
        readFileSync(verifyStatePath(options.cacheDir)).subarray(0, 50),
      );
      assert.equal(await resumes({}), false);
      await stop();
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.rebuild();
      assert.equal(await resumes({}), false);
      assert.equal(existsSync(join(options.cacheDir, 'verify.json')), true);
    });
  });
});

const POINTS = [
  'repairRows:received',
  'repairRows:before-commit',
  'repairRows:after-commit',
  'repairRows:done',
  'repairEntries:before-commit',
  'repairCount:before-commit',
] as const;

void describe('a kill while a verify repairs', () => {
  for (const point of POINTS) {
    for (const occurrence of [1, 3]) {
      void it(`leaves rows and entries whole, and the next one repairs the rest: at ${point}, time ${occurrence}`, async () => {
        await withTampered('a table in key order', async (options, _, digests) => {
          await tamper(options.cacheDir, 'items', (table) => table.removeEntries(2));
          const fault: Fault = { point, occurrence, action: 'kill' };
          const end = await runChild({ mode: 'verify', options, readerThreads: 2, fault });
          const first = occurrence === 1 && !point.startsWith('repairCount');
          if (first) assert.equal(end.kind, 'killed', JSON.stringify(end));
          await using storage = await StorageSync.open({ ...options, pool });
          const report = await storage.verify({ level: 'deep', repair: true });
          assert.equal(report.left, 0, JSON.stringify(report, null, 1));
          assert.deepEqual(await recordDigests(options.cacheDir), digests);
        });
      });
    }
  }
});
