import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import {
  openCache,
  openChangeLog,
  StorageSync,
  type CacheReader,
  type StorageSyncOptions,
} from '../../src/index.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import type { Fault } from '../support/kill/fault.js';
import { runChild, type ChildEnd } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const ROWS = 200;
const BATCH = 30;
/** Every value is its column's name, a dash and the row's key: a row of another definition than its own shows. */
const BUILD = `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, b, c);
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS - 1})
  INSERT INTO t SELECT i, 'a-' || i, 'b-' || i, 'c-' || i FROM n;
  CREATE TABLE other (id INTEGER PRIMARY KEY, v)`;

interface Change {
  readonly sql: string;
  readonly columns: string;
}
const OLD = 'k,a,b,c';
const CHANGES: Readonly<Record<string, Change>> = {
  'a new column': {
    sql: `ALTER TABLE t ADD COLUMN d; UPDATE t SET d = 'd-' || k`,
    columns: 'k,a,b,c,d',
  },
  'a renamed column': {
    sql: `ALTER TABLE t RENAME COLUMN c TO d; UPDATE t SET d = 'd-' || k`,
    columns: 'k,a,b,d',
  },
};
const AGAIN = 'ALTER TABLE t DROP COLUMN a';

/** Where a sync is killed, and whether readers see the new definition from then on. */
const POINTS: readonly (readonly [point: string, occurrence: number, isNew: boolean])[] = [
  ['schema:after-read', 1, false],
  ['prepare:received', 1, false],
  ['prepare:before-commit', 1, false],
  ['prepare:after-commit', 1, false],
  ['page:after-read', 3, false],
  ['write:before-put', 40, false],
  ['write:before-commit', 4, false],
  ['write:after-commit', 4, false],
  ['complete:received', 1, false],
  ['complete:before-commit', 1, false],
  ['complete:after-commit', 1, true],
  ['complete:done', 1, true],
  ['close:done', 1, true],
];

const COMMITS = POINTS.filter(([point]) => /^(prepare|complete):.*commit$/.test(point));

/** Asserts that what is served is the whole table, of one definition, and that its index fits. */
function assertWhole(cache: CacheReader, columns: string): void {
  using snapshot = cache.snapshot();
  for (const from of [snapshot.table('t'), cache.table('t')]) {
    assert.equal(from.columns.join(), columns);
    assert.equal(from.count(), ROWS);
    for (const rows of [[...from.range()], [...from.rangeByIndex('by_b')]]) {
      assert.equal(rows.length, ROWS);
      for (const row of rows) {
        assert.equal(Object.keys(row).join(), columns);
        for (const [name, value] of Object.entries(row)) {
          if (name !== 'k') assert.equal(value, `${name}-${String(row['k'])}`);
        }
      }
    }
    assert.equal(from.get('7')?.['b'], 'b-7');
  }
}

async function pendingTables(cacheDir: string): Promise<number> {
  const environment = new Environment(generationPath(cacheDir, 1));
  try {
    return environment.catalog().pending.length;
  } finally {
    await environment.close();
  }
}

interface Ground {
  readonly file: string;
  readonly options: StorageSyncOptions;
  /** Open since before anything changed. */
  readonly reader: CacheReader;
  readonly kill: (fault: Fault | null) => Promise<ChildEnd>;
}

