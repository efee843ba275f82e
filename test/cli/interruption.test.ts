import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncReport } from '../../src/report.js';
import type { HranaServer } from '../support/hrana/server.js';
import { run, RunningCommand } from './command.js';
import { slowSource, untilRequested } from './slow-source.js';
import { TempDir } from './temp-dir.js';

const ROWS = 2000;

function slowArgs(dir: TempDir, server: HranaServer, more: readonly string[] = []): string[] {
  const flags = ['--batch-size', '50', '--json', ...more];
  return ['sync', '--source', server.httpUrl, '--cache', dir.cache, ...flags];
}

void describe('a stopped sync', () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    void it(`keeps its checkpoint at ${signal}, and the next goes on from there`, async () => {
      await using dir = await TempDir.make();
      await using server = await slowSource(dir, ROWS);
      // A request for each page: a cursor would give them all at once.
      const args = slowArgs(dir, server, ['--transport', 'http-pipeline']);
      const running = new RunningCommand(args);
      await untilRequested(server, 14);
      running.process.kill(signal);
      const ran = await running.ended;
      assert.equal(ran.code, exitCode, ran.stderr);
      assert.match(ran.stderr, /Stopping at the next batch boundary/);
      const { error } = JSON.parse(ran.stdout) as { error: { code: string } };
      assert.equal(error.code, 'ABORTED');

      const status = await run(['status', '--cache', dir.cache, '--json']);
      const { tables } = JSON.parse(status.stdout) as {
        tables: Record<string, { rows: number; checkpoint: { rowsRead: number } | null }>;
      };
      const kept = tables['notes']?.checkpoint?.rowsRead ?? 0;
      assert.ok(kept > 0 && kept < ROWS, `${kept} rows were kept`);

      await server.clearFaults();
      const resumed = await run(args);
      assert.equal(resumed.code, 0, resumed.stderr);
      const report = JSON.parse(resumed.stdout) as SyncReport;
      assert.equal(report.tables['notes']?.resumed, true);
      const exported = await run(['export', 'notes', '--cache', dir.cache]);
      assert.equal(exported.stdout.trimEnd().split('\n').length, ROWS);
    });
  }

  void it('ends on the spot at the second Ctrl-C', async () => {
    await using dir = await TempDir.make();
    await using server = await slowSource(dir, ROWS);
    await server.fault({ action: { kind: 'latency', ms: 5000 }, skip: 10, times: Infinity });
    const running = new RunningCommand(slowArgs(dir, server, ['--transport', 'http-pipeline']));
    await untilRequested(server, 8);
    running.process.kill('SIGINT');
    await sleep(50);
    running.process.kill('SIGINT');
    const startedAt = Date.now();
    const { code } = await running.ended;
    // It may just be ending by itself, and hear no signals any more: a shell calls both 130.
    assert.ok(code === 130 || running.process.signalCode === 'SIGINT', String(code));
    assert.ok(Date.now() - startedAt < 2000);
  });
});
