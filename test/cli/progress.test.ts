import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { COMMAND, environment, run } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

const script = spawnSync('script', ['--version'], { encoding: 'utf8' });
const noTerminal = /util-linux/.test(script.stdout ?? '')
  ? false
  : "util-linux's `script` is not here to give a terminal";

/** Runs the command on a terminal, and gives what the terminal was sent. */
async function onTerminal(args: readonly string[]): Promise<{ code: number | null; sent: string }> {
  const line = [process.execPath, COMMAND, ...args].map((arg) => `'${arg}'`).join(' ');
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...environment(), TERM: 'xterm', COLUMNS: '200' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let sent = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (sent += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, sent };
}

void describe('progress', () => {
  void it('is a plain line for each table on a stderr that is no terminal', async () => {
    await using dir = await TempDir.make();
    const url = dir.database(
      'source.db',
      `${notesSql(3000)} CREATE TABLE other (id INTEGER PRIMARY KEY); INSERT INTO other VALUES (1);`,
    );
    const ran = await run(['sync', '--source', url, '--cache', dir.cache, '--json']);
    assert.equal(ran.code, 0, ran.stderr);
    const lines = ran.stderr.trimEnd().split('\n');
    for (const line of lines) assert.match(line, /^storage-sync: .*rows.*\d+ of 2 tables/);
    assert.match(lines.at(-1) ?? '', /2 of 2 tables$/);
    assert.ok(!ran.stderr.includes('\u001b'));
  });

  void it('is a line drawn over on a terminal', { skip: noTerminal }, async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(20_000));
    const args = ['sync', '--source', url, '--cache', dir.cache];
    const { code, sent } = await onTerminal(args);
    assert.equal(code, 0, sent);
    assert.ok(sent.includes('\u001b['), 'nothing was drawn over');
    assert.match(sent, /connecting|reading|notes {2}[\d,]+ of 20,000 rows/);
    assert.match(sent, /^notes +20,000/m);
    // Line wrapping is on again.
    assert.ok(sent.lastIndexOf('\u001b[?7h') > sent.lastIndexOf('\u001b[?7l'));
  });

  void it('is nothing on a terminal when quiet', { skip: noTerminal }, async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(100));
    const args = ['sync', '--source', url, '--cache', dir.cache, '--quiet'];
    assert.deepEqual(await onTerminal(args), { code: 0, sent: '' });
  });
});
