import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openChangeLog } from '../../src/index.js';
import { TempDirectory } from '../support/temp.js';
import { LoggedDatabase } from './changed-keys.js';

interface Case {
  readonly name: string;
  readonly sql: string;
  /** Each is held against the log by itself. */
  readonly changes: readonly string[];
  /** The rows of the first table's log, without versions, in their order. */
  readonly log?: readonly (readonly unknown[])[];
}

const CASES: readonly Case[] = [
  {
    name: 'REPLACE of other rows by a secondary unique index',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b');`,
    changes: [
      `INSERT OR REPLACE INTO t VALUES (3, 'a')`,
      `UPDATE OR REPLACE t SET u = 'b' WHERE id = 3`,
    ],
    log: [
      [1, null],
      [2, null],
      [3, 0],
    ],
  },
  {
    name: 'REPLACE with recursive triggers',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b'); `,
    changes: [`PRAGMA recursive_triggers = ON; REPLACE INTO t VALUES (3, 'a'), (2, 'c')`],
    log: [
      [1, 1],
      [3, 0],
      [2, 0],
    ],
  },
  {
    name: 'REPLACE by several indexes at once',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b UNIQUE, c, UNIQUE (c, b));
      INSERT INTO t VALUES (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3);`,
    changes: ['REPLACE INTO t VALUES (9, 1, 2, 3)', 'REPLACE INTO t VALUES (3, 1, 3, NULL)'],
  },
  {
    name: 'REPLACE by a partial index of another collation',
    sql: `CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, email TEXT, gone INTEGER);
      CREATE UNIQUE INDEX t_email ON t (email COLLATE NOCASE) WHERE gone IS NULL -- the living;
      ;INSERT INTO t VALUES ('1', 'a@b', NULL), ('2', 'A@B', 1);`,
    changes: [
      `REPLACE INTO t VALUES ('3', 'A@b', NULL)`,
      `UPDATE OR REPLACE t SET gone = NULL WHERE id = '2'`,
    ],
  },
  {
    name: "REPLACE by an expression that depends on a column's affinity",
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b); CREATE UNIQUE INDEX t_ab ON t ((a = 1), b);
      INSERT INTO t VALUES (1, '1', 'x');`,
    changes: [`REPLACE INTO t VALUES (2, 1, 'x')`],
    log: [
      [1, null],
      [2, 0],
    ],
  },
  {
    name: 'REPLACE by the rowid of a table with another key',
    sql: `CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1), ('b', 2);`,
    changes: [
      `REPLACE INTO t (rowid, id) VALUES (1, 'c')`,
      `UPDATE OR REPLACE t SET rowid = 1 WHERE id = 'b'`,
      `INSERT INTO t (rowid, id) VALUES (-1, 'minus')`,
      `REPLACE INTO t (rowid, id) VALUES (-1, 'plus')`,
    ],
  },
  {
    name: 'an update that replaces the row that its own refers to',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, up REFERENCES t (id) ON DELETE CASCADE);
      CREATE TABLE k (id TEXT NOT NULL PRIMARY KEY, up REFERENCES k (id) ON DELETE CASCADE);
      INSERT INTO t VALUES (1, NULL), (2, 1); INSERT INTO k VALUES ('a', NULL), ('b', 'a');
      PRAGMA foreign_keys = ON;`,
    changes: [
      'UPDATE OR REPLACE t SET id = up WHERE up = 1',
      `UPDATE OR REPLACE k SET id = up WHERE up = 'a'`,
    ],
    log: [
      ['a', null],
      ['b', 1],
    ],
  },
  {
    name: 'REPLACE by the default that takes the place of a NULL',
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT word UNIQUE, b REAL NOT NULL DEFAULT - 1, c NOT NULL DEFAULT "it's" UNIQUE, d NOT NULL DEFAULT CURRENT_DATE, e TEXT NOT NULL DEFAULT (1 + 1 -- two
        ), f NOT NULL DEFAULT true);
      CREATE UNIQUE INDEX t_b ON t (b, d); CREATE UNIQUE INDEX t_e ON t (lower(e), f);
      INSERT INTO t DEFAULT VALUES;`,
    changes: [
      `REPLACE INTO t VALUES (2, NULL, 1, 1, 1, 1, 1)`,
      `REPLACE INTO t VALUES (3, 3, NULL, 3, NULL, 3, 3), (4, 4, 4, NULL, 4, 4, 4), (5, 5, 5, 5, 5, NULL, NULL)`,
      `UPDATE OR REPLACE t SET a = NULL WHERE id = 3`,
      `REPLACE INTO t VALUES (6, 6, 6, NULL, 6, 6, 6)`,
      `UPDATE OR REPLACE t SET b = NULL, d = NULL WHERE id = 6`,
      `UPDATE OR REPLACE t SET e = NULL, f = 1 WHERE id = 6`,
    ],
    log: [
      [1, null],
      [2, null],
      [4, null],
      [3, null],
      [5, null],
      [6, 0],
    ],
  },
  {
    name: 'an update whose key becomes the default that its own refers to',
    sql: `CREATE TABLE t (id TEXT NOT NULL DEFAULT 'k' PRIMARY KEY, up REFERENCES t (id) ON DELETE CASCADE);
      INSERT INTO t VALUES ('k', NULL), ('b', 'k'); PRAGMA foreign_keys = ON;`,
    changes: [`UPDATE OR REPLACE t SET id = NULL WHERE id = 'b'`],
    log: [
      ['k', null],
      ['b', 1],
    ],
  },
  {
    name: 'INSERT OR IGNORE, DO NOTHING and DO UPDATE',
    sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1);',
    changes: [
      'INSERT OR IGNORE INTO t VALUES (1, 5)',
      'INSERT INTO t VALUES (1, 5) ON CONFLICT DO NOTHING',
      'INSERT INTO t VALUES (1, 5), (2, 2) ON CONFLICT DO UPDATE SET v = excluded.v',
    ],
    log: [
      [1, 0],
      [2, 0],
    ],
  },
  {
    name: 'keys that shift and swap',
    sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);',
    changes: [
      'UPDATE t SET id = -id',
      'UPDATE t SET id = 5 + id',
      'UPDATE t SET id = id + 1 WHERE id = 4',
      'UPDATE OR REPLACE t SET id = id - 1',
      'UPDATE OR IGNORE t SET id = id + 1',
    ],
  },
  {
    name: 'DELETE of everything',
    sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2);',
    changes: ['DELETE FROM t'],
    log: [
      [1, 1],
      [2, 1],
    ],
  },
  {
    name: 'foreign keys that cascade, also from a REPLACE',
    sql: `CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE, n REFERENCES p (id) ON DELETE SET NULL);
      CREATE TABLE p (id INTEGER PRIMARY KEY, u UNIQUE);
      INSERT INTO p VALUES (1, 1), (2, 2), (3, 3); INSERT INTO c VALUES (1, 1, 2), (2, 2, 1), (3, 3, NULL);`,
    changes: [
      'DELETE FROM p WHERE id = 1',
      'UPDATE p SET id = 7 WHERE id = 3',
      'REPLACE INTO p VALUES (9, 3)',
    ],
  },
  {
    name: 'savepoints and transactions rolled back',
    sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1);',
    changes: [
      'BEGIN; INSERT INTO t VALUES (2, 2); ROLLBACK',
      'BEGIN; SAVEPOINT s; UPDATE t SET v = 2; ROLLBACK TO s; INSERT INTO t VALUES (3, 3); COMMIT',
    ],
    log: [[3, 0]],
  },
  {
    name: 'keys that differ in their spelling only',
    sql: `CREATE TABLE t (id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1);`,
    changes: [`UPDATE t SET id = 'A'`, `REPLACE INTO t VALUES ('a', 2)`],
    log: [
      ['A', null],
      ['a', 0],
    ],
  },
  {
    name: 'keys that are NULL',
    sql: `CREATE TABLE t (id TEXT PRIMARY KEY, v); INSERT INTO t VALUES (NULL, 1), (NULL, 2);`,
    changes: [
      `UPDATE t SET v = 3 WHERE v = 2`,
      `DELETE FROM t WHERE v = 1`,
      `UPDATE t SET id = 'x'`,
      'UPDATE t SET id = NULL, rowid = 9',
    ],
  },
  {
    name: 'keys of every kind',
    sql: `CREATE TABLE t (k PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE r (k REAL NOT NULL PRIMARY KEY);`,
    changes: [
      `INSERT INTO t VALUES (1, 1), (1.5, 1), ('1', 1), (x'31', 1), ('', 1), (x'', 1), (9223372036854775807, 1), ('a' || char(0) || 'b', 1)`,
      'UPDATE t SET v = 2',
      `INSERT INTO r VALUES (1), ('2'), (9e999), (-0.0)`,
      'DELETE FROM t',
    ],
  },
  {
    name: 'odd names',
    sql: `CREATE TABLE "select ""x"" 'y' é.(" ("group, by" TEXT NOT NULL, "version" INT, "k1" UNIQUE, "deleted" AS (lower("k1")), "row", PRIMARY KEY ("group, by", "version"));
      CREATE UNIQUE INDEX "in ""dex" ON "select ""x"" 'y' é.(" ("deleted") WHERE "row" <> ')';
      CREATE UNIQUE INDEX [ex pr] ON "select ""x"" 'y' é.(" ("row" || ',' || \`version\`) ;
      INSERT INTO "select ""x"" 'y' é.(" VALUES ('1', 1, 'A', 1), ('2', 2, 'B', 2);`,
    changes: [
      `REPLACE INTO "select ""x"" 'y' é.(" VALUES ('3', 3, 'a', 3)`,
      `REPLACE INTO "select ""x"" 'y' é.(" VALUES ('4', 2, 'c', 2)`,
    ],
  },
];

