import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { SourceError } from '../../../src/errors.js';
import { ClientConnection } from '../../../src/source/client-connection.js';
import type { Random } from '../../support/random.js';
import { mutateBytes, mutateText } from '../mutate.js';
import type { Target } from '../target.js';

const RESULT = {
  cols: [{ name: 'id' }, { name: 'a' }],
  rows: [
    [
      { type: 'integer', value: '1' },
      { type: 'text', value: 'é€😀' },
    ],
    [
      { type: 'float', value: 1.5 },
      { type: 'blob', base64: 'AP8Q' },
    ],
    [{ type: 'null' }, { type: 'integer', value: '9223372036854775807' }],
  ],
  affected_row_count: 0,
  last_insert_rowid: null,
};
const ROWS = [
  [1n, 'é€😀'],
  [1.5, Uint8Array.of(0, 255, 16)],
  [null, 2n ** 63n - 1n],
];

/** Messages of a server over a WebSocket: one of each exchange is not as it should be. */
export async function wireWebSocket(): Promise<Target> {
  let random: Random | null = null;
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: () => 'hrana2',
  });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (socket) => {
    const choice = random;
    const victim = choice?.int(0, 3) ?? -1;
    let sent = 0;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const asked = JSON.parse(data.toString()) as {
        type: string;
        request_id: number;
        request?: { type: string };
      };
      const answer = answerTo(asked);
      const number = sent++;
      if (number !== victim || choice === null) {
        socket.send(JSON.stringify(answer));
        return;
      }
      const isBinary = choice.chance(0.05);
      const mutated = choice.chance(0.3)
        ? mutateBytes(choice, Buffer.from(JSON.stringify(answer)))
        : mutateText(choice, answer);
      socket.send(mutated, { binary: isBinary });
      if (choice.chance(0.2)) socket.close();
    });
  });
  const { port } = server.address() as AddressInfo;
  const options = { retries: 0, retryInitialMs: 1, retryMaxMs: 1, authToken: undefined };
  return {
    async run(choice) {
      random = choice.chance(0.05) ? null : choice;
      const isWhole = random === null;
      const connection = new ClientConnection({
        ...options,
        url: `ws://127.0.0.1:${port}`,
        requestTimeoutMs: isWhole ? 5000 : 50,
      });
      try {
        const found = await connection.query('SELECT id, a FROM t');
        if (isWhole) assert.deepEqual(found, ROWS);
        for (const row of found) {
          assert.equal(row.length, found[0]!.length);
          for (const cell of row) assertValue(cell);
        }
      } catch (error) {
        assert.ok(error instanceof SourceError, error as Error);
        assert.ok(!isWhole, error);
      } finally {
        await connection.close();
      }
    },
    [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate();
      server.close();
      return Promise.resolve();
    },
  };
}

function answerTo(asked: {
  readonly type: string;
  readonly request_id: number;
  readonly request?: { readonly type: string };
}): unknown {
  if (asked.type === 'hello') return { type: 'hello_ok' };
  const type = asked.request?.type;
  const response = type === 'execute' ? { type, result: RESULT } : { type };
  return { type: 'response_ok', request_id: asked.request_id, response };
}

function assertValue(cell: unknown): void {
  if (typeof cell === 'bigint') assert.equal(BigInt.asIntN(64, cell), cell);
  else if (typeof cell === 'number') assert.ok(Number.isFinite(cell));
  else assert.ok(cell === null || typeof cell === 'string' || cell instanceof Uint8Array);
}