async function onSynced(
  mode: 'full' | 'change-log',
  use: (ground: Ground) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${BUILD}`);
  const source = { url: `file:${file}` };
  const tables = [{ name: 't', indexes: [{ name: 'by_b', columns: ['b'] }] }, { name: 'other' }];
  const options = { source, cacheDir: dir.join('cache'), batchSize: BATCH, tables };
  if (mode === 'change-log') {
    await using log = await openChangeLog(source);
    await log.install();
  }
  {
    await using storage = await StorageSync.open(options);
    await storage.sync();
  }
  await using reader = openCache(options.cacheDir, { validateChecksums: true });
  assertWhole(reader, OLD);
  const kill = async (fault: Fault | null) =>
    await runChild({ mode: 'sync', options, readerThreads: 1, fault });
  await use({ file, options, reader, kill });
}

function assertKilled(t: TestContext, end: ChildEnd, point: string): void {
  t.diagnostic(end.kind);
  assert.equal(end.kind, 'killed', JSON.stringify(end));
  if (end.kind === 'killed') assert.equal(end.point, point);
}

void describe('a process killed while a table is built anew', { concurrency: 2 }, () => {
  for (const mode of ['full', 'change-log'] as const) {
    for (const [what, { sql, columns }] of Object.entries(CHANGES)) {
      const points = mode === 'full' && what === 'a new column' ? POINTS : COMMITS;
      for (const [point, occurrence, isNew] of points) {
        void it(`leaves the table whole, of one definition: ${what}, ${mode}, ${point} ${occurrence}`, async (t) => {
          await onSynced(mode, async ({ file, options, reader, kill }) => {
            changeDatabase(file, `BEGIN; ${sql}; COMMIT`);
            const fault: Fault = { point, occurrence, action: 'kill' };
            for (let times = 0; times < (isNew || points !== POINTS ? 1 : 2); times++) {
              const end = await kill(fault);
              // What the first had read, the second does not read again.
              if (times === 0) assertKilled(t, end, point);
              const shown = isNew || end.kind === 'completed' ? columns : OLD;
              assertWhole(reader, shown);
              await using fresh = openCache(options.cacheDir, { validateChecksums: true });
              assertWhole(fresh, shown);
            }
            const end = await kill(null);
            assert.equal(end.kind, 'completed', JSON.stringify(end));
            assertWhole(reader, columns);
            await assertCacheEquals(file, options.cacheDir);
            assert.equal(await pendingTables(options.cacheDir), 0);
            if (end.kind === 'completed' && point.startsWith('complete') && !isNew) {
              assert.equal(end.rowsFetched, 0, 'nothing is read again');
              assert.equal(end.report.tables['t']?.resumed, true);
            }
          });
        });
      }
    }
  }

  for (const point of ['prepare:before-commit', 'prepare:after-commit', 'write:after-commit']) {
    void it(`drops what it had built when something else is wanted: ${point}`, async (t) => {
      await onSynced('full', async ({ file, options, reader, kill }) => {
        changeDatabase(file, CHANGES['a renamed column']!.sql);
        const midway = await kill({ point: 'write:after-commit', occurrence: 3, action: 'kill' });
        assertKilled(t, midway, 'write:after-commit');
        changeDatabase(file, AGAIN);
        const end = await kill({ point, occurrence: 1, action: 'kill' });
        assertKilled(t, end, point);
        assertWhole(reader, OLD);
        assert.equal(await pendingTables(options.cacheDir), 1);
        assert.equal((await kill(null)).kind, 'completed');
        assertWhole(reader, 'k,b,d');
        await assertCacheEquals(file, options.cacheDir);
        assert.equal(await pendingTables(options.cacheDir), 0);
      });
    });
  }

  for (const point of ['abandon:received', 'abandon:before-commit', 'abandon:done']) {
    void it(`keeps what is served when rows seem lost: ${point}`, async (t) => {
      await onSynced('full', async ({ file, options, reader, kill }) => {
        changeDatabase(file, `${CHANGES['a new column']!.sql}; DELETE FROM t WHERE k > '15'`);
        const end = await kill({ point, occurrence: 1, action: 'kill' });
        assertKilled(t, end, point);
        assertWhole(reader, OLD);
        const refused = await kill(null);
        assert.equal(refused.kind === 'failed' && refused.code, 'LOSS_SUSPECTED');
        assertWhole(reader, OLD);
        assert.equal(await pendingTables(options.cacheDir), 0);
      });
    });
  }
});
