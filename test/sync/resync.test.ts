import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from '../support/fast-check.js';
import {
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
  type TableReport,
} from '../../src/index.js';
import { assertCacheEquals, readDatabase, recordDigests } from '../support/compare.js';
import { changeDatabase, insert, quote, type NativeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

const SEED = 20_240_607;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function withSource(
  build: string | ((db: NativeDatabase) => void),
  use: (file: string, options: StorageSyncOptions, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, build);
  await use(file, { source: { url: `file:${file}` }, cacheDir: dir.join('cache') }, dir);
}

async function sync(options: StorageSyncOptions): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync();
}

const TABLES = {
  rowid: 'CREATE TABLE rowid (id INTEGER PRIMARY KEY, v, w)',
  texts: 'CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, v, w) WITHOUT ROWID',
  nullable: 'CREATE TABLE nullable (k TEXT PRIMARY KEY, v, w)',
  nocase: 'CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v, w)',
  composite: 'CREATE TABLE composite (a, b TEXT, v, w, PRIMARY KEY (a, b))',
  keyless: 'CREATE TABLE keyless (v, w)',
} as const;
type TableName = keyof typeof TABLES;
const NAMES = Object.keys(TABLES) as TableName[];

const keyText = fc.constantFrom(
  'a',
  'B',
  'b',
  'ab',
  'aB',
  '',
  'é',
  'z',
  'a\0',
  'Z',
  'm',
  'M1',
  'm2',
);
const value = fc.oneof(
  fc.constantFrom(null, 0n, 1n, 2n ** 60n, 1.5, 2, '', 'v', 'w'),
  fc.string({ maxLength: 5 }),
);

const statement = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      table: fc.constantFrom(...NAMES),
      key: keyText,
      n: fc.integer({ min: -9, max: 9 }),
      v: value,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      table: fc.constantFrom(...NAMES),
      nth: fc.nat(20),
      v: value,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('rekey' as const),
      table: fc.constantFrom(...NAMES),
      nth: fc.nat(20),
      key: keyText,
      n: fc.integer({ min: -9, max: 9 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      table: fc.constantFrom(...NAMES),
      nth: fc.nat(20),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('empty' as const),
      table: fc.constantFrom(...NAMES),
      half: fc.boolean(),
    }),
  },
);
type Statement = typeof statement extends fc.Arbitrary<infer T> ? T : never;

const KEYS: Readonly<Record<TableName, readonly string[]>> = {
  rowid: ['id'],
  texts: ['k'],
  nullable: ['k'],
  nocase: ['k'],
  composite: ['a', 'b'],
  keyless: ['rowid'],
};

/** Applies changes; those that break a constraint do nothing. */
function apply(db: NativeDatabase, statements: readonly Statement[]): void {
  for (const change of statements) {
    const { table } = change;
    const key = KEYS[table];
    const keyValues = (text: string, n: number) =>
      table === 'composite'
        ? [n % 3 === 0 ? null : BigInt(n), text]
        : table === 'rowid' || table === 'keyless'
          ? [BigInt(n)]
          : table === 'nullable' && n === 0
            ? [null]
            : [text];
    const rowid = table === 'texts' ? 'k' : 'rowid';
    const nth = (at: number) =>
      `${rowid} IN (SELECT ${rowid} FROM ${table} ORDER BY v, ${rowid}
        LIMIT 1 OFFSET ${at} % max(1, (SELECT count(*) FROM ${table})))`;
    switch (change.kind) {
      case 'insert': {
        const columns = [...key, 'v', 'w'];
        const marks = columns.map(() => '?').join(', ');
        db.prepare(`INSERT OR IGNORE INTO ${table} (${columns.join(', ')}) VALUES (${marks})`).run([
          ...keyValues(change.key, change.n),
          change.v,
          'w',
        ]);
        break;
      }
      case 'update':
        db.prepare(`UPDATE ${table} SET v = ? WHERE ${nth(change.nth)}`).run([change.v]);
        break;
      case 'rekey': {
        const sets = key.map((name) => `${name} = ?`).join(', ');
        db.prepare(`UPDATE OR IGNORE ${table} SET ${sets} WHERE ${nth(change.nth)}`).run(
          keyValues(change.key, change.n),
        );
        break;
      }
      case 'delete':
        db.exec(`DELETE FROM ${table} WHERE ${nth(change.nth)}`);
        break;
      case 'empty':
        db.exec(
          `DELETE FROM ${table}${change.half ? ' WHERE random() % 2' : ''}`.replace(
            'random()',
            'length(v)',
          ),
        );
        break;
    }
  }
}

