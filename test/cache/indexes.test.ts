import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import {
  CacheError,
  defineTable,
  openCache,
  StorageSync,
  WorkerPool,
  type IndexDefinition,
  type StorageSyncOptions,
  type TableReader,
} from '../../src/index.js';
import { decodeKey, encodeKey } from '../../src/transform/key-codec.js';
import type { SourceRow, SqlValue } from '../../src/values.js';
import { canonical, keyValue } from '../support/arbitraries.js';
import { changeDatabase } from '../support/databases.js';
import { setFault } from '../support/kill/fault.js';
import { runChild, type ChildEnd } from '../support/kill/run-child.js';
import { FAULTY_WORKER_URLS } from '../support/kill/worker-urls.js';
import { TempDirectory } from '../support/temp.js';

/** `STORAGE_SYNC_INDEX_RUNS` tries longer. */
const RUNS = Number(process.env['STORAGE_SYNC_INDEX_RUNS'] ?? 60);

const pool = new WorkerPool({ readerThreads: 2 });
after(async () => await pool.close());

interface IndexModel extends IndexDefinition {
  readonly columns: readonly { readonly column: string; readonly descending: boolean }[];
  readonly unique: boolean;
}

/** SQLite's order of values, said once more. */
function compare(a: SqlValue, b: SqlValue): number {
  const rank = (value: SqlValue) =>
    value === null ? 0 : typeof value === 'string' ? 2 : value instanceof Uint8Array ? 3 : 1;
  if (rank(a) !== rank(b) || a === null || b === null) return rank(a) - rank(b);
  if (rank(a) === 1)
    return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
}

function compareRows(index: IndexModel, a: SourceRow, b: SourceRow): number {
  for (const { column, descending } of index.columns) {
    const order = compare(a[column]!, b[column]!);
    if (order !== 0) return descending ? -order : order;
  }
  return compare(a['k']!, b['k']!);
}

const valuesOf = (index: IndexModel, row: SourceRow): SqlValue[] =>
  index.columns.map(({ column }) => row[column]!);

const keysOf = (rows: Iterable<SourceRow>): SqlValue[] => Array.from(rows, (row) => row['k']!);

/** Whether a row lies on the right side of a bound on the columns from `from` on. */
function within(
  index: IndexModel,
  row: SourceRow,
  from: number,
  bound: readonly SqlValue[],
  admit: (order: number) => boolean,
): boolean {
  const values = valuesOf(index, row).slice(from, from + bound.length);
  const order = values.map((value, i) => compare(value, bound[i]!)).find((each) => each !== 0) ?? 0;
  return admit(order);
}

const ADMIT = {
  gt: (order: number) => order > 0,
  gte: (order: number) => order >= 0,
  lt: (order: number) => order < 0,
  lte: (order: number) => order <= 0,
};

const COLUMNS = ['a', 'b', 'c'] as const;

/** Few values, so that rows share them, and such as an index could confuse. */
const value: fc.Arbitrary<SqlValue> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom<SqlValue[]>(null, 1n, 1.5, -3n, 2n ** 60n + 1n, 2n ** 60n),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<SqlValue[]>('', 'a', 'a\0', 'a\0b', 'b', '\0', '\uffff', '😀'),
  },
  { weight: 1, arbitrary: keyValue },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom(63, 400, 500, 501, 502, 503, 504, 1023, 1024, 3000),
        fc.constantFrom('', 'a', 'b', '\0', '😀', '\uffff'),
        fc.constantFrom('x', '\0'),
      )
      .map(([length, end, body]) => `${body.repeat(length)}${end}`),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(0, 1, 501, 502, 503, 2000), fc.constantFrom(0, 7, 255))
      .map(([length, last]) => new Uint8Array(length).fill(255).fill(last, -1)),
  },
);

const key = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 12 }).map((n) => `k${n}`) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(1400, 1470, 1960, 1970), fc.integer({ min: 0, max: 20 }))
      .map(([length, n]) => `${'k'.repeat(length)}${n}`),
  },
);

const change = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ k: key, a: value, b: value, c: value }) as fc.Arbitrary<SourceRow>,
  },
  { weight: 1, arbitrary: key },
);

