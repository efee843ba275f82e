import { writeFile } from 'node:fs/promises';
import assert from 'node:assert/strict';
import type { StorageSyncOptions, SyncReport } from '../../src/index.js';
import { EXIT_DONE, EXIT_SOURCE_UNAVAILABLE } from '../../src/cli/exit-code.js';
import { RunningCommand } from '../cli/command.js';
import {
  runChild,
  type ChildEnd,
  type ChildOrder,
  type ChildRunOptions,
} from '../support/kill/run-child.js';
import { endOf, type SyncEnd, type SyncOrder, type SyncRunner, type Upset } from './sync-order.js';

const HANG_MS = 60_000;
/** Far more than a process with small tables needs on a busy machine: one that needs more is not bounded, or hangs. */
const MOST_MEMORY_KIB = 600 * 1024;
const LONGEST_TURN_MS = 10_000;

/** Runs each sync in a process of its own: one that is killed where it is told, or the command itself. */
export const processRunner: SyncRunner = {
  isFast: false,
  run: async (options, order) => {
    const { upset, clockAheadMs, mode, full, allowLoss, readerThreads } = order;
    const asked = { ...options, ...order.options };
    if (upset?.kind === 'interrupt after') return await runCommand(asked, order, upset.ms);
    const child = { mode, full, allowLoss, readerThreads, options: asked };
    const end = await runUpset(child, upset, clockAheadMs);
    if (end.kind === 'verified') throw new Error('a sync was ordered');
    return end.kind === 'completed' ? endOf(end.report) : end;
  },
  verify: async (options, { level, repair, upset, readerThreads }) => {
    const child = {
      mode: 'verify',
      verify: { level, repair },
      allowLoss: true,
      readerThreads,
      options,
    } as const;
    const end = await runUpset(child, upset, 0);
    if (end.kind === 'completed') throw new Error('a verify was ordered');
    return end;
  },
};

async function runUpset(
  order: Omit<ChildOrder, 'fault'>,
  upset: Upset | null,
  clockAheadMs: number,
): Promise<ChildEnd> {
  const how: ChildRunOptions = {
    ...(upset?.kind === 'kill after' ? { killAfterMs: upset.ms } : {}),
    ...(clockAheadMs === 0 ? {} : { clockAheadMs }),
  };
  const fault =
    upset?.kind === 'kill at'
      ? { point: upset.point, occurrence: upset.occurrence, action: 'kill' as const }
      : null;
  const abort = upset?.kind === 'abort after' ? { abortAfterMs: upset.ms } : {};
  const end = await runChild({ ...order, fault, ...abort }, how);
  if (end.kind === 'killed') return end;
  assert.ok(end.maxRssKiB < MOST_MEMORY_KIB, `the process took ${end.maxRssKiB} KiB`);
  assert.ok(
    end.longestTurnMs < LONGEST_TURN_MS,
    `the event loop had no turn for ${end.longestTurnMs} ms`,
  );
  return end;
}

/** Runs `storage-sync` and sends it a SIGINT. */
async function runCommand(
  options: StorageSyncOptions,
  { mode, full, allowLoss }: SyncOrder,
  afterMs: number,
): Promise<SyncEnd> {
  const config = `${options.cacheDir}.config.json`;
  await writeFile(config, JSON.stringify(options));
  const running = new RunningCommand([
    mode,
    '--config',
    config,
    '--json',
    ...(full && mode === 'sync' ? ['--full'] : []),
    ...(allowLoss ? ['--allow-loss'] : []),
  ]);
  const interrupt = setTimeout(() => running.process.kill('SIGINT'), afterMs);
  const kill = setTimeout(() => running.process.kill('SIGKILL'), HANG_MS);
  const { code, stdout, stderr } = await running.ended;
  clearTimeout(interrupt);
  clearTimeout(kill);
  // Before it listens for signals, a SIGINT ends it as it ends any process.
  if (code === null && stdout === '' && running.process.signalCode === 'SIGINT') {
    return { kind: 'killed', point: `SIGINT after ${afterMs} ms` };
  }
  const told = parse(stdout);
  if (told && 'tables' in told) {
    const end = endOf(told);
    if (code === (end.kind === 'skipped' ? EXIT_SOURCE_UNAVAILABLE : EXIT_DONE)) return end;
  }
  if (told && 'error' in told) {
    const isTold = (code === 130) === (told.error.code === 'ABORTED');
    if (isTold) return { kind: 'failed', ...told.error };
  }
  throw new Error(
    `the command ended with ${code ?? running.process.signalCode}: ${stdout}${stderr}`,
  );
}

function parse(
  text: string,
): SyncReport | { readonly error: { readonly code: string; readonly message: string } } | null {
  return text === '' ? null : (JSON.parse(text) as SyncReport);
}
