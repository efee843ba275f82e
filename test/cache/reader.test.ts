import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import {
  openCache,
  StorageSync,
  WorkerPool,
  type CacheReader,
  type KeyArgument,
  type RangeOptions,
  type SourceRow,
  type SqlValue,
} from '../../src/index.js';
import { assertCacheEquals, compareValues } from '../support/compare.js';
import { changeDatabase, insert, type Insertable } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { startReader } from './reader-peer.js';

const SEED = 4711;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 1 });
});
after(async () => {
  await pool.close();
});

const parts = {
  text: ['', 'a', 'a\0', 'a\0b', 'ab', 'b', 'é', '😀', '\uFFFF'],
  number: [-(2n ** 63n), -1n, 0n, 1n, 2n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n],
  mixed: [
    -(2n ** 60n),
    -1.5,
    0n,
    0.5,
    1n,
    'x',
    '',
    'x\0y',
    Buffer.of(),
    Buffer.of(0),
    Buffer.of(0xff),
  ],
} as const;

const TABLES = {
  single_text: { ddl: 'k TEXT PRIMARY KEY NOT NULL', rows: parts.text.map((k) => [k]) },
  single_number: { ddl: 'k INTEGER PRIMARY KEY', rows: parts.number.map((k) => [k]) },
  nullable: { ddl: 'k PRIMARY KEY', rows: [...parts.mixed.map((k) => [k]), [null], [null]] },
  composite: {
    ddl: 'a, b TEXT, c, PRIMARY KEY (a, b, c)',
    rows: [null, 1n, 'a', 'a\0', Buffer.of(1)].flatMap((a) =>
      [null, '', 'x', 'x\0'].flatMap((b) => [0n, 'z', null].map((c) => [a, b, c])),
    ),
  },
} as const satisfies Record<string, { ddl: string; rows: readonly (readonly Insertable[])[] }>;
type TableName = keyof typeof TABLES;
const NAMES = Object.keys(TABLES) as TableName[];
const widthOf = (name: TableName): number => (name === 'composite' ? 3 : 1);

void describe('range', () => {
  let dir: TempDirectory;
  let cache: CacheReader;
  before(async () => {
    dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      for (const name of NAMES) {
        db.exec(`CREATE TABLE ${name} (${TABLES[name].ddl})`);
        insert(db, name, TABLES[name].rows);
      }
    });
    await using storage = await StorageSync.open({
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      pool,
    });
    await storage.sync();
    await assertCacheEquals(file, dir.join('cache'));
    cache = openCache(dir.join('cache'));
  });
  after(async () => {
    await cache.close();
    await dir[Symbol.asyncDispose]();
  });

  /** What a range gives, by the words of its documentation: a shorter bound stands for all keys that begin with it. */
  function model(rows: readonly SourceRow[], range: RangeOptions): SourceRow[] {
    const bound = (row: SourceRow, key: KeyArgument): number => {
      const values = (Array.isArray(key) ? key : [key]) as readonly SqlValue[];
      const own = Object.values(row);
      for (const [i, value] of values.entries()) {
        const order = compareValues(own[i]!, value);
        if (order !== 0) return order;
      }
      return 0;
    };
    let found = rows.filter(
      (row) =>
        (range.gte === undefined || bound(row, range.gte) >= 0) &&
        (range.gt === undefined || bound(row, range.gt) > 0) &&
        (range.lte === undefined || bound(row, range.lte) <= 0) &&
        (range.lt === undefined || bound(row, range.lt) < 0),
    );
    if (range.reverse) found = found.toReversed();
    return range.limit === undefined ? found : found.slice(0, range.limit);
  }

  const boundValue = fc.constantFrom<SqlValue>(
    null,
    ...parts.text,
    'A',
    'zz',
    -2,
    0,
    1,
    1.5,
    3,
    2n ** 53n + 1n,
    2n ** 62n,
    -(2n ** 63n),
    2 ** 63,
    Infinity,
    -Infinity,
    new Uint8Array(),
    Uint8Array.of(0),
    Uint8Array.of(1),
    Uint8Array.of(0xff, 0xff),
  );
  const rangeOf = (width: number) => {
    const key = fc.array(boundValue, { minLength: 1, maxLength: width });
    return fc.record(
      {
        lower: fc.record({ kind: fc.constantFrom('gt' as const, 'gte' as const), key }),
        upper: fc.record({ kind: fc.constantFrom('lt' as const, 'lte' as const), key }),
        limit: fc.nat(12),
        reverse: fc.boolean(),
      },
      { requiredKeys: [] },
    );
  };

  for (const name of NAMES) {
    void it(`gives what a model gives: ${name} (seed ${SEED})`, () => {
      const table = cache.table(name);
      const all = [...table.range()];
      assert.equal(all.length, TABLES[name].rows.length);
      fc.assert(
        fc.property(rangeOf(widthOf(name)), ({ lower, upper, limit, reverse }) => {
          const range: RangeOptions = {
            ...(lower ? { [lower.kind]: lower.key } : {}),
            ...(upper ? { [upper.kind]: upper.key } : {}),
            ...(limit === undefined ? {} : { limit }),
            ...(reverse === undefined ? {} : { reverse }),
          };
          assert.deepEqual([...table.range(range)], model(all, range));
        }),
        { seed: SEED, numRuns: 600 },
      );
    });
  }

  void it('takes a bare value for a key of one', () => {
    const found = [...cache.table('single_number').range({ gte: 0, lt: 2n ** 53n + 1n })];
    assert.deepEqual(
      found.map((row) => row['k']),
      [0, 1, 2, 2n ** 53n],
    );
  });

  void it('of one key does not give its neighbours', () => {
    for (const name of NAMES) {
      const table = cache.table(name);
      for (const row of table.range()) {
        const key = Object.values(row).slice(0, widthOf(name));
        const found = [...table.range({ gte: key, lte: key })];
        const same = name === 'nullable' && key[0] === null ? 2 : 1;
        assert.equal(found.length, same);
        assert.deepEqual(found[0], row);
      }
    }
  });
});