const indexModel: fc.Arbitrary<IndexModel> = fc.record({
  name: fc.constantFrom('one', 'two', 'three'),
  columns: fc
    .uniqueArray(fc.constantFrom(...COLUMNS), { minLength: 1, maxLength: 3 })
    .chain((names) =>
      fc.tuple(
        ...names.map((column) =>
          fc.record({ column: fc.constant(column), descending: fc.boolean() }),
        ),
      ),
    ),
  unique: fc.boolean(),
});

const rangeModel = fc.record({
  prefix: fc.nat({ max: 3 }),
  bounds: fc.nat({ max: 2 }),
  lower: fc.constantFrom('gt', 'gte', null),
  upper: fc.constantFrom('lt', 'lte', null),
  rows: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
  strange: fc.option(value),
  limit: fc.option(fc.nat({ max: 5 })),
  reverse: fc.boolean(),
});

const round = fc.record({
  changes: fc.array(change, { maxLength: 25 }),
  indexes: fc.uniqueArray(indexModel, { maxLength: 3, selector: ({ name }) => name }),
  ranges: fc.array(rangeModel, { minLength: 3, maxLength: 8 }),
});

void describe('indexes', () => {
  void it('give what a sorted model gives, through any changes of rows and definitions', async (t) => {
    let reads = 0;
    let violated = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, 'CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, b, c)');
        const model = new Map<string, SourceRow>();
        for (const { changes, indexes, ranges } of rounds) {
          changeDatabase(file, (db) => {
            for (const each of changes) {
              if (typeof each === 'string') {
                db.prepare('DELETE FROM t WHERE k = ?').run([each]);
                model.delete(each);
                continue;
              }
              const row = Object.fromEntries(
                Object.entries(each).map(([name, cell]) => [name, canonical(cell)]),
              );
              const cells = ['k', ...COLUMNS].map((name) => each[name]!);
              const stored = cells.map((cell) =>
                cell instanceof Uint8Array ? Buffer.from(cell) : cell,
              );
              db.prepare(
                // A text with a NUL is bound as bytes: the driver would cut it off.
                `REPLACE INTO t VALUES (${stored.map((cell) => (typeof cell === 'string' ? 'CAST(? AS TEXT)' : '?')).join()})`,
              ).run(stored.map((cell) => (typeof cell === 'string' ? Buffer.from(cell) : cell)));
              model.set(row['k'] as string, row);
            }
          });
          await using storage = await StorageSync.open({
            source: { url: `file:${file}` },
            cacheDir: dir.join('cache'),
            batchSize: 4,
            tables: [{ name: 't', indexes }],
            pool,
          });
          const report = await storage.sync();
          const rows = [...model.values()];
          const table = storage.cache.table('t');
          const broken = indexes.filter((index) => index.unique && hasDuplicates(index, rows));
          assert.deepEqual(
            report.validation.checks.filter(({ passed }) => !passed).map(({ check }) => check),
            broken.map(() => 'unique index'),
          );
          assert.deepEqual(
            table.indexes.map(({ name, state }) => [name, state]),
            indexes.map((index) => [index.name, broken.includes(index) ? 'violated' : 'ready']),
          );
          for (const index of indexes) {
            if (broken.includes(index)) {
              violated++;
              assertViolation(table, index, model);
              continue;
            }
            const sorted = rows.sort((a, b) => compareRows(index, a, b));
            assert.deepEqual(keysOf(table.rangeByIndex(index.name)), keysOf(sorted));
            const streamed: SourceRow[] = [];
            for await (const row of table.streamByIndex(index.name, { rowsPerTurn: 3 })) {
              streamed.push(row);
            }
            assert.deepEqual(
              streamed.map((row) => ({ ...row })),
              sorted,
            );
            const newestFirst = index.columns[0]!.descending ? sorted : sorted.toReversed();
            assert.deepEqual(keysOf(table.newest(4, index.name)), keysOf(newestFirst.slice(0, 4)));
            for (const range of ranges) {
              reads++;
              assertRange(table, index, sorted, range);
            }
          }
        }
      }),
      { numRuns: RUNS },
    );
    t.diagnostic(`${reads} ranges, ${violated} violated indexes`);
    assert.ok(violated > 0);
  });
});

function hasDuplicates(index: IndexModel, rows: readonly SourceRow[]): boolean {
  return rows.some((row, at) =>
    rows.slice(at + 1).some((other) => sharesValues(index, row, other)),
  );
}

