import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createClient } from '@libsql/client';
import type { FaultAction, HranaServer } from '../support/hrana/server.js';
import { frames } from './hand-protobuf.js';
import { close, execute, fill, type Json, post, postJson, run } from './raw-http.js';
import { withServer } from './temp-database.js';

const one: Json = { baton: null, requests: [execute('SELECT 1'), close] };

/** `code` of the error that made a fetch fail. */
async function failure(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    return String((cause as { code?: unknown } | undefined)?.code ?? error);
  }
  return 'none';
}

const read = async (server: HranaServer, signal?: AbortSignal): Promise<string> => {
  const response = await fetch(`${server.httpUrl}/v2/pipeline`, {
    method: 'POST',
    body: JSON.stringify(one),
    ...(signal === undefined ? {} : { signal }),
  });
  return response.text();
};

void describe('ordered faults over HTTP', () => {
  void it('strike as often and as rarely as told', async () => {
    await withServer({}, async (server) => {
      const status = async (): Promise<number> =>
        (await postJson(server, '/v2/pipeline', one)).status;
      const statuses = async (count: number): Promise<number[]> => {
        const seen: number[] = [];
        for (let i = 0; i < count; i++) {
          seen.push(await status());
        }
        return seen;
      };
      const action: FaultAction = { kind: 'status', status: 503 };
      const once = await server.fault({ action });
      assert.deepEqual(await statuses(3), [503, 200, 200]);
      assert.equal(await once.fired(), 1);

      await server.fault({ action, skip: 1, times: 2 });
      assert.deepEqual(await statuses(4), [200, 503, 503, 200]);

      const every = await server.fault({ action, every: 3, times: Infinity });
      assert.deepEqual(await statuses(7), [200, 200, 503, 200, 200, 503, 200]);
      await every.clear();
      assert.equal(await every.fired(), 2);

      await server.fault({ action, times: Infinity });
      assert.deepEqual(await statuses(3), [503, 503, 503]);
      await server.clearFaults();
      assert.deepEqual(await statuses(2), [200, 200]);
      assert.equal((await server.stats()).faultsFired, 8);
    });
  });

  void it('strike only what they are meant for', async () => {
    await withServer({}, async (server) => {
      const action: FaultAction = { kind: 'status', status: 500 };
      await server.fault({ action, path: /^\/v3\//, times: Infinity });
      await server.fault({ action, sql: /SELECT\s+2/, times: Infinity });
      await server.fault({ action, transport: 'ws', times: Infinity });
      assert.equal((await postJson(server, '/v2/pipeline', one)).status, 200);
      assert.equal((await postJson(server, '/v3/pipeline', one)).status, 500);
      const two = (...requests: Json[]): Json => ({ baton: null, requests });
      const byText = two(execute('SELECT 2'), close);
      assert.equal((await postJson(server, '/v2/pipeline', byText)).status, 500);
      const byId = two(
        { type: 'store_sql', sql_id: 1, sql: 'SELECT 2' },
        { type: 'execute', stmt: { sql_id: 1 } },
      );
      assert.equal((await postJson(server, '/v2/pipeline', byId)).status, 500);
    });
  });

  void it('answer with a status, a Retry-After and a body', async () => {
    await withServer({}, async (server) => {
      await server.fault({
        action: { kind: 'status', status: 429, retryAfter: '2', body: 'slow down' },
      });
      const response = await post(server, '/v2/pipeline', one);
      assert.equal(response.status, 429);
      assert.equal(response.headers.get('retry-after'), '2');
      assert.equal(await response.text(), 'slow down');
      for (const status of [401, 403, 500]) {
        await server.fault({ action: { kind: 'status', status } });
        assert.equal((await postJson(server, '/v2/pipeline', one)).status, status);
      }
    });
  });

  void it('lose an answer after its statements ran', async () => {
    await withServer({}, async (server) => {
      await run(server, 'CREATE TABLE t (a)');
      for (const when of ['before', 'after'] as const) {
        await server.fault({ action: { kind: 'reset', when } });
        assert.equal(await failure(run(server, `INSERT INTO t VALUES ('${when}')`)), 'ECONNRESET');
        await server.fault({ action: { kind: 'status', status: 500, when } });
        await assert.rejects(run(server, `INSERT INTO t VALUES ('${when}')`));
      }
      const { text } = await run(server, 'SELECT group_concat(a) FROM t');
      assert.match(text, /"value":"after,after"/);
    });
  });

  void it('cut the body, roughly or cleanly', async () => {
    await withServer({}, async (server) => {
      const whole = await read(server);
      await server.fault({ action: { kind: 'reset-after-bytes', bytes: 40 } });
      assert.match(await failure(read(server)), /UND_ERR_SOCKET|ECONNRESET/);

      await server.fault({ action: { kind: 'end-after-bytes', bytes: 40 } });
      assert.equal(await read(server), whole.slice(0, 40));

      await fill(server, 2000, 300);
      const cursor: Json = {
        baton: null,
        batch: { steps: [{ stmt: { sql: 'SELECT * FROM t' } }] },
      };
      await server.fault({ action: { kind: 'end-after-bytes', bytes: 100_001 }, path: /cursor$/ });
      const cut = await (await post(server, '/v3/cursor', cursor)).text();
      assert.equal(cut.length, 100_001);
      assert.equal(cut.endsWith('\n'), false);
      await server.fault({ action: { kind: 'reset-after-bytes', bytes: 50_000 }, path: /cursor$/ });
      const response = await post(server, '/v3/cursor', cursor);
      let bytes = 0;
      await assert.rejects(async () => {
        for await (const chunk of response.body ?? []) {
          bytes += (chunk as Uint8Array).byteLength;
        }
      });
      assert.equal(bytes, 50_000);
    });
  });

  void it('stall before the answer and inside it, and add latency', async () => {
    await withServer({ latencyMs: 20 }, async (server) => {
      await server.fault({ action: { kind: 'stall' } });
      assert.match(await failure(read(server, AbortSignal.timeout(100))), /Timeout/);
      await server.fault({ action: { kind: 'stall', afterBytes: 10 } });
      const response = await post(server, '/v2/pipeline', one);
      assert.equal(response.status, 200);
      const reader = response.body?.getReader();
      assert.equal((await reader?.read())?.value?.byteLength, 10);
      await reader?.cancel();

      await server.fault({ action: { kind: 'latency', ms: 80 } });
      const startedAt = performance.now();
      await read(server);
      assert.ok(performance.now() - startedAt >= 99);
    });
  });

  void it('send bodies that cannot be decoded', async () => {
    await withServer({}, async (server) => {
      await server.fault({ action: { kind: 'bad-json' } });
      const bad = await postJson(server, '/v2/pipeline', one);
      assert.equal(bad.status, 200);
      assert.equal(bad.json.value, undefined);
      await server.fault({ action: { kind: 'bad-protobuf' } });
      const response = await post(server, '/v3-protobuf/cursor', new Uint8Array());
      const body = new Uint8Array(await response.arrayBuffer());
      assert.throws(() => frames(body));
    });
  });

  void it('reach @libsql/client as its users see them', async () => {
    await withServer({}, async (server) => {
      const client = createClient({ url: server.httpUrl });
      const codeOf = async (action: FaultAction): Promise<unknown> => {
        await server.fault({ action, path: /pipeline/ });
        const error: unknown = await client.execute('SELECT 1').then(
          () => undefined,
          (reason: unknown) => reason,
        );
        assert.ok(error instanceof Error);
        const cause = error.cause as { code?: unknown; status?: unknown } | undefined;
        return 'code' in error ? [error.code, cause?.status] : [error.name, cause?.code];
      };
      assert.deepEqual(await codeOf({ kind: 'status', status: 503 }), ['SERVER_ERROR', 503]);
      assert.deepEqual(await codeOf({ kind: 'reset' }), ['TypeError', 'ECONNRESET']);
      assert.deepEqual(await codeOf({ kind: 'bad-json' }), ['SyntaxError', undefined]);
      assert.equal((await client.execute('SELECT 1')).rows.length, 1);
      client.close();
    });
  });
});

void describe('statistics', () => {
  void it('count requests, statements, rows and bytes', async () => {
    await withServer({}, async (server) => {
      await fill(server, 10);
      await server.resetStats();
      const { text } = await run(server, 'SELECT * FROM t', 'SELECT * FROM t WHERE id < 3');
      const stats = await server.stats();
      assert.equal(stats.requests, 1);
      assert.deepEqual(stats.requestsByPath, { '/v2/pipeline': 1 });
      assert.equal(stats.statementCount, 2);
      assert.deepEqual(stats.statements, ['SELECT * FROM t', 'SELECT * FROM t WHERE id < 3']);
      assert.equal(stats.rowsReturned, 12);
      assert.equal(stats.bytesSent, Buffer.byteLength(text));
    });
  });
});

void describe('replayed answers', () => {
  void it('are the same bytes, with a live stream where there was one', async () => {
    await withServer({ replayIdentical: true }, async (server) => {
      await fill(server, 500);
      const select: Json = { baton: null, requests: [execute('SELECT * FROM t'), close] };
      const first = await postJson(server, '/v2/pipeline', select);
      await server.resetStats();
      const second = await postJson(server, '/v2/pipeline', select);
      assert.equal(second.text, first.text);
      const { replayed, rowsReturned, statements } = await server.stats();
      assert.deepEqual([replayed, rowsReturned, statements], [1, 500, ['SELECT * FROM t']]);

      const cursor: Json = {
        baton: null,
        batch: { steps: [{ stmt: { sql: 'SELECT * FROM t' } }] },
      };
      const bodies: string[] = [];
      for (let i = 0; i < 2; i++) {
        const text = await (await post(server, '/v3/cursor', cursor)).text();
        const headEnd = text.indexOf('\n');
        bodies.push(text.slice(headEnd));
        const { baton } = JSON.parse(text.slice(0, headEnd)) as { baton: string };
        const closed = await postJson(server, '/v3/pipeline', { baton, requests: [close] });
        assert.equal(closed.status, 200);
      }
      assert.equal(bodies[0], bodies[1]);
      assert.equal((await server.stats()).replayed, 2);
    });
  });
});
