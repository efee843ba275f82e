import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { close, execute, type Json, postJson, run } from './raw-http.js';
import { withServer } from './temp-database.js';

const ok = (step: number): Json => ({ type: 'ok', step });
const error = (step: number): Json => ({ type: 'error', step });

for (const version of ['v2', 'v3'] as const) {
  const path = `/${version}/pipeline`;
  void describe(`Hrana over HTTP, ${version} JSON`, () => {
    void it('says that it is there', async () => {
      await withServer({ token: 'secret' }, async (server) => {
        const response = await fetch(`${server.httpUrl}/${version}`);
        assert.equal(response.status, 200);
        await response.text();
      });
    });

    void it('writes a result as the reference does', async () => {
      await withServer({}, async (server) => {
        await run(server, 'CREATE TABLE t (i INT, r REAL, s, b BLOB)');
        const { text, contentType, json } = await postJson(server, path, {
          baton: null,
          requests: [
            execute('INSERT INTO t VALUES (?, ?, ?, ?)', {
              args: [
                { type: 'integer', value: '-9223372036854775808' },
                { type: 'float', value: 2 },
                { type: 'text', value: 'x\u0000"y' },
                { type: 'blob', base64: 'AP8=' },
              ],
            }),
            execute('SELECT *, 1e999, -0.0, 1e21, 1.5e-7, NULL FROM t'),
            close,
          ],
        });
        assert.equal(contentType, 'application/json');
        const body = text.replaceAll(/"query_duration_ms":[\d.e-]+/g, '"query_duration_ms":0');
        assert.equal(
          body,
          '{"baton":null,"base_url":null,"results":[' +
            '{"type":"ok","response":{"type":"execute","result":{"cols":[],"rows":[],' +
            '"affected_row_count":1,"last_insert_rowid":"1","replication_index":"2",' +
            '"rows_read":0,"rows_written":1,"query_duration_ms":0}}},' +
            '{"type":"ok","response":{"type":"execute","result":{"cols":[' +
            '{"name":"i","decltype":"INT"},{"name":"r","decltype":"REAL"},' +
            '{"name":"s","decltype":null},{"name":"b","decltype":"BLOB"},' +
            '{"name":"1e999","decltype":null},{"name":"-0.0","decltype":null},' +
            '{"name":"1e21","decltype":null},{"name":"1.5e-7","decltype":null},' +
            '{"name":"NULL","decltype":null}],"rows":[[' +
            '{"type":"integer","value":"-9223372036854775808"},{"type":"float","value":2.0},' +
            '{"type":"text","value":"x\\u0000\\"y"},{"type":"blob","base64":"AP8"},' +
            '{"type":"float","value":null},{"type":"float","value":-0.0},' +
            '{"type":"float","value":1e21},{"type":"float","value":1.5e-7},{"type":"null"}]],' +
            '"affected_row_count":0,"last_insert_rowid":null,"replication_index":"2",' +
            '"rows_read":1,"rows_written":0,"query_duration_ms":0}}},' +
            '{"type":"ok","response":{"type":"close"}}]}',
        );
        assert.equal(json.at('baton'), null);
      });
    });

    void it('runs the steps of a batch by their conditions', async () => {
      await withServer({}, async (server) => {
        const steps: Json[] = [
          { stmt: { sql: 'SELECT 0' } },
          { stmt: { sql: 'SELECT * FROM missing' } },
          { condition: ok(0), stmt: { sql: 'SELECT 2' } },
          { condition: ok(1), stmt: { sql: 'SELECT 3' } },
          { condition: error(1), stmt: { sql: 'SELECT 4', want_rows: false } },
          { condition: { type: 'not', cond: ok(0) }, stmt: { sql: 'SELECT 5' } },
          { condition: { type: 'and', conds: [ok(0), ok(1)] }, stmt: { sql: 'SELECT 6' } },
          { condition: { type: 'or', conds: [ok(1), ok(2)] }, stmt: { sql: 'SELECT 7' } },
        ];
        const { json } = await postJson(server, path, {
          baton: null,
          requests: [{ type: 'batch', batch: { steps } }, close],
        });
        const result = ['results', 0, 'response', 'result'] as const;
        const rows = steps.map((_, i) =>
          json.at(...result, 'step_results', i, 'rows', 0, 0, 'value'),
        );
        assert.deepEqual(rows, [
          '0',
          undefined,
          '2',
          undefined,
          undefined,
          undefined,
          undefined,
          '7',
        ]);
        assert.deepEqual(json.at(...result, 'step_results', 3), null);
        assert.deepEqual(json.at(...result, 'step_results', 4, 'rows'), []);
        assert.deepEqual(json.at(...result, 'step_errors', 3), null);
        assert.deepEqual(json.at(...result, 'step_errors', 1), {
          message: 'SQLite error: no such table: missing',
          code: 'SQLITE_UNKNOWN',
        });
      });
    });

    void it('describes, stores texts, runs sequences and binds names', async () => {
      await withServer({}, async (server) => {
        const { json } = await postJson(server, path, {
          baton: null,
          requests: [
            { type: 'sequence', sql: 'CREATE TABLE t (a INT); INSERT INTO t VALUES (7);' },
            { type: 'store_sql', sql_id: -3, sql: 'SELECT a AS x, $b, ?5, ? FROM t' },
            { type: 'describe', sql_id: -3 },
            { type: 'execute', stmt: { sql_id: -3, named_args: [] } },
            {
              type: 'execute',
              stmt: {
                sql: 'SELECT :a, @b, $c',
                named_args: [':a', 'b', '$c'].map((name) => ({
                  name,
                  value: { type: 'text', value: name },
                })),
              },
            },
            { type: 'close_sql', sql_id: -3 },
            { type: 'sequence', sql: 'INSERT INTO t VALUES (8); INSERT INTO nope VALUES (9)' },
            execute('SELECT a FROM t'),
            close,
          ],
        });
        const results = (i: number, ...path: (string | number)[]): unknown =>
          json.at('results', i, ...path);
        assert.deepEqual(results(0, 'response'), { type: 'sequence' });
        assert.deepEqual(results(2, 'response', 'result'), {
          params: [
            { name: '$b' },
            { name: null },
            { name: null },
            { name: null },
            { name: '?5' },
            { name: null },
          ],
          cols: [
            { name: 'x', decltype: 'INT' },
            { name: '$b', decltype: null },
            { name: '?5', decltype: null },
            { name: '?', decltype: null },
          ],
          is_explain: false,
          is_readonly: true,
        });
        assert.equal(results(3, 'error', 'code'), 'ARGS_INVALID');
        assert.deepEqual(
          [0, 1, 2].map((i) => results(4, 'response', 'result', 'rows', 0, i, 'value')),
          [':a', 'b', '$c'],
        );
        assert.equal(results(6, 'error', 'code'), 'SQLITE_UNKNOWN');
        assert.equal((results(7, 'response', 'result', 'rows') as unknown[]).length, 2);
      });
    });

    void it('answers a broken protocol with 400 and plain text', async () => {
      await withServer({}, async (server) => {
        const refused = async (body: Json, message: RegExp): Promise<void> => {
          const answer = await postJson(server, path, body);
          assert.equal(answer.status, 400, answer.text);
          assert.equal(answer.contentType, 'text/plain');
          assert.match(answer.text, message);
        };
        const one = (request: Json): Json => ({ baton: null, requests: [request] });
        await refused({ baton: null }, /Cannot deserialize client message from JSON/);
        await refused(one({ type: 'what' }), /unknown variant `what`/);
        await refused(
          one(execute('SELECT ?', { args: [{ type: 'integer', value: '9223372036854775808' }] })),
          /decimal integer/,
        );
        await refused(
          one({ type: 'execute', stmt: {} }),
          /^Either `sql` or `sql_id` are required$/,
        );
        await refused(one({ type: 'execute', stmt: { sql_id: 4 } }), /^SQL text 4 not found$/);
        await refused(
          { baton: null, requests: [close, execute('SELECT 1')] },
          /^Stream for this baton was closed$/,
        );
        await refused(
          one({
            type: 'batch',
            batch: { steps: [{ condition: ok(0), stmt: { sql: 'SELECT 1' } }] },
          }),
          /^Invalid reference to step in a batch condition$/,
        );
        if (version === 'v2') {
          await refused(
            one({ type: 'get_autocommit' }),
            /^The `get_autocommit` request is only supported in protocol version hrana3 and higher$/,
          );
        }
        assert.equal((await server.stats()).openStreams, 0);
      });
    });
  });
}

