import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SourceError } from '../../src/index.js';
import { resolveOptions } from '../../src/options.js';
import type { Batch, SourceConnection } from '../../src/source/connection.js';
import { introspect } from '../../src/source/introspection.js';
import { connect } from '../../src/source/open-source.js';
import type { Transport } from '../../src/transports.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

interface Way {
  readonly name: string;
  readonly url: (server: HranaServer, file: string) => string;
  readonly transport: Transport;
}

const WAYS: readonly Way[] = [
  { name: 'native', url: (_, file) => `file:${file}`, transport: 'native' },
  { name: 'client, file', url: (_, file) => `file:${file}`, transport: 'client' },
  { name: 'client, http', url: ({ httpUrl }) => httpUrl, transport: 'client' },
  { name: 'client, ws', url: ({ wsUrl }) => wsUrl, transport: 'client' },
  { name: 'Hrana over HTTP', url: ({ httpUrl }) => httpUrl, transport: 'auto' },
];

async function withConnection(
  { url, transport }: Way,
  use: (connection: SourceConnection, server: HranaServer) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k TEXT PRIMARY KEY, u UNIQUE, v); INSERT INTO t VALUES ('a', 1, 2), ('b', 2, 3)`,
  );
  await using server = await startHranaServer({ file });
  const source = { url: url(server, file) };
  const options = resolveOptions({ source, cacheDir: dir.join('cache'), transport });
  const connection = await connect({ ...options, ...options.source, retryInitialMs: 1 });
  try {
    await use(connection, server);
  } finally {
    await connection.close();
  }
}

function refusing(batch: Batch, refused: RegExp): Batch {
  return async (statements) => {
    const found = statements.find(({ sql }) => refused.test(sql));
    if (found) throw new SourceError('SOURCE_SQL', 'not authorized');
    return await batch(statements);
  };
}

for (const way of WAYS) {
  void describe(`a batch of statements: ${way.name}`, () => {
    void it('gives the rows of each, in order', async () => {
      await withConnection(way, async ({ batch }) => {
        const answers = await batch([
          { sql: 'SELECT k FROM t ORDER BY k' },
          { sql: 'SELECT k FROM t WHERE k = ?', params: ['none'] },
          { sql: 'SELECT count(*) FROM t WHERE k > ?', params: ['a'] },
        ]);
        const plain = answers.map((rows) => rows.map((row) => row.map(String)));
        assert.deepEqual(plain, [[['a'], ['b']], [], [['1']]]);
      });
    });

    for (const at of [0, 1, 2]) {
      void it(`fails as its statement ${at} fails`, async () => {
        await withConnection(way, async ({ batch }) => {
          const statements = ['SELECT 1', 'SELECT 2', 'SELECT 3'].map((sql) => ({ sql }));
          statements[at] = { sql: 'SELECT x FROM missing' };
          await assert.rejects(batch(statements), { code: 'SOURCE_SQL' });
          assert.equal((await batch([{ sql: 'SELECT 1' }])).length, 1);
        });
      });
    }

    void it('tells the schema of a source that refuses to tell its version', async () => {
      await withConnection(way, async ({ batch }) => {
        const known = await introspect(batch);
        assert.ok(known.version !== null);
        const unknown = await introspect(refusing(batch, /schema_version/));
        assert.deepEqual(unknown, { ...known, version: null });
        await assert.rejects(introspect(refusing(batch, /table_list/)), { code: 'SOURCE_SQL' });
      });
    });
  });
}

void describe('a batch over HTTP', () => {
  for (const action of [
    { kind: 'reset' },
    { kind: 'reset', when: 'after' },
    { kind: 'end-after-bytes', bytes: 150 },
    { kind: 'status', status: 503 },
  ] as const) {
    void it(`is one request, and asked for again as a whole after ${JSON.stringify(action)}`, async () => {
      await withConnection(WAYS.at(-1)!, async (connection, server) => {
        await connection.wire();
        await server.resetStats();
        const fault = await server.fault({ action, sql: /SELECT 22/ });
        const answers = await connection.batch([{ sql: 'SELECT 11' }, { sql: 'SELECT 22' }]);
        assert.deepEqual(answers.flat(2).map(Number), [11, 22]);
        assert.equal(await fault.fired(), 1);
        assert.equal(connection.retries, 1);
        assert.equal((await server.stats()).requestsByPath['/v2/pipeline'], 2);
      });
    });
  }
});
