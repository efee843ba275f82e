import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SourceError } from '../../src/errors.js';
import {
  inTurn,
  type Query,
  type RawRow,
  type SourceConnection,
} from '../../src/source/connection.js';
import { guardedFetch } from '../../src/source/guarded-fetch.js';
import { parseAnswer } from '../../src/source/hrana-answer.js';
import { introspect } from '../../src/source/introspection.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import { readPages } from '../../src/source/page-reader.js';
import { planTables, type TablePlan } from '../../src/source/plan.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

function isProtocolError(error: unknown): boolean {
  return error instanceof SourceError && error.code === 'SOURCE_PROTOCOL';
}

function answer(cells: readonly object[], columns = cells.length): Buffer {
  const cols = Array.from({ length: columns }, () => ({ name: 'c' }));
  const result = { cols, rows: [cells], affected_row_count: 0, last_insert_rowid: null };
  const results = [{ type: 'ok', response: { type: 'execute', result } }];
  return Buffer.from(JSON.stringify({ baton: null, base_url: null, results }));
}

const integer = (value: unknown) => ({ type: 'integer', value });
const blob = (base64: unknown) => ({ type: 'blob', base64 });

void describe('an answer of a server', () => {
  for (const value of ['0', '-1', '9223372036854775807', '-9223372036854775808']) {
    void it(`may hold the INTEGER ${value}`, () => void parseAnswer(answer([integer(value)])));
  }
  for (const value of ['', ' 1', '0x10', '1e3', '1.5', '9223372036854775808', 'NaN', 7, null]) {
    void it(`is refused for the INTEGER ${JSON.stringify(value)}`, () => {
      assert.throws(() => parseAnswer(answer([integer(value)])), isProtocolError);
    });
  }
  for (const base64 of ['', 'QUI', 'QUI=', 'QQ==', 'QQ', '-_-_', '+/+/']) {
    void it(`may hold the BLOB ${JSON.stringify(base64)}`, () => {
      parseAnswer(answer([blob(base64)]));
    });
  }
  for (const base64 of ['####', 'Q', 'QUJDQ', 'Q=QQ', 'QQ=', 'QQ===', 'Q U I', '-+-+', null]) {
    void it(`is refused for the BLOB ${JSON.stringify(base64)}`, () => {
      assert.throws(() => parseAnswer(answer([blob(base64)])), isProtocolError);
    });
  }
  void it('is refused with a row of another width than its columns', () => {
    const cells = [integer('1'), integer('2')];
    for (const columns of [0, 1, 3]) {
      assert.throws(() => parseAnswer(answer(cells, columns)), isProtocolError);
    }
  });
  void it('is refused when it is not UTF-8, no JSON, or cut', () => {
    const text = { type: 'text', value: 'é' };
    const bytes = answer([text]);
    parseAnswer(bytes);
    bytes[bytes.indexOf('é')] = 0xff;
    assert.throws(() => parseAnswer(bytes), isProtocolError);
    assert.throws(() => parseAnswer(answer([text]).subarray(0, 60)), isProtocolError);
    assert.throws(() => parseAnswer(Buffer.alloc(0)), isProtocolError);
  });
  void it('is not read beyond its bound, whatever it says of its length', async (t) => {
    let sent = 0;
    t.mock.method(globalThis, 'fetch', () => {
      const body = new ReadableStream({
        pull(controller) {
          sent += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      });
      return Promise.resolve(new Response(body, { headers: { 'content-length': '10' } }));
    });
    const fetch = guardedFetch({ timeoutMs: 60_000, maxAnswerBytes: 1_000_000 });
    await assert.rejects(
      async () => await fetch(new Request('http://fuzz.invalid')),
      (error) => error instanceof SourceError && error.code === 'SOURCE_RESPONSE_TOO_LARGE',
    );
    assert.ok(sent < 2_000_000);
  });
});

/** A server's connection that answers each statement with what `change` makes of the right answer. */
async function withLiar(
  change: (sql: string, rows: RawRow[]) => RawRow[],
  use: (connection: SourceConnection, plan: TablePlan) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
     INSERT INTO t VALUES (1, zeroblob(30000)), (2, zeroblob(3000000)), (3, 'x')`,
  );
  const native = new NativeConnection(`file:${file}`);
  try {
    const { plans } = planTables(await introspect(native.batch), undefined);
    const query: Query = async (sql, params) => change(sql, await native.query(sql, params));
    await use(
      {
        transport: 'client',
        stored: null,
        losesInfinities: true,
        maxResponseBytes: 1_000_000,
        retries: 0,
        query,
        batch: inTurn(query),
        snapshot: async (read) => await read(query),
        wire: () => Promise.resolve(null),
        close: () => Promise.resolve(),
      },
      plans[0]!,
    );
  } finally {
    await native.close();
  }
}

const BOUNDS = { maxRows: 10, maxBytes: 100_000, maxRowBytes: 4_000_000 };

async function readAll(connection: SourceConnection, plan: TablePlan): Promise<number> {
  let rows = 0;
  for await (const page of readPages(connection, plan, null, BOUNDS)) rows += page.rows.length;
  return rows;
}

void describe('rows that were not asked for', () => {
  void it('are told from those that were', async () => {
    await withLiar(
      (_, rows) => rows,
      async (connection, plan) => assert.equal(await readAll(connection, plan), 3),
    );
  });

  const isPlain = (sql: string) => /CASE WHEN/.test(sql) && !sql.startsWith('SELECT typeof');
  const lies: Record<string, (sql: string, rows: RawRow[]) => RawRow[]> = {
    'a column less': (sql, rows) => (isPlain(sql) ? rows.map((row) => row.slice(1)) : rows),
    'a column more': (sql, rows) => (isPlain(sql) ? rows.map((row) => [...row, 1]) : rows),
    'more rows than the limit': (_, rows) => rows.flatMap((row) => Array(20).fill(row) as RawRow[]),
    'a size that is TEXT': (sql, rows) =>
      isPlain(sql) ? rows.map((row) => [...row.slice(0, -1), 'huge']) : rows,
    'a value of a size beyond any bound': (sql, rows) =>
      sql.startsWith('SELECT typeof') ? [['blob', 2n ** 52n]] : rows,
    'a piece of a value that is not there': (sql, rows) =>
      sql.startsWith('SELECT substr') ? [] : rows,
    'a piece of a value that is shorter': (sql, rows) =>
      sql.startsWith('SELECT substr') ? [[Uint8Array.of(1, 2, 3)]] : rows,
    'hexadecimal that is none': (sql, rows) =>
      /hex\(/.test(sql)
        ? rows.map((row) => row.map((cell) => (typeof cell === 'string' ? 'xyz' : cell)))
        : rows,
  };
  for (const [what, lie] of Object.entries(lies)) {
    void it(`are refused: ${what}`, async () => {
      await withLiar(lie, async (connection, plan) => {
        await assert.rejects(async () => await readAll(connection, plan), isProtocolError);
      });
    });
  }
});
