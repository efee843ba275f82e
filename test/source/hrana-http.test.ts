import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { openSource, StorageSync, WorkerPool, type Transport } from '../../src/index.js';
import type { Cell } from '../../src/values.js';
import { Answering } from '../security/answering.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

const PATIENCE = { retries: 5, retryInitialMs: 1, retryMaxMs: 2, requestTimeoutMs: 5000 };
const CURSORS = ['http-protobuf-cursor', 'http-json-cursor'] as const;

let dir: TempDirectory;
let file: string;
let server: HranaServer;
before(async () => {
  dir = await TempDirectory.make();
  file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID;
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12)
     INSERT INTO t SELECT printf('key %03d', i), iif(i % 4 = 0, 1e999, 'value ' || i) FROM n;`,
  );
  server = await startHranaServer({ file, cursorChunkBytes: 1 });
});
after(async () => {
  await server.close();
  await dir[Symbol.asyncDispose]();
});

interface Read {
  readonly rows: readonly (readonly Cell[])[];
  readonly transport: string;
}

async function readAll(
  url: string,
  transport: Transport = 'auto',
  options: Partial<typeof PATIENCE & { maxRows: number; maxRowBytes: number }> = {},
): Promise<Read> {
  await using source = await openSource({ url, transport, ...PATIENCE, ...options });
  const rows: (readonly Cell[])[] = [];
  const { maxRows = 100, maxRowBytes = 1_000_000 } = options;
  for await (const page of source.pages('t', { maxRows, maxRowBytes })) rows.push(...page.rows);
  return { rows, transport: source.transport };
}

void describe('the way to read a server', () => {
  void it('is the best that it offers', async () => {
    const { rows } = await readAll(`file:${file}`);
    for (const [versions, best] of [
      [{}, 'http-protobuf-cursor'],
      [{ v3Protobuf: false }, 'http-json-cursor'],
      [{ v3Protobuf: false, v3: false }, 'http-pipeline'],
    ] as const) {
      await using own = await startHranaServer({ file, versions });
      assert.deepEqual(await readAll(own.httpUrl), { rows, transport: best });
      assert.deepEqual(await readAll(own.httpUrl.replace('http:', 'libsql:') + '?tls=0'), {
        rows,
        transport: best,
      });
    }
  });

  void it('is not taken from an answer that is none, whatever its status', async () => {
    for (const [status, type, body] of [
      [200, 'text/html', '<html>hello</html>'],
      [200, 'application/json', '{}'],
      [200, 'text/plain', ''],
      [204, 'text/plain', ''],
      [302, 'text/html', 'elsewhere'],
      [405, 'text/plain', ''],
      [501, 'text/plain', 'no'],
    ] as const) {
      await using front = await Answering.start((request, response) => {
        if (request.url === '/v2/pipeline') return forward(request, response);
        request.resume();
        response.writeHead(status, { 'content-type': type }).end(body);
      });
      const { rows, transport } = await readAll(`http://127.0.0.1:${front.port}`);
      assert.deepEqual([rows.length, transport], [12, 'http-pipeline'], `${status} ${body}`);
    }
  });

  void it('is told by name where a server does not have it', async () => {
    await using own = await startHranaServer({ file, versions: { v3Protobuf: false, v3: false } });
    for (const transport of CURSORS) {
      await assert.rejects(readAll(own.httpUrl, transport), { code: 'SOURCE_REQUEST_REJECTED' });
    }
    await assert.rejects(readAll(own.wsUrl, 'http-pipeline'), { code: 'CONFIG_INVALID' });
    await assert.rejects(readAll(`file:${file}`, 'http-json-cursor'), { code: 'CONFIG_INVALID' });
  });
});

/** Sends a request on to the real server, and its answer back. */
function forward(request: IncomingMessage, response: ServerResponse): void {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    void (async () => {
      const answer = await fetch(new URL(request.url ?? '/', server.httpUrl), {
        method: 'POST',
        body: new Uint8Array(Buffer.concat(pieces)),
        headers: { 'content-type': request.headers['content-type'] ?? '' },
      });
      const body = Buffer.from(await answer.arrayBuffer());
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! });
      response.end(body);
    })();
  });
}

