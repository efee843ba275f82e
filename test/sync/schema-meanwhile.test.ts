import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import {
  describeError,
  SourceError,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { setFault } from '../support/kill/fault.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import {
  assertNothingLeft,
  capture,
  FILL,
  remade,
  ROWS,
  run as runIn,
  T,
  withSource,
} from './changed-schema.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

const SEED = 20_261_123;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});
const run = async (options: StorageSyncOptions): Promise<SyncReport> => await runIn(pool, options);

void describe('a schema that changes while a sync runs', () => {
  const build = `${T}; ${FILL}; CREATE INDEX by_b ON t (b)`;

  /** Changes the source between two pages of a sync, and lets that end. */
  async function changeMeanwhile(
    file: string,
    options: StorageSyncOptions,
    sql: string,
  ): Promise<SyncReport | Error> {
    const fault = setFault({ point: 'page:before-read', occurrence: 6, action: 'hold' });
    await using threads = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
    const running = runIn(threads, options).catch((error: unknown) => error as Error);
    await fault.held();
    changeDatabase(file, sql);
    fault.release();
    return await running;
  }

  const meanwhile: Readonly<Record<string, { readonly sql: string; readonly fails: boolean }>> = {
    'a column is added': { sql: 'ALTER TABLE t ADD COLUMN d DEFAULT 7', fails: false },
    'a column is dropped': { sql: 'ALTER TABLE t DROP COLUMN c', fails: true },
    'a column is renamed': { sql: 'ALTER TABLE t RENAME COLUMN c TO d', fails: true },
    'a column is dropped and added again': {
      sql: 'ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c',
      fails: false,
    },
    'the table is gone': { sql: 'DROP TABLE t', fails: true },
    'the table has another key': {
      sql: remade('k, a TEXT PRIMARY KEY NOT NULL, b, c'),
      fails: true,
    },
    'the table has another key and less rows': {
      sql: `${remade('k, a TEXT PRIMARY KEY NOT NULL, b, c')}; DELETE FROM t WHERE k % 3 = 0`,
      fails: true,
    },
    'the table has another order': {
      sql: remade('c, b, a, k TEXT PRIMARY KEY NOT NULL', 'c, b, a, k'),
      fails: true,
    },
    'the table may have NULL for a key': {
      sql: `${remade('k TEXT PRIMARY KEY, a, b, c')}; INSERT INTO t (a) VALUES (1), (2)`,
      fails: true,
    },
    'another table is made': { sql: 'CREATE TABLE more (id INTEGER PRIMARY KEY)', fails: false },
  };
  const modes = [
    'first sync',
    'first sync with a change log',
    'next sync',
    'changes of the log',
    'successor',
  ] as const;

  for (const way of ['file', 'http'] as const) {
    for (const mode of way === 'file' ? modes : (['next sync'] as const)) {
      for (const [what, { sql, fails }] of Object.entries(meanwhile)) {
        void it(`ends in an error or in what was asked for, and the next one heals it: ${way}, ${mode}, ${what}`, async () => {
          await withSource(build, async (file, own) => {
            if (mode.includes('log')) await capture(file);
            await using server = way === 'http' ? await startHranaServer({ file }) : null;
            const source = server ? { url: server.httpUrl } : own.source;
            // A statement for each page, so that there are points between them.
            const transport = server ? ('http-pipeline' as const) : ('auto' as const);
            const options = { ...own, transport, source, batchSize: 20, maxLossShare: 1 };
            const isFirst = mode.startsWith('first');
            if (!isFirst) await run(options);
            const isSuccessor = mode === 'successor';
            if (isSuccessor) {
              changeDatabase(file, 'DROP INDEX by_b; ALTER TABLE t RENAME COLUMN b TO bb');
            }
            changeDatabase(file, 'UPDATE t SET a = 1 + k');
            const change = isSuccessor ? sql.replace(/\bb\b/g, 'bb') : sql;
            const ended = await changeMeanwhile(file, options, change);
            if (fails) {
              assert.ok(ended instanceof SourceError, what);
              assert.equal(ended.code, 'SOURCE_SCHEMA_CHANGED', describeError(ended));
            } else assert.ok(!(ended instanceof Error), describeError(ended));
            // Rows may be gone by a log, which says so of each; else they are removed only by a schema that held.
            if (fails && !isFirst && mode !== 'changes of the log') {
              await using storage = await StorageSync.open({ ...options, pool });
              assert.equal([...storage.cache.table('t').range()].length, ROWS);
            }
            await run(options);
            await assertCacheEquals(file, options.cacheDir);
            await assertNothingLeft(options);
          });
        });
      }
    }
  }

  for (const isFirst of [true, false]) {
    void it(`is noticed of a table whose rows have all come: ${isFirst ? 'first' : 'next'} sync`, async () => {
      const before =
        'CREATE TABLE early (k INTEGER PRIMARY KEY, v, w); INSERT INTO early VALUES (1, 2, 3)';
      await withSource(`${before}; ${build}`, async (file, own) => {
        await using server = await startHranaServer({ file });
        const options = {
          ...own,
          source: { url: server.httpUrl },
          transport: 'http-pipeline' as const,
          batchSize: 20,
        };
        if (!isFirst) await run(options);
        // One thread reads `early` first: when it asks for this page of `t`, nothing of the other is left to come.
        const ended = await changeMeanwhile(file, options, 'ALTER TABLE early DROP COLUMN v');
        assert.ok(ended instanceof SourceError, 'it was not noticed');
        assert.equal(ended.code, 'SOURCE_SCHEMA_CHANGED', describeError(ended));
        assert.match(ended.message, /"early"/);
        await run(options);
        await assertCacheEquals(file, options.cacheDir);
        await assertNothingLeft(options);
      });
    });
  }

  for (const mode of ['first sync', 'next sync', 'successor'] as const) {
    void it(`is not gone on from when it is changed back: ${mode}`, async () => {
      await withSource(build, async (file, options) => {
        const small = { ...options, batchSize: 20, maxLossShare: 1 };
        if (mode !== 'first sync') await run(small);
        if (mode === 'successor') changeDatabase(file, 'ALTER TABLE t RENAME COLUMN b TO bb');
        const b = mode === 'successor' ? 'bb' : 'b';
        const columns = `k, a, ${b}, c`;
        const other = remade(`k, a TEXT PRIMARY KEY NOT NULL, ${b}, c`, columns);
        changeDatabase(
          file,
          `CREATE TABLE kept AS SELECT * FROM t; DELETE FROM kept WHERE k = '0'`,
        );
        const ended = await changeMeanwhile(file, small, `${other}; DELETE FROM t WHERE k % 3 = 0`);
        assert.ok(ended instanceof SourceError);
        changeDatabase(
          file,
          `DROP TABLE t; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, ${b}, c);
           INSERT INTO t SELECT * FROM kept; DROP TABLE kept`,
        );
        await run(small);
        await assertCacheEquals(file, options.cacheDir);
        await assertNothingLeft(options);
      });
    });
  }
});

