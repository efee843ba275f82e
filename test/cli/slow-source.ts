import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type HranaServer, startHranaServer } from '../support/hrana/server.js';
import { notesSql, type TempDir } from './temp-dir.js';

/** A source of `notes` so slow that a sync of it takes seconds. */
export async function slowSource(dir: TempDir, rows: number): Promise<HranaServer> {
  dir.database('source.db', notesSql(rows));
  const server = await startHranaServer({ file: dir.join('source.db') });
  await server.fault({ action: { kind: 'latency', ms: 150 }, sql: /body/, times: Infinity });
  return server;
}

/** Waits until the server has had that many requests: then a sync is under way. */
export async function untilRequested(server: HranaServer, requests: number): Promise<void> {
  const deadline = Date.now() + 20_000;
  while ((await server.stats()).requests < requests) {
    assert.ok(Date.now() < deadline, 'the sync did not get going');
    await sleep(20);
  }
}