/** The table as the cache keys it: the key (completed by the rowid where it holds a NULL) to the row. */
function keyed(file: string, table: TableName): Map<string, string> {
  const [read] = readDatabase(file, { tables: [table] });
  const code = (cell: unknown) =>
    typeof cell === 'bigint' ? `${cell}n` : cell instanceof Uint8Array ? [...cell] : cell;
  return new Map(
    read!.rows.map(({ key, rowid, cells }) => [
      JSON.stringify([...key.map(code), key.includes(null) ? String(rowid) : '']),
      JSON.stringify(cells.map(code)),
    ]),
  );
}

function expectedReport(was: Map<string, string>, is: Map<string, string>): Partial<TableReport> {
  let rowsUnchanged = 0;
  for (const [key, row] of is) if (was.get(key) === row) rowsUnchanged++;
  let rowsDeleted = 0;
  for (const key of was.keys()) if (!is.has(key)) rowsDeleted++;
  return {
    rowsRead: is.size,
    rowsUnchanged,
    rowsWritten: is.size - rowsUnchanged,
    rowsDeleted,
    rowsQuarantined: 0,
    mode: 'full' as const,
    resumed: false,
  };
}

void describe('the next sync', () => {
  void it(`follows any change of the source, and writes what differs (seed ${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(statement, { minLength: 1, maxLength: 25 }), {
          minLength: 2,
          maxLength: 4,
        }),
        fc.constantFrom(1, 2, 3, 7, 1000),
        async (rounds, batchSize) => {
          await withSource(Object.values(TABLES).join(';'), async (file, own) => {
            const options = { ...own, batchSize };
            await using storage = await StorageSync.open({ ...options, pool });
            const state = () => new Map(NAMES.map((name) => [name, keyed(file, name)]));
            let was = state();
            await storage.sync();
            for (const round of rounds) {
              changeDatabase(file, (db) => apply(db, round));
              const is = state();
              const report = await storage.sync();
              await assertCacheEquals(file, options.cacheDir);
              for (const name of NAMES) {
                const { bytesWritten, durationMs, sourceRowsRead, ...counts } =
                  report.tables[name]!;
                assert.ok(sourceRowsRead >= counts.rowsRead);
                assert.deepEqual(counts, expectedReport(was.get(name)!, is.get(name)!), name);
                assert.equal(bytesWritten > 0, counts.rowsWritten > 0);
                assert.ok(durationMs >= 0);
              }
              was = is;
            }
          });
        },
      ),
      { seed: SEED, numRuns: 12 },
    );
  });

  void it('keeps indexes in step', async () => {
    await withSource(
      (db) => {
        db.exec('CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, b)');
        insert(
          db,
          't',
          Array.from({ length: 60 }, (_, i) => [
            `k${i}`,
            BigInt(i % 4),
            i % 3 === 0 ? null : `b${i % 5}`,
          ]),
        );
      },
      async (file, own) => {
        const tables = [
          {
            name: 't',
            indexes: [
              { name: 'ab', columns: ['a', 'b'] },
              { name: 'b', columns: ['b'] },
            ],
          },
        ];
        const options = { ...own, tables, batchSize: 7 };
        await using storage = await StorageSync.open({ ...options, pool });
        for (const change of [
          'SELECT 1',
          `UPDATE t SET a = a + 1 WHERE a > 1`,
          `DELETE FROM t WHERE b = 'b2'; UPDATE t SET b = NULL WHERE b = 'b1'`,
          `INSERT INTO t SELECT k || 'x', b, a FROM t`,
          `DELETE FROM t WHERE rowid % 2`,
          `UPDATE t SET k = 'z' || k`,
          `DELETE FROM t`,
        ]) {
          changeDatabase(file, change);
          await storage.sync();
          const { rows } = readDatabase(file)[0]!;
          const table = storage.cache.table('t');
          for (const a of [null, 0, 1, 2, 3, 4, 'b0', 'b1', 'b2', 'b3', 'b4']) {
            const wanted = rows.filter(({ cells }) => cells[1] === a).map(({ cells }) => cells[0]);
            const found = [...table.byIndex('ab', a)].map((row) => row['k']);
            assert.deepEqual(new Set(found), new Set(wanted), `a = ${a}, after ${change}`);
            const both = rows.filter(({ cells }) => cells[1] === a && cells[2] === 'b3').length;
            assert.equal([...table.byIndex('ab', a, 'b3')].length, both);
          }
          const counted = [null, 'b0', 'b1', 'b2', 'b3', 'b4', 0, 1, 2, 3, 4].map(
            (b) => [...table.byIndex('b', b)].length,
          );
          assert.equal(
            counted.reduce((sum, n) => sum + n, 0),
            rows.length,
          );
        }
      },
    );
  });
});

const ROWS_500 = Array.from(
  { length: 500 },
  (_, i) => [`key ${String(i).padStart(4, '0')}`, BigInt(i), null] as const,
);

/** Syncs from a server that falls silent in the middle, and aborts there. */
async function abortInTheMiddle(
  server: HranaServer,
  start: (signal: AbortSignal) => PromiseLike<SyncReport>,
): Promise<void> {
  const abort = new AbortController();
  const fault = await server.fault({ action: { kind: 'stall' }, sql: /FROM main\./, skip: 8 });
  const run = start(abort.signal);
  while ((await fault.fired()) === 0) await sleep(10);
  abort.abort();
  await assert.rejects(Promise.resolve(run), { name: 'SyncAbortedError', code: 'ABORTED' });
  await server.clearFaults();
}

void describe('an aborted sync', () => {
  for (const table of ['texts', 'nocase'] as const) {
    void it(`deletes nothing, and the next one goes on: ${table}`, async () => {
      await withSource(
        (db) => {
          db.exec(TABLES[table]);
          insert(db, table, ROWS_500);
        },
        async (file, own) => {
          await using server = await startHranaServer({ file });
          const source = { url: server.httpUrl };
          // A statement for each page, so that one can be met in the middle.
          const transport = 'http-pipeline';
          const options = { ...own, source, transport, batchSize: 20 } as const;
          await sync(options);
          changeDatabase(
            file,
            `DELETE FROM ${table} WHERE v % 2; UPDATE ${table} SET w = 1 WHERE v % 10 = 0`,
          );
          await using storage = await StorageSync.open({ ...options, pool });
          await abortInTheMiddle(server, (signal) => storage.sync({ signal }));
          assert.equal(storage.cache.table(table).count(), 500, 'no row is gone');
          let seen = 0;
          for await (const row of storage.cache.table(table).stream()) seen += row ? 1 : 0;
          assert.equal(seen, 500);
          const report = await storage.sync();
          assert.equal(report.tables[table]?.resumed, true);
          assert.equal(report.tables[table]?.rowsDeleted, 250);
          assert.equal(report.tables[table]?.rowsWritten, 50);
          await assertCacheEquals(file, options.cacheDir);
        },
      );
    });
  }

  void it('of the first sync leaves nothing served, and the next one goes on', async () => {
    await withSource(
      (db) => {
        db.exec(TABLES.texts);
        insert(db, 'texts', ROWS_500);
      },
      async (file, own) => {
        await using server = await startHranaServer({ file });
        const source = { url: server.httpUrl };
        // A statement for each page, so that one can be met in the middle.
        const transport = 'http-pipeline';
        const options = { ...own, source, transport, batchSize: 20 } as const;
        await using storage = await StorageSync.open({ ...options, pool });
        await abortInTheMiddle(server, (signal) => storage.sync({ signal }));
        assert.equal((await storage.status()).state, 'empty');
        assert.throws(() => storage.cache.table('texts'), { code: 'CACHE_EMPTY' });
        await server.resetStats();
        const report = await storage.sync();
        assert.equal(report.tables['texts']?.resumed, true);
        assert.equal(report.tables['texts']?.rowsWritten, 500);
        const { rowsReturned } = await server.stats();
        assert.ok(rowsReturned < 450, `${rowsReturned} rows read again`);
        await assertCacheEquals(file, options.cacheDir);
      },
    );
  });

  void it('of a rebuild leaves the cache that is served', async () => {
    await withSource(
      (db) => {
        db.exec(TABLES.texts);
        insert(db, 'texts', ROWS_500);
      },
      async (file, own) => {
        await using server = await startHranaServer({ file });
        const options = { ...own, source: { url: server.wsUrl }, batchSize: 20 };
        const { generation } = await sync(options);
        const digests = await recordDigests(options.cacheDir);
        changeDatabase(file, 'DELETE FROM texts WHERE v % 2; UPDATE texts SET w = 2');
        await using storage = await StorageSync.open({ ...options, pool });
        await abortInTheMiddle(server, (signal) => storage.rebuild({ signal }));
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
        assert.equal(storage.cache.generation, generation);
        await storage.sync();
        await assertCacheEquals(file, options.cacheDir);
        const rebuilt = await storage.rebuild();
        assert.ok(rebuilt.generation! > generation!);
        await assertCacheEquals(file, options.cacheDir);
      },
    );
  });
});

void describe('a changed schema', () => {
  const build = `CREATE TABLE a (id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES (1, 'x'), (2, 'y');
                 CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v); INSERT INTO b VALUES ('m', 1), ('n', 2);`;

  void it('brings new tables, takes dropped ones away, and brings them back', async () => {
    await withSource(build, async (file, options) => {
      for (const change of [
        'SELECT 1',
        `CREATE TABLE c (x, y); INSERT INTO c VALUES (1, 2), (NULL, NULL)`,
        'DROP TABLE b',
        `CREATE TABLE d (id INTEGER PRIMARY KEY, other TEXT); INSERT INTO d VALUES (1, 'd')`,
        `CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v); INSERT INTO b VALUES ('back', 9)`,
        'DROP TABLE a; DROP TABLE c',
        'ALTER TABLE d RENAME TO e',
        'DROP TABLE b; DROP TABLE e; CREATE TABLE f (x)',
      ]) {
        changeDatabase(file, change);
        await sync(options);
        await assertCacheEquals(file, options.cacheDir);
      }
    });
  });

  void it('never lets a reader of a dropped table read another', async () => {
    await withSource(build, async (file, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      const reader = storage.cache.table('b');
      assert.equal(reader.count(), 2);
      changeDatabase(file, 'DROP TABLE b');
      await storage.sync();
      changeDatabase(
        file,
        `CREATE TABLE c (x TEXT PRIMARY KEY NOT NULL, y, z); INSERT INTO c VALUES ('m', 'other', 1), ('o', 2, 3), ('p', 4, 5)`,
      );
      await storage.sync();
      assert.throws(() => reader.get('m'), { code: 'TABLE_NOT_FOUND' });
      assert.throws(() => reader.count(), { code: 'TABLE_NOT_FOUND' });
      changeDatabase(
        file,
        `CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v); INSERT INTO b VALUES ('new', 7)`,
      );
      await storage.sync();
      assert.equal(reader.count(), 1);
      assert.deepEqual({ ...reader.get('new') }, { k: 'new', v: 7 });
    });
  });
});

void describe('another source', () => {
  void it('is refused for the same cache', async () => {
    await withSource(
      'CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1)',
      async (file, options, dir) => {
        await sync(options);
        const other = dir.join('other.db');
        changeDatabase(other, 'CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (2)');
        const digests = await recordDigests(options.cacheDir);
        const strange = { ...options, source: { url: `file:${other}` } };
        await assert.rejects(sync(strange), {
          name: 'CacheError',
          code: 'CACHE_DEFINITION_MISMATCH',
        });
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
        // The same file by other words is the same source.
        await sync({ ...options, source: { url: `file://${file}` } });
        await sync({
          ...options,
          source: { url: `file:${dir.path}/../${dir.path.split('/').at(-1)}/source.db` },
        });
      },
    );
  });

  void it('that is missing, no file or no database is told', async () => {
    await withSource(
      'CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1)',
      async (_, options, dir) => {
        await sync(options);
        const digests = await recordDigests(options.cacheDir);
        writeFileSync(
          dir.join('text'),
          'this is no database at all, but it is long enough'.repeat(100),
        );
        for (const [path, code] of [
          ['nothing.db', 'SOURCE_NOT_FOUND'],
          ['.', 'SOURCE_NOT_FOUND'],
          ['text', 'SOURCE_NOT_A_DATABASE'],
        ] as const) {
          for (const transport of ['native', 'client'] as const) {
            const source = { url: `file:${dir.join(path)}` };
            await assert.rejects(sync({ ...options, source, transport }), {
              name: 'SourceError',
              code,
            });
          }
        }
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
      },
    );
  });

  void it('of names that are no tables is told', async () => {
    await withSource(
      `CREATE TABLE "Mixed Case" (id INTEGER PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS x;
       CREATE VIRTUAL TABLE docs USING fts5(body);`,
      async (file, options) => {
        await assert.rejects(sync({ ...options, tables: ['missing'] }), {
          code: 'TABLE_NOT_FOUND',
        });
        for (const name of ['seen', 'docs', 'docs_data', 'sqlite_schema']) {
          await assert.rejects(
            sync({ ...options, tables: [name] }),
            { code: 'TABLE_NOT_SUPPORTED' },
            name,
          );
        }
        await assert.rejects(
          sync({ ...options, tables: [{ name: 'Mixed Case', key: ['nope'] }] }),
          {
            code: 'COLUMN_NOT_FOUND',
          },
        );
        await sync({ ...options, tables: ['mixed case'] });
        await assertCacheEquals(file, options.cacheDir, { tables: ['Mixed Case'] });
      },
    );
  });
});

void describe('many rows deleted', () => {
  for (const table of ['texts', 'nocase', 'keyless'] as const) {
    void it(`go in runs: ${table}`, async () => {
      await withSource(
        (db) => {
          db.exec(TABLES[table]);
          const rows = Array.from({ length: 9000 }, (_, i) =>
            table === 'keyless' ? [BigInt(i), null] : [`k${i}`, BigInt(i), null],
          );
          insert(db, table, rows);
        },
        async (file, options) => {
          const lossy = { ...options, maxLossShare: 1 };
          await sync(lossy);
          changeDatabase(file, `DELETE FROM ${quote(table)} WHERE v % 9 <> 3`);
          const report = await sync(lossy);
          assert.equal(report.tables[table]?.rowsDeleted, 8000);
          assert.equal(report.tables[table]?.rowsUnchanged, 1000);
          await assertCacheEquals(file, options.cacheDir);
          changeDatabase(file, `DELETE FROM ${quote(table)}`);
          assert.equal((await sync(lossy)).tables[table]?.rowsDeleted, 1000);
          await assertCacheEquals(file, options.cacheDir);
        },
      );
    });
  }
});
