import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HranaServer } from '../support/hrana/server.js';
import { dig, double, fields, has, int, message, sint, value } from './hand-protobuf.js';
import { post, run } from './raw-http.js';
import { withServer } from './temp-database.js';

const PATH = '/v3-protobuf/pipeline';

async function pipeline(server: HranaServer, ...requests: readonly Buffer[]): Promise<Buffer> {
  const body = Buffer.concat(requests.map((request) => message(2, request)));
  const response = await post(server, PATH, body);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/x-protobuf');
  return Buffer.from(await response.arrayBuffer());
}

const execute = (...stmt: readonly Buffer[]): Buffer => message(2, message(1, ...stmt));
const sql = (text: string): Buffer => message(1, text);
const CLOSE = message(1);

/** `StreamResult`s of a `PipelineRespBody`. */
const resultsOf = (body: Buffer): Buffer[] =>
  fields(body)
    .filter(({ number }) => number === 3)
    .map(({ bytes }) => bytes);

void describe('Hrana 3 over HTTP, Protobuf', () => {
  void it('says that it is there', async () => {
    await withServer({}, async (server) => {
      const response = await fetch(`${server.httpUrl}/v3-protobuf`);
      assert.ok(response.ok);
      await response.text();
    });
  });

  void it('round trips values of all types', async () => {
    await withServer({}, async (server) => {
      await run(server, 'CREATE TABLE t (i INT, r REAL, s TEXT, b BLOB, n)');
      const text = 'a\0č😀'.repeat(50);
      const blob = Buffer.from([0, 255, 10]);
      const body = await pipeline(
        server,
        execute(
          sql('INSERT INTO t VALUES (?, ?, ?, ?, ?)'),
          message(3, sint(2, -9_223_372_036_854_775_808n)),
          message(3, double(3, -Infinity)),
          message(3, message(4, text)),
          message(3, message(5, blob)),
          message(3, message(1)),
        ),
        execute(sql('SELECT *, -0.0, 9223372036854775807 FROM t')),
        execute(sql('SELECT :a'), message(4, message(1, 'a'), message(2, sint(2, 5n)))),
        execute(sql('SELECT 1'), int(5, 0)),
        CLOSE,
      );
      assert.equal(has(body, 1), false, 'a closed stream has no baton');
      const [insert, select, named, unwanted, close] = resultsOf(body);
      assert.ok(insert && select && named && unwanted && close);

      const inserted = dig(insert, 1, 2, 1);
      const scalars = new Map(fields(inserted).map(({ number, integer }) => [number, integer]));
      assert.equal(scalars.get(3), 1n, 'affected_row_count');
      assert.equal(scalars.get(4), 2n, 'last_insert_rowid, zigzag');
      assert.equal(scalars.get(7), 1n, 'rows_written');

      const selected = fields(dig(select, 1, 2, 1));
      const cols = selected.filter(({ number }) => number === 1).map(({ bytes }) => bytes);
      assert.deepEqual(
        cols.map((col) => fields(col).map(({ bytes }) => bytes.toString())),
        [
          ['i', 'INT'],
          ['r', 'REAL'],
          ['s', 'TEXT'],
          ['b', 'BLOB'],
          ['n'],
          ['-0.0'],
          ['9223372036854775807'],
        ],
      );
      const rows = selected.filter(({ number }) => number === 2).map(({ bytes }) => bytes);
      assert.deepEqual(
        fields(rows[0] ?? Buffer.alloc(0)).map(({ bytes }) => value(bytes)),
        [-9_223_372_036_854_775_808n, -Infinity, text, blob, null, -0, 9_223_372_036_854_775_807n],
      );
      assert.equal(value(dig(named, 1, 2, 1, 2, 1)), 5n);
      assert.equal(has(dig(unwanted, 1, 2, 1), 2), false);
      assert.equal(dig(close, 1, 1).length, 0);
    });
  });

  void it('runs batches, describes and answers errors', async () => {
    await withServer({}, async (server) => {
      const step = (text: string, ...condition: readonly Buffer[]): Buffer =>
        message(1, ...condition.map((cond) => message(1, cond)), message(2, sql(text)));
      const body = await pipeline(
        server,
        message(
          3,
          message(
            1,
            step('SELECT 10'),
            step('SELECT * FROM nope'),
            step('SELECT 12', int(1, 0)),
            step('SELECT 13', message(4, message(1, int(1, 0)), message(1, int(1, 1)))),
            step('SELECT 14', message(3, int(1, 1))),
            step('SELECT 15', message(6)),
            step('SELECT 16', int(2, 1)),
          ),
        ),
        message(5, message(1, 'EXPLAIN SELECT ?1, :x')),
        message(8),
        message(6, int(1, 3), message(2, 'SELECT 33')),
        execute(int(2, 3)),
        message(4, message(1, 'CREATE TABLE t (a); INSERT INTO t VALUES (1)')),
        execute(sql('SELEC')),
      );
      const [batch, described, autocommit, , stored, sequence, failed] = resultsOf(body);
      assert.ok(batch && described && autocommit && stored && sequence && failed);
      const entries = fields(dig(batch, 1, 3, 1));
      const results = entries
        .filter(({ number }) => number === 1)
        .map(({ bytes }) => [fields(bytes)[0]?.integer, value(dig(bytes, 2, 2, 1))]);
      assert.deepEqual(results, [
        [0n, 10n],
        [2n, 12n],
        [4n, 14n],
        [5n, 15n],
        [6n, 16n],
      ]);
      const [error] = entries.filter(({ number }) => number === 2);
      assert.equal(fields(error?.bytes ?? Buffer.alloc(0))[0]?.integer, 1n);
      assert.equal(dig(error?.bytes ?? Buffer.alloc(0), 2, 2).toString(), 'SQLITE_UNKNOWN');

      const description = fields(dig(described, 1, 5, 1));
      const params = description.filter(({ number }) => number === 1);
      assert.deepEqual(
        params.map(({ bytes }) => dig(bytes, 1).toString()),
        ['?1', ':x'],
      );
      assert.equal(description.find(({ number }) => number === 3)?.integer, 1n);
      assert.equal(fields(dig(autocommit, 1, 8))[0]?.integer, 1n);
      assert.equal(value(dig(stored, 1, 2, 1, 2, 1)), 33n);
      assert.equal(dig(sequence, 1, 4).length, 0);
      assert.equal(dig(failed, 2, 2).toString(), 'SQL_PARSE_ERROR');
      assert.ok(dig(body, 1).length > 32, 'an open stream has a baton');
    });
  });

  void it('refuses what it cannot decode', async () => {
    await withServer({}, async (server) => {
      const bodies: [Buffer, RegExp][] = [
        [Buffer.from([0x12, 0x7f]), /^Could not decode client message from Protobuf/],
        [message(2), /^StreamRequest type not recognized$/],
        [message(2, execute(sql('SELECT ?'), message(3))), /^Value type not recognized$/],
      ];
      for (const [body, text] of bodies) {
        const response = await post(server, PATH, body);
        assert.equal(response.status, 400);
        assert.match(await response.text(), text);
      }
    });
  });
});