function sharesValues(index: IndexModel, a: SourceRow, b: SourceRow): boolean {
  return index.columns.every(
    ({ column }) => a[column] !== null && compare(a[column]!, b[column]!) === 0,
  );
}

/** The error names the index, and two rows that do share its values. */
function assertViolation(
  table: TableReader<SourceRow>,
  index: IndexModel,
  model: ReadonlyMap<string, SourceRow>,
): void {
  assert.throws(
    () => table.newest(1, index.name),
    (error: unknown) => {
      assert.ok(error instanceof CacheError);
      assert.equal(error.code, 'CACHE_INDEX_VIOLATED');
      assert.equal(error.context['index'], index.name);
      const named = [error.context['first'], error.context['second']].map((shown) =>
        [...model.values()].filter((row) =>
          String(shown).startsWith(JSON.stringify(String(row['k']).slice(0, 48)).slice(0, -1)),
        ),
      );
      assert.ok(
        named[0]!.some((first) =>
          named[1]!.some((second) => first !== second && sharesValues(index, first, second)),
        ),
      );
      assert.ok(error.hint);
      return true;
    },
  );
}

type RangeModel = typeof rangeModel extends fc.Arbitrary<infer Range> ? Range : never;

function assertRange(
  table: TableReader<SourceRow>,
  index: IndexModel,
  sorted: readonly SourceRow[],
  range: RangeModel,
): void {
  const { columns, name } = index;
  const like = (at: number) =>
    sorted.length > 0
      ? valuesOf(index, sorted[range.rows[at]! % sorted.length]!)
      : columns.map(() => 1);
  const prefix = like(0).slice(0, Math.min(range.prefix, columns.length));
  const left = columns.slice(prefix.length);
  const sameWay = left.findIndex((column) => column.descending !== left[0]!.descending);
  const width = Math.min(range.bounds, sameWay < 0 ? left.length : sameWay);
  const from = prefix.length;
  const bound = (at: number): SqlValue[] => {
    const values = like(at).slice(from, from + width);
    if (range.strange !== null && values.length > 0) values[values.length - 1] = range.strange;
    return values;
  };
  const given = {
    ...(prefix.length > 0 ? { prefix } : {}),
    ...(width > 0 && range.lower ? { [range.lower]: width === 1 ? bound(1)[0]! : bound(1) } : {}),
    ...(width > 0 && range.upper ? { [range.upper]: bound(2) } : {}),
    ...(range.limit === null ? {} : { limit: range.limit }),
    reverse: range.reverse,
  };
  let expected = sorted.filter(
    (row) =>
      within(index, row, 0, prefix, (order) => order === 0) &&
      (width === 0 || !range.lower || within(index, row, from, bound(1), ADMIT[range.lower])) &&
      (width === 0 || !range.upper || within(index, row, from, bound(2), ADMIT[range.upper])),
  );
  if (prefix.length > 0) {
    const equal = sorted.filter((row) => within(index, row, 0, prefix, (order) => order === 0));
    assert.deepEqual(keysOf(table.byIndex(name, ...prefix)), keysOf(equal));
  }
  if (range.reverse) expected = expected.toReversed();
  if (range.limit !== null) expected = expected.slice(0, range.limit);
  assert.deepEqual(keysOf(table.rangeByIndex(name, given)), keysOf(expected));
}

const ROWS = 9000;
const FILL = `CREATE TABLE t (id INTEGER PRIMARY KEY, v, n);
  WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < ${ROWS})
  INSERT INTO t SELECT i, 'v' || (i * 7919 % ${ROWS}), i % 100 FROM i;`;
const PLAIN = { name: 't' };
const INDEXED = {
  name: 't',
  indexes: [
    { name: 'by_v', columns: ['v'], unique: true },
    { name: 'by_n', columns: [{ column: 'n', descending: true }, 'id'] },
  ],
};

async function withTable(
  use: (
    options: StorageSyncOptions,
    sync: (table: typeof PLAIN | typeof INDEXED) => Promise<unknown>,
    file: string,
  ) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, FILL);
  const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
  const sync = async (table: typeof PLAIN | typeof INDEXED) => {
    await using storage = await StorageSync.open({ ...options, tables: [table], pool });
    return await storage.sync();
  };
  await sync(PLAIN);
  await use(options, sync, file);
}

