import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { TempDirectory } from '../support/temp.js';
import { LoggedDatabase } from './changed-keys.js';

interface Shape {
  readonly name: string;
  readonly sql: string;
  /** Tables to write to, with the columns that statements name. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
}

const SHAPES: readonly Shape[] = [
  {
    name: 'integer key, unique indexes of every kind',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c TEXT COLLATE NOCASE, g AS (b % 3) STORED);
      CREATE UNIQUE INDEX t_ab ON t (a, b);
      CREATE UNIQUE INDEX t_c ON t (c) WHERE t.b > 1;
      CREATE UNIQUE INDEX t_lower ON t (lower(a) COLLATE NOCASE DESC, b = '2' /* ) */) WHERE c IS NOT NULL;
      CREATE UNIQUE INDEX t_g ON t (g, c COLLATE BINARY);`,
    tables: { t: ['id', 'a', 'b', 'c'] },
  },
  {
    name: 'columns whose default takes the place of a NULL',
    sql: `CREATE TABLE t (id TEXT NOT NULL DEFAULT 'a' PRIMARY KEY, a TEXT NOT NULL DEFAULT 1, b NOT NULL DEFAULT b UNIQUE ON CONFLICT REPLACE, c NOT NULL ON CONFLICT REPLACE DEFAULT 2, up REFERENCES t (id) ON DELETE CASCADE, UNIQUE (a, c));
      CREATE UNIQUE INDEX t_lower ON t (lower(b), c);`,
    tables: { t: ['id', 'a', 'b', 'c', 'up', 'rowid'] },
  },
  {
    name: 'text key that may be NULL, unique column, declared REPLACE',
    sql: `CREATE TABLE t (id TEXT PRIMARY KEY, a UNIQUE ON CONFLICT REPLACE, b);`,
    tables: { t: ['id', 'a', 'b', 'rowid'] },
  },
  {
    name: 'NOT NULL text key of another collation',
    sql: `CREATE TABLE t (id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, a, b UNIQUE);`,
    tables: { t: ['id', 'a', 'b', '_rowid_'] },
  },
  {
    name: 'composite key without rowid',
    sql: `CREATE TABLE t (a TEXT COLLATE NOCASE, b INTEGER, c, d, PRIMARY KEY (b DESC, a), UNIQUE (c, d)) WITHOUT ROWID;`,
    tables: { t: ['a', 'b', 'c', 'd'] },
  },
  {
    name: 'composite key, NULLs, columns named as the log names its own',
    sql: `CREATE TABLE t (version, deleted REAL, "row" TEXT, k1 UNIQUE, PRIMARY KEY (version, deleted));`,
    tables: { t: ['version', 'deleted', '"row"', 'k1', 'oid'] },
  },
  {
    name: 'foreign keys that cascade, on the table itself too',
    sql: `CREATE TABLE p (id INTEGER PRIMARY KEY, u UNIQUE, up REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE);
      CREATE TABLE c (k BLOB NOT NULL PRIMARY KEY, p REFERENCES p (id) ON DELETE SET NULL ON UPDATE CASCADE, u UNIQUE REFERENCES p (u) ON DELETE CASCADE ON UPDATE SET DEFAULT);`,
    tables: { p: ['id', 'u', 'up'], c: ['k', 'p', 'u'] },
  },
  {
    name: "the user's own triggers",
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b);
      CREATE TABLE o (k TEXT NOT NULL PRIMARY KEY, n UNIQUE) WITHOUT ROWID;
      CREATE TRIGGER u1 AFTER INSERT ON t BEGIN INSERT OR REPLACE INTO o VALUES (NEW.a, NEW.b); END;
      CREATE TRIGGER u2 BEFORE UPDATE OF b ON t BEGIN UPDATE OR IGNORE t SET a = NEW.b WHERE id = NEW.id + 1; END;
      CREATE TRIGGER u3 AFTER DELETE ON t BEGIN DELETE FROM o WHERE k = OLD.a; UPDATE OR REPLACE o SET n = OLD.b; END;
      CREATE TRIGGER u4 BEFORE INSERT ON t WHEN NEW.b = 3 BEGIN DELETE FROM t WHERE a = 1; INSERT OR IGNORE INTO t VALUES (9, NEW.a, 0); END;
      CREATE TRIGGER u5 BEFORE DELETE ON t WHEN OLD.b = 2 BEGIN SELECT RAISE(IGNORE); END;`,
    tables: { t: ['id', 'a', 'b'], o: ['k', 'n'] },
  },
  {
    name: 'unique index over expressions of affinity',
    sql: `CREATE TABLE t (k REAL NOT NULL PRIMARY KEY, a TEXT, b NUMERIC, c);
      CREATE UNIQUE INDEX t_1 ON t (a = 1, b > '1');
      CREATE UNIQUE INDEX t_2 ON t (c, typeof(c), coalesce(b, 'none')) WHERE a BETWEEN 0 AND 2;`,
    tables: { t: ['k', 'a', 'b', 'c', 'rowid'] },
  },
];

/** Few values, so that rows meet, and some that are equal only by affinity or collation. */
const value = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('1', '2', "'a'", "'A'") },
  fc.constantFrom(
    'NULL',
    '0',
    '3',
    '4',
    '-1',
    '1.0',
    '1.5',
    "'1'",
    "'b'",
    "'B'",
    "x'61'",
    "''",
    "'a b'",
  ),
);
const clause = fc.constantFrom('', '', ' OR REPLACE', ' OR REPLACE', ' OR IGNORE', ' OR FAIL');
const anyClause = fc.oneof({ weight: 9, arbitrary: clause }, fc.constant(' OR ROLLBACK'));

