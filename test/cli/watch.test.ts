import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, it } from 'node:test';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { RunningCommand, run } from './command.js';
import { TempDir } from './temp-dir.js';

const WATCH_TOKEN = 'the-token-of-the-watch';
const SOURCE_TOKEN = 'the-token-of-the-source';

/** A line of the log. */
interface Line {
  readonly level: string;
  readonly msg: string;
  readonly job?: string;
  readonly outcome?: string;
  readonly url?: string;
}

/** A watch as a process, and what it has logged. */
class Watching {
  readonly command: RunningCommand;
  #text = '';
  #wake: () => void = () => undefined;

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.command = new RunningCommand(['watch', '--port', '0', ...args], { env });
    this.command.process.stderr!.on('data', (text: string) => {
      this.#text += text;
      this.#wake();
    });
    this.command.process.on('close', () => this.#wake());
  }

  get lines(): Line[] {
    const whole = this.#text.slice(0, this.#text.lastIndexOf('\n') + 1);
    return whole
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  }

  /** The so-manieth line that fits, once it is there. */
  async line(fits: (line: Line) => boolean, nth = 1): Promise<Line> {
    for (;;) {
      const found = this.lines.filter(fits);
      if (found.length >= nth) return found[nth - 1]!;
      assert.equal(this.command.process.exitCode, null, this.#text);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async synced(nth = 1): Promise<Line> {
    return await this.line(({ msg }) => msg === 'sync done', nth);
  }

  kill(signal: NodeJS.Signals): void {
    this.command.process.kill(signal);
  }
}

async function source(dir: TempDir): Promise<string> {
  const file = dir.join('source.db');
  changeDatabase(
    file,
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'one')",
  );
  return await Promise.resolve(file);
}

void describe('storage-sync watch', () => {
  void it('syncs at the start, on the interval and at SIGHUP, and ends well at SIGTERM', async () => {
    await using dir = await TempDir.make();
    const file = await source(dir);
    const watching = new Watching(['--source', `file:${file}`, '--cache', dir.cache, '--json']);
    await watching.synced();
    changeDatabase(file, "UPDATE t SET v = 'two'");
    watching.kill('SIGHUP');
    await watching.synced(2);
    const got = await run(['get', 't', '1', '--cache', dir.cache]);
    assert.match(got.stdout, /two/);
    const { url } = await watching.line(({ msg }) => msg.startsWith('serving'));
    assert.equal((await fetch(new URL('healthz', url))).status, 200);
    watching.kill('SIGTERM');
    const { code, stdout } = await watching.command.ended;
    assert.equal(code, 0);
    assert.equal((JSON.parse(stdout) as { url: string }).url, url);
    // Another one begins where this one ended.
    const again = new Watching([
      '--source',
      `file:${file}`,
      '--cache',
      dir.cache,
      '--interval',
      '50ms',
      '--no-server',
    ]);
    await again.synced(3);
    again.kill('SIGINT');
    assert.equal((await again.command.ended).code, 130);
  });

  void it('goes on through an outage, and stops in the middle of a sync that hangs', async () => {
    await using dir = await TempDir.make();
    const file = await source(dir);
    await using server = await startHranaServer({ file });
    const watching = new Watching([
      '--source',
      server.httpUrl,
      '--cache',
      dir.cache,
      '--interval',
      '50ms',
      '--retries',
      '0',
      '--request-timeout',
      '1h',
    ]);
    await watching.synced();
    await server.fault({ action: { kind: 'reset' }, times: 3 });
    await watching.line(({ outcome }) => outcome === 'skipped' || outcome === 'failed');
    const before = watching.lines.filter(({ msg }) => msg === 'sync done').length;
    await watching.synced(before + 1);
    await server.fault({ action: { kind: 'latency', ms: 3_600_000 }, times: Infinity });
    const hung = (await server.stats()).requests;
    while ((await server.stats()).requests === hung) await new Promise(setImmediate);
    watching.kill('SIGTERM');
    assert.equal((await watching.command.ended).code, 0);
    await server.clearFaults();
  });

  void it('writes its log as JSON, and no token anywhere', async () => {
    await using dir = await TempDir.make();
    const file = await source(dir);
    await using server = await startHranaServer({ file, token: SOURCE_TOKEN });
    const watching = new Watching(
      ['--source', server.httpUrl, '--cache', dir.cache, '--log-level', 'debug'],
      { TURSO_AUTH_TOKEN: SOURCE_TOKEN, STORAGE_SYNC_WATCH_TOKEN: WATCH_TOKEN },
    );
    await watching.synced();
    const { url } = await watching.line(({ msg }) => msg.startsWith('serving'));
    const headers = { Authorization: `Bearer ${WATCH_TOKEN}` };
    const verified = await fetch(new URL('verify?wait=1', url), { method: 'POST', headers });
    assert.equal(verified.status, 200);
    const told = await Promise.all(
      ['', 'status.json', 'metrics', 'readyz'].map(async (path) => {
        return await (await fetch(new URL(path, url))).text();
      }),
    );
    const { pid } = watching.command.process;
    told.push(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    watching.kill('SIGTERM');
    const { code, stdout, stderr } = await watching.command.ended;
    assert.equal(code, 0);
    for (const text of [...told, stdout, stderr]) {
      assert.ok(!text.includes(WATCH_TOKEN) && !text.includes(SOURCE_TOKEN), text.slice(0, 200));
    }
    for (const line of watching.lines) {
      assert.match(line.level, /^(debug|info|warn|error)$/);
    }
    for (const line of stderr.split('\n').filter((each) => each !== '')) {
      const names = [...line.matchAll(/"(level|time|pid|msg)":/g)].map(([, name]) => name);
      assert.equal(new Set(names).size, names.length, line);
    }
  });

  void it('does not begin where it cannot serve, or is asked for what there is not', async () => {
    await using dir = await TempDir.make();
    const file = await source(dir);
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const common = ['watch', '--source', `file:${file}`, '--cache', dir.cache];
    const refused: readonly (readonly [readonly string[], RegExp])[] = [
      [['--port', String(port)], /another process listens there/],
      [['--port', '70000'], /at most 65535/],
      [['--interval', 'soon'], /duration|interval/],
      [['--jitter', '3'], /from 0 to 1/],
      [['--verify-cron', 'daily'], /verifyCron must be a cron expression/],
      [['--log-level', 'loud'], /log-level/],
    ];
    for (const [flags, message] of refused) {
      const { code, stderr } = await run([...common, ...flags]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    }
    taken.close();
    const { stdout } = await run(['status', '--cache', dir.cache, '--json']);
    assert.equal((JSON.parse(stdout) as { state: string }).state, 'empty', 'nothing was synced');
  });
});
