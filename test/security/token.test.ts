import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { openSource, StorageSync, type SourceOptions } from '../../src/index.js';
import { run, RunningCommand } from '../cli/command.js';
import { startHranaServer } from '../support/hrana/server.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { Answering } from './answering.js';

/** A token that is found again wherever a part of it turns up. */
const CANARY = `canary-${'tweet'.repeat(30)}-token`;
const TRACE = /canary|tweet/;

/** Everything that can be seen of a failure, also what is not enumerable. */
function everything(error: unknown): string {
  const shown = [inspect(error, { depth: 12, showHidden: true }), JSON.stringify(error)];
  for (let at = error; at instanceof Error; at = at.cause) shown.push(at.message, String(at.stack));
  return shown.join('\n');
}

function filesBelow(path: string): string[] {
  return readdirSync(path).flatMap((name) => {
    const file = join(path, name);
    return statSync(file).isDirectory() ? filesBelow(file) : [file];
  });
}

/** Lets a sync and a look at the source fail, by library and command, and looks for the token everywhere. */
async function tellsNothing(source: SourceOptions): Promise<void> {
  await using dir = await TempDirectory.make();
  const cacheDir = dir.join('cache');
  const patience = { requestTimeoutMs: 500, retries: 1, retryInitialMs: 1, retryMaxMs: 2 };
  await using storage = await StorageSync.open({ source, cacheDir, readerThreads: 1, ...patience });
  const failures: unknown[] = [];
  await storage.sync().then(
    () => undefined,
    (error: unknown) => failures.push(error),
  );
  await openSource({ ...source, ...patience })
    .then(async (opened) => {
      await using each = opened;
      await each.tables();
    })
    .catch((error: unknown) => failures.push(error));
  assert.equal(failures.length, 2, 'both fail');
  for (const failure of failures) assert.doesNotMatch(everything(failure), TRACE);
  assert.doesNotMatch(JSON.stringify(await storage.status()), TRACE);

  for (const file of filesBelow(cacheDir)) assert.doesNotMatch(readFileSync(file, 'latin1'), TRACE);
  if (source.authToken !== undefined) return;
  const args = ['sync', '--source', source.url, '--cache', cacheDir, '--json'];
  const limits = ['--retries', '0', '--request-timeout', '500ms'];
  const env = { STORAGE_SYNC_DEBUG: '1', TURSO_AUTH_TOKEN: CANARY };
  const told = await run([...args, ...limits], { env });
  assert.ok(told.code === 1 || told.code === 4, `${told.code}: ${told.stderr}`);
  assert.doesNotMatch(told.stdout + told.stderr, TRACE);
}

/** By header, and within the URL. */
async function tellsNothingEitherWay(url: string): Promise<void> {
  await tellsNothing({ url, authToken: CANARY });
  await tellsNothing({ url: `${url}?authToken=${CANARY}` });
}

