import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import { ClientConnection } from '../../../src/source/client-connection.js';
import type { RawRow } from '../../../src/source/connection.js';
import { SourceError } from '../../../src/errors.js';
import { changeDatabase } from '../../support/databases.js';
import { startHranaServer } from '../../support/hrana/server.js';
import { mutateBytes, mutateText } from '../mutate.js';
import type { Target } from '../target.js';

/** A table with a value of every kind, also such as are easily got wrong. */
export const WIRE_SCHEMA = `
  CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);
  INSERT INTO t VALUES
    (1, 'text', x'00ff10'), (2, 9223372036854775807, -9223372036854775808), (3, 1.5, NULL),
    (4, 'ein "Zitat" \\ und é€😀', x''), (5, 0, printf('%.*c', 3000, 'y')), (6, randomblob(1000), -0.0)`;

export const WIRE_QUERIES = [
  'SELECT id, a, b FROM t ORDER BY id',
  'SELECT count(*) FROM t',
  'SELECT id FROM t WHERE id > 100',
  'SELECT * FROM t WHERE id = 5',
] as const;

const OPTIONS = { retries: 0, retryInitialMs: 1, retryMaxMs: 1, authToken: undefined };

/** Answers of a server over HTTP, through the connection that reads them in a sync. */
export async function wireHttp(directory: string): Promise<Target> {
  const file = join(directory, 'source.db');
  changeDatabase(file, WIRE_SCHEMA);
  const recorded: { sql: string; body: Buffer; rows: RawRow[] }[] = [];
  const realFetch = globalThis.fetch;
  {
    await using server = await startHranaServer({ file });
    const connection = connect(server.httpUrl);
    for (const sql of WIRE_QUERIES) {
      let body = Buffer.alloc(0);
      globalThis.fetch = async (...args) => {
        const response = await realFetch(...args);
        body = Buffer.from(await response.arrayBuffer());
        return new Response(body, response);
      };
      recorded.push({ sql, rows: await connection.query(sql), body });
    }
    await connection.close();
  }
  const connection = connect('http://fuzz.invalid');
  return {
    async run(random) {
      const { sql, body, rows } = random.pick(recorded);
      const isWhole = random.chance(0.05);
      const mutated = isWhole
        ? body
        : random.chance(0.4)
          ? mutateBytes(random, body)
          : mutateText(random, JSON.parse(body.toString()));
      const status = random.chance(0.9) ? 200 : random.pick([200, 201, 400, 404, 408, 429, 500]);
      globalThis.fetch = () => Promise.resolve(answer(mutated, status));
      let found: RawRow[];
      try {
        found = await connection.query(sql);
      } catch (error) {
        assert.ok(error instanceof SourceError, error as Error);
        assert.ok(!isWhole || status >= 400, error);
        return;
      }
      assert.ok(status < 400);
      if (isWhole) assert.deepEqual(found, rows);
      assert.deepEqual(found, strictRows(mutated), 'what is answered is what is in the answer');
    },
    async [Symbol.asyncDispose]() {
      globalThis.fetch = realFetch;
      await connection.close();
    },
  };
}

function connect(url: string): ClientConnection {
  return new ClientConnection({ ...OPTIONS, url, requestTimeoutMs: 5000 });
}

function answer(body: Buffer, status: number): Response {
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      const middle = body.length >>> 1;
      for (const part of [body.subarray(0, middle), body.subarray(middle)]) {
        if (part.length > 0) controller.enqueue(new Uint8Array(part));
      }
      controller.close();
    },
  });
  return new Response(stream, { status, headers: { 'content-type': 'application/json' } });
}

/** The rows of an answer, read strictly and by other code; whatever is not of the protocol is a failure. */
function strictRows(body: Buffer): unknown[][] {
  assert.ok(isUtf8(body), 'it is UTF-8');
  const parsed = JSON.parse(body.toString()) as {
    results: { response: { result: { cols: unknown[]; rows: Record<string, unknown>[][] } } }[];
  };
  const { cols, rows } = parsed.results[0]!.response.result;
  return rows.map((row) => {
    assert.equal(row.length, cols.length);
    return row.map(strictValue);
  });
}

function strictValue({ type, value, base64 }: Record<string, unknown>): unknown {
  switch (type) {
    case 'null':
      return null;
    case 'integer': {
      assert.match(value as string, /^-?\d+$/);
      const integer = BigInt(value as string);
      assert.equal(BigInt.asIntN(64, integer), integer);
      return integer;
    }
    case 'float':
    case 'text':
      assert.equal(typeof value, type === 'float' ? 'number' : 'string');
      return value;
    default: {
      assert.equal(type, 'blob');
      assert.match(base64 as string, /^[\w+/-]*={0,2}$/);
      const bytes = Buffer.from(base64 as string, 'base64');
      const plain = (text: string) =>
        text.replace(/=+$/, '').slice(0, -1).replace(/-/g, '+').replace(/_/g, '/');
      assert.equal(plain(bytes.toString('base64')), plain(base64 as string));
      return new Uint8Array(bytes);
    }
  }
}