for (const transport of CURSORS) {
  void describe(`pages over ${transport}`, () => {
    void it('are whole wherever a cursor is cut', { timeout: 60_000 }, async () => {
      const { rows } = await readAll(`file:${file}`);
      await server.resetStats();
      await readAll(server.httpUrl, transport);
      const { bytesSent } = await server.stats();
      const step = transport === 'http-json-cursor' ? 41 : 13;
      for (const kind of ['reset-after-bytes', 'end-after-bytes'] as const) {
        for (let bytes = 0; bytes < Math.min(bytesSent, 1500); bytes += step) {
          await server.fault({ action: { kind, bytes }, path: /cursor/, sql: /FROM main/ });
          assert.deepEqual(
            (await readAll(server.httpUrl, transport)).rows,
            rows,
            `${kind} ${bytes}`,
          );
          await server.clearFaults();
        }
      }
    });

    void it('are had where every cursor breaks off at its first row', async () => {
      const { rows } = await readAll(`file:${file}`);
      const action = { kind: 'reset', when: 'after' } as const;
      await server.fault({ action, path: /cursor/, sql: /FROM main/, times: Infinity });
      for (const retries of [0, 1, 5]) {
        assert.deepEqual((await readAll(server.httpUrl, transport, { retries })).rows, rows);
      }
      await server.clearFaults();
    });

    void it('are waited for no longer than the timeout, however slowly bytes drip', async () => {
      await using front = await Answering.start((request, response) => {
        if (!request.url?.includes('cursor')) return forward(request, response);
        request.resume();
        response.writeHead(200);
        response.write(Buffer.of(0x7f));
        const timer = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(timer));
      });
      const patience = { requestTimeoutMs: 300, retries: 0 };
      const begun = performance.now();
      const read = readAll(`http://127.0.0.1:${front.port}`, transport, patience);
      await assert.rejects(read, { code: 'SOURCE_TIMEOUT' });
      assert.ok(performance.now() - begun < 4000);
    });
  });

  void describe(`a table over ${transport}`, () => {
    void it('comes by one statement, over many batches', async () => {
      await using pool = new WorkerPool({ readerThreads: 1 });
      for (const batchSize of [1, 5, 12, 100]) {
        const cacheDir = dir.join(`${transport} ${batchSize}`);
        await server.resetStats();
        await using storage = await StorageSync.open({
          source: { url: server.httpUrl },
          cacheDir,
          transport,
          batchSize,
          pool,
        });
        const report = await storage.sync();
        assert.equal(report.transport, transport);
        assert.equal(report.retries, 0);
        await assertCacheEquals(file, cacheDir);
        // Infinities are no part of JSON: the rows that have one are read once more.
        if (transport === 'http-json-cursor') continue;
        const { statements } = await server.stats();
        assert.equal(statements.filter((sql) => /FROM main\."t"/.test(sql)).length, 1);
        assert.equal(report.tables['t']?.rowsRead, 12);
      }
    });

    void it('is read on by another statement where the server has dropped a cursor', async () => {
      const large = dir.join(`large ${transport}.db`);
      changeDatabase(
        large,
        `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO t SELECT i, printf('%.*c', 1000, 'x') FROM n;`,
      );
      await using own = await startHranaServer({ file: large });
      const cut = { kind: 'reset-after-bytes', bytes: 900_000 } as const;
      const fault = await own.fault({ action: cut, path: /cursor/, sql: /FROM main/, times: 2 });
      await using pool = new WorkerPool({ readerThreads: 2 });
      const cacheDir = dir.join(`dropped ${transport}`);
      await using storage = await StorageSync.open({
        ...PATIENCE,
        source: { url: own.httpUrl },
        cacheDir,
        transport,
        batchSize: 500,
        pool,
      });
      const report = await storage.sync();
      assert.equal(await fault.fired(), 2);
      assert.equal(report.retries, 2);
      const { statements } = await own.stats();
      assert.equal(statements.filter((sql) => /FROM main\."t"/.test(sql)).length, 3);
      await assertCacheEquals(large, cacheDir);
    });
  });
}

void describe('a redirect', () => {
  void it('is followed, and the token stays with the server that it is for', async () => {
    const seen: (string | undefined)[] = [];
    await using other = await Answering.start((request, response) => {
      seen.push(request.headers.authorization);
      forward(request, response);
    });
    await using first = await Answering.start((request, response) => {
      request.resume();
      const location = `http://127.0.0.1:${other.port}${request.url}`;
      response.writeHead(307, { location }).end();
    });
    await using source = await openSource({
      url: `http://127.0.0.1:${first.port}`,
      authToken: 'secret',
      ...PATIENCE,
    });
    assert.equal((await source.tables()).length, 1);
    assert.ok(seen.length > 0 && seen.every((token) => token === undefined));
    assert.ok(first.requests.every(({ authorization }) => authorization === 'Bearer secret'));
  });

  void it('without end is refused', async () => {
    await using server = await Answering.start((request, response) => {
      request.resume();
      response.writeHead(308, { location: request.url }).end();
    });
    await assert.rejects(readAll(`http://127.0.0.1:${server.port}`), {
      code: 'SOURCE_REQUEST_REJECTED',
    });
    assert.ok(server.requests.length < 30);
  });
});

void describe('a stream of statements', () => {
  void it('goes where the server says, with the baton that it gave', async () => {
    const seen: string[] = [];
    await using other = await Answering.start((request, response) => {
      seen.push(request.url ?? '');
      forward(request, response);
    });
    await using first = await Answering.start((request, response) => {
      const end = response.end.bind(response);
      response.end = ((body: Buffer) => {
        const answer = JSON.parse(body.toString()) as Record<string, unknown>;
        if (typeof answer['baton'] !== 'string') return end(body);
        return end(JSON.stringify({ ...answer, base_url: `http://127.0.0.1:${other.port}/` }));
      }) as typeof response.end;
      forward(request, response);
    });
    const { HranaConnection } = await import('../../src/source/hrana/hrana-connection.js');
    const connection = new HranaConnection({
      ...PATIENCE,
      server: { base: new URL(`http://127.0.0.1:${first.port}`), authToken: undefined },
      authToken: undefined,
      transport: 'http-pipeline',
    });
    const counts = await connection.snapshot(async (query) => [
      await query('SELECT count(*) FROM t'),
      ...(await Promise.all([query('SELECT 1'), query('SELECT 2')])),
    ]);
    assert.deepEqual(counts, [[[12]], [[1]], [[2]]]);
    await connection.close();
    assert.ok(seen.length >= 2 && first.requests.length === 1, `${seen.length} went there`);
  });
});
