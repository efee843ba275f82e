import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Query } from '../../src/source/connection.js';
import { findDivisions } from '../../src/source/divisions.js';
import { introspect } from '../../src/source/introspection.js';
import { connect } from '../../src/source/open-source.js';
import { resolveOptions } from '../../src/options.js';
import { planTables } from '../../src/source/plan.js';
import type { TableDefinition } from '../../src/index.js';
import type { Cell } from '../../src/values.js';
import { changeDatabase, openDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const ROWS = 20_000;
const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})`;

interface Asked {
  readonly sql: string;
  readonly parts: number;
  readonly position?: readonly Cell[];
  readonly definition?: Omit<TableDefinition, 'name'>;
}

interface Divided {
  readonly positions: readonly (readonly Cell[])[];
  readonly shareBehind: number;
  /** What SQLite says of how it answers. */
  readonly plans: readonly string[];
  readonly count: (sql: string, ...params: unknown[]) => number;
}

/** Divides the table `t` of a database. */
async function divide(
  { sql, parts, position, definition }: Asked,
  look: (divided: Divided) => void,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, sql);
  const source = { url: `file:${file}` };
  const options = resolveOptions({ source, cacheDir: dir.join('cache') });
  const connection = await connect({ ...options, ...options.source });
  const database = openDatabase(file);
  try {
    const schema = await introspect(connection.batch);
    const [plan] = planTables(schema, [{ ...definition, name: 't' }]).plans;
    const plans: string[] = [];
    const query: Query = async (statement, params) => {
      const steps = await connection.query(`EXPLAIN QUERY PLAN ${statement}`, params);
      plans.push(...steps.map((step) => String(step.at(-1))));
      return await connection.query(statement, params);
    };
    const found = await findDivisions(query, plan!, position ?? null, parts);
    const count = (text: string, ...params: unknown[]) =>
      Number(
        database
          .prepare(text)
          .raw()
          .get(...params)?.[0 as never],
      );
    look({ ...found, plans, count });
  } finally {
    database.close();
    await connection.close();
  }
}

/** Asserts that each part has about as many rows, by the bounds of a sample of 256. */
function assertEven(sizes: readonly number[], rows: number): void {
  const wanted = rows / sizes.length;
  for (const size of sizes) {
    assert.ok(size > 0.6 * wanted && size < 1.4 * wanted, `parts of ${sizes.join(', ')} rows`);
  }
}

function sizesOf({ positions, count }: Divided, column: string, from: Cell = null): number[] {
  const ends = [from, ...positions.map(([value]) => value ?? null), null];
  return ends
    .slice(1)
    .map((end, i) =>
      count(
        `SELECT count(*) FROM t WHERE (?1 IS NULL OR ${column} > ?1) AND (?2 IS NULL OR ${column} <= ?2)`,
        ends[i],
        end,
      ),
    );
}

void describe('a table is divided', () => {
  void it('evenly by keys of any distribution, and no table is walked for it', async () => {
    for (const key of [
      'i',
      'hex(randomblob(16))',
      // Most of them begin alike.
      `CASE WHEN i % 100 = 0 THEN 'z' ELSE 'user-000000' END || i`,
      'i * i * i',
    ]) {
      const sql = `CREATE TABLE t (k NOT NULL PRIMARY KEY, v); ${numbers} INSERT INTO t SELECT ${key}, i FROM n`;
      await divide({ sql, parts: 4 }, (divided) => {
        assert.equal(divided.positions.length, 3, key);
        assertEven(sizesOf(divided, 'k'), ROWS);
        for (const step of divided.plans) assert.doesNotMatch(step, /SCAN t\b/, step);
      });
    }
  });

  void it('by its rowid, behind a position', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, v); ${numbers} INSERT INTO t SELECT 3 * i - ${ROWS}, i FROM n`;
    const position = [0];
    await divide({ sql, parts: 4, position }, (divided) => {
      assertEven(sizesOf(divided, 'id', 0), (2 * ROWS) / 3);
      assert.ok(Math.abs(divided.shareBehind - 2 / 3) < 0.02, `${divided.shareBehind} behind`);
      assert.ok(divided.positions.every(([id]) => Number(id) > 0));
    });
  });

  void it('by keys that may be NULL, without a NULL where a part ends', async () => {
    const sql = `CREATE TABLE t (k TEXT PRIMARY KEY, rowid TEXT, "oid" INT);
      ${numbers} INSERT INTO t SELECT CASE WHEN i % 2 THEN hex(i) END, 'r', i FROM n`;
    await divide({ sql, parts: 3 }, (divided) => {
      assert.equal(divided.positions.length, 2);
      for (const position of divided.positions) assert.ok(!position.includes(null));
      assertEven(sizesOf(divided, 'k'), ROWS / 2);
    });
  });

  void it('where its rowids reach from the least to the greatest that there are', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
      INSERT INTO t VALUES (-9223372036854775808, 0), (9223372036854775807, 0);
      ${numbers} INSERT INTO t SELECT (i - ${ROWS / 2}) * 900000000000000, i FROM n`;
    await divide({ sql, parts: 4 }, (divided) => {
      assert.equal(divided.positions.length, 3);
      assertEven(sizesOf(divided, 'id'), ROWS);
    });
  });

  void it('into fewer parts, or not at all, where there is little to go by', async () => {
    const few = 'CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v);';
    await divide({ sql: few, parts: 4 }, ({ positions, shareBehind }) => {
      assert.deepEqual({ positions, shareBehind }, { positions: [], shareBehind: 1 });
    });
    await divide({ sql: `${few} INSERT INTO t VALUES ('a', 1)`, parts: 4 }, ({ positions }) => {
      assert.deepEqual(positions, []);
    });
    await divide(
      { sql: `${few} INSERT INTO t VALUES ('a', 1), ('b', 2)`, parts: 4 },
      ({ positions }) => assert.deepEqual(positions, [['a']]),
    );
    const gap = `${few} ${numbers} INSERT INTO t (rowid, k) SELECT i, hex(i) FROM n;
      INSERT INTO t (rowid, k) VALUES (${2 ** 60}, 'z')`;
    await divide({ sql: gap, parts: 4 }, ({ positions }) => assert.ok(positions.length <= 1));
    const without = `CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID; ${numbers} INSERT INTO t SELECT hex(i) FROM n`;
    await divide({ sql: without, parts: 4 }, ({ positions }) => assert.deepEqual(positions, []));
    const limited = `CREATE TABLE t (k INTEGER PRIMARY KEY, v); ${numbers} INSERT INTO t SELECT i, i FROM n`;
    const definition = { limit: { count: 10, newestBy: 'v' } };
    await divide({ sql: limited, parts: 4, definition }, ({ positions }) => {
      assert.deepEqual(positions, []);
    });
  });
});
