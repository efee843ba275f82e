import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  openCache,
  RowRejectedError,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { bytes, changeDatabase, insert, type NativeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { syncInChild, type SyncOutcome } from './sync-child.js';

const MB = 1024 * 1024;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

type Way = 'native' | 'file' | 'http' | 'ws';
const WAYS: readonly Way[] = ['native', 'file', 'http', 'ws'];
const FILES: readonly Way[] = ['native', 'file'];
/** The two that differ most, where reading is slow. */
const TWO: readonly Way[] = ['native', 'http'];

interface Place {
  readonly dir: TempDirectory;
  readonly file: string;
  readonly options: (
    way: Way,
    name?: string,
  ) => Pick<StorageSyncOptions, 'source' | 'transport' | 'cacheDir'>;
}

/** A database, and a server in front of it. */
async function withDatabase(
  build: string | ((db: NativeDatabase) => void),
  use: (place: Place) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, build);
  await using server: HranaServer = await startHranaServer({ file });
  await use({
    dir,
    file,
    options: (way, name = way) => ({
      cacheDir: dir.join(name),
      source: {
        url: way === 'http' ? server.httpUrl : way === 'ws' ? server.wsUrl : `file:${file}`,
      },
      ...(way === 'file' ? { transport: 'client' as const } : {}),
    }),
  });
}

async function sync(options: StorageSyncOptions): Promise<SyncReport> {
  await using storage = await StorageSync.open({
    retries: 1,
    retryInitialMs: 10,
    ...options,
    pool,
  });
  return await storage.sync();
}

/** Asserts that the process lived, and gives what it told. */
async function syncApart(syncs: readonly StorageSyncOptions[]): Promise<readonly SyncOutcome[]> {
  const retrying = syncs.map((options) => ({ retries: 1, retryInitialMs: 10, ...options }));
  const { exit, stderr, outcomes } = await syncInChild(retrying);
  assert.equal(exit, '0', `the process ended with ${exit}: ${stderr}`);
  assert.equal(outcomes.length, syncs.length);
  return outcomes;
}

const BAD_TEXT = "CAST(x'61ff62' AS TEXT)";

void describe('TEXT that is not valid UTF-8', () => {
  const build = `
    CREATE TABLE cells (id INTEGER PRIMARY KEY, t TEXT, u);
    INSERT INTO cells SELECT value, 'row ' || value, value FROM generate_series(1, 40);
    UPDATE cells SET t = ${BAD_TEXT} WHERE id IN (3, 4, 17);
    UPDATE cells SET u = CAST(x'c3' AS TEXT), t = CAST(x'a9' AS TEXT) WHERE id = 30;
    CREATE TABLE keyed (k TEXT PRIMARY KEY NOT NULL, v);
    INSERT INTO keyed VALUES ('a', 1), ('b', 2), ('c', 3), ('z', 4), ('b' || char(0), 5);
    INSERT INTO keyed VALUES (CAST(x'62ff' AS TEXT), 6), (CAST(x'ff' AS TEXT), 7), (CAST(x'62c3' AS TEXT), 8);
    CREATE TABLE composite (a TEXT, b TEXT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
    INSERT INTO composite VALUES ('a', 'b', 1), (CAST(x'ff' AS TEXT), 'b', 2), ('a', CAST(x'ff' AS TEXT), 3), ('c', 'd', 4);
    CREATE TABLE nullable (k TEXT PRIMARY KEY, v);
    INSERT INTO nullable VALUES (NULL, 1), (NULL, 2), (CAST(x'ff' AS TEXT), 3), ('a', 4);
    CREATE TABLE strict_any (id INTEGER PRIMARY KEY, y ANY) STRICT;
    INSERT INTO strict_any VALUES (1, 'a'), (2, 5), (3, ${BAD_TEXT}), (4, x'00');
    CREATE TABLE large (id INTEGER PRIMARY KEY, t TEXT);
    INSERT INTO large VALUES (1, 'a'), (2, CAST(zeroblob(50000) || x'ff' AS TEXT)), (3, 'c');
  `.replace(
    /generate_series\(1, 40\)/,
    '(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 40) SELECT value FROM n)',
  );
  const where = {
    cells: 'id NOT IN (3, 4, 17, 30)',
    keyed: 'v < 6',
    composite: 'v IN (1, 4)',
    nullable: 'v <> 3',
    strict_any: 'id <> 3',
    large: 'id <> 2',
  };
  const bad = { cells: 4, keyed: 3, composite: 2, nullable: 1, strict_any: 1, large: 1 };

  for (const way of WAYS) {
    void it(`is set aside or named over ${way}`, async () => {
      await withDatabase(build, async ({ file, options }) => {
        const tables = Object.keys(bad);
        const sizes = way === 'native' ? [1, 3, 1000] : [3];
        const outcomes = await syncApart([
          ...sizes.map((batchSize) => ({
            ...options(way, `${way}-${batchSize}`),
            batchSize,
            onRowError: 'quarantine' as const,
          })),
          ...tables.map((table) => ({ ...options(way, `${way}-${table}`), tables: [table] })),
        ]);
        for (const [at, size] of sizes.entries()) {
          const { report, error } = outcomes[at]!;
          assert.equal(error, undefined);
          for (const [table, count] of Object.entries(bad)) {
            assert.equal(report!.tables[table]!.rowsQuarantined, count, `${table}, by ${size}`);
          }
          const { cacheDir } = options(way, `${way}-${size}`);
          await assertCacheEquals(file, cacheDir, { way, where });
        }
        for (const [at, table] of tables.entries()) {
          const { error } = outcomes[sizes.length + at]!;
          assert.equal(error?.code, 'ROW_REJECTED', error?.message);
          assert.equal(error.name, 'RowRejectedError');
          assert.match(error.message, new RegExp(`"${table}"`));
          if (table === 'cells') assert.match(error.message, /id = 3\b/);
        }
      });
    });
  }

  void it('may stand in a column that is not synced', async () => {
    await withDatabase(build, async ({ options }) => {
      const own = options('native');
      const tables = [{ name: 'cells', columns: { id: 'integer' } }] as const;
      const [outcome] = await syncApart([{ ...own, tables }]);
      assert.equal(outcome?.report?.tables['cells']?.rowsWritten, 40);
    });
  });
});

