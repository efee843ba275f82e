import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  LossError,
  StorageSync,
  WorkerPool,
  type CachedIndex,
  type StorageSyncOptions,
  type SyncOptions,
  type SyncReport,
  type TableDefinition,
} from '../../src/index.js';
import { assertCacheEquals, compareValues, recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import {
  assertNothingLeft,
  capture,
  FILL,
  remade,
  ROWS,
  run as runIn,
  T,
  withEnvironment,
  withSource,
} from './changed-schema.js';
import { startWatching } from './watching-reader.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});
const run = async (
  options: StorageSyncOptions,
  asked: SyncOptions & { readonly rebuild?: boolean } = {},
): Promise<SyncReport> => await runIn(pool, options, asked);

interface Change {
  readonly sql: string;
  /** What the report says, or null where the records stay as they are. */
  readonly kind: 'columns-added' | 'redefined' | null;
  /** Whether the change log survives. */
  readonly keepsLog: boolean;
}

const CHANGES: Readonly<Record<string, Change>> = {
  'a new column': {
    sql: 'ALTER TABLE t ADD COLUMN d; UPDATE t SET d = 4 WHERE k > 5',
    kind: 'columns-added',
    keepsLog: true,
  },
  'new columns with defaults': {
    sql: `ALTER TABLE t ADD COLUMN d TEXT NOT NULL DEFAULT 'é'; ALTER TABLE t ADD COLUMN e DEFAULT 1.5`,
    kind: 'columns-added',
    keepsLog: true,
  },
  'a dropped column': {
    sql: 'ALTER TABLE t DROP COLUMN a',
    kind: 'redefined',
    keepsLog: true,
  },
  'the last column dropped': {
    sql: 'ALTER TABLE t DROP COLUMN c',
    kind: 'redefined',
    keepsLog: true,
  },
  'a renamed column': {
    sql: 'ALTER TABLE t RENAME COLUMN c TO d',
    kind: 'redefined',
    keepsLog: true,
  },
  'a column that is dropped and added again': {
    sql: 'ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c',
    kind: null,
    keepsLog: true,
  },
  'a column that moves to the end': {
    sql: 'ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a',
    kind: 'redefined',
    keepsLog: true,
  },
  'columns in another order': {
    sql: remade('k TEXT PRIMARY KEY NOT NULL, c, b, a', 'k, c, b, a'),
    kind: 'redefined',
    keepsLog: false,
  },
  'a column in between': {
    sql: remade('k TEXT PRIMARY KEY NOT NULL, a, d, b, c', `k, a, 'd', b, c`),
    kind: 'redefined',
    keepsLog: false,
  },
  'a renamed key': {
    sql: 'ALTER TABLE t RENAME COLUMN k TO key',
    kind: 'redefined',
    keepsLog: false,
  },
  'another key': {
    sql: remade('k, a TEXT PRIMARY KEY NOT NULL, b, c'),
    kind: 'redefined',
    keepsLog: false,
  },
  'a longer key': {
    sql: remade('k TEXT NOT NULL, a TEXT NOT NULL, b, c, PRIMARY KEY (k, a)'),
    kind: 'redefined',
    keepsLog: false,
  },
  'no key': { sql: remade('k, a, b, c'), kind: 'redefined', keepsLog: false },
  'a key that may be NULL': {
    sql: `${remade('k TEXT PRIMARY KEY, a, b, c')}; INSERT INTO t (b) VALUES ('b-x'), ('b-y')`,
    kind: 'redefined',
    keepsLog: false,
  },
  'a key of another collation': {
    sql: remade('k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, a, b, c'),
    kind: null,
    keepsLog: false,
  },
  'a key of another type': {
    sql: remade('k INTEGER PRIMARY KEY, a, b, c'),
    kind: null,
    keepsLog: false,
  },
  'a column of another type': {
    sql: remade('k TEXT PRIMARY KEY NOT NULL, a, b BLOB, c TEXT NOT NULL'),
    kind: null,
    keepsLog: false,
  },
  'no rowid': {
    sql: `DROP TABLE t; ${T} WITHOUT ROWID; ${FILL}`,
    kind: null,
    keepsLog: false,
  },
  'another table of the name': {
    sql: `DROP TABLE t; CREATE TABLE t (x INTEGER PRIMARY KEY, b); INSERT INTO t SELECT value, value FROM json_each('[1,2,3]')`,
    kind: 'redefined',
    keepsLog: false,
  },
};

const INDEXED: TableDefinition = {
  name: 't',
  indexes: [
    { name: 'by_b', columns: ['b'] },
    { name: 'unique_b', columns: [{ column: 'b', descending: true }], unique: true },
  ],
};

/** Asserts that every index of a table gives all its rows, in order. */
async function assertIndexes(
  options: StorageSyncOptions,
  table: string,
  names: readonly string[],
): Promise<void> {
  await using storage = await StorageSync.open({ ...options, pool });
  const reader = storage.cache.table(table);
  assert.deepEqual(
    reader.indexes.map(({ name }) => name),
    names,
  );
  const rows = [...reader.range()];
  for (const { name, columns, state } of reader.indexes as CachedIndex[]) {
    assert.equal(state, 'ready', name);
    const [{ column, descending }] = columns as [CachedIndex['columns'][number]];
    const wanted = rows
      .map((row) => row[column]!)
      .sort((a, b) => (descending ? compareValues(b, a) : compareValues(a, b)));
    const found = [...reader.rangeByIndex(name)];
    assert.deepEqual(
      found.map((row) => row[column]),
      wanted,
      `${name} of ${table}`,
    );
    assert.equal(new Set(found.map((row) => JSON.stringify(row))).size, rows.length);
  }
}

/** Records of each table that is being built beside the served ones. */
async function pendingRows(options: StorageSyncOptions): Promise<number[]> {
  return await withEnvironment(options, (environment) =>
    environment.catalog().pending.map(({ id }) => environment.tableState(id).rows),
  );
}

void describe('a table whose schema changed', () => {
  for (const way of ['file', 'http'] as const) {
    for (const mode of way === 'file'
      ? (['full', 'change-log'] as const)
      : (['change-log'] as const)) {
      for (const [what, { sql, kind, keepsLog }] of Object.entries(CHANGES)) {
        void it(`is brought over: ${what}, ${mode}, ${way}`, async () => {
          await withSource(
            `${T}; ${FILL}; CREATE TABLE other (id INTEGER PRIMARY KEY, v)`,
            async (file, own) => {
              if (mode === 'change-log') await capture(file);
              await using server = way === 'http' ? await startHranaServer({ file }) : null;
              const source = server ? { url: server.httpUrl } : own.source;
              // Another table of the name has fewer rows, and that is meant.
              const options = { ...own, source, batchSize: 40, maxLossShare: 1 };
              const indexed = { ...options, tables: [INDEXED, 'other'] };
              await run(indexed);
              await using storage = await StorageSync.open({ ...options, pool });
              const reader = storage.cache.table('t');
              assert.equal(reader.get('7')?.['b'], 'b-7');
              using snapshot = storage.cache.snapshot();

              changeDatabase(
                file,
                `BEGIN; ${sql}; UPDATE t SET b = 'new ' || b WHERE b LIKE '%1'; COMMIT`,
              );
              const report = await run(indexed);
              assert.equal(report.tables['t']?.schemaChange?.kind ?? null, kind);
              assert.equal(report.tables['t']?.mode, 'full');
              assert.equal(report.generation, 1);
              assert.equal(
                report.warnings.length,
                kind === 'redefined' ? 1 : 0,
                report.warnings.join(),
              );
              await assertCacheEquals(file, options.cacheDir);
              await assertIndexes(options, 't', ['by_b', 'unique_b']);
              await assertNothingLeft(options);

              const old = snapshot.table('t');
              assert.deepEqual(old.columns, ['k', 'a', 'b', 'c']);
              assert.deepEqual({ ...old.get('7') }, { k: '7', a: 'a-7', b: 'b-7', c: 'c-7' });
              assert.equal([...old.rangeByIndex('by_b')].length, ROWS);
              assert.equal(reader.count(), [...reader.range()].length);
              assert.deepEqual(reader.columns, storage.cache.table('t').columns);

              const again = await run(indexed);
              assert.equal(again.tables['t']?.schemaChange, undefined);
              if (mode === 'change-log' && keepsLog) assert.equal(again.mode, 'incremental');
              // Discovery asks for no indexes: those that there are go with their columns.
              await run(options);
              await assertIndexes(options, 't', ['by_b', 'unique_b']);
              await assertCacheEquals(file, options.cacheDir);
            },
          );
        });
      }
    }
  }

  void it('keeps the indexes that its columns still serve, where no definition names them', async () => {
    await withSource(`${T}; ${FILL}`, async (file, options) => {
      await run({
        ...options,
        tables: [{ name: 't', indexes: [{ name: 'by_a', columns: ['a'] }, INDEXED.indexes![0]!] }],
      });
      changeDatabase(file, 'ALTER TABLE t DROP COLUMN a');
      await run(options);
      await assertIndexes(options, 't', ['by_b']);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('may get an index over a new column at the same time', async () => {
    await withSource(`${T}; ${FILL}`, async (file, options) => {
      await run({ ...options, tables: ['t'] });
      changeDatabase(file, 'ALTER TABLE t ADD COLUMN d DEFAULT 9; UPDATE t SET d = a WHERE k > 7');
      const indexed = {
        ...options,
        tables: [{ name: 't', indexes: [{ name: 'by_d', columns: ['d'] }] }],
      };
      await run(indexed);
      await assertIndexes(options, 't', ['by_d']);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('is built anew where another definition is given', async () => {
    await withSource(`${T}; ${FILL}`, async (file, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      const sync = async (table: TableDefinition, kind: string | undefined) => {
        const report = await run({ ...options, tables: [table] });
        assert.equal(report.tables['t']?.schemaChange?.kind, kind);
        return storage.cache.table('t');
      };
      const columns = { k: 'text', a: 'any' } as const;
      assert.deepEqual((await sync({ name: 't', columns }, undefined)).columns, ['k', 'a']);
      const more = { ...columns, c: 'any' } as const;
      const extended = await sync({ name: 't', columns: more }, 'columns-added');
      assert.deepEqual({ ...extended.get('9') }, { k: '9', a: 'a-9', c: 'c-9' });
      await sync({ name: 't' }, 'redefined');
      await assertCacheEquals(file, options.cacheDir);
      // A limit is no loss.
      for (const count of [10, 200, 20]) {
        const limited = await sync({ name: 't', limit: { count, newestBy: 'k' } }, 'redefined');
        assert.equal(limited.count(), count);
        const newest = limited.newest(3);
        assert.deepEqual(
          newest.map((row) => row['k']),
          ['99', '98', '97'],
        );
      }
      await sync({ name: 't' }, 'redefined');
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('is built anew where other references are given', async () => {
    await withSource(
      `${T}; ${FILL}; CREATE TABLE r (id INTEGER PRIMARY KEY, k); INSERT INTO r SELECT rowid, k FROM t`,
      async (file, options) => {
        const t = { name: 't', limit: { count: 50, newestBy: 'k' } };
        await run({ ...options, tables: [t, 'r'] });
        const referring = { name: 'r', references: [{ columns: ['k'], table: 't' }] };
        const scoped = { ...options, tables: [t, referring] };
        await assert.rejects(run(scoped), LossError);
        await assertCacheEquals(file, options.cacheDir, {
          tables: ['t', 'r'],
          where: { t: 'k IN (SELECT k FROM t ORDER BY k DESC LIMIT 50)' },
        });
        const report = await run(scoped, { allowLoss: true });
        assert.equal(report.tables['r']?.schemaChange?.detail, 'other references are asked for');
        await using storage = await StorageSync.open({ ...options, pool });
        assert.equal(storage.cache.table('r').count(), 50);
        await run({ ...options, tables: ['t', 'r'] });
        await assertCacheEquals(file, options.cacheDir);
      },
    );
  });

  void it('is rebuilt with the whole cache at any time', async () => {
    await withSource(`${T}; ${FILL}`, async (file, own) => {
      await using server = await startHranaServer({ file });
      const options = {
        ...own,
        source: { url: server.httpUrl },
        transport: 'http-pipeline' as const,
        batchSize: 20,
      };
      await run(options);
      changeDatabase(file, 'ALTER TABLE t DROP COLUMN a');
      await abortInTheMiddle(server, options);
      assert.notDeepEqual(await pendingRows(options), []);
      assert.equal((await run(options, { rebuild: true })).generation, 2);
      await assertCacheEquals(file, options.cacheDir);
      await run(options);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('is begun anew in a cache that was not published', async () => {
    await withSource(`${T}; ${FILL}`, async (file, own) => {
      await using server = await startHranaServer({ file });
      const options = {
        ...own,
        source: { url: server.httpUrl },
        transport: 'http-pipeline' as const,
        batchSize: 20,
      };
      await abortInTheMiddle(server, options);
      changeDatabase(file, 'ALTER TABLE t ADD COLUMN d DEFAULT 5');
      const report = await run(options);
      assert.equal(report.tables['t']?.rowsRead, ROWS);
      await assertCacheEquals(file, options.cacheDir);
    });
  });
});

/** Syncs from a server that falls silent in the middle of a table, and aborts there. */
async function abortInTheMiddle(server: HranaServer, options: StorageSyncOptions): Promise<void> {
  const abort = new AbortController();
  const fault = await server.fault({
    action: { kind: 'stall' },
    sql: /FROM main\.".*ORDER BY/,
    skip: 4,
  });
  const running = run(options, { signal: abort.signal });
  while ((await fault.fired()) === 0) await sleep(10);
  abort.abort();
  await assert.rejects(running, { code: 'ABORTED' });
  await server.clearFaults();
}

void describe('a successor of a table', () => {
  void it('is gone on with, or dropped when something else is wanted', async () => {
    await withSource(`${T}; ${FILL}`, async (file, own) => {
      await using server = await startHranaServer({ file });
      const options = {
        ...own,
        source: { url: server.httpUrl },
        transport: 'http-pipeline' as const,
        batchSize: 20,
      };
      await run(options);
      const served = await recordDigests(options.cacheDir);
      changeDatabase(file, 'ALTER TABLE t DROP COLUMN a');
      await abortInTheMiddle(server, options);
      const [half] = await pendingRows(options);
      assert.ok(half! > 0);
      assert.deepEqual(await recordDigests(options.cacheDir), served, 'what is served stays');
      await using storage = await StorageSync.open({ ...options, pool });
      assert.deepEqual(Object.keys((await storage.status()).tables), ['t']);
      assert.deepEqual(
        storage.cache.tables().map(({ name, columns, rows }) => [name, columns.length, rows]),
        [['t', 4, ROWS]],
      );

      // Gone on with, and interrupted again.
      await abortInTheMiddle(server, options);
      const [more] = await pendingRows(options);
      assert.ok(more! > half!, `${more} after ${half}`);

      changeDatabase(file, 'ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN c TO d');
      await abortInTheMiddle(server, options);
      assert.equal((await pendingRows(options)).length, 1);
      const report = await run(options);
      assert.equal(report.tables['t']?.resumed, true);
      assert.equal(report.tables['t'].rowsRead, ROWS);
      assert.equal(
        report.tables['t'].schemaChange?.detail,
        'the columns "a", "b", "c" are gone, the column "d" is new',
      );
      await assertCacheEquals(file, options.cacheDir);

      // And when the schema is again what is served.
      changeDatabase(file, 'ALTER TABLE t RENAME COLUMN d TO e');
      await abortInTheMiddle(server, options);
      changeDatabase(file, 'ALTER TABLE t RENAME COLUMN e TO d');
      assert.equal((await run(options)).tables['t']?.schemaChange, undefined);
      await assertNothingLeft(options);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  for (const sql of [
    remade('k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, a, b, c'),
    remade('k INTEGER PRIMARY KEY, a, b, c'),
  ]) {
    void it(`is not needed where rows only come in another order, but the reading begins anew: ${sql.slice(0, 60)}`, async () => {
      await withSource(`${T}; ${FILL}`, async (file, own) => {
        await using server = await startHranaServer({ file });
        const options = {
          ...own,
          source: { url: server.httpUrl },
          transport: 'http-pipeline' as const,
          batchSize: 20,
        };
        await run(options);
        changeDatabase(file, `UPDATE t SET k = 'K' || k WHERE k % 2`);
        await abortInTheMiddle(server, options);
        changeDatabase(
          file,
          `UPDATE t SET k = substr(k, 2) WHERE k LIKE 'K%'; UPDATE t SET a = 1; ${sql}`,
        );
        const report = await run(options);
        assert.equal(report.tables['t']?.resumed, false);
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  void it('is held against the table that it replaces', async () => {
    for (const sql of ['ALTER TABLE t DROP COLUMN a', 'ALTER TABLE t ADD COLUMN d']) {
      await withSource(`${T}; ${FILL}`, async (file, options) => {
        await run(options);
        const served = await recordDigests(options.cacheDir);
        changeDatabase(file, `${sql}; DELETE FROM t WHERE k > '2'`);
        for (let again = 0; again < 2; again++) {
          await assert.rejects(run(options), LossError);
          assert.deepEqual(await recordDigests(options.cacheDir), served);
          await assertNothingLeft(options);
        }
        changeDatabase(
          file,
          `INSERT INTO t (k) SELECT 'x' || k FROM t; INSERT INTO t (k) SELECT 'y' || k FROM t`,
        );
        await run(options);
        await assertCacheEquals(file, options.cacheDir);
        changeDatabase(file, `ALTER TABLE t RENAME COLUMN b TO bb; DELETE FROM t`);
        await assert.rejects(run(options), LossError);
        await run(options, { allowLoss: true });
        await assertCacheEquals(file, options.cacheDir);
      });
    }
  });

  void it('is no more seen than a new table before the sync is complete', async () => {
    await withSource(`${T}; ${FILL}`, async (file, own) => {
      await using server = await startHranaServer({ file });
      const options = {
        ...own,
        source: { url: server.httpUrl },
        transport: 'http-pipeline' as const,
        batchSize: 20,
      };
      await run(options);
      changeDatabase(
        file,
        `CREATE TABLE u (k TEXT PRIMARY KEY NOT NULL, x); INSERT INTO u SELECT k, 'x-' || k FROM t`,
      );
      const abort = new AbortController();
      const fault = await server.fault({
        action: { kind: 'stall' },
        sql: /FROM main\."u".*ORDER BY/,
        skip: 4,
      });
      const running = run(options, { signal: abort.signal });
      while ((await fault.fired()) === 0) await sleep(10);
      await using storage = await StorageSync.open({ ...options, pool });
      const { cache } = storage;
      assert.throws(() => cache.table('u'), { code: 'TABLE_NOT_FOUND' });
      abort.abort();
      await assert.rejects(running, { code: 'ABORTED' });
      await server.clearFaults();
      assert.equal((await run(options)).tables['u']?.resumed, true);
      using snapshot = cache.snapshot();
      assert.equal([...snapshot.table('u').range()].length, ROWS);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  for (const kind of ['thread', 'process'] as const) {
    void it(`takes the place of a table between two reads: of another ${kind}`, async () => {
      await withSource(`${T}; ${FILL}`, async (file, options) => {
        const indexed = { ...options, batchSize: 25, tables: [INDEXED] };
        await run(indexed);
        const reader = startWatching(kind, options.cacheDir, ROWS);
        await reader.meets('k,a,b,c');
        const shapes = ['k,a,b,c'];
        const change = async (sql: string, shape: string) => {
          changeDatabase(file, `BEGIN; ${sql}; COMMIT`);
          await run(indexed);
          shapes.push(shape);
          await reader.meets(shape);
        };
        await change(`ALTER TABLE t RENAME COLUMN c TO d; UPDATE t SET d = 'd-' || k`, 'k,a,b,d');
        await change('ALTER TABLE t DROP COLUMN a', 'k,b,d');
        await change(`ALTER TABLE t ADD COLUMN e; UPDATE t SET e = 'e-' || k`, 'k,b,d,e');
        await change('ALTER TABLE t DROP COLUMN d', 'k,b,e');
        await change(
          `CREATE TABLE made (f, b, k TEXT PRIMARY KEY NOT NULL); INSERT INTO made SELECT 'f-' || k, b, k FROM t;
           DROP TABLE t; ALTER TABLE made RENAME TO t`,
          'f,b,k',
        );
        const watched = await reader.stop();
        assert.deepEqual(watched.problems, []);
        assert.deepEqual(watched.shapes, shapes);
      });
    });
  }
});

void describe('a renamed table', () => {
  const build = `${T}; ${FILL}; CREATE TABLE other (id INTEGER PRIMARY KEY, v); INSERT INTO other VALUES (1, 2)`;

  for (const how of ['sync', 'rebuild'] as const) {
    void it(`is known by its columns, key and rows: ${how}`, async () => {
      await withSource(build, async (file, options) => {
        await run({ ...options, tables: [INDEXED, 'other'] });
        changeDatabase(
          file,
          `ALTER TABLE t RENAME TO u; DELETE FROM u WHERE k < '2'; UPDATE u SET a = 1 WHERE k = 7`,
        );
        const report = await run(options, { rebuild: how === 'rebuild' });
        assert.deepEqual(report.tables['u']?.schemaChange, {
          kind: 'renamed',
          detail: 'it was "t"',
        });
        assert.equal(report.warnings.length, 1);
        await assertCacheEquals(file, options.cacheDir);
        if (how === 'sync') await assertIndexes(options, 'u', ['by_b', 'unique_b']);
        assert.deepEqual((await run(options)).warnings, []);
      });
    });
  }

  for (const [what, sql] of Object.entries({
    'is gone': 'DROP TABLE t',
    'has other columns': 'ALTER TABLE t RENAME TO u; ALTER TABLE u DROP COLUMN a',
    'has another key': `CREATE TABLE u (k, a, b, c); INSERT INTO u SELECT * FROM t; DROP TABLE t`,
    'has too few rows': `ALTER TABLE t RENAME TO u; DELETE FROM u WHERE k > '2'`,
    'has no rows': `ALTER TABLE t RENAME TO u; DELETE FROM u`,
  })) {
    void it(`is not one that ${what}`, async () => {
      await withSource(build, async (file, options) => {
        await run(options);
        const served = await recordDigests(options.cacheDir);
        changeDatabase(file, sql);
        for (let again = 0; again < 2; again++) {
          await assert.rejects(run(options), /"t" would lose 300 of its 300 rows/);
          assert.deepEqual(await recordDigests(options.cacheDir), served);
        }
        const report = await run(options, { allowLoss: true });
        if (what === 'has no rows') assert.equal(report.tables['u']?.schemaChange, undefined);
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  void it('is believed once it has its rows again', async () => {
    await withSource(build, async (file, options) => {
      await run(options);
      changeDatabase(
        file,
        `CREATE TABLE u (k TEXT PRIMARY KEY NOT NULL, a, b, c); INSERT INTO u SELECT * FROM t WHERE k < '2'; DROP TABLE t`,
      );
      await assert.rejects(run(options), LossError);
      changeDatabase(file, `INSERT INTO u (k) SELECT 'x' || k FROM u`);
      const report = await run(options);
      assert.equal(report.tables['u']?.schemaChange?.kind, 'renamed');
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('takes the place of one other only', async () => {
    await withSource(
      `${build}; CREATE TABLE t2 (k TEXT PRIMARY KEY NOT NULL, a, b, c); INSERT INTO t2 SELECT * FROM t`,
      async (file, options) => {
        await run(options);
        changeDatabase(file, 'ALTER TABLE t RENAME TO u; DROP TABLE t2');
        await assert.rejects(run(options), LossError);
        changeDatabase(
          file,
          'CREATE TABLE v (k TEXT PRIMARY KEY NOT NULL, a, b, c); INSERT INTO v SELECT * FROM u',
        );
        const report = await run(options);
        assert.deepEqual(
          Object.values(report.tables).map(({ schemaChange }) => schemaChange?.kind),
          [undefined, 'renamed', 'renamed'],
        );
        await assertCacheEquals(file, options.cacheDir);
      },
    );
  });

  void it('stays the same where only the case of its name changes', async () => {
    await withSource(build, async (file, options) => {
      await run(options);
      changeDatabase(file, 'ALTER TABLE t RENAME TO tt; ALTER TABLE tt RENAME TO T');
      const report = await run(options);
      assert.equal(report.tables['T']?.rowsUnchanged, ROWS);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('is an error where it was named', async () => {
    await withSource(build, async (file, options) => {
      const named = { ...options, tables: ['t'] };
      await run(named);
      const served = await recordDigests(options.cacheDir);
      changeDatabase(file, 'ALTER TABLE t RENAME TO u');
      await assert.rejects(run(named), { code: 'TABLE_NOT_FOUND' });
      assert.deepEqual(await recordDigests(options.cacheDir), served);
    });
  });
});

void describe('the change log of a source whose schema changed', () => {
  for (const [what, sql] of Object.entries({
    'an index is made': 'CREATE INDEX more ON t (b)',
    'another table is made': 'CREATE TABLE more (id INTEGER PRIMARY KEY)',
    'the file is vacuumed': 'VACUUM',
  })) {
    void it(`is followed again after a full read: ${what}`, async () => {
      await withSource(`${T}; ${FILL}`, async (file, options) => {
        await capture(file);
        const named = { ...options, tables: ['t'] };
        await run(named);
        assert.equal((await run(named)).mode, 'incremental');
        changeDatabase(file, sql);
        assert.equal((await run(named)).tables['t']?.mode, 'full');
        changeDatabase(file, `UPDATE t SET a = 'later' WHERE k = '5'`);
        const report = await run(named);
        assert.deepEqual([report.mode, report.tables['t']?.rowsRead], ['incremental', 1]);
        await assertCacheEquals(file, options.cacheDir, { tables: ['t'] });
      });
    });
  }

  void it('is not followed over rows that a VACUUM numbered anew', async () => {
    await withSource(
      'CREATE TABLE n (k TEXT PRIMARY KEY, v); INSERT INTO n VALUES (NULL, 1), (NULL, 2), (NULL, 3)',
      async (file, options) => {
        await capture(file);
        await run(options);
        changeDatabase(file, 'DELETE FROM n WHERE v = 1');
        changeDatabase(file, 'VACUUM');
        await run(options);
        await assertCacheEquals(file, options.cacheDir);
      },
    );
  });
});
