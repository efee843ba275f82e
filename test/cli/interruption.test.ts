import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncReport } from '../../src/report.js';
import { type HranaServer, startHranaServer } from '../support/hrana/server.js';
import { run, RunningCommand } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

const ROWS = 2000;

/** A source so slow that a sync of it takes seconds. */
async function slowSource(dir: TempDir): Promise<HranaServer> {
  dir.database('source.db', notesSql(ROWS));
  const server = await startHranaServer({ file: dir.join('source.db') });
  await server.fault({ action: { kind: 'latency', ms: 150 }, sql: /body/, times: Infinity });
  return server;
}

function slowArgs(dir: TempDir, server: HranaServer): string[] {
  return ['sync', '--source', server.httpUrl, '--cache', dir.cache, '--batch-size', '50', '--json'];
}

/** Waits until the server has answered that many more requests, so that some batches are committed. */
async function untilBusy(server: HranaServer, requests: number): Promise<void> {
  const deadline = Date.now() + 20_000;
  while ((await server.stats()).requests < requests) {
    assert.ok(Date.now() < deadline, 'the sync did not get going');
    await sleep(20);
  }
}

void describe('a stopped sync', () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    void it(`keeps its checkpoint at ${signal}, and the next goes on from there`, async () => {
      await using dir = await TempDir.make();
      await using server = await slowSource(dir);
      const args = slowArgs(dir, server);
      const running = new RunningCommand(args);
      await untilBusy(server, 14);
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
    await using server = await slowSource(dir);
    await server.fault({ action: { kind: 'latency', ms: 5000 }, skip: 10, times: Infinity });
    const running = new RunningCommand(slowArgs(dir, server));
    await untilBusy(server, 8);
    running.process.kill('SIGINT');
    await sleep(50);
    running.process.kill('SIGINT');
    const startedAt = Date.now();
    const { code } = await running.ended;
    assert.equal(code, 130);
    assert.ok(Date.now() - startedAt < 2000);
  });
});