void describe('TEXT with a NUL', () => {
  void it('survives in the ANY column of a STRICT table', async () => {
    await withDatabase(
      `CREATE TABLE t (k TEXT PRIMARY KEY, y ANY) STRICT, WITHOUT ROWID;
       INSERT INTO t VALUES ('a', 'x' || char(0) || 'y'), ('b', char(0)), ('c', 1);`,
      async ({ file, options }) => {
        for (const way of WAYS) {
          await sync(options(way));
          await assertCacheEquals(file, options(way).cacheDir, { way });
        }
      },
    );
  });

  for (const encoding of ['UTF-16le', 'UTF-16be']) {
    void it(`survives in a ${encoding} database`, async () => {
      await withDatabase(
        `PRAGMA encoding = '${encoding}';
         CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
         INSERT INTO t VALUES ('a', 'x' || char(0) || 'y'), ('b', char(0)), ('c' || char(0) || 'd', 1), ('c', 2);`,
        async ({ file, options }) => {
          for (const way of FILES) {
            for (const batchSize of [1, 2, 1000]) {
              const own = options(way, `${way}-${batchSize}`);
              await sync({ ...own, batchSize });
              await assertCacheEquals(file, own.cacheDir, { way });
            }
          }
        },
      );
    });
  }
});

void describe('a lone surrogate in a UTF-16 database', () => {
  for (const [where, hex] of [
    ['at the end', '610000d8'],
    ['in the middle', '00d84100'],
    ['of the low kind', '00dc4100'],
  ] as const) {
    void it(`${where} neither kills the process nor stops the table`, async () => {
      await withDatabase(
        `PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
         INSERT INTO t VALUES (1, 'a'), (2, CAST(x'${hex}' AS TEXT)), (3, 'c');`,
        async ({ options }) => {
          const syncs = FILES.flatMap((way) =>
            [1, 1000].map((batchSize) => ({
              ...options(way, `${way}-${batchSize}`),
              batchSize,
              onRowError: 'quarantine' as const,
            })),
          );
          const outcomes = await syncApart(syncs);
          const digests: unknown[] = [];
          {
            for (const [at, { cacheDir }] of syncs.entries()) {
              assert.equal(outcomes[at]?.error, undefined);
              await using cache = openCache(cacheDir);
              const table = cache.table('t');
              assert.equal(table.get(1)?.['v'], 'a');
              assert.equal(table.get(3)?.['v'], 'c');
              digests.push(await recordDigests(cacheDir));
            }
          }
          for (const digest of digests) assert.deepEqual(digest, digests[0]);
        },
      );
    });
  }
});