void describe('the token', () => {
  for (const status of [401, 500]) {
    void it(`is not told when a server answers ${status} and echoes it`, async () => {
      await using server = await Answering.start((request, response) => {
        const echo = `${'x'.repeat(120)} ${request.headers.authorization} ${request.url} ${CANARY}`;
        response.writeHead(status, { 'content-type': 'application/json', 'x-echo': CANARY });
        response.end(JSON.stringify({ code: CANARY, message: echo, error: echo }));
      });
      await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
    });
  }

  void it('is not told when what a server says of it is neither JSON nor short', async () => {
    await using server = await Answering.start((_, response) => {
      response.writeHead(502, { 'content-type': 'text/plain' });
      // Cut anywhere, a part of it is left.
      response.end(`${'y'.repeat(150)}${CANARY}`.repeat(20));
    });
    await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
  });

  void it('is not told when an answer of 200 is broken and echoes it', async () => {
    await using server = await Answering.start((_, response) => response.end(`{"${CANARY}`));
    await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
  });

  void it('is not told when statements fail by a message that has it', async () => {
    await using server = await Answering.start((_, response) => {
      const error = { message: `no such table: ${CANARY}`, code: 'SQLITE_ERROR' };
      const results = Array.from({ length: 2 }, () => ({ type: 'error', error }));
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ baton: null, base_url: null, results }));
    });
    await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
  });

  void it('is not told when the server is away, unknown, or no TLS server', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    server.on('connection', (socket) => {
      socket
        .on('error', () => undefined)
        .resume()
        .end('no TLS here');
    });
    await tellsNothingEitherWay(`https://127.0.0.1:${port}`);
    await new Promise((resolve) => server.close(resolve));
    await tellsNothingEitherWay(`http://127.0.0.1:${port}`);
    await tellsNothingEitherWay(`ws://127.0.0.1:${port}`);
    await tellsNothingEitherWay('https://no-such-host.invalid');
  });

  void it('is not told when the server does not answer', async () => {
    await using server = await Answering.start(() => undefined);
    await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
  });

  void it('is not told when a WebSocket is refused, or closed with it as the reason', async () => {
    await using refusing = await Answering.start(
      (_, response) => response.end(),
      (_, socket) => socket.end(`HTTP/1.1 401 ${CANARY}\r\nx-echo: ${CANARY}\r\n\r\n${CANARY}`),
    );
    await tellsNothingEitherWay(`ws://127.0.0.1:${refusing.port}`);
    await using closing = await Answering.start(
      (_, response) => response.end(),
      (request, socket) =>
        closeWith(socket, request.headers['sec-websocket-key']!, CANARY.slice(0, 100)),
    );
    await tellsNothing({ url: `ws://127.0.0.1:${closing.port}`, authToken: CANARY.slice(0, 100) });
  });

  void it('is not told of a URL that is malformed', async () => {
    for (const url of [
      `htps://host?authToken=${CANARY}`,
      `http://[host?authToken=${CANARY}`,
      `http://host:99999?authToken=${CANARY}`,
      `libsql://user:${CANARY}@host`,
      `libsql://host?authToken=${CANARY}&tls=maybe`,
    ]) {
      await using dir = await TempDirectory.make();
      let failure: unknown = null;
      try {
        const source = { url, authToken: CANARY };
        await using storage = await StorageSync.open({
          source,
          cacheDir: dir.join('cache'),
          retries: 0,
        });
        await storage.sync();
      } catch (error) {
        failure = error;
      }
      assert.ok(failure instanceof Error, url);
      assert.doesNotMatch(everything(failure), TRACE, url);
    }
    const wrong = { source: { url: 'file:x', authToken: [CANARY] as never }, cacheDir: 'x' };
    await assert.rejects(StorageSync.open(wrong), (error) => !TRACE.test(everything(error)));
  });

  void it('is not sent to another server that the first one names', async () => {
    await using other = await Answering.start((_, response) => response.writeHead(500).end());
    await using server = await Answering.start((_, response) => {
      response.writeHead(307, { location: `http://localhost:${other.port}/` }).end();
    });
    await tellsNothingEitherWay(`http://127.0.0.1:${server.port}`);
    assert.ok(server.requests.some(({ authorization }) => authorization?.includes(CANARY)));
    for (const { authorization, url } of other.requests) {
      assert.equal(authorization, undefined);
      assert.doesNotMatch(url, TRACE);
    }
  });

  void it('is in no report, progress or file of a sync that succeeds', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, 'CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 2)');
    await using server = await startHranaServer({ file, token: CANARY });
    for (const url of [server.httpUrl, server.wsUrl]) {
      const cacheDir = dir.join(`cache-${url.slice(0, 2)}`);
      await using storage = await StorageSync.open({
        source: { url, authToken: CANARY },
        cacheDir,
      });
      const report = await storage.sync();
      assert.equal(report.tables['t']?.rowsWritten, 1);
      assert.deepEqual(report.warnings, [], 'this machine is no network');
      assert.doesNotMatch(JSON.stringify([report, await storage.status()]), TRACE);
      for (const each of filesBelow(cacheDir))
        assert.doesNotMatch(readFileSync(each, 'latin1'), TRACE);
    }
  });

  void it('is not seen in the list of processes, and giving it as an argument is warned of', async (t) => {
    if (process.platform !== 'linux') return t.skip('reads /proc');
    await using dir = await TempDirectory.make();
    let asked: () => void = () => undefined;
    const connected = new Promise<void>((resolve) => (asked = resolve));
    await using server = await Answering.start(() => asked());
    const url = `http://127.0.0.1:${server.port}`;
    const args = ['sync', '--source', url, '--cache', dir.join('cache'), '--retries', '0'];
    const command = new RunningCommand([
      ...args,
      '--request-timeout',
      '3s',
      '--auth-token',
      CANARY,
    ]);
    await Promise.race([connected, command.ended]);
    const line = readFileSync(`/proc/${command.process.pid}/cmdline`, 'latin1');
    command.process.kill('SIGKILL');
    const { stderr } = await command.ended;
    assert.doesNotMatch(line, TRACE);
    assert.match(stderr, /warning: .*TURSO_AUTH_TOKEN/);
    assert.doesNotMatch(stderr, TRACE);
  });
});

/** Accepts a WebSocket and closes it at once (RFC 6455, sections 4.2.2 and 5.5.1). */
function closeWith(socket: Socket, key: string, reason: string): void {
  const accept = createHash('sha1')
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: hrana2\r\n\r\n`,
  );
  const text = Buffer.from(reason);
  const frame = Buffer.from([0x88, text.length + 2, 4008 >> 8, 4008 & 0xff, ...text]);
  socket.end(frame);
  socket.on('error', () => undefined);
}
