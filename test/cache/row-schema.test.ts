import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as v from 'valibot';
import { z } from 'zod';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import {
  ConfigError,
  defineTable,
  openCache,
  RowInvalidError,
  StorageSync,
  WorkerPool,
  type CacheReader,
  type RowOf,
  type RowSchema,
  type StoredRowOf,
  type TableDefinition,
} from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { sameType } from '../support/same-type.js';
import { TempDirectory } from '../support/temp.js';

const ROWS = 1200;
const SCHEMA = `
  CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL, active INTEGER NOT NULL, settings TEXT NOT NULL, opened INTEGER NOT NULL, note TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO sessions
  SELECT printf('s%04d', i), i % 2, printf('{"size":%d}', i), 1700000000 + i, iif(i % 10, NULL, 'tenth') FROM n;
  CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, n ANY, PRIMARY KEY (a, b));
  INSERT INTO pairs VALUES ('x', 1, 'text'), ('x', 2, 2);
  CREATE TABLE keyless (n INTEGER);
  INSERT INTO keyless VALUES (7);
`;

const zodSession = z.object({
  id: z.string(),
  active: z.number().transform((flag) => flag === 1),
  settings: z.string().transform((text) => z.object({ size: z.number() }).parse(JSON.parse(text))),
  opened: z.number().transform((seconds) => new Date(seconds * 1000)),
  note: z.string().nullable(),
});

const valibotSession = v.object({
  id: v.string(),
  active: v.pipe(
    v.number(),
    v.transform((flag) => flag === 1),
  ),
  settings: v.pipe(v.string(), v.parseJson(), v.object({ size: v.number() })),
  opened: v.pipe(
    v.number(),
    v.transform((seconds) => new Date(seconds * 1000)),
  ),
  note: v.nullable(v.string()),
});

const indexes = [
  { name: 'by_opened', columns: [{ column: 'opened', descending: true }, 'id'] },
] as const;
const limit = { count: 10_000, newestBy: 'opened' };
const byZod = defineTable({ name: 'sessions', schema: zodSession, indexes, limit });
const byValibot = defineTable({ name: 'sessions', schema: valibotSession, indexes, limit });
/** The same without a schema: what is synced must not differ. */
const plain = defineTable({ name: 'sessions', indexes, limit });

interface Session {
  id: string;
  active: boolean;
  settings: { size: number };
  opened: Date;
  note: string | null;
}

function session(i: number): Session {
  return {
    id: `s${String(i).padStart(4, '0')}`,
    active: i % 2 === 1,
    settings: { size: i },
    opened: new Date((1_700_000_000 + i) * 1000),
    note: i % 10 === 0 ? 'tenth' : null,
  };
}

const sessions = (...numbers: readonly number[]): Session[] => numbers.map(session);

const pool = new WorkerPool({ readerThreads: 2 });
after(async () => await pool.close());

/** A schema by hand: `validate` does as it is told. */
function schemaOf(validate: (value: unknown) => unknown): RowSchema {
  return {
    '~standard': { version: 1, vendor: 'test', validate: validate as never },
  };
}

async function collected<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

function catchOf(read: () => unknown): RowInvalidError {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof RowInvalidError, String(error));
    return error;
  }
  assert.fail('nothing was thrown');
}