void describe('infinities', () => {
  void it('are keys like others, also where pages end', async () => {
    const build = `
      CREATE TABLE reals (k REAL PRIMARY KEY NOT NULL, v);
      INSERT INTO reals VALUES (-9e999, 1), (9e999, 2), (0, 3), (1.5, 4), (9007199254740993, 5);
      CREATE TABLE composite (a, b REAL, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
      INSERT INTO composite VALUES (9e999, -9e999, 1), (9e999, 9e999, 2), (-9e999, 0, 3), ('x', -9e999, 4), (1, 9e999, 5);
      CREATE TABLE nullable (k REAL PRIMARY KEY, v);
      INSERT INTO nullable VALUES (NULL, 1), (-9e999, 1), (9e999, 2), (NULL, 3), (1.5, 4);
    `;
    await withDatabase(build, async ({ file, options }) => {
      for (const way of WAYS) {
        for (const batchSize of [1, 2, 1000]) {
          const own = options(way, `${way}-${batchSize}`);
          await sync({ ...own, batchSize });
          await assertCacheEquals(file, own.cacheDir, { way: `${way} by ${batchSize}` });
        }
      }
    });
  });

  void it('order the newest rows', async () => {
    await withDatabase(
      `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, at REAL);
       INSERT INTO t VALUES ('a', 9e999), ('b', 9e999), ('c', -9e999), ('d', 5), ('e', NULL), ('f', 7.5);`,
      async ({ file, options }) => {
        for (const way of WAYS) {
          for (const batchSize of [1, 2, 1000]) {
            const own = options(way, `${way}-${batchSize}`);
            const tables = [{ name: 't', limit: { count: 5, newestBy: 'at' } }];
            await sync({ ...own, batchSize, tables });
            await assertCacheEquals(file, own.cacheDir, { way, where: { t: 'at IS NOT NULL' } });
          }
        }
      },
    );
  });
});

void describe('a key whose collation is not that of its column', () => {
  const rows = `('a', 1), ('A', 2), ('b', 3), ('B', 4), ('aa', 5), ('AA', 6)`;
  for (const [what, ddl, key] of [
    [
      'a primary key',
      `CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL, v, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID`,
      undefined,
    ],
    [
      'a unique index',
      `CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL, v); CREATE UNIQUE INDEX u ON t (k COLLATE BINARY)`,
      ['k'],
    ],
  ] as const) {
    void it(`loses no row: ${what}`, async () => {
      await withDatabase(`${ddl}; INSERT INTO t VALUES ${rows};`, async ({ options }) => {
        for (const way of FILES) {
          for (const batchSize of [1, 2, 1000]) {
            const own = options(way, `${way}-${batchSize}`);
            const tables = [{ name: 't', ...(key ? { key } : {}) }];
            await sync({ ...own, batchSize, tables });
            await using cache = openCache(own.cacheDir);
            const found = [...cache.table('t').range()].map((row) => row['k']);
            assert.deepEqual(found, ['A', 'AA', 'B', 'a', 'aa', 'b'], `${way} by ${batchSize}`);
            // The second sync compares by ranges, which relies on the order.
            const again = await sync({ ...own, batchSize, tables });
            assert.equal(again.tables['t']?.rowsUnchanged, 6);
          }
        }
      });
    });
  }
});

void describe('the name __proto__', () => {
  void it('is a column and a table like others', async () => {
    await withDatabase(
      `CREATE TABLE "__proto__" (id INTEGER PRIMARY KEY, "__proto__" TEXT, "hasOwnProperty" TEXT);
       INSERT INTO "__proto__" VALUES (1, 'a', 'b');`,
      async ({ file, options }) => {
        for (const way of WAYS) {
          const report = await sync(options(way));
          assert.ok(Object.hasOwn(report.tables, '__proto__'));
          await assertCacheEquals(file, options(way).cacheDir, { way });
        }
      },
    );
  });
});