async function assertIndexed(cacheDir: string): Promise<void> {
  await using cache = openCache(cacheDir);
  const table = cache.table('t');
  const rows = [...table.range()];
  assert.equal(rows.length, ROWS);
  assert.deepEqual(
    keys(table.rangeByIndex('by_v')),
    keys(rows.toSorted((a, b) => compare(a['v']!, b['v']!))),
  );
  assert.deepEqual(
    keys(table.rangeByIndex('by_n')),
    keys(rows.toSorted((a, b) => -compare(a['n']!, b['n']!) || compare(a['id']!, b['id']!))),
  );
}

const keys = (rows: Iterable<SourceRow>): SqlValue[] => Array.from(rows, (row) => row['id']!);

void describe('an index declared later', () => {
  void it('is built through kills at each transaction, and none of them loses a step', async () => {
    await withTable(async (options, _, file) => {
      const steps = Math.ceil(ROWS / 2000);
      const run = async (point: string, occurrence: number): Promise<ChildEnd> =>
        await runChild({
          mode: 'sync',
          options: { ...options, tables: [INDEXED] },
          readerThreads: 1,
          fault: { point, occurrence, action: 'kill' },
        });
      const assertServed = async () => {
        await using cache = openCache(options.cacheDir);
        const table = cache.table('t');
        assert.equal(table.count(), ROWS);
        assert.equal(table.get(7)?.['n'], 7);
        assert.deepEqual(
          table.indexes.map(({ state }) => state),
          ['building', 'building'],
        );
        for (const index of ['by_v', 'by_n']) {
          assert.throws(
            () => [...table.byIndex(index, 1)],
            (error: unknown) =>
              error instanceof CacheError &&
              error.code === 'CACHE_INDEX_BUILDING' &&
              error.hint !== undefined,
          );
        }
      };
      for (const point of ['index:received', 'index:after-put', 'index:before-commit']) {
        assert.equal((await run(point, 1)).kind, 'killed');
        await assertServed();
      }
      assert.equal((await run('index:before-put', 3001)).kind, 'killed');
      for (let step = 1; step < steps; step++) {
        assert.equal((await run('index:after-commit', 1)).kind, 'killed', `step ${step}`);
        await assertServed();
        changeDatabase(file, `UPDATE t SET v = 'changed ${step}' WHERE id = ${step * 1000}`);
      }
      // The last step, and then no other.
      assert.equal((await run('index:after-commit', 1)).kind, 'killed');
      const last = await run('index:received', 1);
      assert.equal(last.kind, 'completed');
      await assertIndexed(options.cacheDir);
    });
  });

  void it('holds rows once that were written before they were built, and a killed sync of them', async () => {
    await withTable(async (options, sync, file) => {
      await sync(INDEXED);
      // As if all rows had been written behind a build that had come to the 4000th.
      const environment = new Environment(generationPath(options.cacheDir, 1));
      const { indexNumbers } = environment.catalog().tables[0]!;
      environment.transaction(() => {
        for (const number of indexNumbers) {
          const state = environment.indexState(1, number)!;
          environment.putIndexState(1, number, {
            ...state,
            builtTo: encodeKey([4000]),
            complete: false,
          });
        }
      });
      await environment.close();
      await sync(INDEXED);
      await assertIndexed(options.cacheDir);
      const built = new Environment(generationPath(options.cacheDir, 1));
      const states = indexNumbers.map((number) => built.indexState(1, number));
      await built.close();
      assert.deepEqual(
        states.map((state) => [state?.complete, state?.duplicates]),
        [
          [true, 0],
          [true, 0],
        ],
      );
      for (const point of ['write:before-commit', 'write:after-commit', 'sweep:before-commit']) {
        changeDatabase(
          file,
          `UPDATE t SET v = v || 'x', n = n + 1 WHERE id % 3 = 0;
          DELETE FROM t WHERE id IN (SELECT min(id) FROM t UNION SELECT max(id) FROM t);
          INSERT INTO t VALUES (10000000 + random() % 1000, 'new ${point}', 5), (NULL, 'more ${point}', 6);`,
        );
        const end = await runChild({
          mode: 'sync',
          options: { ...options, batchSize: 1000, tables: [INDEXED] },
          readerThreads: 1,
          fault: { point, occurrence: point.startsWith('write') ? 4 : 1, action: 'kill' },
        });
        assert.equal(end.kind, 'killed');
        await sync(INDEXED);
        await assertIndexed(options.cacheDir);
      }
    });
  });

  void it('lets readers go on, and tells them', async () => {
    await withTable(async (options) => {
      await using cache = openCache(options.cacheDir);
      const table = cache.table('t');
      assert.throws(() => table.newest(1, 'by_n'), { code: 'KEY_INVALID' });
      using before = cache.snapshot();
      const fault = setFault({ point: 'index:before-commit', occurrence: 2, action: 'hold' });
      await using faulty = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: 1 });
      await using storage = await StorageSync.open({ ...options, tables: [INDEXED], pool: faulty });
      const running = storage.sync().then((report) => report);
      await fault.held();
      // A transaction is open now: no read waits for it.
      assert.equal([...table.range()].length, ROWS);
      assert.throws(() => table.newest(1, 'by_n'), { code: 'CACHE_INDEX_BUILDING' });
      assert.throws(() => before.table('t').newest(1, 'by_n'), { code: 'KEY_INVALID' });
      using during = cache.snapshot();
      fault.release();
      const report = await running;
      setFault(null);
      assert.equal(report.validation.passed, true);
      assert.throws(() => during.table('t').newest(1, 'by_n'), { code: 'CACHE_INDEX_BUILDING' });
      assert.equal(table.newest(1, 'by_n')[0]?.['n'], 99);
      await assertIndexed(options.cacheDir);
    });
  });

  void it('replaces one of its name, and one that is left out goes, in steps', async () => {
    await withTable(async (options, sync) => {
      await sync(INDEXED);
      await using cache = openCache(options.cacheDir);
      const table = cache.table('t');
      const iterator = table.rangeByIndex('by_n');
      const first = iterator.next().value as SourceRow;
      const changed = { name: 't', indexes: [{ name: 'by_n', columns: ['n'] }] };
      const killed = await runChild({
        mode: 'sync',
        options: { ...options, tables: [changed] },
        readerThreads: 1,
        // Behind the building: in the removal of by_v.
        fault: { point: 'index:before-commit', occurrence: 8, action: 'kill' },
      });
      assert.equal(killed.kind, 'killed');
      assert.deepEqual(keys(table.byIndex('by_n', 5)).slice(0, 2), [5, 105]);
      assert.throws(() => [...table.rangeByIndex('by_v')], { code: 'KEY_INVALID' });
      await sync(changed as typeof PLAIN);
      // What was begun before goes on as it was.
      assert.deepEqual([first, ...iterator].length, ROWS);
      assert.deepEqual(
        table.indexes.map(({ name, state }) => [name, state]),
        [['by_n', 'ready']],
      );
      const everything = await StorageSync.open({ ...options, pool });
      await everything.sync();
      await everything.close();
      assert.equal(table.indexes.length, 1, 'a sync without definitions keeps them');
      await sync(PLAIN);
      assert.deepEqual(table.indexes, []);
      await sync(INDEXED);
      await assertIndexed(options.cacheDir);
    });
  });
});

