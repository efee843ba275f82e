import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  ConfigError,
  openChangeLog,
  readStatus,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncOptions,
  type SyncReport,
  type TableDefinition,
} from '../../src/index.js';
import { resolveOptions } from '../../src/options.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type FaultAction } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function sync(options: StorageSyncOptions, more: SyncOptions = {}): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.sync(more);
}

interface Source {
  readonly file: string;
  readonly options: Omit<StorageSyncOptions, 'tables'>;
  /** Options with this definition of the table `t`. */
  readonly defined: (definition: Omit<TableDefinition, 'name'>) => StorageSyncOptions;
}

const ROWS = 500;

/** A table `t (k, c, v)` in which `c` counts from 1, and an index over it. */
async function withSource(use: (source: Source) => Promise<void>): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, c, v);
     CREATE INDEX t_c ON t (c, k);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO t SELECT 'k' || i, i, 0 FROM n`,
  );
  const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
  await use({
    file,
    options,
    defined: (definition) => ({ ...options, tables: [{ name: 't', ...definition }] }),
  });
}

const CURSOR = { column: 'c', overlap: 0 } as const;

void describe('how a table is brought up to date', () => {
  void it('is by the change log, else by the cursor, else by a full read, or as it is told', async () => {
    await withSource(async ({ file, options, defined }) => {
      const modeOf = async (definition: Omit<TableDefinition, 'name'>, more?: SyncOptions) => {
        const report = await sync(defined(definition), more);
        const { mode } = report.tables['t']!;
        assert.equal(report.mode, mode === 'full' ? 'full' : 'incremental');
        return mode;
      };
      assert.equal(await modeOf({ cursor: CURSOR }), 'full');
      assert.equal((await readStatus(options.cacheDir)).tables['t']?.mode, 'cursor');
      assert.equal(await modeOf({ cursor: CURSOR }), 'cursor');
      assert.equal(await modeOf({ cursor: CURSOR }, { full: true }), 'full');
      assert.equal(await modeOf({ cursor: CURSOR, mode: 'full' }), 'full');
      assert.equal((await readStatus(options.cacheDir)).tables['t']?.mode, 'full');
      await modeOf({ cursor: CURSOR });
      assert.equal(await modeOf({ cursor: CURSOR }), 'cursor');

      await using log = await openChangeLog({ url: `file:${file}` });
      await log.install();
      assert.equal(await modeOf({ cursor: CURSOR, mode: 'cursor' }), 'full', 'a schema changed');
      assert.equal(await modeOf({ cursor: CURSOR, mode: 'cursor' }), 'cursor');
      assert.equal(await modeOf({ cursor: CURSOR }), 'full', 'the log is begun with');
      assert.equal((await readStatus(options.cacheDir)).tables['t']?.mode, 'change-log');
      assert.equal(await modeOf({ cursor: CURSOR }), 'change-log');
      assert.equal(await modeOf({ cursor: CURSOR, mode: 'cursor' }), 'cursor');
      await log.uninstall();
      assert.equal(await modeOf({ cursor: CURSOR }), 'full', 'a schema changed');
      assert.equal(await modeOf({ cursor: CURSOR }), 'cursor');
      const report = await sync(defined({ cursor: CURSOR, mode: 'change-log' }));
      assert.match(report.warnings.join(), /"t" has no change log that can be relied on/);
    });
  });

  void it('begins with a full read where the cursor or its overlap is another', async () => {
    await withSource(async ({ file, options, defined }) => {
      changeDatabase(file, 'UPDATE t SET v = c');
      await sync(defined({ cursor: CURSOR }));
      const others: readonly TableDefinition['cursor'][] = [
        { column: 'v', overlap: 0 },
        { column: 'v', overlap: 3 },
        { column: 'v' },
        { column: 'c' },
      ];
      for (const cursor of others) {
        changeDatabase(
          file,
          `UPDATE t SET v = 1, c = 1 WHERE k = 'k3'; UPDATE t SET v = 3, c = 3 WHERE k = 'k3'`,
        );
        assert.equal((await sync(defined({ cursor: cursor! }))).mode, 'full');
        const again = { ...cursor!, sweepEveryMs: 5000 };
        assert.equal((await sync(defined({ cursor: again }))).mode, 'incremental');
        await assertCacheEquals(file, options.cacheDir);
      }
    });
  });

  for (const [what, value, overlap] of [
    ['a text that is no time', `'N/A'`, undefined],
    ['a BLOB', `x'00'`, 7],
    ['an infinity', '9e999', undefined],
    ['a time far ahead', `'9999-12-31'`, undefined],
    ['a number below which no time can be', '7000', '5m'],
  ] as const) {
    void it(`is by a full read, with a word about it, where the cursor comes to ${what}`, async () => {
      await withSource(async ({ file, options, defined }) => {
        const cursor = { column: 'c', ...(overlap === undefined ? {} : { overlap }) };
        if (overlap !== '5m') await sync(defined({ cursor }));
        changeDatabase(file, `INSERT INTO t VALUES ('odd', ${value}, 0)`);
        for (let again = 0; again < 2; again++) {
          changeDatabase(file, `UPDATE t SET v = v + 1, c = 1 + ${ROWS} + ${again} WHERE k = 'k4'`);
          const report = await sync(defined({ cursor }));
          assert.equal(report.mode, 'full');
          assert.match(report.warnings.join(), /The cursor "c" of "t" cannot be followed/);
          await assertCacheEquals(file, options.cacheDir);
        }
        changeDatabase(file, `DELETE FROM t WHERE k = 'odd'`);
        const mended = { column: 'c' };
        await sync(defined({ cursor: mended }));
        assert.equal((await sync(defined({ cursor: mended }))).mode, 'incremental');
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }

  void it('warns of a cursor without an index that begins with it', async () => {
    await withSource(async ({ file, defined }) => {
      const warnings = async () => (await sync(defined({ cursor: CURSOR }))).warnings;
      assert.deepEqual(await warnings(), []);
      for (const [index, serves] of [
        ['', false],
        ['CREATE INDEX x ON t (v, c)', false],
        ['CREATE INDEX x ON t (c) WHERE v = 0', false],
        ['CREATE INDEX x ON t (c COLLATE NOCASE)', false],
        ['CREATE INDEX x ON t (c DESC)', true],
      ] as const) {
        changeDatabase(file, `DROP INDEX IF EXISTS t_c; DROP INDEX IF EXISTS x; ${index}`);
        const found = (await warnings()).join();
        if (serves) assert.equal(found, '');
        else assert.match(found, /No index of "t" begins with the cursor "c".*ON "t" \("c", "k"\)/);
      }
    });
  });

  void it('takes out a row that can no longer be cached, and counts it once however often it is read', async () => {
    await withSource(async ({ file, options, defined }) => {
      const kept = { ...defined({ cursor: { column: 'c' } }), onRowError: 'quarantine' as const };
      await sync(kept);
      changeDatabase(file, `UPDATE t SET v = CAST(x'ff' AS TEXT), c = 1000 WHERE k = 'k9'`);
      await assert.rejects(sync(defined({ cursor: { column: 'c' } })), { code: 'ROW_REJECTED' });
      for (let again = 0; again < 2; again++) {
        const report = await sync(kept);
        assert.equal(report.mode, 'incremental');
        assert.equal(report.tables['t']?.rowsQuarantined, 1);
        assert.equal(report.tables['t']?.rowsDeleted, again === 0 ? 1 : 0);
      }
      await using storage = await StorageSync.open({ ...options, pool });
      assert.equal(storage.cache.table('t').get('k9'), undefined);
      assert.equal(storage.cache.table('t').count(), ROWS - 1);
    });
  });

  void it('refuses a sweep that would take too much, as often as it is tried', async () => {
    await withSource(async ({ file, options, defined }) => {
      const swept = defined({ cursor: { ...CURSOR, sweepEveryMs: 0 } });
      await sync(swept);
      changeDatabase(file, 'DELETE FROM t WHERE c > 100');
      for (let again = 0; again < 2; again++) {
        await assert.rejects(sync(swept), { code: 'LOSS_SUSPECTED' });
        await using storage = await StorageSync.open({ ...options, pool });
        assert.equal(storage.cache.table('t').count(), ROWS);
      }
      assert.equal((await sync(swept, { allowLoss: true })).mode, 'incremental');
      await assertCacheEquals(file, options.cacheDir);
    });
  });
});

void describe('a definition of a cursor or of soft deletes', () => {
  for (const [what, definition, message] of [
    ['a cursor without a column', { cursor: {} }, /tables\.0\.cursor\.column is missing/],
    [
      'a negative overlap',
      { cursor: { column: 'c', overlap: -1 } },
      /overlap must be a number of at least 0/,
    ],
    [
      'an overlap without a unit',
      { cursor: { column: 'c', overlap: '5' } },
      /a duration such as "90s"/,
    ],
    ['an infinite overlap', { cursor: { column: 'c', overlap: Infinity } }, /overlap must be/],
    [
      'a negative interval',
      { cursor: { column: 'c', sweepEveryMs: -1 } },
      /sweepEveryMs must be at least 0/,
    ],
    ['an unknown field', { cursor: { column: 'c', lag: 5 } }, /lag is not a known option/],
    [
      'a cursor and a limit',
      { cursor: { column: 'c' }, limit: { count: 5, newestBy: 'c' } },
      /a cursor and a limit/,
    ],
    [
      'a cursor and references',
      { cursor: { column: 'c' }, references: [] },
      /a cursor and references/,
    ],
    ['a mode that is not known', { mode: 'fast' }, /"auto", "full", "change-log" or "cursor"/],
    ['the mode without a cursor', { mode: 'cursor' }, /no cursor is defined/],
    ['no values', { softDelete: { column: 'd', alive: [] } }, /at least one value/],
    [
      'a value of another kind',
      { softDelete: { column: 'd', alive: [{}] } },
      /must be text without NUL/,
    ],
    ['a text with NUL', { softDelete: { column: 'd', alive: ['a\0'] } }, /alive/],
  ] as const) {
    void it(`is refused with ${what}`, () => {
      const options = {
        source: { url: 'file:a.db' },
        cacheDir: 'c',
        tables: [{ name: 't', ...definition }],
      };
      assert.throws(
        () => resolveOptions(options as unknown as StorageSyncOptions),
        (error: unknown) => error instanceof ConfigError && message.test(error.message),
      );
    });
  }

  void it('is refused where the source has no such column', async () => {
    await withSource(async ({ defined }) => {
      await assert.rejects(sync(defined({ cursor: { column: 'x' } })), {
        code: 'COLUMN_NOT_FOUND',
      });
      await assert.rejects(sync(defined({ softDelete: { column: 'x' } })), {
        code: 'COLUMN_NOT_FOUND',
      });
    });
  });
});

void describe('a cursor of a table on a server', () => {
  void it('costs two statements for a table, and the rows of the overlap', async () => {
    await withSource(async ({ file, defined, options }) => {
      await using server = await startHranaServer({ file });
      const remote = {
        ...defined({ cursor: { column: 'c', overlap: 4 } }),
        source: { url: server.httpUrl },
      };
      await sync(remote);
      await server.resetStats();
      const report = await sync(remote);
      const { statements, rowsReturned } = await server.stats();
      const ofRows = statements.filter((sql) => / FROM main\."t"/.test(sql));
      assert.equal(ofRows.length, 2, ofRows.join('\n'));
      assert.equal(report.tables['t']?.rowsRead, 5);
      const schemaRows = rowsReturned - 5;
      assert.ok(schemaRows < 30, `${schemaRows} rows besides`);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  const cuts: Readonly<Record<string, FaultAction>> = {
    'a reset before': { kind: 'reset' },
    'a reset after': { kind: 'reset', when: 'after' },
    'a body reset': { kind: 'reset-after-bytes', bytes: 300 },
    'a body that ends early': { kind: 'end-after-bytes', bytes: 300 },
    'a 503': { kind: 'status', status: 503, retryAfter: '0' },
  };
  for (const [what, action] of Object.entries(cuts)) {
    void it(`survives ${what} at any request, and brings over what was not read yet`, async () => {
      await withSource(async ({ file, defined, options }) => {
        await using server = await startHranaServer({ file });
        const remote = {
          ...defined({ cursor: { column: 'c', overlap: 4, sweepEveryMs: 0 } }),
          source: { url: server.httpUrl },
          // Page by page, so that there are as many requests as are cut.
          transport: 'http-pipeline' as const,
          batchSize: 50,
          retries: 0,
        };
        await sync(remote);
        let failures = 0;
        for (const skip of [0, 1, 2, 3, 5, 8, 13]) {
          changeDatabase(
            file,
            `UPDATE t SET v = v + 1, c = (SELECT max(c) FROM t) + 1 WHERE c % 4 = ${skip % 4};
             DELETE FROM t WHERE k LIKE 'k%${skip}'; INSERT INTO t VALUES ('late${skip}', 0, ${skip})`,
          );
          // Twice: a page at which a connection breaks is asked for once more, in the way that servers can always answer.
          await server.fault({ action, sql: /FROM main\."t"/, skip, times: 2 });
          const mode = await sync(remote, { allowLoss: true }).then(
            (report) => report.mode,
            (error: unknown) => {
              assert.ok(error instanceof Error && 'code' in error, String(error));
              return 'failed';
            },
          );
          if (mode === 'skipped' || mode === 'failed') failures++;
          await server.clearFaults();
        }
        assert.ok(failures > 3);
        // The first may end a sweep that began before the last change.
        for (let again = 0; again < 2; again++) {
          const report = await sync(remote, { allowLoss: true });
          assert.equal(report.mode, 'incremental');
        }
        await assertCacheEquals(file, options.cacheDir);
      });
    });
  }
});

void describe('writers at work while a table is followed by its cursor', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`are all caught up with: ${way}`, async () => {
      await withSource(async ({ file, defined, options }) => {
        await using server = way === 'http' ? await startHranaServer({ file }) : null;
        const source = { url: server?.httpUrl ?? `file:${file}` };
        const narrow = {
          ...defined({ cursor: { column: 'c', overlap: 0 } }),
          source,
          batchSize: 20,
        };
        const sweeping = {
          ...defined({ cursor: { ...CURSOR, sweepEveryMs: 0 } }),
          source,
          batchSize: 20,
        };
        await sync(narrow);
        let writing = true;
        let writes = 0;
        const write = async () => {
          while (writing) {
            const n = writes++;
            changeDatabase(
              file,
              `BEGIN; UPDATE t SET v = ${n}, c = (SELECT max(c) FROM t) + ${n % 2} WHERE k IN ('k${n % ROWS}', 'k${(n * 7) % ROWS}');
               INSERT OR REPLACE INTO t VALUES ('n${n % 300}', (SELECT max(c) FROM t), ${n});
               DELETE FROM t WHERE k = 'k${(n * 3) % ROWS}'; COMMIT`,
            );
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        const written = write();
        for (let i = 0; i < 12; i++) {
          const report = await sync(i % 3 === 2 ? sweeping : narrow, { allowLoss: true });
          assert.equal(report.mode, 'incremental');
        }
        writing = false;
        await written;
        await sync(sweeping, { allowLoss: true });
        await assertCacheEquals(file, options.cacheDir);
        assert.ok(writes > 50);
      });
    });
  }
});