void describe('point reads', () => {
  void it('answer for what is there and what is not', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (a TEXT, b INTEGER, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
      INSERT INTO t VALUES ('x', 1, 'one'), ('x', 2, 'two'), ('y', 9007199254740993, 'big');
      CREATE TABLE one (k REAL PRIMARY KEY NOT NULL, v); INSERT INTO one VALUES (1, 'i'), (1.5, 'r'), (-0.0, 'z');`,
    );
    const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
    await using storage = await StorageSync.open({ ...options, pool });
    await storage.sync();
    const table = storage.cache.table('T');
    assert.deepEqual({ ...table.get('x', 2) }, { a: 'x', b: 2, v: 'two' });
    assert.equal(table.get('x', 2n)?.['v'], 'two');
    assert.equal(table.get('y', 2n ** 53n + 1n)?.['v'], 'big');
    assert.equal(table.get('y', 2n ** 53n), undefined);
    assert.equal(table.get('x', '2'), undefined);
    assert.equal(table.get('x', 3), undefined);
    assert.equal(table.has('x', 1), true);
    assert.equal(table.has('x', 7), false);
    assert.deepEqual(
      table
        .getMany([
          ['x', 2],
          ['nope', 0],
          ['x', 1],
          ['x', 2],
        ])
        .map((row) => row?.['v']),
      ['two', undefined, 'one', 'two'],
    );
    const one = storage.cache.table('one');
    assert.deepEqual(
      one.getMany([1, 1n, 1.5, 0, -0.0, 2]).map((row) => row?.['v']),
      ['i', 'i', 'r', 'z', 'z', undefined],
    );
    for (const key of [['x'], ['x', 1, 2], []]) {
      assert.throws(() => table.get(...key), { code: 'KEY_INVALID' });
    }
    for (const key of [NaN, undefined, true, 2n ** 70n, {}, 'k'.repeat(3000)]) {
      assert.throws(() => one.get(key as SqlValue), { code: 'KEY_INVALID' }, typeof key);
    }
    assert.throws(() => storage.cache.table('nope'), { code: 'TABLE_NOT_FOUND' });
    assert.throws(() => [...table.byIndex('nope', 1)], { code: 'KEY_INVALID' });
    assert.throws(() => table.newest(1), { code: 'KEY_INVALID' });
  });
});

/** lmdb-js lends values up to 16 MB in a buffer of its own, and maps larger ones. */
const MAPPED_BYTES = 17 * 2 ** 20;

void describe('rows of many megabytes', () => {
  void it('come as they are, checked or not', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, v BLOB);
      INSERT INTO t VALUES (1, 'naïve', zeroblob(${MAPPED_BYTES})), (2, 'small', x'0102');`,
    );
    const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
    await using storage = await StorageSync.open({
      ...options,
      pool,
      tables: [{ name: 't', indexes: [{ name: 'by_name', columns: ['name'] }] }],
    });
    await storage.sync();
    for (const validateChecksums of [false, true]) {
      await using cache = openCache(options.cacheDir, { validateChecksums });
      const table = cache.table('t');
      const [small, large] = table.getMany([2, 1]);
      assert.deepEqual(small, { id: 2, name: 'small', v: Uint8Array.of(1, 2) });
      for (const row of [large, table.get(1), ...table.byIndex('by_name', 'naïve')]) {
        const { id, name, v } = row!;
        assert.deepEqual([id, name], [1, 'naïve']);
        assert.ok(v instanceof Uint8Array && Buffer.alloc(MAPPED_BYTES).equals(v));
      }
    }
  });
});