void describe('rows that are read through a schema', () => {
  let dir: TempDirectory;
  let cache: CacheReader;
  const open = async (
    tables: readonly (TableDefinition | string)[],
    cacheDir = dir.join('cache'),
  ) =>
    await StorageSync.open({
      source: { url: `file:${dir.join('app.db')}` },
      cacheDir,
      tables,
      pool,
    });

  before(async () => {
    dir = await TempDirectory.make();
    changeDatabase(dir.join('app.db'), SCHEMA);
    await using storage = await open([byZod, 'pairs', 'keyless']);
    await storage.sync();
    cache = openCache(dir.join('cache'));
  });

  after(async () => {
    await cache.close();
    await dir[Symbol.asyncDispose]();
  });

  for (const [library, definition] of Object.entries({ zod: byZod, valibot: byValibot })) {
    void it(`come as ${library} makes them, by every way of reading`, async () => {
      const table = cache.table(definition as typeof byZod);
      assert.deepEqual(table.get('s0007'), session(7));
      assert.equal(table.get('s9999'), undefined);
      assert.deepEqual(table.getMany(['s0010', 's9999', 's0011']), [
        session(10),
        undefined,
        session(11),
      ]);
      assert.deepEqual([...table.range({ gte: 's0003', lt: 's0006' })], sessions(3, 4, 5));
      assert.deepEqual(table.newest(2), sessions(ROWS, ROWS - 1));
      assert.deepEqual([...table.byIndex('by_opened', 1_700_000_009)], sessions(9));
      const range = { lt: 1_700_000_004, gte: 1_700_000_002 };
      assert.deepEqual([...table.rangeByIndex('by_opened', range)], sessions(3, 2));
      const streamed = await collected(table.streamByIndex('by_opened', range));
      assert.deepEqual(streamed, sessions(3, 2));
      const all = await collected(table.stream());
      assert.deepEqual(all, sessions(...Array.from({ length: ROWS }, (_, i) => i + 1)));
      using snapshot = cache.snapshot();
      const held = snapshot.table(definition as typeof byZod);
      assert.deepEqual(held.get('s0001'), session(1));
      assert.equal((await collected(held.stream())).length, ROWS);
    });
  }

  void it('come as they are by name, and with parse: false', () => {
    const stored = { id: 's0007', active: 1, settings: '{"size":7}', opened: 1_700_000_007 };
    const row = { ...stored, note: null };
    assert.deepEqual(cache.table('sessions').get('s0007'), row);
    assert.deepEqual(cache.table(byZod, { parse: false }).get('s0007'), row);
    using snapshot = cache.snapshot();
    assert.deepEqual(snapshot.table(byZod, { parse: false }).get('s0007'), row);
  });

  void it('have the types of the schema: its output, and in the cache its input', () => {
    sameType<RowOf<typeof byZod>, Session>(true);
    sameType<RowOf<typeof byValibot>, Session>(true);
    interface Stored {
      id: string;
      active: number;
      settings: string;
      opened: number;
      note: string | null;
    }
    sameType<StoredRowOf<typeof byZod>, Stored>(true);
    sameType<StoredRowOf<typeof byValibot>, Stored>(true);
    sameType<RowOf<typeof plain>, StoredRowOf<typeof plain>>(true);
    const columns = { id: 'text', active: 'integer' } as const;
    const both = defineTable({ name: 'sessions', columns, schema: z.object({ id: z.string() }) });
    sameType<RowOf<typeof both>, { id: string }>(true);
    sameType<StoredRowOf<typeof both>, { readonly id: string; readonly active: number | bigint }>(
      true,
    );
    // The values of indexes are those in the cache, whatever the schema makes of them.
    const table = cache.table(byZod);
    assert.equal([...table.byIndex('by_opened', 1_700_000_001, 's0001')].length, 1);
    // @ts-expect-error: the column is a number in the cache.
    assert.throws(() => [...table.byIndex('by_opened', new Date(0))], { code: 'KEY_INVALID' });
    // @ts-expect-error: the schema leaves no such property.
    assert.equal(table.get('s0001')?.nonsense, undefined);
    // @ts-expect-error: the output must be an object.
    defineTable({ name: 'sessions', schema: z.string() });
    const coerced = defineTable({
      name: 'sessions',
      schema: z.object({ id: z.coerce.string(), opened: z.coerce.date() }),
      indexes: [{ name: 'by_opened', columns: ['opened'] }],
    });
    const at: Date | undefined = [...cache.table(coerced).byIndex('by_opened', 1_700_000_001)][0]
      ?.opened;
    assert.equal(at?.getTime(), 1_700_000_001);
  });

  void it('that do not fit are named, with what is wrong with them', async () => {
    const pairs = defineTable({
      name: 'pairs',
      schema: v.object({ a: v.string(), b: v.number(), n: v.number() }),
    });
    const table = cache.table(pairs);
    assert.deepEqual(table.get('x', 2), { a: 'x', b: 2, n: 2 });
    const error = catchOf(() => table.get('x', 1));
    assert.equal(error.code, 'ROW_INVALID');
    assert.match(
      error.message,
      /^The row \("x", 1\) of "pairs" does not fit its schema: n: Invalid type: Expected number/,
    );
    assert.equal(error.context['table'], 'pairs');
    assert.equal(error.context['key'], '("x", 1)');
    assert.match(String(error.context['issues']), /^n: Invalid type/);
    assert.deepEqual(
      error.issues.map(({ path }) => path),
      [['n']],
    );
    assert.match(error.hint ?? '', /parse: false/);
    for (const read of [
      () => table.getMany([['x', 1]]),
      () => [...table.range()],
      () => cache.table({ ...byZod, schema: z.object({ id: z.number() }) }).newest(1),
    ]) {
      assert.equal(catchOf(read).issues.length, 1);
    }
    await assert.rejects(collected(table.stream()), { code: 'ROW_INVALID' });
    const keyless = { name: 'keyless', schema: z.object({ n: z.string() }) };
    assert.match(
      catchOf(() => [...cache.table(keyless).range()]).message,
      /^The row 1 of "keyless"/,
    );
  });

  void it('are there whether they fit or not, and asking costs no schema', () => {
    const refusing = schemaOf(() => assert.fail('the schema was asked'));
    const table = cache.table({ name: 'sessions', schema: refusing });
    assert.equal(table.has('s0001'), true);
    assert.equal(table.has('s9999'), false);
    assert.equal(table.count(), ROWS);
  });

  void it('are not taken for damage, or for a failure of LMDB, when the schema throws', () => {
    const thrown = Object.assign(new Error('no such country'), { code: -30796 });
    const schema = schemaOf(() => {
      throw thrown;
    });
    const table = cache.table({ name: 'sessions', schema });
    const error = catchOf(() => table.get('s0003'));
    assert.equal(error.cause, thrown);
    assert.match(
      error.message,
      /^The row "s0003" of "sessions" .*: the schema threw: no such country\.$/,
    );
    assert.equal(catchOf(() => [...table.range()]).code, 'ROW_INVALID');
  });

  void it('are named right though the schema reads the cache itself', () => {
    const schema = schemaOf(() => {
      cache.table('sessions').get('s0999');
      return { issues: [{ message: 'no', path: [{ key: 'id' }, 0] }] };
    });
    const error = catchOf(() => cache.table({ name: 'sessions', schema }).get('s0004'));
    assert.equal(error.context['key'], '"s0004"');
    assert.deepEqual(error.issues, [{ message: 'no', path: ['id', 0] }]);
    assert.match(error.message, /: id\.0: no\.$/);
  });

  void it('need a schema that does not wait', async () => {
    const waiting = z.object({ id: z.string().refine(async () => await Promise.resolve(false)) });
    const rejecting = schemaOf(async () => await Promise.reject(new Error('nobody waits for it')));
    for (const schema of [waiting, rejecting]) {
      const table = cache.table({ name: 'sessions', schema });
      assert.throws(
        () => table.get('s0001'),
        (error) => {
          assert.ok(error instanceof ConfigError);
          assert.match(error.message, /schema of the table "sessions" is asynchronous/);
          return true;
        },
      );
    }
    // A rejection that is left over would fail the test.
    await new Promise((resolve) => setImmediate(resolve));
  });

  void it('need a schema: what is none is refused where it is given', async () => {
    const wrong = { name: 'sessions', schema: { parse: () => ({}) } } as unknown as TableDefinition;
    assert.throws(() => cache.table(wrong), { code: 'CONFIG_INVALID' });
    await assert.rejects(open([wrong]), (error: Error) => {
      assert.match(error.message, /tables\.0\.schema must be a Standard Schema/);
      return error instanceof ConfigError;
    });
  });

  void it('may have a schema that is a function', () => {
    const standard = schemaOf((value) => ({ value }))['~standard'];
    const schema: RowSchema = Object.assign(() => undefined, { '~standard': standard });
    assert.equal(Object.keys(cache.table({ name: 'sessions', schema }).get('s0001')!).length, 5);
  });
});