void describe('a change log', () => {
  for (const { name, sql, changes, log } of CASES) {
    void it(`holds ${name}`, async () => {
      await using dir = await TempDirectory.make();
      using logged = await LoggedDatabase.make(dir.join('source.db'), sql);
      for (const change of changes) {
        assert.deepEqual(
          logged.unlogged(() => logged.exec(change)),
          [],
          change,
        );
      }
      if (log) {
        const rows = logged.all('SELECT k1, deleted FROM storage_sync_log_1 ORDER BY version');
        assert.deepEqual(rows, log);
      }
    });
  }

  void it('does not show in what a statement answers', async () => {
    await using dir = await TempDirectory.make();
    using logged = await LoggedDatabase.make(
      dir.join('source.db'),
      `CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES (40, 1)`,
    );
    const inserted = logged.database.prepare('INSERT OR REPLACE INTO t (u) VALUES (1)').run();
    assert.equal(inserted.changes, 1);
    assert.equal(Number(inserted.lastInsertRowid), 41);
    const returned = logged.all('UPDATE t SET u = 5 RETURNING id, u');
    assert.deepEqual(returned, [[41, 5]]);
  });

  void it('goes on through renames, which the status tells of', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    using logged = await LoggedDatabase.make(
      file,
      `CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, a, b); CREATE UNIQUE INDEX u ON t (lower(a)) WHERE t.b > 0;`,
    );
    await using log = await openChangeLog({ url: `file:${file}` });
    logged.exec('ALTER TABLE t RENAME COLUMN a TO "new a"; ALTER TABLE t ADD COLUMN d');
    logged.exec('ALTER TABLE t DROP COLUMN d');
    logged.exec(`INSERT INTO t VALUES ('1', 'A', 1); REPLACE INTO t VALUES ('2', 'a', 1)`);
    assert.deepEqual(logged.all('SELECT k1, deleted FROM storage_sync_log_1 ORDER BY version'), [
      ['1', null],
      ['2', 0],
    ]);
    assert.match((await log.status()).tables[0]!.problem!, /unique indexes changed/);
    await log.install();
    logged.exec('ALTER TABLE t RENAME COLUMN id TO key');
    assert.match(
      (await log.status()).tables[0]!.problem!,
      /the key changed from \(id\) to \(key\)/,
    );
    await log.install();
    logged.exec('ALTER TABLE t RENAME TO "other one"');
    logged.exec(`UPDATE "other one" SET key = '5' WHERE key = '2'`);
    const [found] = (await log.status()).tables;
    assert.equal(found!.state, 'broken');
    assert.match(found!.problem!, /renamed to "other one"/);
    assert.equal(found!.rows, 2);
    const report = await log.install(['other one']);
    assert.equal(report.tables[0]!.action, 'reinstalled');
    const after = (await log.status()).tables;
    assert.deepEqual(
      after.map(({ table, state, rows }) => ({ table, state, rows })),
      [{ table: 'other one', state: 'installed', rows: 0 }],
    );
  });

  void it('is told to be broken when the table is dropped, made anew or indexed', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    const create = 'CREATE TABLE t (id INTEGER PRIMARY KEY, u)';
    using logged = await LoggedDatabase.make(file, create);
    await using log = await openChangeLog({ url: `file:${file}` });
    const problem = async () => (await log.status()).tables[0]!.problem;
    const logId = async () => (await log.status()).tables[0]!.logId;
    const first = await logId();
    logged.exec('CREATE UNIQUE INDEX late ON t (u)');
    assert.match((await problem())!, /unique indexes changed/);
    assert.equal((await log.install()).tables[0]!.action, 'reinstalled');
    assert.equal(await problem(), null);
    logged.exec('DROP TABLE t');
    assert.match((await problem())!, /does not exist/);
    logged.exec(create);
    assert.match((await problem())!, /triggers are gone/);
    assert.equal((await log.install(['T'])).tables[0]!.action, 'reinstalled');
    assert.equal(await problem(), null);
    const second = await logId();
    assert.notEqual(second, first);
    const [{ id } = { id: 0 }] = logged.captures();
    logged.exec(`DROP TRIGGER storage_sync_log_${id}_delete`);
    assert.match((await problem())!, /_delete is missing/);
    assert.equal((await log.install()).tables[0]!.action, 'reinstalled');
    assert.equal((await log.install()).tables[0]!.action, 'unchanged');
    assert.notEqual(await logId(), second);
  });
});
