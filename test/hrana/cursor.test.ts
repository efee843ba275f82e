import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HranaServer } from '../support/hrana/server.js';
import { dig, fields, frames, int, message, sint, value } from './hand-protobuf.js';
import { close, execute, fill, type Json, JsonPath, post, postJson, run } from './raw-http.js';
import { withServer } from './temp-database.js';

const batch = (...sqls: readonly string[]): Json => ({
  baton: null,
  batch: { steps: sqls.map((sql) => ({ stmt: { sql } })) },
});

async function lines(server: HranaServer, body: Json): Promise<JsonPath[]> {
  const response = await post(server, '/v3/cursor', body);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain');
  const text = await response.text();
  assert.ok(text.endsWith('\n'));
  return text
    .trimEnd()
    .split('\n')
    .map((line) => new JsonPath(JSON.parse(line)));
}

/** Starts a request and gives the response before its body. */
function start(server: HranaServer, path: string, body: string | Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(server.httpUrl + path, { method: 'POST', agent: false }, resolve);
    sent.on('error', reject);
    sent.end(body);
  });
}

void describe('cursors over HTTP', () => {
  void it('send a line of JSON for each entry', async () => {
    await withServer({}, async (server) => {
      await fill(server, 3, 2);
      const entries = await lines(server, {
        baton: null,
        batch: {
          steps: [
            { stmt: { sql: 'SELECT id, v FROM t' } },
            { stmt: { sql: 'SELECT * FROM nope' } },
            { condition: { type: 'ok', step: 1 }, stmt: { sql: 'SELECT 1' } },
            { stmt: { sql: 'SELECT ?' } },
            { stmt: { sql: "INSERT INTO t VALUES (9, 'x')" } },
          ],
        },
      });
      const [head, ...rest] = entries.map((entry) => entry.value);
      assert.equal(typeof (head as { baton: unknown }).baton, 'string');
      const row = (id: string): Json => ({
        type: 'row',
        row: [
          { type: 'integer', value: id },
          { type: 'text', value: `0${id}` },
        ],
      });
      assert.deepEqual(rest, [
        {
          type: 'step_begin',
          step: 0,
          cols: [
            { name: 'id', decltype: 'INTEGER' },
            { name: 'v', decltype: 'TEXT' },
          ],
        },
        row('1'),
        row('2'),
        row('3'),
        { type: 'step_end', affected_row_count: 0, last_insert_rowid: null },
        {
          type: 'step_error',
          step: 1,
          error: { message: 'SQLite error: no such table: nope', code: 'SQLITE_UNKNOWN' },
        },
        { type: 'step_begin', step: 3, cols: [{ name: '?', decltype: null }] },
        {
          type: 'step_error',
          step: 3,
          error: {
            message: 'Arguments do not match SQL parameters: value for parameter 1 not found',
            code: 'ARGS_INVALID',
          },
        },
        { type: 'step_begin', step: 4, cols: [] },
        { type: 'step_end', affected_row_count: 1, last_insert_rowid: 9 },
        { type: 'replication_index', replication_index: 3 },
      ]);
    });
  });

  void it('send length-delimited Protobuf, ended as the reference ends it', async () => {
    for (const replicationIndex of [true, false]) {
      await withServer({ replicationIndex }, async (server) => {
        await fill(server, 250, 200);
        const body = message(
          2,
          message(
            1,
            message(2, message(1, 'SELECT id, v FROM t WHERE id > ?'), message(3, sint(2, 0n))),
          ),
          message(1, message(1, int(1, 0)), message(2, message(1, 'SELECT 1'))),
        );
        const response = await post(server, '/v3-protobuf/cursor', body);
        assert.equal(response.headers.get('content-type'), 'application/octet-stream');
        const [head, ...entries] = frames(new Uint8Array(await response.arrayBuffer()));
        assert.ok(head && dig(head, 1).length > 32);
        const kinds = entries.map((entry) => fields(entry)[0]?.number);
        assert.deepEqual(kinds, [
          1,
          ...Array<number>(250).fill(4),
          2,
          1,
          4,
          2,
          replicationIndex ? 6 : undefined,
        ]);
        const last = entries.at(-1) ?? Buffer.alloc(0);
        if (replicationIndex) {
          assert.equal(fields(dig(last, 6))[0]?.integer, 2n);
        } else {
          assert.equal(last.length, 0);
        }
        const row = fields(dig(entries[250] ?? last, 4)).map(({ bytes }) => value(bytes));
        assert.deepEqual(row, [250n, '250'.padStart(200, '0')]);
        const secondBegin = fields(dig(entries[252] ?? last, 1));
        assert.equal(secondBegin[0]?.integer, 1n, 'the step of a later step_begin');
      });
    }
  });

  void it('keep their stream, whose next request waits for the last entry', async () => {
    await withServer({}, async (server) => {
      await run(server, 'CREATE TABLE t (a)');
      const [head] = await lines(server, batch('BEGIN', 'INSERT INTO t VALUES (1)'));
      const { json } = await postJson(server, '/v3/pipeline', {
        baton: head?.string('baton') ?? '',
        requests: [execute('COMMIT'), close],
      });
      assert.equal(json.at('results', 0, 'type'), 'ok');
      assert.match((await run(server, 'SELECT count(*) FROM t')).text, /"value":"1"/);
    });
  });

  void it('answer 500 to a batch that cannot be parsed', async () => {
    await withServer({}, async (server) => {
      const answer = await postJson(server, '/v3/cursor', batch('SELECT 1', 'SELEC'));
      assert.equal(answer.status, 500);
      assert.match(answer.json.string('error'), /^Internal Error: `SQL string could not be parsed/);
      assert.equal((await server.stats()).openStreams, 0);
    });
  });

  void it('stop reading while the client does not take the rows', async () => {
    await withServer({}, async (server) => {
      await fill(server, 40_000, 500);
      await server.resetStats();
      const response = await start(server, '/v3/cursor', JSON.stringify(batch('SELECT * FROM t')));
      await sleep(200);
      const before = await server.stats();
      assert.ok(before.rowsReturned < 30_000, `${before.rowsReturned} rows read ahead`);
      assert.ok(before.bytesSent < 16_000_000);
      let bytes = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
      }
      const after = await server.stats();
      assert.equal(after.rowsReturned, 40_000);
      assert.equal(after.bytesSent, bytes);
    });
  });

  void it('end their statement when the client leaves', async () => {
    await withServer({}, async (server) => {
      await fill(server, 40_000, 500);
      await server.resetStats();
      const response = await start(
        server,
        '/v3/cursor',
        JSON.stringify(batch('SELECT * FROM t ORDER BY v')),
      );
      response.destroy();
      await sleep(50);
      // With a reader left over, the log could not be emptied.
      await run(server, "INSERT INTO t VALUES (-1, '')");
      assert.ok((await server.stats()).rowsReturned < 40_000);
      await run(server, 'DROP TABLE t');
    });
  });

  void it('break the body at TEXT that is not UTF-8, where a pipeline answers 500', async () => {
    await withServer({}, async (server) => {
      await run(server, 'CREATE TABLE t (v)', "INSERT INTO t VALUES ('a'), (CAST(x'ff' AS TEXT))");
      const answer = await postJson(server, '/v2/pipeline', {
        baton: null,
        requests: [execute('SELECT v FROM t'), close],
      });
      assert.equal(answer.status, 500);
      assert.match(answer.json.string('error'), /invalid utf-8/);
      const response = await post(server, '/v3/cursor', batch('SELECT v FROM t'));
      await assert.rejects(response.text());
    });
  });
});