void describe('a key too long for the cache', () => {
  const build = (db: NativeDatabase): void => {
    db.exec(`CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
             CREATE TABLE edge (k BLOB PRIMARY KEY, v) WITHOUT ROWID;
             CREATE TABLE composite (a BLOB, b BLOB, v, PRIMARY KEY (a, b)) WITHOUT ROWID;`);
    insert(db, 't', [
      ['a', 1n],
      ['b'.repeat(1977), 2n],
      ['b'.repeat(1978), 3n],
      ['b'.repeat(3000), 4n],
      ['c', 5n],
      ['é'.repeat(989), 6n],
    ]);
    insert(db, 'edge', [
      [bytes(1977), 1n],
      [bytes(1978), 2n],
      [bytes(100_000), 3n],
    ]);
    // Zero bytes take two in all but the last part of a key.
    insert(db, 'composite', [
      [Buffer.alloc(980), Buffer.alloc(10), 1n],
      [Buffer.alloc(10), Buffer.alloc(1900), 2n],
      [Buffer.alloc(990), Buffer.of(), 3n],
    ]);
  };
  const where = { t: 'v NOT IN (3, 4, 6)', edge: 'v = 1', composite: 'v <> 3' };

  void it('is set aside, or named', async () => {
    await withDatabase(build, async ({ file, options }) => {
      for (const way of TWO) {
        for (const batchSize of [2, 1000]) {
          const own = options(way, `${way}-${batchSize}`);
          const report = await sync({ ...own, batchSize, onRowError: 'quarantine' });
          const aside = Object.values(report.tables).map((table) => table.rowsQuarantined);
          assert.deepEqual(aside, [1, 2, 3]);
          assert.equal(report.warnings.length, 3);
          await assertCacheEquals(file, own.cacheDir, { way, where });
          const again = await sync({ ...own, batchSize, onRowError: 'quarantine' });
          for (const table of Object.values(again.tables)) {
            assert.equal(table.rowsWritten + table.rowsDeleted, 0);
          }
        }
        await assert.rejects(sync({ ...options(way, `${way}-fail`), tables: ['t'] }), (error) => {
          assert.ok(error instanceof RowRejectedError);
          assert.match(error.message, /"t".*1979 bytes.*k = "bbb/s);
          assert.equal(error.context['table'], 't');
          return true;
        });
      }
    });
  });

  void it('does not stop a table however long it is', async () => {
    await withDatabase(
      (db) => {
        db.exec('CREATE TABLE t (k BLOB PRIMARY KEY, v) WITHOUT ROWID');
        insert(db, 't', [
          [bytes(3), 1n],
          [bytes(9 * MB), 2n],
          [Buffer.alloc(5, 255), 3n],
        ]);
      },
      async ({ file, options }) => {
        for (const way of TWO) {
          const report = await sync({ ...options(way), onRowError: 'quarantine' });
          assert.equal(report.tables['t']?.rowsQuarantined, 1, way);
          await assertCacheEquals(file, options(way).cacheDir, { way, where: { t: 'v <> 2' } });
        }
      },
    );
  });
});

void describe('a row over maxRowBytes', () => {
  const build = (db: NativeDatabase): void => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, b);
             CREATE TABLE wide (id INTEGER PRIMARY KEY, ${Array.from({ length: 50 }, (_, i) => `c${i}`).join(', ')});`);
    insert(db, 't', [
      [1n, 'a'],
      [2n, bytes(100_001)],
      [3n, bytes(90_000)],
      [4n, 'x'.repeat(300_000)],
      [5n, null],
    ]);
    const wide = (id: bigint, each: number) => [
      id,
      ...Array.from({ length: 50 }, () => 'w'.repeat(each)),
    ];
    insert(db, 'wide', [wide(1n, 10), wide(2n, 3000), wide(3n, 1500)]);
  };
  for (const batchSize of [1, 2, 1000]) {
    void it(`is set aside whatever the page (${batchSize} rows)`, async () => {
      await withDatabase(build, async ({ file, options }) => {
        for (const way of WAYS) {
          const own = options(way);
          const bounds = { maxRowBytes: 100_000, batchSize, onRowError: 'quarantine' } as const;
          const report = await sync({ ...own, ...bounds });
          const where = { t: 'id NOT IN (2, 4)', wide: 'id <> 2' };
          assert.equal(report.tables['t']?.rowsQuarantined, 2, `${way}: t`);
          assert.equal(report.tables['wide']?.rowsQuarantined, 1, `${way}: wide`);
          await assertCacheEquals(file, own.cacheDir, { way, where });
        }
      });
    });
  }

  void it('is named', async () => {
    await withDatabase(build, async ({ options }) => {
      for (const way of WAYS) {
        const failed = sync({ ...options(way), maxRowBytes: 100_000, tables: ['t'] });
        await assert.rejects(failed, (error) => {
          assert.ok(error instanceof RowRejectedError, String(error));
          assert.match(error.message, /id = 2\b/);
          return true;
        });
      }
    });
  });
});

void describe('rows that make large answers', () => {
  void it('come over any wire, one to a page', async () => {
    await withDatabase(
      (db) => {
        db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, b)');
        insert(db, 't', [
          [1n, bytes((15 * MB) / 2, 1)],
          // A control character takes six in JSON.
          [2n, '\u0001'.repeat(3 * MB)],
          [3n, 'é"'.repeat(MB)],
          [4n, bytes(10 * MB, 4)],
          [5n, null],
        ]);
      },
      async ({ file, options }) => {
        for (const way of ['http'] as const) {
          for (const batchSize of [1, 1000]) {
            const own = options(way, `${way}-${batchSize}`);
            await sync({ ...own, batchSize });
            await assertCacheEquals(file, own.cacheDir, { way: `${way} by ${batchSize}` });
          }
        }
      },
    );
  });

  void it('do not fill the memory when they are wide', async () => {
    await withDatabase(
      (db) => {
        const columns = Array.from({ length: 100 }, (_, i) => `c${i}`);
        db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns.join(', ')});
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
          INSERT INTO t SELECT i, ${columns.map(() => 'zeroblob(8000)').join(', ')} FROM n;`);
      },
      async ({ options }) => {
        // 200 MB of rows in pages of 4 MB.
        const [outcome] = await syncApart([options('native')]);
        const { maxRssBytes } = outcome!;
        assert.equal(outcome?.error, undefined);
        assert.equal(outcome?.report?.tables['t']?.rowsWritten, 250);
        assert.ok(maxRssBytes < 700 * MB, `${Math.round(maxRssBytes / MB)} MB resident`);
      },
    );
  });

  void it('may have nearly as many columns as SQLite allows; a table with more is named', async () => {
    const columns = (count: number) => Array.from({ length: count }, (_, i) => `c${i} INTEGER`);
    await withDatabase(
      `CREATE TABLE wide (k TEXT PRIMARY KEY, ${columns(1997).join(', ')});
       INSERT INTO wide (k, c7, c1996) VALUES ('a', 7, 9), (NULL, 1, 1);
       CREATE TABLE wider (k TEXT PRIMARY KEY, ${columns(1999).join(', ')});
       INSERT INTO wider (k) VALUES ('a');`,
      async ({ options }) => {
        for (const way of FILES) {
          const report = await sync(options(way));
          await using cache = openCache(options(way).cacheDir);
          assert.equal(cache.table('wide').count(), 2);
          const row = cache.table('wide').get('a');
          assert.equal(row?.['c7'], 7);
          assert.equal(row['c1996'], 9);
          assert.match(report.warnings.join(), /"wider"/);
          await assert.rejects(sync({ ...options(way, 'named'), tables: ['wider'] }), {
            code: 'TABLE_NOT_SUPPORTED',
          });
        }
      },
    );
  });
});

