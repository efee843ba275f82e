import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  defineTable,
  openChangeLog,
  RowInvalidError,
  RowRejectedError,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
} from '../../src/index.js';
import { z } from 'zod';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v, w INTEGER);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
  INSERT INTO t SELECT 'k' || i, i, i % 5 FROM n`;

interface Place {
  readonly file: string;
  readonly cacheDir: string;
  readonly server: HranaServer;
  readonly storage: StorageSync;
  readonly options: StorageSyncOptions;
  /** Statements that asked for rows by key since the last call. */
  readonly lookUps: () => Promise<readonly string[]>;
}

/** A synced cache of a served database. */
async function withServer(
  use: (place: Place) => Promise<void>,
  asked: Partial<StorageSyncOptions> = {},
  schema = SCHEMA,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, schema);
  await using server = await startHranaServer({ file });
  const cacheDir = dir.join('cache');
  const options = {
    source: { url: server.httpUrl },
    cacheDir,
    retryInitialMs: 5,
    retryMaxMs: 10,
    ...asked,
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await server.resetStats();
  const lookUps = async () => {
    const { statements } = await server.stats();
    await server.resetStats();
    return statements.filter((sql) => /WHERE .*=/.test(sql) && sql.startsWith('SELECT'));
  };
  await use({ file, cacheDir, server, storage, options, lookUps });
}

/** Waits until something is so. A cache that never gets there fails by its message. */
async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `never: ${what}`);
    await sleep(10);
  }
}

const insert = (file: string, ...keys: readonly string[]) =>
  changeDatabase(file, keys.map((key) => `INSERT INTO t VALUES ('${key}', 'new', 1)`).join(';'));

void describe('a row that the cache does not have', () => {
  void it('is fetched once for a hundred callers, and then stored', async () => {
    await withServer(async ({ file, cacheDir, server, storage, lookUps }) => {
      insert(file, 'x');
      const through = storage.readThrough('t');
      const rows = await Promise.all(Array.from({ length: 100 }, () => through.get('x')));
      for (const row of rows) assert.deepEqual(row, { k: 'x', v: 'new', w: 1 });
      assert.equal((await server.stats()).requests, 1);
      assert.equal((await lookUps()).length, 1);
      const { asked, found, statements, sourceRowsRead } = through.stats;
      assert.deepEqual([asked, found, statements, sourceRowsRead], [1, 1, 1, 1]);
      assert.deepEqual(await through.get('x'), { k: 'x', v: 'new', w: 1 });
      await until(() => storage.cache.table('t').has('x'), 'x is in the cache');
      assert.equal(storage.cache.table('t').count(), 51);
      assert.equal((await lookUps()).length, 0);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('comes with all that are missed at the same time, in statements of bounded size', async () => {
    await withServer(async ({ file, storage, lookUps }) => {
      const keys = Array.from({ length: 450 }, (_, i) => `n${i}`);
      insert(file, ...keys);
      const through = storage.readThrough('t');
      const rows = await through.getMany([...keys, 'k1', 'none', 'n0']);
      assert.equal(rows.length, 453);
      assert.equal(rows[451], undefined);
      assert.deepEqual(
        [rows[449]?.['k'], rows[450]?.['k'], rows[452]?.['k']],
        ['n449', 'k1', 'n0'],
      );
      assert.equal((await lookUps()).length, 3);
      assert.deepEqual([through.stats.asked, through.stats.hits], [451, 1]);
    });
  });

  void it('is waited for by many with one signal, which has one listener, and none afterwards', async () => {
    await withServer(async ({ file, server, storage }) => {
      const keys = Array.from({ length: 50 }, (_, i) => `n${i}`);
      insert(file, ...keys);
      const warnings: Error[] = [];
      const note = (warning: Error) => warnings.push(warning);
      process.on('warning', note);
      try {
        await server.fault({ action: { kind: 'latency', ms: 30 }, times: Infinity });
        const { signal } = new AbortController();
        const through = storage.readThrough('t');
        const patient = keys.map((key) => through.get(key));
        const others = keys.map((key) => through.until(signal).get(key));
        assert.equal(getEventListeners(signal, 'abort').length, 1);
        const rows = await Promise.all([...patient, ...others]);
        assert.deepEqual(
          rows.map((row) => row?.['k']),
          [...keys, ...keys],
        );
        assert.equal(getEventListeners(signal, 'abort').length, 0);
        await new Promise((resolve) => setImmediate(resolve));
        assert.deepEqual(warnings, []);
      } finally {
        process.off('warning', note);
      }
    });
  });

  void it('is asked for in as many keys as wait, while statements are under way', async () => {
    await withServer(async ({ file, server, storage, lookUps }) => {
      const keys = Array.from({ length: 40 }, (_, i) => `n${i}`);
      insert(file, ...keys);
      await server.fault({ action: { kind: 'latency', ms: 60 }, times: Infinity });
      const through = storage.readThrough('t');
      const waiting: Promise<unknown>[] = [];
      for (const key of keys) {
        waiting.push(through.get(key));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(waiting);
      assert.ok((await lookUps()).length <= 6, 'four at a time, and the rest together');
    });
  });

  void it('is found by each kind of key, and by its own values only', async () => {
    const schema = `
      CREATE TABLE composite (a TEXT NOT NULL, b INTEGER NOT NULL, v, PRIMARY KEY (a, b));
      CREATE TABLE blobs (k BLOB PRIMARY KEY NOT NULL, v);
      CREATE TABLE rowids (v);
      CREATE TABLE numbers (k INTEGER PRIMARY KEY, v);
      CREATE TABLE reals (k REAL PRIMARY KEY NOT NULL, v);
      CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v);
      CREATE TABLE nullable (k TEXT PRIMARY KEY, v);
      CREATE TABLE without (k, v, PRIMARY KEY (k)) WITHOUT ROWID`;
    await withServer(
      async ({ file, cacheDir, storage }) => {
        changeDatabase(
          file,
          `INSERT INTO composite VALUES ('', 0, 1), ('a' || char(0), -1, 2), ('é', 9223372036854775807, 3);
           INSERT INTO blobs VALUES (x'', 1), (x'00ff', 2);
           INSERT INTO rowids VALUES ('first');
           INSERT INTO numbers VALUES (-9223372036854775808, 1), (7, 2);
           INSERT INTO reals VALUES (0.1, 1), (9e999, 2), (3, 3);
           INSERT INTO nocase VALUES ('Key', 1);
           INSERT INTO nullable VALUES (NULL, 1), ('x', 2);
           INSERT INTO without VALUES (x'61', 'blob'), ('61', 'text'), (61, 'number')`,
        );
        const get = async (
          table: string,
          ...key: (string | number | bigint | Uint8Array | null)[]
        ) => (await storage.readThrough(table).get(...key))?.['v'];
        assert.equal(await get('composite', '', 0), 1);
        assert.equal(await get('composite', 'a\0', -1), 2);
        assert.equal(await get('composite', 'é', 2n ** 63n - 1n), 3);
        assert.equal(await get('composite', 'é', 1), undefined);
        assert.equal(await get('blobs', new Uint8Array()), 1);
        assert.equal(await get('blobs', new Uint8Array([0, 255])), 2);
        assert.equal(await get('blobs', ''), undefined);
        assert.equal(await get('rowids', 1), 'first');
        assert.equal(await get('numbers', -(2n ** 63n)), 1);
        assert.equal(await get('numbers', 7n), 2);
        assert.equal(await get('numbers', '7'), undefined);
        assert.equal(await get('reals', 0.1), 1);
        assert.equal(await get('reals', Infinity), 2);
        assert.equal(await get('reals', 3), 3);
        assert.equal(await get('nocase', 'Key'), 1);
        assert.equal(await get('nocase', 'KEY'), undefined);
        assert.equal(await get('nullable', 'x'), 2);
        assert.equal(await get('nullable', null), undefined);
        assert.equal(await get('without', '61'), 'text');
        assert.equal(await get('without', 61), 'number');
        assert.equal(await get('without', new Uint8Array([0x61])), 'blob');
        await assert.rejects(get('composite', 'a'), { code: 'KEY_INVALID' });
        await assert.rejects(get('numbers', 'x'.repeat(3000)), { code: 'KEY_INVALID' });
        const stored = () => storage.cache.tables().reduce((sum, { rows }) => sum + rows, 0);
        await until(() => stored() === 16, 'all are stored but the one without a key');
        await storage.sync();
        await assertCacheEquals(file, cacheDir);
      },
      {},
      schema,
    );
  });

  void it('is not there for who reads a cache that was never synced, or a table that it has not', async () => {
    await using dir = await TempDirectory.make();
    changeDatabase(dir.join('source.db'), SCHEMA);
    await using storage = await StorageSync.open({
      source: { url: `file:${dir.join('source.db')}` },
      cacheDir: dir.join('cache'),
      pool,
    });
    const through = storage.readThrough('t');
    await assert.rejects(through.get('k1'), { code: 'CACHE_EMPTY' });
    await storage.sync();
    assert.equal((await through.get('k1'))?.['v'], 1);
    await assert.rejects(storage.readThrough('u').get(1), { code: 'TABLE_NOT_FOUND' });
    assert.throws(() => storage.readThrough('t', { maxNegatives: -1 }), { code: 'CONFIG_INVALID' });
  });

  void it('goes through the schema of its definition, from the source as from the cache', async () => {
    await withServer(async ({ file, storage }) => {
      const schema = z.object({ k: z.string(), v: z.number().transform((v) => v * 2) });
      const rows = storage.readThrough(defineTable({ name: 't', schema }));
      changeDatabase(file, `INSERT INTO t VALUES ('new', 21, 0), ('odd', 'text', 0)`);
      assert.deepEqual(await rows.get('k1'), { k: 'k1', v: 2 });
      assert.deepEqual(await rows.getMany(['new', 'k2', 'none']), [
        { k: 'new', v: 42 },
        { k: 'k2', v: 4 },
        undefined,
      ]);
      await assert.rejects(rows.get('odd'), (error: unknown) => {
        assert.ok(error instanceof RowInvalidError);
        assert.match(error.message, /"odd".*"t".*v: /);
        return true;
      });
    });
  });

  void it('comes from a file as from a server', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, SCHEMA);
    const cacheDir = dir.join('cache');
    await using storage = await StorageSync.open({
      source: { url: `file:${file}` },
      cacheDir,
      pool,
    });
    await storage.sync();
    insert(file, 'x');
    const users = storage.readThrough(
      defineTable({ name: 't', columns: { k: 'text', w: 'integer' } }),
    );
    const row = await users.get('x');
    assert.equal(row?.k.toUpperCase(), 'X');
    await until(() => storage.cache.table('t').has('x'), 'x is in the cache');
    await assertCacheEquals(file, cacheDir);
  });
});

void describe('what is remembered of the source', () => {
  void it('is that it has no row, for as long as that was asked, and of so many keys', async () => {
    await withServer(async ({ file, storage, lookUps }) => {
      const through = storage.readThrough('t', { maxNegatives: 10, negativeTtlMs: 300 });
      assert.equal(await through.get('x'), undefined);
      assert.equal(await through.get('x'), undefined);
      assert.equal((await lookUps()).length, 1);
      assert.equal(through.stats.remembered, 1);
      await through.getMany(Array.from({ length: 100 }, (_, i) => `n${i}`));
      assert.equal(through.stats.negatives, 10);
      insert(file, 'x', 'n99');
      await until(async () => (await through.get('n99')) !== undefined, 'n99 is found');
      const never = storage.readThrough('t', { negativeTtlMs: 0 });
      await never.get('none');
      await never.get('none');
      assert.deepEqual([never.stats.asked, never.stats.negatives], [2, 0]);
    });
  });

  void it('ends with a completed sync, here or elsewhere', async () => {
    await withServer(async ({ file, storage, options }) => {
      const through = storage.readThrough('t', { negativeTtlMs: 3600_000, store: false });
      assert.equal(await through.get('x'), undefined);
      insert(file, 'x', 'y');
      assert.equal(await through.get('x'), undefined);
      assert.equal((await through.get('y'))?.['v'], 'new');
      changeDatabase(file, `DELETE FROM t WHERE k = 'y'`);
      assert.equal((await through.get('y'))?.['v'], 'new');
      await using other = await StorageSync.open(options);
      await other.sync();
      assert.equal((await through.get('x'))?.['v'], 'new');
      await until(async () => (await through.get('y')) === undefined, 'y is gone');
      assert.equal(await through.get('z'), undefined);
      insert(file, 'z');
      changeDatabase(file, `DELETE FROM t WHERE k = 'x'`);
      await storage.sync();
      assert.equal((await through.get('z'))?.['v'], 'new');
      assert.equal(await through.get('x'), undefined);
    });
  });

  void it('takes no more memory than was given', async () => {
    await withServer(async ({ file, storage }) => {
      const keys = Array.from({ length: 60 }, (_, i) => `n${i}`);
      changeDatabase(
        file,
        keys.map((key) => `INSERT INTO t VALUES ('${key}', zeroblob(1000), 1)`).join(';'),
      );
      const through = storage.readThrough('t', { maxKeptBytes: 20_000, store: false });
      const rows = await through.getMany(keys);
      assert.ok(rows.every((row) => row?.['v'] instanceof Uint8Array));
      assert.ok(through.stats.kept > 5 && through.stats.kept <= 20, String(through.stats.kept));
    });
  });
});

void describe('a source that cannot answer', () => {
  void it('fails misses alone, is left alone after a while, and trusted once it answers', async () => {
    await withServer(async ({ file, server, storage }) => {
      insert(file, 'x');
      const through = storage.readThrough('t');
      const fault = await server.fault({ action: { kind: 'reset' }, times: Infinity });
      for (let i = 0; i < 5; i++) {
        await assert.rejects(through.get('x'), { name: 'SourceError', code: 'SOURCE_UNAVAILABLE' });
      }
      const fired = await fault.fired();
      assert.ok(fired >= 5);
      for (let i = 0; i < 100; i++) {
        await assert.rejects(through.get(`m${i}`), { code: 'SOURCE_UNAVAILABLE' });
      }
      const more = (await fault.fired()) - fired;
      assert.ok(more <= fired, `${more} requests: at most some tries between pauses`);
      assert.equal((await through.get('k1'))?.['v'], 1);
      await server.clearFaults();
      await until(
        async () => (await through.get('x').catch(() => undefined)) !== undefined,
        'x is found',
      );
    });
  });

  void it('does not fail others for a row that cannot be cached, and names it', async () => {
    for (const onRowError of ['fail', 'quarantine'] as const) {
      await withServer(
        async ({ file, storage, cacheDir }) => {
          insert(file, 'a', 'b', 'c', 'd');
          changeDatabase(
            file,
            `INSERT INTO t VALUES ('large', zeroblob(5000), 1), ('broken', CAST(x'ff' AS TEXT), 1)`,
          );
          const through = storage.readThrough('t');
          const keys = ['a', 'large', 'b', 'none', 'c', 'broken', 'd'];
          const answers = await Promise.allSettled(keys.map((key) => through.get(key)));
          const said = answers.map((answer, i) => {
            if (answer.status === 'fulfilled') return answer.value?.['v'] ?? null;
            assert.ok(answer.reason instanceof RowRejectedError);
            assert.match(answer.reason.message, new RegExp(keys[i]!));
            return 'rejected';
          });
          const bad = onRowError === 'fail' ? 'rejected' : null;
          assert.deepEqual(said, ['new', bad, 'new', null, 'new', bad, 'new']);
          assert.deepEqual(
            [through.stats.found, through.stats.absent, through.stats.failed],
            [4, 1, 2],
          );
          await until(() => storage.cache.table('t').count() === 54, 'the good ones are stored');
          changeDatabase(file, `DELETE FROM t WHERE k IN ('large', 'broken')`);
          await storage.sync();
          await assertCacheEquals(file, cacheDir);
        },
        { onRowError, maxRowBytes: 4096 },
      );
    }
  });

  void it('keeps nobody waiting who has lost patience, and answers the others', async () => {
    await withServer(async ({ file, server, storage, lookUps }) => {
      insert(file, 'x');
      await server.fault({ action: { kind: 'latency', ms: 400 }, times: Infinity });
      const through = storage.readThrough('t');
      const stop = new AbortController();
      const impatient = assert.rejects(through.until(stop.signal).get('x'), { message: 'enough' });
      const patient = through.get('x');
      const timed = assert.rejects(through.until(AbortSignal.timeout(20)).get('x'), {
        name: 'TimeoutError',
      });
      setTimeout(() => stop.abort(new Error('enough')), 20);
      await Promise.all([impatient, timed]);
      assert.equal(through.stats.pending, 1);
      assert.equal((await patient)?.['v'], 'new');
      assert.equal((await lookUps()).length, 1);
      await assert.rejects(through.until(stop.signal).get('k1'), { message: 'enough' });
      // Nobody waits any more, and the answer is kept all the same.
      insert(file, 'y');
      await assert.rejects(through.until(AbortSignal.timeout(20)).get('y'), {
        name: 'TimeoutError',
      });
      await until(() => storage.cache.table('t').has('y'), 'y is in the cache');
    });
  });

  void it('holds up no closing, and who waits is told', async () => {
    await withServer(async ({ file, server, options }) => {
      insert(file, 'x');
      await using other = await StorageSync.open(options);
      const through = other.readThrough('t');
      assert.equal((await through.get('k1'))?.['v'], 1);
      await server.fault({ action: { kind: 'stall' }, times: Infinity });
      const waiting = assert.rejects(through.get('x'), { code: 'CACHE_CLOSED' });
      await sleep(50);
      await other.close();
      await waiting;
      await assert.rejects(through.get('k1'), { code: 'CACHE_CLOSED' });
      assert.throws(() => other.readThrough('t'), { code: 'CACHE_CLOSED' });
    });
  });
});

void describe('a row that was fetched', () => {
  void it('is entered in the indexes, but not where one of them is unique', async () => {
    const tables = [
      defineTable({ name: 't', indexes: [{ name: 'by_w', columns: ['w'] }] }),
      defineTable({ name: 'u', indexes: [{ name: 'by_v', columns: ['v'], unique: true }] }),
    ];
    const schema = `${SCHEMA}; CREATE TABLE u (k INTEGER PRIMARY KEY, v); INSERT INTO u VALUES (1, 'one')`;
    await withServer(
      async ({ file, cacheDir, storage }) => {
        insert(file, 'x');
        changeDatabase(file, `UPDATE u SET v = 'other'; INSERT INTO u VALUES (2, 'one')`);
        assert.equal((await storage.readThrough('u').get(2))?.['v'], 'one');
        assert.equal((await storage.readThrough('t').get('x'))?.['v'], 'new');
        const byW = () => [...storage.cache.table('t').byIndex('by_w', 1)].map((row) => row['k']);
        await until(() => byW().includes('x'), 'x is found by its index');
        assert.deepEqual(
          [...storage.cache.table('u').byIndex('by_v', 'one')],
          [{ k: 1, v: 'one' }],
        );
        const { left, complete } = await storage.verify({ level: 'deep', repair: true });
        assert.deepEqual([left, complete], [0, true]);
        await assertCacheEquals(file, cacheDir);
      },
      { tables },
      schema,
    );
  });

  void it('is returned, and not stored, where it is outside of a limit; where it is deleted softly, neither', async () => {
    const tables = [
      defineTable({ name: 'e', limit: { count: 3, newestBy: 'at' } }),
      defineTable({ name: 'n', references: [{ columns: ['e'], table: 'e' }] }),
      defineTable({ name: 's', softDelete: { column: 'gone' } }),
    ];
    const schema = `
      CREATE TABLE e (k INTEGER PRIMARY KEY, at); INSERT INTO e VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);
      CREATE TABLE n (k INTEGER PRIMARY KEY, e); INSERT INTO n VALUES (1, 1), (5, 5);
      CREATE TABLE s (k INTEGER PRIMARY KEY, gone); INSERT INTO s VALUES (1, NULL), (2, 'today')`;
    await withServer(
      async ({ storage, file, cacheDir }) => {
        const [e, n, s] = [
          storage.readThrough('e'),
          storage.readThrough('n'),
          storage.readThrough('s'),
        ];
        assert.deepEqual(await e.get(1), { k: 1, at: 1 });
        assert.deepEqual(await n.get(1), { k: 1, e: 1 });
        assert.equal(await s.get(2), undefined);
        changeDatabase(
          file,
          `INSERT INTO s VALUES (3, NULL), (4, 'today'); INSERT INTO e VALUES (6, 6)`,
        );
        assert.deepEqual(await s.getMany([3, 4]), [{ k: 3, gone: null }, undefined]);
        assert.deepEqual(await e.get(6), { k: 6, at: 6 });
        await until(() => storage.cache.table('s').has(3), 's 3 is in the cache');
        assert.deepEqual(
          ['e', 'n', 's'].map((name) => storage.cache.table(name).count()),
          [3, 1, 2],
        );
        assert.ok(e.stats.kept === 2 && n.stats.kept === 1);
        const report = await storage.sync();
        assert.deepEqual(
          report.validation.checks.filter(({ passed }) => !passed),
          [],
        );
        await assertCacheEquals(file, cacheDir, {
          where: { e: 'k > 3', n: 'e > 3', s: 'gone IS NULL' },
        });
      },
      { tables },
      schema,
    );
  });

  void it('is not stored when a sync has come further since: it may be gone again', async () => {
    for (const mode of ['change-log', 'full'] as const) {
      await withServer(async ({ file, cacheDir, storage, options, server }) => {
        if (mode === 'change-log') {
          await using log = await openChangeLog({ url: `file:${file}` });
          await log.install();
          await storage.sync();
        }
        insert(file, 'x');
        const through = storage.readThrough('t');
        assert.equal((await through.get('x'))?.['v'], 'new');
        // Before it is stored, which waits for others that may come.
        changeDatabase(file, `DELETE FROM t WHERE k = 'x'`);
        await using other = await StorageSync.open(options);
        await other.sync();
        // The lock was held as it first came to be stored.
        await sleep(1500);
        await assertCacheEquals(file, cacheDir);
        assert.equal(await through.get('x'), undefined);
        assert.ok((await server.stats()).requests > 0);
      });
    }
  });

  void it('waits while a sync is under way, and that one completes as ever', async () => {
    await withServer(async ({ file, cacheDir, server, storage, options }) => {
      insert(file, 'x', 'y');
      await server.fault({ action: { kind: 'latency', ms: 150 }, sql: /t/, times: Infinity });
      await using other = await StorageSync.open(options);
      const run = other.sync();
      const through = storage.readThrough('t');
      assert.deepEqual(
        (await through.getMany(['x', 'y'])).map((row) => row?.['k']),
        ['x', 'y'],
      );
      const report = await run;
      assert.equal(report.validation.passed, true);
      await server.clearFaults();
      await storage.sync();
      await assertCacheEquals(file, cacheDir);
      await sleep(1200);
      await assertCacheEquals(file, cacheDir);
    });
  });

  void it('is not in the way of a sync, nor shown as one', async () => {
    await withServer(async ({ file, cacheDir, storage }) => {
      const through = storage.readThrough('t', { negativeTtlMs: 0, keptTtlMs: 0 });
      const states = new Set<string>();
      for (let round = 0; round < 12; round++) {
        insert(file, `r${round}`);
        assert.equal((await through.get(`r${round}`))?.['v'], 'new');
        await sleep(round * 12);
        states.add((await storage.status()).state);
        const report = await storage.sync();
        assert.notEqual(report.mode, 'skipped');
      }
      assert.deepEqual([...states], ['fresh']);
      await assertCacheEquals(file, cacheDir);
    });
  });
});
