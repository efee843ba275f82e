import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { StorageSync, WorkerPool, type StorageSyncOptions } from '../../src/index.js';
import { stoodStill, StoredComparison } from '../../src/verify/stored-comparison.js';
import type { VerifyContext } from '../../src/verify/context.js';
import type { StoredRows, VerifyTarget } from '../../src/verify/tasks.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { assertFound, tamper, type Tampered, type TamperedTable } from './tamper.js';

const ROWS = 25_000;
/** The source's rows that a look at some keys may read. */
const FEW = 60;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const fill = (values: string) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
   INSERT INTO items SELECT ${values} FROM n`;

const TABLES: Readonly<Record<string, string>> = {
  'TEXT keys': `CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v, w);
    ${fill(`printf('%08x', i * 2654435761 % 4294967296), 'row ' || i, i % 97`)}`,
  'rowid keys and long rows': `CREATE TABLE items (k INTEGER PRIMARY KEY, v);
    ${fill(`i * 7 - 3000, printf('%.*c', CASE WHEN i % 50 = 0 THEN 9000 ELSE 20 END, 'x')`)}`,
  'composite keys': `CREATE TABLE items (a TEXT NOT NULL, b NOT NULL, v, PRIMARY KEY (a, b));
    ${fill(`'k' || (i % 50), CAST(i AS BLOB), i / 7.0`)}`,
};

async function withTable(
  sql: string,
  use: (options: StorageSyncOptions, file: string) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, sql);
  const options: StorageSyncOptions = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    onRowError: 'quarantine',
  };
  {
    await using storage = await StorageSync.open({ ...options, pool });
    await storage.sync();
  }
  await use(options, file);
}

async function verify(options: StorageSyncOptions, repair = false) {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.verify({ level: 'deep', repair });
}

const KINDS: Readonly<Record<string, (table: TamperedTable) => Tampered[]>> = {
  'records that are damaged': (table) => [
    table.flip(0, 0),
    table.flip(12_345, -1),
    table.cut(ROWS - 1, 3),
  ],
  'rows that differ': (table) => [table.replace(3, 4), table.replace(ROWS - 2, 9)],
  'rows that are missing': (table) => [table.remove(0), table.remove(77), table.remove(ROWS - 1)],
};

void describe('a deep verify of rows as they are stored', () => {
  for (const [name, sql] of Object.entries(TABLES)) {
    for (const [kind, change] of Object.entries(KINDS)) {
      void it(`finds ${kind} without reading the others again: ${name}`, async () => {
        await withTable(sql, async (options) => {
          const sound = await verify(options);
          assert.deepEqual([sound.differences, sound.sourceRowsRead], [0, ROWS]);
          const wrong = await tamper(options.cacheDir, 'items', change);
          const found = await verify(options);
          assertFound(found.tables['items']!, wrong, false);
          assert.equal(found.tables['items']!.rowsCompared, ROWS);
          assert.ok(found.sourceRowsRead <= ROWS + FEW, String(found.sourceRowsRead));
          const repaired = await verify(options, true);
          assertFound(repaired.tables['items']!, wrong, true);
          const after = await verify(options);
          assert.deepEqual([after.differences, after.sourceRowsRead], [0, ROWS]);
        });
      });
    }
  }

  void it('finds what only the cache has, and what is wrong besides', async () => {
    await withTable(TABLES['TEXT keys']!, async (options) => {
      const wrong = await tamper(options.cacheDir, 'items', (table) => [
        table.add(['0aaa']),
        table.remove(100),
        table.add(['zzz']),
        table.replace(200, 3),
      ]);
      const found = await verify(options);
      assertFound(found.tables['items']!, wrong, false);
      assert.equal(found.tables['items']!.rowsCompared, ROWS);
    });
  });

  void it('finds as many as are wrong, however many', async () => {
    await withTable(TABLES['TEXT keys']!, async (options, file) => {
      changeDatabase(file, `UPDATE items SET v = v || '!' WHERE rowid % 2 = 0`);
      const found = await verify(options);
      assert.equal(found.tables['items']!.differences.differs, ROWS / 2);
      assert.equal(found.tables['items']!.rowsCompared, ROWS);
    });
  });

  void it('tells rows that cannot be cached, whether the cache has one of them or not', async () => {
    const sql = `${TABLES['TEXT keys']};
      INSERT INTO items VALUES (printf('%.*c', 3000, 'k'), 1, 2), ('no text', CAST(x'ff' AS TEXT), 3)`;
    await withTable(sql, async (options, file) => {
      const first = await verify(options);
      assert.equal(first.differences, 0);
      assert.equal(first.tables['items']!.quarantined, 2);
      assert.equal(first.tables['items']!.rowsCompared, ROWS + 2);
      // Known to the cache as it was.
      changeDatabase(file, `UPDATE items SET v = CAST(x'fe' AS TEXT) WHERE rowid = 17`);
      const found = await verify(options);
      assert.deepEqual(found.tables['items']!.differences, {
        damaged: 0,
        differs: 1,
        missing: 0,
        extra: 0,
      });
      assert.equal(found.tables['items']!.quarantined, 3);
    });
  });

  void it('finds what only the cache has while rows of the source move, and are met twice', async () => {
    await withTable(TABLES['TEXT keys']!, async (options, file) => {
      const wrong = await tamper(options.cacheDir, 'items', (table) => [table.add(['0aaa'])]);
      const state = new Int32Array(new SharedArrayBuffer(8));
      const worker = new Worker(fileURLToPath(new URL('moving-rows.js', import.meta.url)), {
        workerData: { file, state, rows: ROWS },
      });
      try {
        while (Atomics.load(state, 0) === 0) await setTimeout(5);
        for (let i = 0; i < 8; i++) {
          const moved = Atomics.load(state, 0);
          const found = await verify(options);
          assertFound(found.tables['items']!, wrong, false);
          assert.ok(Atomics.load(state, 0) > moved, 'rows moved meanwhile');
        }
      } finally {
        Atomics.store(state, 1, 1);
        await new Promise((resolve) => worker.once('exit', resolve));
      }
    });
  });
});

const ENTRIES = 30_000;
type Snapshot = StoredRows['snapshot'];

/** What threads answer, one range after the other. */
interface Scene {
  readonly outline?: null;
  /** Of the cache, each time that it is asked. */
  readonly transactions?: readonly number[];
  readonly entries?: readonly number[];
  readonly ranges: readonly (Partial<StoredRows> | null)[];
}

/** Runs a comparison against threads that answer as they are told. */
async function compare(scene: Scene) {
  const ranges = [...scene.ranges];
  const transactions = [...(scene.transactions ?? [5, 5])];
  const entries = [...(scene.entries ?? [ENTRIES, ENTRIES])];
  let time = 0n;
  let rowsTold = 0;
  const asked: object[] = [];
  const read = (task: string, request: { readonly range?: object }): Promise<object> => {
    if (task === 'outline') {
      const cuts = [10, 20];
      return Promise.resolve({ outline: scene.outline === null ? null : { cuts } });
    }
    if (task === 'inspectCache') {
      const tables = [{ table: { id: 7 }, entries: entries.shift() }];
      return Promise.resolve({ tables, transaction: transactions.shift() });
    }
    assert.equal(task, 'compareStored');
    asked.push(request.range!);
    const range = ranges.length > 0 ? ranges.shift()! : { present: 0, compared: 0 };
    const rows = range && {
      compared: 10_000,
      rejected: 0,
      present: 10_000,
      different: [],
      sourceRows: 10_000,
      bytes: 1,
      rest: null,
      thread: 1,
      snapshot: { version: 1, before: time++, after: time++ },
      ...range,
    };
    return Promise.resolve({ rows });
  };
  const context = {
    pool: { read },
    bounds: {},
    lanes: 1,
    budget: { spend: () => undefined },
    meter: { batch: (_: string, rows: number) => (rowsTold += rows) },
    throwIfAborted: () => undefined,
  } as unknown as VerifyContext;
  const target = { tableId: 7, plan: { name: 't' } } as VerifyTarget;
  const compared = await new StoredComparison(context, target, ENTRIES).run();
  return { compared, asked, rowsTold };
}

void describe('a comparison of rows as they are stored', () => {
  const key = (text: string) => new Uint8Array(Buffer.from(text));

  void it('tells what differs when as many rows were met as the cache has', async () => {
    const rest = { after: 12, upTo: 20 };
    const { compared, asked, rowsTold } = await compare({
      ranges: [
        { different: [key('a')] },
        { rest, present: 3000 },
        { rejected: 1, compared: 7001, present: 7000 },
        {},
      ],
    });
    assert.deepEqual(compared, { compared: 37_001, rejected: 1, different: [key('a')] });
    assert.equal(rowsTold, 37_001);
    const last = { after: 20, upTo: null };
    assert.deepEqual(asked, [{ after: null, upTo: 10 }, { after: 10, upTo: 20 }, rest, last]);
  });

  const doubts: Readonly<Record<string, Scene>> = {
    'where the table cannot be read so': { outline: null, ranges: [{}, {}, {}] },
    'where a range cannot be read so': { ranges: [{}, null, {}] },
    'where the cache has others': { ranges: [{}, { present: 9999 }, {}] },
    'where the cache changed': { transactions: [5, 6], ranges: [{}, {}, {}] },
    'where the cache has more by now': { entries: [ENTRIES, ENTRIES + 1], ranges: [{}, {}, {}] },
    'where the source changed': {
      ranges: [{}, {}, { snapshot: { version: 2, before: 90n, after: 91n } }],
    },
    'where versions cannot be compared': {
      ranges: [{ snapshot: { version: null, before: 0n, after: 1n } }, {}, {}],
    },
    'where a thread looked before another began, and is not heard of again': {
      ranges: [{ thread: 2 }, {}, {}],
    },
    'where very many differ': {
      ranges: [{}, {}, { different: Array.from({ length: 10_001 }, (_, i) => key(`${i}`)) }],
    },
    'where very many of a range differ': { ranges: [{}, {}, { different: null }] },
  };
  for (const [name, scene] of Object.entries(doubts)) {
    void it(`leaves it to the order of the keys ${name}`, async () => {
      const { compared, rowsTold } = await compare(scene);
      assert.equal(compared, null);
      assert.equal(rowsTold, 0, 'rows are counted once');
    });
  }

  void it('asks once more a thread that looked before another began', async () => {
    const { compared, asked } = await compare({
      ranges: [{ thread: 2 }, {}, {}, { thread: 2, present: 0, compared: 0 }],
    });
    assert.equal(compared?.compared, ENTRIES);
    assert.deepEqual(asked.at(-1), { after: 0, upTo: 0 });
  });
});

void describe('snapshots on several connections', () => {
  const at = (version: number | null, before: number, after: number): Snapshot => ({
    version,
    before: BigInt(before),
    after: BigInt(after),
  });
  const stood = (...connections: readonly (readonly Snapshot[])[]) =>
    stoodStill(new Map(connections.map((each, i) => [i, each])));

  void it('are of one state when there is an instant that all of them enclose', () => {
    assert.equal(stood([at(1, 0, 1)]), true);
    assert.equal(stood([at(1, 0, 1), at(1, 2, 3)], [at(9, 0, 1), at(9, 1, 2)]), true);
    assert.equal(stood([at(1, 0, 1), at(1, 50, 51)], [at(9, 20, 21), at(9, 22, 23)]), true);
    // In the order in which their answers came.
    assert.equal(stood([at(1, 50, 51), at(1, 0, 1)], [at(9, 22, 23), at(9, 20, 21)]), true);
  });

  void it('may be of several states otherwise', () => {
    assert.equal(stood([at(1, 0, 1), at(2, 2, 3)]), false);
    assert.equal(stood([at(1, 0, 1), at(1, 2, 3)], [at(9, 0, 1), at(8, 1, 2)]), false);
    assert.equal(stood([at(1, 0, 1), at(1, 2, 3)], [at(9, 4, 5), at(9, 6, 7)]), false);
    // One alone may be of any instant while it was taken.
    assert.equal(stood([at(1, 0, 10)], [at(9, 2, 3), at(9, 4, 5)]), false);
  });
});
