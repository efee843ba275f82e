import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { run, RunningCommand, type Ran } from './command.js';

function assertUsageError(ran: Ran, message: RegExp, hint: RegExp): void {
  assert.equal(ran.code, 2);
  assert.equal(ran.stdout, '');
  const [first = '', second = '', ...rest] = ran.stderr.split('\n');
  assert.match(first, /^storage-sync: /);
  assert.match(first, message);
  assert.match(second, hint);
  assert.deepEqual(rest, ['']);
}

void describe('storage-sync, used', () => {
  void it('explains itself and every command', async () => {
    const help = await run(['--help']);
    assert.equal(help.code, 0);
    assert.equal(help.stderr, '');
    for (const command of ['sync', 'rebuild', 'verify', 'status', 'tables', 'get', 'export']) {
      assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
      const explained = await run([command, '--help']);
      assert.equal(explained.code, 0);
      assert.match(explained.stdout, /--cache <dir>/);
      assert.match(explained.stdout, /--json/);
      assert.match(explained.stdout, /--quiet/);
    }
  });

  void it('explains itself to a reader that goes away', async () => {
    const command = new RunningCommand(['sync', '--help']);
    command.process.stdout?.destroy();
    assert.deepEqual(await command.ended, { code: 0, stdout: '', stderr: '' });
  });

  void it('tells its version', async () => {
    const manifest = new URL('../../../package.json', import.meta.url);
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    assert.deepEqual(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  });

  void it('answers nothing at all with the help, as wrong usage', async () => {
    const ran = await run([]);
    assert.equal(ran.code, 2);
    assert.equal(ran.stdout, '');
    assert.match(ran.stderr, /^Usage: storage-sync/);
  });

  void it('refuses what it does not know', async () => {
    assertUsageError(await run(['synk']), /unknown command 'synk'/, /--help/);
    assertUsageError(await run(['sync', '--fast']), /unknown option '--fast'/, /sync --help/);
    assertUsageError(await run(['get', 'notes']), /missing required argument/, /get --help/);
    assertUsageError(await run(['status', 'now']), /too many arguments/, /status --help/);
  });

  void it('names the flag whose value is wrong', async () => {
    const wrong: readonly (readonly [string, string, RegExp])[] = [
      ['--batch-size', '0', /at least 1/],
      ['--batch-size', '-3', /at least 1/],
      ['--batch-size', 'many', /whole number/],
      ['--batch-size', '1e3', /whole number/],
      ['--retries', '-1', /at least 0/],
      ['--concurrency', '0', /at least 1/],
      ['--max-episodes', '0', /at least 1/],
      ['--on-row-error', 'ignore', /fail, quarantine/],
      ['--transport', 'pigeon', /auto, native, client/],
      ['--preset', 'forgetful', /memory/],
      ['--request-timeout', '30', /30s/],
      ['--request-timeout', '0s', /30s/],
      ['--tables', 'a,,b', /commas/],
    ];
    for (const [flag, value, message] of wrong) {
      const ran = await run(['sync', '--source', 'file:none.db', flag, value]);
      assertUsageError(ran, new RegExp(`${flag}.*${message.source}`), /sync --help/);
    }
  });

  void it('asks for a source', async () => {
    const ran = await run(['sync']);
    assertUsageError(ran, /No source is given/, /--source URL.*TURSO_DATABASE_URL/);
  });

  void it('refuses a source that is no URL of a database', async () => {
    const ran = await run(['sync', '--source', 'postgres://localhost/x']);
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /^storage-sync: .*source\.url must start with/);
  });

  void it('wants the preset with its limit', async () => {
    const ran = await run(['sync', '--source', 'file:none.db', '--max-episodes', '5']);
    assertUsageError(ran, /--max-episodes/, /--preset memory/);
  });

  void it('tells wrong usage as JSON, too', async () => {
    const ran = await run(['sync', '--fast', '--json']);
    assert.equal(ran.code, 2);
    assert.deepEqual(JSON.parse(ran.stdout), {
      error: {
        code: 'CONFIG_INVALID',
        message: "unknown option '--fast'",
        hint: 'See storage-sync sync --help.',
        context: {},
      },
    });
    assert.match(ran.stderr, /unknown option/);
  });
});

void describe('the token', () => {
  const token = 'eyJhbGciOiJFZERTQSJ9.c2VjcmV0';
  const url = `libsql://nowhere.invalid:99999?authToken=${token}`;

  void it('is not printed with a wrong URL, flag or variable', async () => {
    const runs = [
      run(['sync', '--source', url, '--json'], { env: { STORAGE_SYNC_DEBUG: '1' } }),
      run(['sync', '--source', `postgres://user:${token}@host`, '--json']),
      run(['tables', '--source', url, '--json']),
      run(['sync', `--auth-tokn=${token}`, '--json']),
      run(['sync', '--auth-token', token, '--json', '--source', token]),
      run(['sync', '--json'], { env: { TURSO_DATABASE_URL: url } }),
      run(['sync', '--json', '--source', token], { env: { TURSO_AUTH_TOKEN: token } }),
    ];
    for (const ran of await Promise.all(runs)) {
      assert.notEqual(ran.code, 0);
      assert.doesNotMatch(ran.stdout + ran.stderr, /eyJ|c2VjcmV0/);
      assert.ok('error' in (JSON.parse(ran.stdout) as object));
    }
  });
});