void describe('Hrana 3 over HTTP, JSON', () => {
  void it('tells and tests the autocommit state', async () => {
    await withServer({}, async (server) => {
      const step: Json = { condition: { type: 'is_autocommit' }, stmt: { sql: 'SELECT 1' } };
      const { json } = await postJson(server, '/v3/pipeline', {
        baton: null,
        requests: [
          { type: 'get_autocommit' },
          execute('BEGIN'),
          { type: 'get_autocommit' },
          { type: 'batch', batch: { steps: [step] } },
          close,
        ],
      });
      assert.equal(json.at('results', 0, 'response', 'is_autocommit'), true);
      assert.equal(json.at('results', 2, 'response', 'is_autocommit'), false);
      assert.deepEqual(json.at('results', 3, 'response', 'result', 'step_results'), [null]);
    });
  });

  void it('is not there when it is switched off', async () => {
    await withServer({ versions: { v3: false, v3Protobuf: false } }, async (server) => {
      for (const path of ['/v3', '/v3-protobuf', '/v3/pipeline', '/nowhere']) {
        const response = await fetch(server.httpUrl + path);
        assert.equal(response.status, 404, path);
        await response.text();
      }
    });
  });
});

void describe('the bearer token', () => {
  void it('is asked for with the answers of the reference', async () => {
    await withServer({ token: 'secret' }, async (server) => {
      const body: Json = { baton: null, requests: [execute('SELECT 1'), close] };
      const none = await postJson(server, '/v2/pipeline', body);
      assert.equal(none.status, 401);
      assert.equal(none.contentType, 'application/json');
      assert.equal(
        none.text,
        '{"error":"Unauthorized: `Expected authorization header but none given`"}',
      );
      const wrong = await postJson(server, '/v2/pipeline', body, { authorization: 'Bearer x' });
      assert.equal(wrong.status, 401);
      assert.equal(wrong.text, '{"error":"Unauthorized: `The JWT is invalid`"}');
      const right = await postJson(server, '/v2/pipeline', body, {
        authorization: 'bearer secret',
      });
      assert.equal(right.status, 200);
    });
  });
});