async function drain(rows: AsyncIterable<unknown>): Promise<void> {
  for await (const row of rows) assert.ok(row);
}

const FILL = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, 'old' FROM n;`;

void describe('a snapshot', () => {
  void it('stands still while a sync writes, and the reader follows', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, FILL);
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      batchSize: 100,
    };
    await using storage = await StorageSync.open({ ...options, pool });
    await storage.sync();
    const table = storage.cache.table('t');
    const snapshot = storage.cache.snapshot();
    const stream = table.stream({ rowsPerTurn: 10 });
    const first = await stream.next();
    assert.deepEqual({ ...(first.value as SourceRow) }, { id: 1, v: 'old' });
    const range = table.range({ gte: 1990 });
    range.next();

    changeDatabase(
      file,
      `UPDATE t SET v = 'new'; DELETE FROM t WHERE id > 1500; INSERT INTO t VALUES (5000, 'new')`,
    );
    await storage.sync();

    assert.equal(snapshot.table('t').count(), 2000);
    assert.equal(snapshot.table('t').get(1)?.['v'], 'old');
    assert.equal(snapshot.table('t').get(5000), undefined);
    assert.equal([...snapshot.table('t').range()].filter((row) => row['v'] === 'old').length, 2000);
    assert.equal(snapshot.tables()[0]?.rows, 2000);
    let streamed = 1;
    for await (const row of stream) {
      assert.equal(row['v'], 'old');
      streamed++;
    }
    assert.equal(streamed, 2000);
    assert.equal(table.get(1)?.['v'], 'new');
    assert.equal(table.count(), 1501);
    snapshot.close();
    assert.equal(storage.cache.snapshot().table('t').get(5000)?.['v'], 'new');
  });

  void it('outlives a rebuild, and the reader follows to the new generation', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, FILL);
    const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
    await using storage = await StorageSync.open({ ...options, pool });
    await storage.sync();
    await using reader = openCache(options.cacheDir);
    const table = reader.table('t');
    assert.equal(table.get(1)?.['v'], 'old');
    const { generation } = reader;
    const stream = table.stream({ rowsPerTurn: 1 });
    await stream.next();
    const range = table.range();
    range.next();
    changeDatabase(file, `UPDATE t SET v = 'new'; ALTER TABLE t ADD COLUMN more`);
    await storage.rebuild();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.ok(reader.generation! > generation!);
    assert.deepEqual({ ...table.get(1) }, { id: 1, v: 'new', more: null });
    assert.deepEqual(table.columns, ['id', 'v', 'more']);
    let streamed = 1;
    for await (const row of stream) {
      assert.equal(row['v'], 'old');
      streamed++;
    }
    assert.equal(streamed, 2000);
    assert.equal([...range].length, 1999);
  });

  for (const kind of ['thread', 'process'] as const) {
    void it(`stands still in another ${kind}, opened before the first read`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, FILL);
      const options = {
        source: { url: `file:${file}` },
        cacheDir: dir.join('cache'),
        batchSize: 50,
      };
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      await using peer = await startReader(kind, options.cacheDir);
      assert.deepEqual(await peer.ask('snapshot'), { ok: true });
      changeDatabase(file, `UPDATE t SET v = 'new'; DELETE FROM t WHERE id > 100`);
      const syncing = storage.sync({ allowLoss: true });
      const seen: unknown[] = [];
      for (let i = 0; i < 5; i++) seen.push(await peer.ask('count in snapshot'));
      await syncing;
      seen.push(await peer.ask('count in snapshot'));
      for (const answer of seen) assert.deepEqual(answer, { rows: 2000, old: 2000 });
      assert.deepEqual(await peer.ask('count'), { rows: 100, old: 0 });
      assert.deepEqual(await peer.ask('generation'), { generation: 1 });
      await storage.rebuild();
      await new Promise((resolve) => setTimeout(resolve, 150));
      assert.deepEqual(await peer.ask('generation'), { generation: 2 });
      assert.deepEqual(await peer.ask('count in snapshot'), { rows: 2000, old: 2000 });
      assert.deepEqual(await peer.ask('count'), { rows: 100, old: 0 });
    });
  }
});

void describe('damage to records', () => {
  async function withCache(
    use: (
      cacheDir: string,
      environment: Environment,
      sync: () => Promise<unknown>,
    ) => Promise<void>,
  ) {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v, n);
      INSERT INTO t VALUES ('a', 'value a', 1), ('b', 'value b', 2), ('c', 'value c', 3)`,
    );
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: [{ name: 't', indexes: [{ name: 'n', columns: ['n'] }] }],
      pool,
    };
    await using storage = await StorageSync.open(options);
    const { generation } = await storage.sync();
    const environment = new Environment(generationPath(options.cacheDir, generation!));
    try {
      await use(options.cacheDir, environment, async () => await storage.sync());
    } finally {
      await environment.close();
    }
  }

  void it('is found by the checksum wherever a byte is flipped, and never given out', async () => {
    await withCache(async (cacheDir, environment) => {
      const rows = environment.rows(1);
      const entries = [...rows.getRange({})];
      const { key, value } = entries[1]!;
      const whole = Buffer.from(value);
      for (let at = 0; at < whole.length; at++) {
        const flipped = Buffer.from(whole);
        flipped[at]! ^= 0x10;
        environment.transaction(() => {
          rows.putSync(Buffer.from(key), flipped);
        });
        await using cache = openCache(cacheDir, { validateChecksums: true });
        const table = cache.table('t');
        const corrupt = { name: 'CacheError', code: 'CACHE_CORRUPT' };
        assert.throws(() => table.get('b'), corrupt, `byte ${at}`);
        assert.throws(() => table.getMany(['a', 'b']), corrupt);
        assert.throws(() => [...table.range()], corrupt);
        assert.throws(() => [...table.byIndex('n', 2)], corrupt);
        assert.throws(() => table.newest(2, 'n'), corrupt);
        await assert.rejects(drain(table.stream()), corrupt);
        assert.equal(table.get('a')?.['v'], 'value a');
      }
    });
  });

  void it('that swaps two records is found', async () => {
    await withCache(async (cacheDir, environment) => {
      const rows = environment.rows(1);
      const [a, b] = [...rows.getRange({})].map(({ key, value }) => ({
        key: Buffer.from(key),
        value: Buffer.from(value),
      }));
      environment.transaction(() => {
        rows.putSync(a!.key, b!.value);
        rows.putSync(b!.key, a!.value);
      });
      await using cache = openCache(cacheDir, { validateChecksums: true });
      assert.throws(() => cache.table('t').get('a'), { code: 'CACHE_CORRUPT' });
    });
  });

  void it('is told when records are short or nothing', async () => {
    await withCache(async (cacheDir, environment) => {
      const rows = environment.rows(1);
      const [first] = [...rows.getRange({})].map(({ key }) => Buffer.from(key));
      for (const bad of [Buffer.of(), Buffer.of(1), Buffer.alloc(8), Buffer.alloc(9, 0x93)]) {
        environment.transaction(() => {
          rows.putSync(first!, bad);
        });
        await using cache = openCache(cacheDir, { validateChecksums: true });
        assert.throws(() => cache.table('t').get('a'), { code: 'CACHE_CORRUPT' });
      }
    });
  });

  void it('that loses a row is noticed by a stream, and made good by the next sync', async () => {
    await withCache(async (cacheDir, environment, sync) => {
      environment.transaction(() => {
        const rows = environment.rows(1);
        const [first] = [...rows.getRange({ limit: 1 })].map(({ key }) => Buffer.from(key));
        rows.removeSync(first!);
      });
      await using cache = openCache(cacheDir);
      await assert.rejects(drain(cache.table('t').stream()), { code: 'CACHE_CORRUPT' });
      assert.throws(() => [...cache.table('t').byIndex('n', 1)], { code: 'CACHE_CORRUPT' });
      await sync();
      await using mended = openCache(cacheDir);
      await drain(mended.table('t').stream());
    });
  });
});
