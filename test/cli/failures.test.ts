import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, stat, truncate } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { startHranaServer } from '../support/hrana/server.js';
import { COMMAND, run, RunningCommand, type Ran } from './command.js';
import { untilRequested } from './slow-source.js';
import { notesSql, TempDir } from './temp-dir.js';

interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly context: Readonly<Record<string, unknown>>;
}

/** Runs with and without `--json`: both must exit alike, in one line and a hint, and never with a stack. */
async function fails(args: readonly string[], exitCode: number): Promise<Told> {
  const [forPeople, asJson] = [await run(args), await run([...args, '--json'])];
  assert.equal(asJson.code, exitCode, asJson.stderr);
  assert.equal(forPeople.code, exitCode, forPeople.stderr);
  const { error } = JSON.parse(asJson.stdout) as { error: Told };
  assertTold(forPeople, error);
  return error;
}

function assertTold(ran: Ran, { message, hint }: Told): void {
  assert.equal(ran.stdout, '');
  assert.doesNotMatch(ran.stderr, /^\s+at /m);
  const lines = ran.stderr
    .split('\n')
    .filter((line) => !/ \d+ tables|the token of --auth-token/.test(line));
  assert.equal(lines[0], `storage-sync: ${message}`);
  assert.equal(lines[1], hint ?? '');
}

