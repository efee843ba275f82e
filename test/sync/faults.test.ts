import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  SourceError,
  StorageSync,
  WorkerPool,
  type ErrorCode,
  type SqlValue,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import type { SourceErrorCode } from '../../src/errors.js';
import { assertCacheEquals, readDatabase, recordDigests } from '../support/compare.js';
import { bytes, changeDatabase, insert, text } from '../support/databases.js';
import { startHranaServer, type FaultAction, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

const REQUEST_TIMEOUT_MS = 300;
const RETRIES = 2;

type Transport = 'http' | 'ws';

/** How a transport is read: by what is best, or by what is asked for. */
type Way = 'auto' | 'http-json-cursor' | 'http-pipeline';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

/** Where a fault may strike. */
const PLACES = {
  schema: /pragma_table_list/,
  'the first page': /FROM main\."a"/,
} as const;

/** The faults that strike at the schema as well. */
const AT_SCHEMA: readonly string[] = ['a reset before', '500', 'bad JSON', 'a stall', 'a close'];

interface Passing {
  readonly action: FaultAction;
  readonly times?: number;
  readonly retried?: boolean;
}

const PASSING: Readonly<Record<Transport, Readonly<Record<string, Passing>>>> = {
  http: {
    latency: { action: { kind: 'latency', ms: 100 }, times: 3, retried: false },
    'a reset before': { action: { kind: 'reset' } },
    'a reset after': { action: { kind: 'reset', when: 'after' } },
    'two resets': { action: { kind: 'reset' }, times: 2 },
    'a reset at once in the body': { action: { kind: 'reset-after-bytes', bytes: 1 } },
    'a reset in the body': { action: { kind: 'reset-after-bytes', bytes: 300 } },
    'a body of nothing': { action: { kind: 'end-after-bytes', bytes: 0 } },
    'a body that ends early': { action: { kind: 'end-after-bytes', bytes: 300 } },
    '429': { action: { kind: 'status', status: 429 } },
    '429 with Retry-After': { action: { kind: 'status', status: 429, retryAfter: '0' } },
    '429 with a nonsense Retry-After': {
      action: { kind: 'status', status: 429, retryAfter: 'soon' },
    },
    '408': { action: { kind: 'status', status: 408 } },
    '500': { action: { kind: 'status', status: 500 } },
    '500 after': { action: { kind: 'status', status: 500, when: 'after' } },
    '502 with a page': {
      action: { kind: 'status', status: 502, contentType: 'text/html', body: '<html>bad</html>' },
    },
    '503': { action: { kind: 'status', status: 503, retryAfter: '0' } },
    'bad JSON': { action: { kind: 'bad-json' } },
    'a stall': { action: { kind: 'stall' } },
    'a stall in the body': { action: { kind: 'stall', afterBytes: 200 } },
  },
  ws: {
    latency: { action: { kind: 'latency', ms: 100 }, times: 3, retried: false },
    'a reset before': { action: { kind: 'reset' } },
    'a reset after': { action: { kind: 'reset', when: 'after' } },
    'two resets': { action: { kind: 'reset' }, times: 2 },
    'a reset in the message': { action: { kind: 'reset-after-bytes', bytes: 300 } },
    'a message that ends early': { action: { kind: 'end-after-bytes', bytes: 300 } },
    'a close': { action: { kind: 'close', code: 1011, reason: 'oops' } },
    'a normal close': { action: { kind: 'close', code: 1000 } },
    'bad JSON': { action: { kind: 'bad-json' } },
    'a stall': { action: { kind: 'stall' } },
    'a stall in the message': { action: { kind: 'stall', afterBytes: 200 } },
  },
};

interface Lasting {
  readonly action: FaultAction;
  readonly code: ErrorCode;
}

const LASTING: Readonly<Record<Transport, Readonly<Record<string, Lasting>>>> = {
  http: {
    'a reset': { action: { kind: 'reset' }, code: 'SOURCE_UNAVAILABLE' },
    'a body reset': {
      action: { kind: 'reset-after-bytes', bytes: 300 },
      code: 'SOURCE_UNAVAILABLE',
    },
    'a body cut': { action: { kind: 'end-after-bytes', bytes: 300 }, code: 'SOURCE_PROTOCOL' },
    '429': { action: { kind: 'status', status: 429 }, code: 'SOURCE_UNAVAILABLE' },
    '500': { action: { kind: 'status', status: 500 }, code: 'SOURCE_UNAVAILABLE' },
    '503': {
      action: { kind: 'status', status: 503, retryAfter: '3600' },
      code: 'SOURCE_UNAVAILABLE',
    },
    '401': { action: { kind: 'status', status: 401 }, code: 'SOURCE_UNAUTHORIZED' },
    '403': { action: { kind: 'status', status: 403 }, code: 'SOURCE_UNAUTHORIZED' },
    '404': { action: { kind: 'status', status: 404 }, code: 'SOURCE_REQUEST_REJECTED' },
    'bad JSON': { action: { kind: 'bad-json' }, code: 'SOURCE_PROTOCOL' },
    'a stall': { action: { kind: 'stall' }, code: 'SOURCE_TIMEOUT' },
    'a stall in the body': { action: { kind: 'stall', afterBytes: 50 }, code: 'SOURCE_TIMEOUT' },
    'too much latency': { action: { kind: 'latency', ms: 900 }, code: 'SOURCE_TIMEOUT' },
  },
  ws: {
    'a reset': { action: { kind: 'reset' }, code: 'SOURCE_UNAVAILABLE' },
    'a close': { action: { kind: 'close', code: 1011 }, code: 'SOURCE_UNAVAILABLE' },
    'bad JSON': { action: { kind: 'bad-json' }, code: 'SOURCE_PROTOCOL' },
    'a stall': { action: { kind: 'stall' }, code: 'SOURCE_TIMEOUT' },
    'too much latency': { action: { kind: 'latency', ms: 900 }, code: 'SOURCE_TIMEOUT' },
  },
};

/** All tries at their longest, and time for a busy machine. */
const BOUND_MS = (RETRIES + 1) * (REQUEST_TIMEOUT_MS + 250 + 30) + 3000;

/** The tests of one transport: they have a source and a server of their own. */
function testFaults(transport: Transport, way: Way): void {
  /** A table comes by one statement, not by one for each page. */
  const isStream = transport === 'http' && way !== 'http-pipeline';
  let dir: TempDirectory;
  let file: string;
  let server: HranaServer;
  let caches = 0;

  before(async () => {
    dir = await TempDirectory.make();
    file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec(`CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT, round INTEGER);
             CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v BLOB);`);
      insert(
        db,
        'a',
        Array.from({ length: 300 }, (_, i) => [BigInt(i * 3), text(30, i + 1), 0n]),
      );
      insert(
        db,
        'b',
        Array.from({ length: 40 }, (_, i) => [`key ${i}`, bytes(500, i + 1)]),
      );
    });
    server = await startHranaServer({ file });
  });
  afterEach(async () => {
    await server.clearFaults();
  });
  after(async () => {
    await server.close();
    await dir[Symbol.asyncDispose]();
  });

  function newOptions(): StorageSyncOptions {
    return {
      source: { url: transport === 'http' ? server.httpUrl : server.wsUrl },
      transport: way,
      cacheDir: dir.join(`cache ${++caches}`),
      batchSize: 50,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      retries: RETRIES,
      retryInitialMs: 5,
      retryMaxMs: 30,
    };
  }

  let rounds = 0;

  /** Changes some rows, in both halves of the table; adds and removes some. */
  function changeSource(): void {
    const round = ++rounds;
    changeDatabase(
      file,
      `UPDATE a SET round = ${round} WHERE id % 7 = ${round % 7};
     DELETE FROM a WHERE id IN (SELECT id FROM a LIMIT 2) OR id = (SELECT max(id) FROM a);
     INSERT OR REPLACE INTO a VALUES (${3 * round + 301}, 'middle', ${round});
     INSERT INTO a SELECT max(id) + 2, 'new', ${round} FROM a;
     UPDATE b SET v = x'${String(round).padStart(4, '0')}' WHERE k = 'key ${round % 40}';`,
    );
  }

  let inStep: StorageSyncOptions | undefined;

  /** A cache in step with the source, and then a change in the source that a sync has to find. */
  async function syncedCache(): Promise<StorageSyncOptions> {
    const options = (inStep ??= newOptions());
    await sync(options);
    changeSource();
    return options;
  }

  async function sync(options: StorageSyncOptions): Promise<SyncReport> {
    await using storage = await StorageSync.open({ ...options, pool });
    return await storage.sync();
  }

  /** Runs a sync that must fail in bounded time. */
  async function failedSync(options: StorageSyncOptions): Promise<SourceError> {
    const begun = performance.now();
    const error = await sync(options).then(
      ({ mode, stale, outage }) => {
        assert.deepEqual([mode, stale], ['skipped', true], 'the sync succeeded');
        return new SourceError(outage!.code as SourceErrorCode, outage!.message);
      },
      (reason: unknown) => reason,
    );
    const took = performance.now() - begun;
    assert.ok(took < BOUND_MS, `it took ${took} ms`);
    assert.ok(error instanceof SourceError, String(error));
    return error;
  }

  void describe('with a passing fault', () => {
    for (const [name, { action, times: most = 1, retried = true }] of Object.entries(
      PASSING[transport],
    )) {
      const times = isStream && !retried ? 1 : most;
      void it(`is survived: ${name}`, async () => {
        for (const [place, sql] of Object.entries(PLACES)) {
          if (place === 'schema' && !AT_SCHEMA.includes(name)) continue;
          const options = await syncedCache();
          const fault = await server.fault({ action, sql, times });
          const report = await sync(options);
          assert.equal(await fault.fired(), times, `it struck ${place}`);
          await fault.clear();
          assert.ok(
            report.retries >= (retried ? times : 0),
            `${report.retries} retries at ${place}`,
          );
          if (!retried) assert.equal(report.retries, 0);
          await assertCacheEquals(file, options.cacheDir);
        }
      });
    }
  });

  void describe('with a lasting fault', () => {
    for (const [name, { action, code }] of Object.entries(LASTING[transport])) {
      void it(`fails the sync and spares the cache: ${name}`, async () => {
        const options = await syncedCache();
        const digests = await recordDigests(options.cacheDir);
        await server.fault({ action, sql: /FROM main\./, times: Infinity });
        const error = await failedSync(options);
        await server.clearFaults();
        assert.equal(error.code, code, error.message);
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
        await using storage = await StorageSync.open({ ...options, pool });
        const { state, lastError, failedSyncs } = await storage.status();
        assert.deepEqual([state, lastError?.code, failedSyncs], ['stale', code, 1]);
        assert.ok(storage.cache.table('b').get('key 7'));
        await storage.sync();
        await assertCacheEquals(file, options.cacheDir);
        const { state: again, lastError: none } = await storage.status();
        assert.deepEqual([again, none], ['fresh', null]);
      });
    }

    void it('in the middle leaves each row old or new, and deletes none', async () => {
      const options = await syncedCache();
      const before = await rowsOf(options.cacheDir);
      const sql = /FROM main\."a"/;
      const cut = { kind: 'reset-after-bytes', bytes: 6000 } as const;
      if (isStream) await server.fault({ action: cut, sql });
      const skip = isStream ? 0 : 3;
      await server.fault({ action: { kind: 'reset' }, sql, skip, times: Infinity });
      const error = await failedSync(options);
      await server.clearFaults();
      assert.equal(error.code, 'SOURCE_UNAVAILABLE');
      const now = await rowsOf(options.cacheDir);
      const source = new Map(
        readDatabase(file)
          .find((table) => table.name === 'a')!
          .rows.map(({ cells }) => [cells[0], JSON.stringify(cells)]),
      );
      for (const [id, row] of before) {
        const kept = now.get(id);
        assert.ok(kept !== undefined, `the row ${String(id)} is gone`);
        assert.ok(kept === row || kept === source.get(id));
      }
      const report = await sync(options);
      assert.equal(report.tables['a']?.resumed, true);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void describe('from a server that goes down', () => {
    void it('and stays down fails the sync in bounded time', async () => {
      const options = await syncedCache();
      const digests = await recordDigests(options.cacheDir);
      await server.stop();
      try {
        const error = await failedSync(options);
        assert.equal(error.code, 'SOURCE_UNAVAILABLE');
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
      } finally {
        await server.start();
      }
      await sync(options);
      await assertCacheEquals(file, options.cacheDir);
    });

    void it('and comes back is waited for', async () => {
      const options = {
        ...(await syncedCache()),
        batchSize: 10,
        retries: 20,
        retryMaxMs: 100,
      };
      // Long enough that the server goes down before the last answer.
      const ms = isStream ? 150 : 20;
      await server.fault({ action: { kind: 'latency', ms }, times: Infinity });
      const syncing = sync(options);
      await sleep(150);
      await server.stop();
      await sleep(200);
      await server.start();
      const report = await syncing;
      await server.clearFaults();
      assert.ok(report.retries > 0);
      await assertCacheEquals(file, options.cacheDir);
    });

    void it('before the first sync leaves an empty cache that the next one fills', async () => {
      const options = newOptions();
      await server.stop();
      try {
        const error = await failedSync(options);
        assert.equal(error.code, 'SOURCE_UNAVAILABLE');
      } finally {
        await server.start();
      }
      await using storage = await StorageSync.open({ ...options, pool });
      assert.equal((await storage.status()).state, 'empty');
      await storage.sync();
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void describe('that is aborted', () => {
    void it('ends a sync that waits for a silent server at once', async () => {
      const options = { ...(await syncedCache()), requestTimeoutMs: 60_000 };
      const digests = await recordDigests(options.cacheDir);
      await server.fault({ action: { kind: 'stall' }, sql: /FROM main\./, times: Infinity });
      await using storage = await StorageSync.open({ ...options, pool });
      const abort = new AbortController();
      const run = storage.sync({ signal: abort.signal });
      await sleep(200);
      const begun = performance.now();
      abort.abort();
      await assert.rejects(Promise.resolve(run), { code: 'ABORTED', name: 'SyncAbortedError' });
      assert.ok(performance.now() - begun < 2000);
      await server.clearFaults();
      assert.deepEqual(await recordDigests(options.cacheDir), digests);
      await storage.sync();
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  if (transport === 'ws')
    void describe('whose handshake', () => {
      for (const [name, action, code] of [
        ['is reset', { kind: 'reset' }, 'SOURCE_UNAVAILABLE'],
        ['is refused with 503', { kind: 'status', status: 503 }, 'SOURCE_UNAVAILABLE'],
        ['is never answered', { kind: 'stall' }, 'SOURCE_TIMEOUT'],
      ] as const satisfies readonly (readonly [string, FaultAction, ErrorCode])[]) {
        void it(`${name}: once is survived, always is told`, async () => {
          const options = await syncedCache();
          await server.fault({ action, transport: 'ws-upgrade' });
          await sync(options);
          await assertCacheEquals(file, options.cacheDir);
          await server.fault({ action, transport: 'ws-upgrade', times: Infinity });
          const error = await failedSync(options);
          await server.clearFaults();
          assert.equal(error.code, code, error.message);
        });
      }
    });

  void describe('the token', () => {
    void it(`is needed over ${transport}: a wrong one is told at once and not tried again`, async () => {
      await using guarded = await startHranaServer({ file, token: 'right' });
      const own = newOptions();
      const url = transport === 'http' ? guarded.httpUrl : guarded.wsUrl;
      for (const authToken of [undefined, 'wrong']) {
        await guarded.resetStats();
        const error = await failedSync({ ...own, source: { url, authToken } });
        assert.equal(error.code, 'SOURCE_UNAUTHORIZED', error.message);
        assert.ok(!JSON.stringify([error.message, error.context, error.hint]).includes('wrong'));
        const { requests, wsConnections } = await guarded.stats();
        // Asked at once: what the server offers, and two statements.
        assert.ok(requests <= 3 && wsConnections <= 1, `${requests} requests`);
      }
      await sync({ ...own, source: { url, authToken: 'right' } });
      await assertCacheEquals(file, own.cacheDir);
    });
  });

  if (transport === 'http')
    void describe('Retry-After', () => {
      void it('is waited for', async () => {
        const options = { ...(await syncedCache()), retryMaxMs: 5000 };
        const action = { kind: 'status', status: 429, retryAfter: '1' } as const;
        await server.fault({ action, sql: /FROM main\."b"/ });
        const begun = performance.now();
        await sync(options);
        assert.ok(performance.now() - begun >= 990, 'it waited a second');
        await assertCacheEquals(file, options.cacheDir);
      });
    });

  void describe('a row too large for one answer', () => {
    void it(`comes in pieces over ${transport}, whatever happens between`, async () => {
      await using own = await TempDirectory.make();
      const large = own.join('large.db');
      changeDatabase(large, (db) => {
        db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, b, note TEXT)');
        insert(db, 't', [
          [1n, 'a', 'b'],
          [2n, bytes(5_200_001), text(1000, 3)],
          [3n, 'c', null],
        ]);
      });
      await using serving = await startHranaServer({ file: large });
      const url = transport === 'http' ? serving.httpUrl : serving.wsUrl;
      for (const action of [{ kind: transport === 'http' ? 'reset' : 'stall' }] as const) {
        const cacheDir = own.join(action.kind);
        const fault = await serving.fault({ action, sql: /substr\(/, skip: 1 });
        await sync({
          ...newOptions(),
          source: { url },
          cacheDir,
          requestTimeoutMs: 1500,
        });
        assert.equal(await fault.fired(), 1);
        await assertCacheEquals(large, cacheDir);
      }
    });
  });

  /** The rows of `a` in the cache, by id. */
  async function rowsOf(cacheDir: string): Promise<Map<SqlValue | undefined, string>> {
    await using storage = await StorageSync.open({
      source: { url: `file:${file}` },
      cacheDir,
      pool,
    });
    const rows = new Map<SqlValue | undefined, string>();
    for await (const row of storage.cache.table('a').stream()) {
      rows.set(row['id'], JSON.stringify(Object.values(row)));
    }
    return rows;
  }
}

void describe('a sync', { concurrency: true }, () => {
  for (const [transport, way] of [
    ['http', 'auto'],
    ['http', 'http-json-cursor'],
    ['http', 'http-pipeline'],
    ['ws', 'auto'],
  ] as const) {
    // Most of the time they wait.
    const how = way === 'auto' ? transport : way;
    void describe(`over ${how}`, { concurrency: false }, () => testFaults(transport, way));
  }
});