void describe('a unique index', () => {
  void it('that rows violate fails alone, by name with both keys, and is well again', async () => {
    await withTable(async (options, sync, file) => {
      changeDatabase(file, `UPDATE t SET v = 'twice' WHERE id IN (11, 8000)`);
      const report = (await sync(INDEXED)) as Awaited<ReturnType<StorageSync['sync']>>;
      assert.equal(report.validation.passed, false);
      const failed = report.validation.checks.filter(({ passed }) => !passed);
      assert.match(failed[0]!.detail, /"by_v" is not unique: the rows 11 and 8000 /);
      await using cache = openCache(options.cacheDir);
      const table = cache.table('t');
      assert.throws(() => [...table.byIndex('by_v', 'twice')], {
        code: 'CACHE_INDEX_VIOLATED',
        context: { table: 't', index: 'by_v', first: '11', second: '8000' },
      });
      assert.equal(table.get(11)?.['v'], 'twice');
      assert.deepEqual(keys(table.rangeByIndex('by_n', { limit: 1 })), [99]);
      // Swapped values are shared by two rows only within the sync.
      changeDatabase(
        file,
        `UPDATE t SET v = 'once' WHERE id = 11; UPDATE t SET v = 'mine' WHERE id = 1;
        UPDATE t SET v = CASE v WHEN 'once' THEN 'mine' ELSE 'once' END WHERE id IN (1, 11);
        UPDATE t SET v = NULL WHERE id BETWEEN 20 AND 30;`,
      );
      await sync(INDEXED);
      assert.deepEqual(keys(table.byIndex('by_v', 'twice')), [8000]);
      assert.equal([...table.byIndex('by_v', null)].length, 11);
    });
  });
});

