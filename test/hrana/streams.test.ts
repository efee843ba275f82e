import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HranaServer } from '../support/hrana/server.js';
import { close, execute, fill, type Json, postJson, run } from './raw-http.js';
import { withServer } from './temp-database.js';

const PIPELINE = '/v2/pipeline';

async function open(server: HranaServer, ...sqls: readonly string[]): Promise<string> {
  const requests = sqls.map((sql) => execute(sql));
  const { json } = await postJson(server, PIPELINE, { baton: null, requests });
  return json.string('baton');
}

const next = (server: HranaServer, baton: string, ...requests: Json[]) =>
  postJson(server, PIPELINE, { baton, requests });

void describe('streams over HTTP', () => {
  void it('are led to by a baton that is used once', async () => {
    await withServer({}, async (server) => {
      const first = await open(server, 'CREATE TABLE t (a)', 'BEGIN', 'INSERT INTO t VALUES (1)');
      const answer = await next(server, first, execute('SELECT count(*) FROM t'));
      assert.equal(answer.json.at('results', 0, 'response', 'result', 'rows', 0, 0, 'value'), '1');
      const second = answer.json.string('baton');
      assert.notEqual(second, first);

      const reused = await next(server, first, execute('SELECT 1'));
      assert.equal(reused.status, 400);
      assert.equal(reused.text, 'Received a baton that has already been used');
      const forged = await next(server, `${second.slice(0, -2)}AA`, execute('SELECT 1'));
      assert.equal(forged.status, 400);
      assert.equal(forged.text, 'Received an invalid baton');

      assert.equal(
        (await run(server, 'SELECT count(*) FROM t')).text.includes('"value":"0"'),
        true,
      );
      const closed = await next(server, second, execute('COMMIT'), close);
      assert.equal(closed.json.at('baton'), null);
      const after = await next(server, second, close);
      assert.equal(after.text, 'Received an invalid baton');
      assert.equal((await server.stats()).openStreams, 0);
    });
  });

  void it('expire with their transaction when they are idle', async () => {
    await withServer({ streamIdleMs: 60 }, async (server) => {
      const baton = await open(
        server,
        'CREATE TABLE t (a)',
        'BEGIN IMMEDIATE',
        'INSERT INTO t VALUES (1)',
      );
      await sleep(150);
      const expired = await next(server, baton, execute('COMMIT'));
      assert.equal(expired.status, 400);
      assert.equal(expired.contentType, 'application/json');
      assert.equal(
        expired.text,
        '{"message":"The stream has expired due to inactivity","code":"STREAM_EXPIRED"}',
      );
      const { text } = await run(server, 'SELECT count(*) FROM t', 'INSERT INTO t VALUES (2)');
      assert.match(text, /"value":"0"/);
      assert.equal((await server.stats()).expiredStreams, 1);
    });
  });

  void it('wait for a writer, and roll it back when it takes too long', async () => {
    await withServer({ transactionTimeoutMs: 200 }, async (server) => {
      await run(server, 'CREATE TABLE t (a)');
      const quick = await open(server, 'BEGIN IMMEDIATE', 'INSERT INTO t VALUES (1)');
      const waiting = run(server, 'INSERT INTO t VALUES (2)');
      await sleep(30);
      await next(server, quick, execute('COMMIT'), close);
      await waiting;

      const slow = await open(server, 'BEGIN IMMEDIATE', 'INSERT INTO t VALUES (3)');
      await run(server, 'INSERT INTO t VALUES (4)');
      const late = await next(server, slow, execute('COMMIT'), close);
      assert.deepEqual(late.json.at('results', 0, 'error'), {
        message: 'Transaction timed out',
        code: 'TRANSACTION_TIMEOUT',
      });
      const { text } = await run(server, 'SELECT group_concat(a) FROM t');
      assert.match(text, /"value":"1,2,4"/);
    });
  });

  void it('refuse a result beyond the limit, and live on', async () => {
    await withServer({ maxResponseBytes: 10_000 }, async (server) => {
      await fill(server, 1000);
      const tooLarge = { message: 'Response is too large', code: 'RESPONSE_TOO_LARGE' };
      const small: Json = { stmt: { sql: 'SELECT * FROM t LIMIT 100' } };
      const { json, status } = await postJson(server, PIPELINE, {
        baton: null,
        requests: [
          execute('SELECT * FROM t'),
          { type: 'batch', batch: { steps: [small, small, small] } },
          // The limit holds for each result, not for the body.
          execute('SELECT * FROM t LIMIT 100'),
          execute('SELECT * FROM t LIMIT 100'),
          execute('DELETE FROM t'),
          close,
        ],
      });
      assert.equal(status, 200);
      assert.deepEqual(json.at('results', 0, 'error'), tooLarge);
      assert.deepEqual(json.at('results', 1, 'error'), tooLarge);
      assert.equal(json.at('results', 2, 'type'), 'ok');
      assert.equal(json.at('results', 3, 'type'), 'ok');
      assert.equal(json.at('results', 4, 'response', 'result', 'affected_row_count'), 1000);
    });
  });

  void it('are lost when the server goes down, which then serves on the same port', async () => {
    await withServer({}, async (server) => {
      const baton = await open(server, 'CREATE TABLE t (a)', 'BEGIN', 'INSERT INTO t VALUES (1)');
      await server.stop();
      await assert.rejects(run(server, 'SELECT 1'), (error: Error) => {
        assert.equal((error.cause as { code?: string }).code, 'ECONNREFUSED');
        return true;
      });
      await server.start();
      const answer = await next(server, baton, execute('COMMIT'));
      assert.equal(answer.status, 400);
      assert.equal(answer.text, 'Received an invalid baton');
      assert.match((await run(server, 'SELECT count(*) FROM t')).text, /"value":"0"/);
    });
  });
});