void describe('an index over many long texts', () => {
  void it('holds them all, with long keys', async () => {
    const columns = Array.from({ length: 8 }, (_, i) => `c${i}`);
    const key = 'k'.repeat(1900);
    await withDatabase(
      (db) => {
        db.exec(`CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, ${columns.join(', ')})`);
        const all = (value: string) => columns.map(() => value);
        insert(db, 't', [
          [`${key}1`, ...all('漢'.repeat(100))],
          [`${key}2`, ...all('漢'.repeat(100))],
          [`${key}3`, ...all(`${'漢'.repeat(99)}字`)],
          ['short', ...all('a')],
        ]);
      },
      async ({ file, options }) => {
        const own = options('native');
        const tables = [{ name: 't', indexes: [{ name: 'all', columns }] }];
        await sync({ ...own, tables });
        await assertCacheEquals(file, own.cacheDir);
        const keysOf = async () => {
          await using cache = openCache(own.cacheDir);
          const found = [...cache.table('t').byIndex('all', '漢'.repeat(100))];
          return found.map((row) => String(row['k']).slice(1900)).sort();
        };
        assert.deepEqual(await keysOf(), ['1', '2']);
        changeDatabase(
          file,
          `DELETE FROM t WHERE k LIKE '%1'; UPDATE t SET c0 = c1 || '!' WHERE k LIKE '%2'`,
        );
        await sync({ ...own, tables });
        await assertCacheEquals(file, own.cacheDir);
        assert.deepEqual(await keysOf(), []);
      },
    );
  });
});