/** A port that refuses connections. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

void describe('a source that is wrong', () => {
  void it('is a missing file', async () => {
    await using dir = await TempDir.make();
    const url = `file:${dir.join('missing.db')}`;
    for (const command of ['sync', 'rebuild', 'tables']) {
      const error = await fails([command, '--source', url, '--cache', dir.cache], 2);
      assert.equal(error.code, 'SOURCE_NOT_FOUND');
      assert.match(error.message, /missing\.db/);
    }
  });

  void it('is a file that is no database', async () => {
    await using dir = await TempDir.make();
    const path = await dir.write('text.db', 'once upon a time '.repeat(1000));
    const error = await fails(['sync', '--source', `file:${path}`, '--cache', dir.cache], 1);
    assert.equal(error.code, 'SOURCE_NOT_A_DATABASE');
  });

  void it('does not know the table', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(3));
    const args = ['sync', '--source', url, '--cache', dir.cache, '--tables', 'notes,nope'];
    const error = await fails(args, 2);
    assert.equal(error.code, 'TABLE_NOT_FOUND');
    assert.equal(error.context['table'], 'nope');
    assert.match(String(error.hint), /notes/);
  });

  void it('has a view by that name', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', `${notesSql(3)} CREATE VIEW v AS SELECT * FROM notes;`);
    const args = ['sync', '--source', url, '--cache', dir.cache, '--tables', 'v'];
    const error = await fails(args, 2);
    assert.equal(error.code, 'TABLE_NOT_SUPPORTED');
    assert.match(error.message, /view/);
  });

  void it('refuses the token, which is not told', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(3));
    await using server = await startHranaServer({ file: dir.join('source.db'), token: 'right' });
    const token = 'eyJ3cm9uZw';
    for (const url of [server.httpUrl, server.wsUrl]) {
      for (const command of ['sync', 'tables']) {
        const args = [command, '--source', url, '--cache', dir.cache, '--auth-token', token];
        const error = await fails(args, 1);
        assert.equal(error.code, 'SOURCE_UNAUTHORIZED', url);
        assert.match(String(error.hint), /TURSO_AUTH_TOKEN/);
        assert.doesNotMatch(JSON.stringify(error), new RegExp(token));
      }
    }
    const env = { TURSO_DATABASE_URL: server.httpUrl, TURSO_AUTH_TOKEN: 'right' };
    const ran = await run(['sync', '--cache', dir.cache, '--json'], { env });
    assert.equal(ran.code, 0, ran.stderr);
  });
});

void describe('a source that is away', () => {
  void it('exits with 4, with or without a cache', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(5));
    const url = `http://127.0.0.1:${await closedPort()}`;
    const args = ['--source', url, '--cache', dir.cache, '--retries', '1', '--json'];
    const first = await run(['sync', ...args]);
    assert.equal(first.code, 4, first.stderr);
    JSON.parse(first.stdout);
    assert.match(first.stderr, /storage-sync: /);
    assert.doesNotMatch(first.stderr, /^\s+at /m);

    await using server = await startHranaServer({ file: dir.join('source.db') });
    const filled = ['--source', server.httpUrl, '--cache', dir.cache, '--retries', '0', '--json'];
    const synced = await run(['sync', ...filled]);
    assert.equal(synced.code, 0, synced.stderr);
    await server.stop();
    for (const command of ['sync', 'rebuild']) {
      const away = await run([command, ...filled]);
      assert.equal(away.code, 4, away.stderr);
      JSON.parse(away.stdout);
    }
    const row = await run(['get', 'notes', '5', '--cache', dir.cache]);
    assert.equal(row.stdout, '{"id":5,"body":"note number 5"}\n');
    assert.equal((await run(['tables', ...filled])).code, 4);
  });

  void it('is one that never answers', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(5));
    await using server = await startHranaServer({ file: dir.join('source.db') });
    await server.fault({ action: { kind: 'stall' }, times: Infinity });
    const args = ['--source', server.httpUrl, '--cache', dir.cache, '--request-timeout', '200ms'];
    const ran = await run(['sync', ...args, '--retries', '0', '--json']);
    assert.equal(ran.code, 4, ran.stderr);
    JSON.parse(ran.stdout);
  });
});

void describe('a cache directory that cannot be used', () => {
  void it('is a file', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(3));
    const file = await dir.write('in-the-way', '');
    for (const cache of [file, `${file}/cache`]) {
      const error = await fails(['sync', '--source', url, '--cache', cache], 1);
      assert.match(error.code, /^CACHE_/);
      assert.match(error.message, /in-the-way/);
    }
  });

  void it('is one that only others may write', async (t) => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(3));
    await chmod(dir.path, 0o755);
    await mkdir(dir.join('closed'), { mode: 0o555 });
    // Nothing is closed to root: the command then runs as somebody else.
    const nobody = process.getuid?.() === 0 ? 65534 : undefined;
    const options = nobody === undefined ? {} : { uid: nobody };
    if (nobody !== undefined && (await run(['--version'], options)).code !== 0) {
      t.skip(`another user than root cannot read ${COMMAND}`);
      return;
    }
    const args = ['sync', '--source', url, '--cache', dir.join('closed/cache'), '--json'];
    const ran = await run(args, options);
    assert.equal(ran.code, 1, ran.stderr);
    const { error } = JSON.parse(ran.stdout) as { error: Told };
    assert.equal(error.code, 'CACHE_IO');
    assert.match(error.message, /closed/);
    assert.match(error.message, /cannot be written by this user/);
  });
});

void describe('a cache', () => {
  void it('that another process writes is left to it', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(50));
    await using server = await startHranaServer({ file: dir.join('source.db'), latencyMs: 800 });
    // A request for each page: a cursor would give them all at once.
    const flags = ['--batch-size', '5', '--transport', 'client'];
    const args = ['sync', '--source', server.httpUrl, '--cache', dir.cache, ...flags];
    const first = new RunningCommand([...args, '--json']);
    await untilRequested(server, 4);
    const status = await run(['status', '--cache', dir.cache, '--json']);
    const { state, holder } = JSON.parse(status.stdout) as {
      state: string;
      holder: { pid: number } | null;
    };
    assert.equal(state, 'syncing');
    assert.equal(holder?.pid, first.process.pid);
    const error = await fails(args, 1);
    assert.equal(error.code, 'CACHE_LOCKED');
    assert.match(`${error.message} ${error.hint}`, new RegExp(`\\b${first.process.pid}\\b`));
    assert.equal((await first.ended).code, 0);
  });

  void it('that is damaged is told as a state, and refused to readers', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(500));
    assert.equal((await run(['sync', '--source', url, '--cache', dir.cache])).code, 0);
    const data = dir.join('cache/generations/1/data.mdb');
    await truncate(data, Math.floor((await stat(data)).size / 2));
    const status = await run(['status', '--cache', dir.cache, '--json']);
    assert.equal(status.code, 0, status.stderr);
    assert.equal((JSON.parse(status.stdout) as { state: string }).state, 'corrupt');
    for (const args of [
      ['get', 'notes', '1'],
      ['export', 'notes'],
    ]) {
      const error = await fails([...args, '--cache', dir.cache], 1);
      assert.equal(error.code, 'CACHE_CORRUPT');
    }
  });
});

void describe('a stdout that is full', { skip: !existsSync('/dev/full') }, () => {
  void it('fails the command', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(5));
    assert.equal((await run(['sync', '--source', url, '--cache', dir.cache])).code, 0);
    for (const args of [
      ['status', '--json'],
      ['export', 'notes'],
    ]) {
      const ran = await run([...args, '--cache', dir.cache], { stdout: '/dev/full' });
      assert.equal(ran.code, 1);
      assert.match(ran.stderr, /^storage-sync: The result cannot be written to stdout: ENOSPC/);
    }
  });
});

void describe('what nobody foresaw', () => {
  void it('is told in one line, too', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(200_000));
    const config = await dir.write(
      'config.mjs',
      `setTimeout(() => { throw new Error('boom'); }, 200);
       export default { source: { url: ${JSON.stringify(url)} }, batchSize: 100 };`,
    );
    const args = ['sync', '--config', config, '--cache', dir.cache, '--json', '--quiet'];
    const ran = await run(args);
    assert.equal(ran.code, 1);
    assert.equal(
      ran.stderr,
      'storage-sync: Unexpected failure: boom\nSet STORAGE_SYNC_DEBUG=1 to see where it happened.\n',
    );
    const { error } = JSON.parse(ran.stdout) as { error: Told };
    assert.equal(error.code, 'UNEXPECTED');
  });
});

void describe('a stack trace', () => {
  void it('is for those who ask', async () => {
    await using dir = await TempDir.make();
    const args = ['sync', '--source', `file:${dir.join('missing.db')}`, '--cache', dir.cache];
    const ran = await run(args, { env: { STORAGE_SYNC_DEBUG: '1' } });
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /^\s+at /m);
  });
});
