import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { createClient } from '@libsql/client';
import { WebSocket } from 'ws';
import type { HranaServer } from '../support/hrana/server.js';
import { dig, fields, int, message, value } from './hand-protobuf.js';
import { fill, type Json, JsonPath, run } from './raw-http.js';
import { withServer } from './temp-database.js';

/** A WebSocket whose messages are awaited one by one. */
class Conversation {
  readonly ws: WebSocket;
  readonly #received: Buffer[] = [];
  readonly #waiting: ((message: Buffer) => void)[] = [];
  readonly closed: Promise<readonly [code: number, reason: string]>;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('message', (data: Buffer) => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) {
        this.#received.push(data);
      } else {
        waiting(data);
      }
    });
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => resolve([code, reason.toString()]));
    });
  }

  next(): Promise<Buffer> {
    const received = this.#received.shift();
    return received === undefined
      ? new Promise((resolve) => this.#waiting.push(resolve))
      : Promise.resolve(received);
  }

  async ask(msg: Json): Promise<JsonPath> {
    this.ws.send(JSON.stringify(msg));
    return new JsonPath(JSON.parse((await this.next()).toString()));
  }

  async request(request: Json, requestId = 1): Promise<JsonPath> {
    const answer = await this.ask({ type: 'request', request_id: requestId, request });
    assert.equal(answer.at('request_id'), requestId);
    return answer;
  }
}

async function converse(
  server: HranaServer,
  protocols: string[],
  use: (conversation: Conversation) => Promise<void>,
): Promise<void> {
  const ws = new WebSocket(server.wsUrl, protocols);
  const conversation = new Conversation(ws);
  await once(ws, 'open');
  try {
    await use(conversation);
  } finally {
    ws.terminate();
    await conversation.closed;
  }
}

const hello: Json = { type: 'hello', jwt: null };
const openStream: Json = { type: 'open_stream', stream_id: 1 };
const select = (sql: string): Json => ({ type: 'execute', stream_id: 1, stmt: { sql } });

void describe('Hrana over WebSocket', () => {
  void it('negotiates the best subprotocol both speak', async () => {
    await withServer({}, async (server) => {
      for (const [offered, chosen] of [
        [['hrana1', 'hrana2'], 'hrana2'],
        [['hrana2', 'hrana3', 'other'], 'hrana3'],
        [['hrana3', 'hrana3-protobuf'], 'hrana3-protobuf'],
      ] as const) {
        await converse(server, [...offered], ({ ws }) => {
          assert.equal(ws.protocol, chosen);
          return Promise.resolve();
        });
      }
      const refused = new WebSocket(server.wsUrl, ['hrana9']);
      const [error] = (await once(refused, 'error')) as [Error];
      assert.match(error.message, /400/);
    });
  });

  void it('runs requests of many streams on one connection', async () => {
    await withServer({}, async (server) => {
      await fill(server, 3);
      await converse(server, ['hrana2'], async (c) => {
        assert.equal((await c.ask(hello)).at('type'), 'hello_ok');
        await c.request(openStream);
        await c.request({ type: 'open_stream', stream_id: 2 });
        await c.request({ type: 'store_sql', sql_id: 5, sql: 'SELECT count(*) FROM t' });
        await c.request({ type: 'sequence', stream_id: 1, sql: 'BEGIN; DELETE FROM t' });
        const count = async (stream_id: number): Promise<unknown> =>
          (await c.request({ type: 'execute', stream_id, stmt: { sql_id: 5 } })).at(
            'response',
            'result',
            'rows',
            0,
            0,
            'value',
          );
        assert.deepEqual([await count(1), await count(2)], ['0', '3']);
        await c.request({ type: 'close_stream', stream_id: 1 });
        assert.equal(await count(2), '3');
        const described = await c.request({ type: 'describe', stream_id: 2, sql_id: 5 }, -7);
        assert.equal(described.at('response', 'result', 'is_readonly'), true);
        const failed = await c.request({
          type: 'execute',
          stream_id: 2,
          stmt: { sql: 'SELECT x' },
        });
        assert.equal(failed.at('error', 'code'), 'SQL_INPUT_ERROR');
      });
    });
  });

  void it('closes the connection when the protocol is broken', async () => {
    await withServer({}, async (server) => {
      const cases: [string[], (string | Buffer)[], number, RegExp][] = [
        [['hrana2'], ['{'], 1007, /^Cannot deserialize client message from JSON/],
        [['hrana2'], [Buffer.from('x')], 1003, /^Received a binary WebSocket message/],
        [['hrana3-protobuf'], ['{}'], 1003, /^Received a text WebSocket message/],
        [
          ['hrana2'],
          [JSON.stringify({ type: 'request', request_id: 1, request: openStream })],
          1008,
          /^Received a request before hello message$/,
        ],
        [
          ['hrana2'],
          [
            JSON.stringify(hello),
            JSON.stringify({ type: 'request', request_id: 1, request: select('SELECT 1') }),
          ],
          1008,
          /^Stream 1 not found$/,
        ],
        [
          ['hrana2'],
          [
            JSON.stringify(hello),
            JSON.stringify({
              type: 'request',
              request_id: 1,
              request: { type: 'get_autocommit', stream_id: 1 },
            }),
          ],
          1008,
          /only supported in protocol version hrana3/,
        ],
      ];
      for (const [protocols, messages, code, reason] of cases) {
        await converse(server, protocols, async (c) => {
          for (const message of messages) {
            c.ws.send(message);
          }
          const [closeCode, closeReason] = await c.closed;
          assert.equal(closeCode, code);
          assert.match(closeReason, reason);
        });
      }
    });
  });

  void it('refuses a wrong token', async () => {
    await withServer({ token: 'secret' }, async (server) => {
      await converse(server, ['hrana2'], async (c) => {
        const answer = await c.ask({ type: 'hello', jwt: 'wrong' });
        assert.deepEqual(answer.value, {
          type: 'hello_error',
          error: { message: 'Authentication failed: The JWT is invalid', code: 'AUTH_JWT_INVALID' },
        });
        assert.equal((await c.closed)[0], 1000);
      });
    });
  });

  void it('fetches cursors in pieces, over JSON', async () => {
    await withServer({}, async (server) => {
      await fill(server, 5);
      await converse(server, ['hrana3'], async (c) => {
        await c.ask(hello);
        await c.request(openStream);
        const batch: Json = { steps: [{ stmt: { sql: 'SELECT id FROM t' } }] };
        await c.request({ type: 'open_cursor', stream_id: 1, cursor_id: 9, batch });
        const kinds: unknown[] = [];
        for (;;) {
          const answer = await c.request({ type: 'fetch_cursor', cursor_id: 9, max_count: 3 });
          const entries = answer.at('response', 'entries') as { type: string }[];
          assert.ok(entries.length <= 3);
          kinds.push(...entries.map(({ type }) => type));
          if (answer.at('response', 'done') === true) {
            break;
          }
        }
        const rows = Array<string>(5).fill('row');
        assert.deepEqual(kinds, ['step_begin', ...rows, 'step_end', 'replication_index']);
        await c.request({ type: 'close_cursor', cursor_id: 9 });
        const state = await c.request({ type: 'get_autocommit', stream_id: 1 });
        assert.equal(state.at('response', 'is_autocommit'), true);
      });
    });
  });

  void it('speaks Protobuf', async () => {
    await withServer({}, async (server) => {
      await converse(server, ['hrana3-protobuf'], async (c) => {
        const ask = async (bytes: Buffer): Promise<Buffer> => {
          c.ws.send(bytes);
          return c.next();
        };
        const request = (...parts: readonly Buffer[]): Promise<Buffer> =>
          ask(message(2, int(1, 4), ...parts));
        assert.equal(fields(await ask(message(1)))[0]?.number, 1);
        await request(message(2, int(1, 1)));
        const answer = await request(
          message(4, int(1, 1), message(2, message(1, "SELECT 'x', -3"))),
        );
        assert.equal(fields(dig(answer, 3))[0]?.integer, 4n);
        const row = fields(dig(answer, 3, 4, 1, 2)).map(({ bytes }) => value(bytes));
        assert.deepEqual(row, ['x', -3n]);
      });
    });
  });
});