function statement(shape: Shape): fc.Arbitrary<string> {
  const table = fc.constantFrom(...Object.keys(shape.tables));
  return table.chain((name) => {
    const names = shape.tables[name]!;
    const column = fc.constantFrom(...names);
    const condition = fc.oneof(
      fc.constant(''),
      fc.tuple(column, value).map(([c, v]) => ` WHERE ${c} = ${v}`),
      fc.tuple(column, value).map(([c, v]) => ` WHERE ${c} > ${v}`),
    );
    const assignment = fc.oneof(
      fc.tuple(column, value).map(([c, v]) => `${c} = ${v}`),
      fc.tuple(column, fc.constantFrom('+ 1', '- 1', '* -1')).map(([c, by]) => `${c} = ${c} ${by}`),
      fc.tuple(column, column).map(([c, d]) => `${c} = ${d}`),
      column.map((c) => `${c} = upper(${c})`),
    );
    const assignments = fc
      .array(assignment, { minLength: 1, maxLength: 2 })
      .map((s) => s.join(', '));
    const insert = fc
      .subarray([...names], { minLength: 1 })
      .chain((into) =>
        fc.tuple(
          fc.constant(into.join(', ')),
          fc.array(fc.tuple(...into.map(() => value)), { minLength: 1, maxLength: 3 }),
        ),
      )
      .map(
        ([into, rows]) =>
          `INTO ${name} (${into}) VALUES ${rows.map((r) => `(${r.join(', ')})`).join(', ')}`,
      );
    return fc.oneof(
      {
        weight: 6,
        arbitrary: fc.tuple(anyClause, insert).map(([or, rest]) => `INSERT${or} ${rest}`),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(
            insert,
            fc.oneof(
              fc.constant('NOTHING'),
              assignments.map((s) => `UPDATE SET ${s}`),
            ),
          )
          .map(([rest, action]) => `INSERT ${rest} ON CONFLICT DO ${action}`),
      },
      {
        weight: 5,
        arbitrary: fc
          .tuple(anyClause, assignments, condition)
          .map(([or, set, where]) => `UPDATE${or} ${name} SET ${set}${where}`),
      },
      { weight: 2, arbitrary: condition.map((where) => `DELETE FROM ${name}${where}`) },
    );
  });
}

/** What is done at once, in a transaction or as statements by themselves. */
function transaction(shape: Shape): fc.Arbitrary<readonly string[]> {
  const one = statement(shape);
  const several = fc.array(one, { minLength: 1, maxLength: 5 });
  return fc.oneof(
    several,
    several.map((list) => ['BEGIN', ...list, 'COMMIT']),
    several.map((list) => ['BEGIN', ...list, 'ROLLBACK']),
    fc
      .tuple(several, several, several)
      .map(([a, b, c]) => ['BEGIN', ...a, 'SAVEPOINT s', ...b, 'ROLLBACK TO s', ...c, 'COMMIT']),
    fc.constantFrom(
      ['PRAGMA recursive_triggers = ON'],
      ['PRAGMA recursive_triggers = OFF'],
      ['PRAGMA foreign_keys = OFF'],
      ['PRAGMA foreign_keys = ON'],
    ),
  );
}

void describe('a history of writes', () => {
  for (const shape of SHAPES) {
    void it(`is logged whole: ${shape.name}`, async () => {
      await using dir = await TempDirectory.make();
      using logged = await LoggedDatabase.make(dir.join('source.db'), shape.sql);
      logged.exec('PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY');
      let statements = 0;
      let failures = 0;
      const unexpected = new Set<string>();
      fc.assert(
        fc.property(fc.array(transaction(shape), { minLength: 1, maxLength: 12 }), (history) => {
          for (const table of Object.keys(shape.tables)) logged.exec(`DELETE FROM ${table}`);
          for (const sql of history) {
            const unlogged = logged.unlogged(() => {
              for (const each of sql) {
                statements++;
                try {
                  logged.exec(each);
                } catch (error) {
                  failures++;
                  const message = String(error);
                  if (/storage_sync|syntax/.test(message)) unexpected.add(`${each}: ${message}`);
                }
              }
              if (logged.database.inTransaction) logged.exec('COMMIT');
            });
            assert.deepEqual(unlogged, [], `after ${sql.join('; ')}`);
          }
        }),
        { numRuns: 120 },
      );
      assert.deepEqual([...unexpected], []);
      assert.ok(statements > 1000 && failures < statements * 0.9, `${failures} of ${statements}`);
      assertVersionsGrow(logged);
    });
  }
});

/** One row for each key that is not NULL; nothing is left in a scratch row. */
function assertVersionsGrow(logged: LoggedDatabase): void {
  for (const { id, key } of logged.captures()) {
    const columns = key.map((_, i) => `k${i + 1} COLLATE BINARY`).join(', ');
    const notNull = key.map((_, i) => `k${i + 1} IS NOT NULL`).join(' AND ');
    const twice = logged.all(
      `SELECT 1 FROM storage_sync_log_${id} WHERE ${notNull} GROUP BY ${columns} HAVING count(*) > 1`,
    );
    assert.deepEqual(twice, []);
    const [scratch] = logged.all(
      `SELECT count(*) FROM sqlite_schema WHERE name = 'storage_sync_row_${id}'`,
    );
    if (Number(scratch![0]) > 0) {
      assert.deepEqual(logged.all(`SELECT * FROM storage_sync_row_${id}`), []);
    }
  }
}