void describe('a schema of a definition', () => {
  void it('stays with its reader: syncs, rebuilds and verifies go without it', async () => {
    await using dir = await TempDirectory.make();
    changeDatabase(dir.join('app.db'), SCHEMA);
    const cacheDir = dir.join('cache');
    const source = { url: `file:${dir.join('app.db')}` };
    const catalog = async (generation: number | null) => {
      const environment = new Environment(generationPath(cacheDir, generation!));
      const found = structuredClone(environment.catalog());
      await environment.close();
      return found;
    };
    const sync = async (definition: TableDefinition) => {
      await using storage = await StorageSync.open({
        source,
        cacheDir,
        tables: [definition],
        pool,
      });
      return await storage.sync();
    };
    const first = await sync(plain);
    const before = await catalog(first.generation);
    for (const definition of [byZod, byValibot, plain]) {
      const report = await sync(definition);
      assert.equal(report.generation, first.generation);
      assert.equal(report.mode, 'full');
      const { rowsWritten, rowsUnchanged, schemaChange } = report.tables['sessions']!;
      assert.deepEqual([rowsWritten, rowsUnchanged, schemaChange], [0, ROWS, undefined]);
      assert.deepEqual(await catalog(report.generation), before);
    }
    const refusing = schemaOf(() => assert.fail('the schema was asked'));
    await using storage = await StorageSync.open({
      source,
      cacheDir,
      tables: [{ ...plain, schema: refusing }],
      pool,
    });
    const verified = await storage.verify({ level: 'deep', repair: true });
    assert.equal(verified.differences, 0);
    assert.equal((await storage.rebuild()).mode, 'rebuild');
    assert.equal(storage.cache.table('sessions').count(), ROWS);
  });
});