void describe('any history of schemas', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step = fc.oneof(
    fc
      .tuple(name, fc.constantFrom('', " DEFAULT 'x'", ' NOT NULL DEFAULT 3', ' INTEGER', ' TEXT'))
      .map(([column, type]) => `ALTER TABLE t ADD COLUMN ${column}${type}`),
    name.map((column) => `ALTER TABLE t DROP COLUMN ${column}`),
    fc.tuple(name, name).map(([from, to]) => `ALTER TABLE t RENAME COLUMN ${from} TO ${to}`),
    fc
      .tuple(name, fc.integer({ min: 0, max: 9 }))
      .map(([column, n]) => `UPDATE t SET ${column} = ${n} WHERE k % 7 = ${n % 7}`),
    fc.integer({ min: 0, max: 9 }).map((n) => `DELETE FROM t WHERE k % 10 = ${n}`),
    fc
      .integer({ min: 20, max: 60 })
      .map((n) => `INSERT OR IGNORE INTO t (k) VALUES ('${n}'), ('x${n}')`),
    name.map((column) => `CREATE INDEX i_${column} ON t (${column})`),
    name.map((column) => `DROP INDEX i_${column}`),
    fc.constantFrom('ALTER TABLE t RENAME TO u', 'ALTER TABLE u RENAME TO t', 'VACUUM'),
  );
  const SYNC = 'sync';
  const history = fc.array(
    fc.oneof({ weight: 3, arbitrary: step }, { weight: 1, arbitrary: fc.constant(SYNC) }),
    { minLength: 3, maxLength: 25 },
  );

  for (const mode of ['full', 'change-log'] as const) {
    void it(`ends with the cache as the source is: ${mode} (seed ${SEED})`, async () => {
      await fc.assert(
        fc.asyncProperty(history, fc.constantFrom(3, 1000), async (steps, batchSize) => {
          await withSource(
            `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, b, c);
             INSERT INTO t SELECT value, 'a' || value, value, 1 FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12]')`,
            async (file, own) => {
              const options = { ...own, batchSize };
              if (mode === 'change-log') await capture(file);
              await run(options);
              for (const sql of [...steps, SYNC]) {
                if (sql !== SYNC) {
                  try {
                    changeDatabase(file, sql);
                  } catch {
                    // A step that the schema does not allow just now.
                  }
                  continue;
                }
                await run(options);
                await assertCacheEquals(file, options.cacheDir);
                await assertNothingLeft(options);
              }
            },
          );
        }),
        { seed: SEED, numRuns: 24 * THOROUGHNESS },
      );
    });
  }
});