void describe('ordered faults over WebSocket', () => {
  void it('close, reset, stall and garble', async () => {
    await withServer({}, async (server) => {
      const prepared = (use: (c: Conversation) => Promise<void>): Promise<void> =>
        converse(server, ['hrana2'], async (c) => {
          await c.ask(hello);
          await c.request(openStream);
          await use(c);
        });
      const send = (c: Conversation): void =>
        c.ws.send(JSON.stringify({ type: 'request', request_id: 1, request: select('SELECT 1') }));

      await server.fault({
        action: { kind: 'close', code: 1012, reason: 'restart' },
        sql: /SELECT 1/,
      });
      await prepared(async (c) => {
        send(c);
        assert.deepEqual(await c.closed, [1012, 'restart']);
      });
      await server.fault({ action: { kind: 'reset' }, sql: /SELECT 1/ });
      await prepared(async (c) => {
        send(c);
        assert.equal((await c.closed)[0], 1006);
      });
      await server.fault({ action: { kind: 'stall' }, sql: /SELECT 1/ });
      await prepared(async (c) => {
        send(c);
        // The next answer is that of the next request.
        const answer = await c.request(select('SELECT 2'), 2);
        assert.equal(answer.at('response', 'result', 'rows', 0, 0, 'value'), '2');
      });
      await server.fault({ action: { kind: 'bad-json' }, sql: /SELECT 1/ });
      await prepared(async (c) => {
        send(c);
        const bytes = await c.next();
        assert.throws(() => JSON.parse(bytes.toString()) as unknown);
      });
      await server.fault({ action: { kind: 'reset', when: 'after' }, sql: /CREATE/ });
      await prepared(async (c) => {
        const request = select('CREATE TABLE made (a)');
        c.ws.send(JSON.stringify({ type: 'request', request_id: 1, request }));
        assert.equal((await c.closed)[0], 1006);
      });
      await run(server, 'INSERT INTO made VALUES (1)');
      await server.fault({ action: { kind: 'status', status: 503 }, transport: 'ws-upgrade' });
      const refused = new WebSocket(server.wsUrl, ['hrana2']);
      const [error] = (await once(refused, 'error')) as [Error];
      assert.match(error.message, /503/);
    });
  });

  void it('reach @libsql/client, which opens a new connection after a restart', async () => {
    await withServer({}, async (server) => {
      const client = createClient({ url: server.wsUrl, tls: false });
      await client.execute('SELECT 1');
      await server.fault({ action: { kind: 'close' }, transport: 'ws' });
      await assert.rejects(client.execute('SELECT 1'), { code: 'HRANA_WEBSOCKET_ERROR' });
      await client.execute('SELECT 1');
      await server.stop();
      await assert.rejects(client.execute('SELECT 1'));
      await server.start();
      assert.equal((await client.execute('SELECT 1')).rows.length, 1);
      client.close();
      assert.ok((await server.stats()).wsConnections >= 3);
    });
  });
});