void describe('index reads', () => {
  void it('are typed by the definition, and refuse what does not fit', async () => {
    const typed = defineTable({
      name: 't',
      columns: { id: 'integer', v: 'text', n: 'integer?' },
      indexes: [
        { name: 'by_v', columns: ['v'], unique: true },
        { name: 'by_n', columns: [{ column: 'n', descending: true }, 'v'] },
      ],
    });
    await withTable(async (options) => {
      await using storage = await StorageSync.open({ ...options, tables: [typed], pool });
      await storage.sync();
      const table = storage.cache.table(typed);
      const ns: (number | bigint | null)[] = [...table.byIndex('by_n', 5)].map((row) => row.n);
      assert.equal(ns.length, ROWS / 100);
      assert.equal([...table.rangeByIndex('by_n', { prefix: [null] })].length, 0);
      assert.equal([...table.rangeByIndex('by_n', { gte: 98, reverse: true })][0]?.n, 98);
      // @ts-expect-error: there is no such index.
      assert.throws(() => [...table.byIndex('by_x', 1)], { code: 'KEY_INVALID' });
      // @ts-expect-error: the column is text.
      assert.deepEqual([...table.byIndex('by_v', 1)], []);
      // @ts-expect-error: it has one column.
      assert.throws(() => [...table.byIndex('by_v', 'a', 'b')], { code: 'KEY_INVALID' });
      // @ts-expect-error: a value is needed.
      assert.throws(() => [...table.byIndex('by_v')], { code: 'KEY_INVALID' });
      assert.throws(() => [...table.rangeByIndex('by_n', { gt: [1, 'a'] })], {
        code: 'KEY_INVALID',
      });
      assert.throws(() => [...table.rangeByIndex('by_n', { gt: [] })], { code: 'KEY_INVALID' });
      const stop = AbortSignal.abort();
      await assert.rejects(table.streamByIndex('by_n', { signal: stop }).next(), {
        name: 'AbortError',
      });
      using snapshot = storage.cache.snapshot();
      assert.equal(snapshot.table(typed).newest(1, 'by_n')[0]?.n, 99);
    });
  });
});

void describe('keys that nearly do not fit their entries', () => {
  void it('stand among shorter ones of the same values, both ways', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    const keys = [500, 1400, 1940, 1950, 1955, 1960, 1964, 1968, 1970, 1972]
      .flatMap((length) => ['0', 'z'].map((end) => `${'k'.repeat(length)}${end}`))
      .sort();
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v)');
      for (const key of keys) db.prepare('INSERT INTO t VALUES (?, 7)').run([key]);
    });
    await using storage = await StorageSync.open({
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: [{ name: 't', indexes: [{ name: 'by_v', columns: ['v'] }] }],
      pool,
    });
    await storage.sync();
    const table = storage.cache.table('t');
    const found = (reverse: boolean) =>
      [...table.rangeByIndex('by_v', { prefix: [7], reverse })].map((row) => row['k']);
    assert.deepEqual(found(false), keys);
    assert.deepEqual(found(true), keys.toReversed());
  });
});

void describe('a key', () => {
  void it('can be read back', () => {
    fc.assert(
      fc.property(fc.array(keyValue, { minLength: 1, maxLength: 4 }), (values) => {
        const wanted = values.map(canonical);
        const rowid = values.includes(null) ? [7] : [];
        const decoded = decodeKey(encodeKey(values, 7), values.length);
        assert.equal(decoded.length, wanted.length + rowid.length);
        decoded.forEach((each, i) => assert.equal(compare(each, [...wanted, ...rowid][i]!), 0));
      }),
    );
  });
});
