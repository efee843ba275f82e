import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Client, createClient, LibsqlError } from '@libsql/client';
import type { HranaServer } from '../support/hrana/server.js';
import { withServer } from './temp-database.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v, label TEXT UNIQUE)';

async function withClient(
  server: HranaServer,
  scheme: 'http' | 'ws',
  use: (client: Client) => Promise<void>,
  authToken?: string,
): Promise<void> {
  const client = createClient({
    url: scheme === 'http' ? server.httpUrl : server.wsUrl,
    tls: false,
    intMode: 'bigint',
    ...(authToken === undefined ? {} : { authToken }),
  });
  try {
    await use(client);
  } finally {
    client.close();
  }
}

const hasCode =
  (code: string, message?: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof LibsqlError, String(error));
    assert.equal(error.code, code);
    if (message !== undefined) {
      assert.match(error.message, message);
    }
    return true;
  };

for (const scheme of ['http', 'ws'] as const) {
  void describe(`@libsql/client over ${scheme}`, () => {
    void it('round trips values of all types exactly', async () => {
      await withServer({}, (server) =>
        withClient(server, scheme, async (client) => {
          await client.execute(SCHEMA);
          const values = [
            null,
            0n,
            -1n,
            9_223_372_036_854_775_807n,
            -9_223_372_036_854_775_808n,
            9_007_199_254_740_993n,
            1.5,
            0.1,
            -1e300,
            5e-324,
            '',
            'a\0b\0',
            'čeština 😀 \u2028 "\\',
            new Uint8Array(),
            Uint8Array.of(0, 255, 1, 128, 7),
          ];
          for (const value of values) {
            await client.execute({ sql: 'INSERT INTO t (v) VALUES (?)', args: [value] });
          }
          const { rows, columnTypes } = await client.execute(
            'SELECT v, typeof(v) FROM t ORDER BY id',
          );
          assert.deepEqual(columnTypes, ['', '']);
          const read = rows.map((row) =>
            row[0] instanceof ArrayBuffer ? new Uint8Array(row[0]) : row[0],
          );
          assert.deepEqual(read, values);
        }),
      );
    });

    void it('reports columns, changes and rowids', async () => {
      await withServer({}, (server) =>
        withClient(server, scheme, async (client) => {
          await client.execute(SCHEMA);
          const inserted = await client.execute(
            `INSERT INTO t (id, label) VALUES (9007199254740993, 'a'), (9007199254740994, 'b')`,
          );
          assert.equal(inserted.rowsAffected, 2);
          assert.equal(inserted.lastInsertRowid, 9_007_199_254_740_994n);
          const returned = await client.execute(
            `INSERT INTO t (label) VALUES ('c') RETURNING id, label`,
          );
          assert.equal(returned.rowsAffected, 1);
          assert.deepEqual(returned.rows[0]?.['label'], 'c');
          const selected = await client.execute({
            sql: 'SELECT id, label AS l, id + 1 FROM t WHERE label = :label',
            args: { label: 'a' },
          });
          assert.deepEqual(selected.columns, ['id', 'l', 'id + 1']);
          assert.deepEqual(selected.columnTypes, ['INTEGER', 'TEXT', '']);
          assert.equal(selected.rowsAffected, 0);
          assert.equal(selected.lastInsertRowid, undefined);
        }),
      );
    });

    void it('commits and rolls back batches and transactions', async () => {
      await withServer({}, (server) =>
        withClient(server, scheme, async (client) => {
          await client.execute(SCHEMA);
          await client.batch(
            [
              { sql: 'INSERT INTO t (label) VALUES (?)', args: ['a'] },
              { sql: 'INSERT INTO t (label) VALUES (?)', args: ['b'] },
            ],
            'write',
          );
          await assert.rejects(
            client.batch(
              [
                { sql: 'INSERT INTO t (label) VALUES (?)', args: ['c'] },
                { sql: 'INSERT INTO t (label) VALUES (?)', args: ['a'] },
              ],
              'write',
            ),
            hasCode('SQLITE_CONSTRAINT', /UNIQUE constraint failed: t\.label/),
          );
          const count = async (): Promise<unknown> =>
            (await client.execute('SELECT count(*) FROM t')).rows[0]?.[0];
          assert.equal(await count(), 2n);

          const kept = await client.transaction('write');
          await kept.execute("INSERT INTO t (label) VALUES ('d')");
          await kept.commit();
          const dropped = await client.transaction('write');
          await dropped.execute("INSERT INTO t (label) VALUES ('e')");
          await dropped.rollback();
          assert.equal(await count(), 3n);

          await client.executeMultiple(
            `CREATE TRIGGER tr AFTER INSERT ON t BEGIN DELETE FROM t WHERE label = 'a'; END;
             INSERT INTO t (label) VALUES ('x;y'); -- a comment; with a semicolon
             INSERT INTO t (label) VALUES ('z');`,
          );
          assert.equal(await count(), 4n);
        }),
      );
    });

    void it('answers errors with the codes of the reference', async () => {
      await withServer({}, (server) =>
        withClient(server, scheme, async (client) => {
          await client.execute(SCHEMA);
          const fails = (sql: string, args: unknown[], code: string, message: RegExp) =>
            assert.rejects(
              client.execute({ sql, args: args as string[] }),
              hasCode(code, message),
              sql,
            );
          await fails('SELEC 1', [], 'SQL_PARSE_ERROR', /syntax error around L1:\d+: `SELEC`/);
          await fails('SELECT * FROM nope', [], 'SQLITE_UNKNOWN', /no such table: nope/);
          await fails(
            'SELECT nope FROM t',
            [],
            'SQL_INPUT_ERROR',
            /no such column: nope \(at offset 7\)/,
          );
          await fails('SELECT 1; SELECT 2', [], 'SQL_MANY_STATEMENTS', /more than one statement/);
          await fails(' -- nothing', [], 'SQL_NO_STATEMENT', /does not contain any statement/);
          await fails('SELECT ?, ?', ['a'], 'ARGS_INVALID', /value for parameter 2 not found/);
          await fails(
            'SELECT ?',
            ['a', 'b'],
            'ARGS_INVALID',
            /too many parameters, expected 1 found 2/,
          );
          for (const sql of [
            'VACUUM',
            'PRAGMA journal_mode = DELETE',
            'PRAGMA wal_checkpoint',
            'CREATE TEMP TABLE x (a)',
            "ATTACH 'other.db' AS o",
          ]) {
            await fails(sql, [], 'SQL_PARSE_ERROR', /unsupported statement: /);
          }
          const pragma = await client.execute("SELECT name FROM pragma_table_xinfo('t')");
          assert.equal(pragma.rows.length, 3);
          assert.equal((await client.execute('PRAGMA table_info(t)')).rows.length, 3);
        }),
      );
    });

    void it('asks for the token', async () => {
      await withServer({ token: 'secret' }, async (server) => {
        await withClient(
          server,
          scheme,
          async (client) => void (await client.execute('SELECT 1')),
          'secret',
        );
        await withClient(
          server,
          scheme,
          async (client) => {
            await assert.rejects(
              client.execute('SELECT 1'),
              hasCode(scheme === 'http' ? 'SERVER_ERROR' : 'AUTH_JWT_INVALID'),
            );
          },
          'wrong',
        );
      });
    });
  });
}
