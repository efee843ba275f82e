import { writeFile } from 'node:fs/promises';
import type { StorageSyncOptions, SyncReport } from '../../src/index.js';
import { RunningCommand } from '../cli/command.js';
import { runChild, type ChildRunOptions } from '../support/kill/run-child.js';
import type { SyncEnd, SyncOrder, SyncRunner } from './sync-order.js';

const HANG_MS = 60_000;

/** Runs each sync in a process of its own: one that is killed where it is told, or the command itself. */
export const processRunner: SyncRunner = {
  isFast: false,
  run: async (options, order) => {
    const { upset, clockAheadMs, mode, full, allowLoss, readerThreads } = order;
    const asked = { ...options, ...order.options };
    if (upset?.kind === 'interrupt after') return await runCommand(asked, order, upset.ms);
    const how: ChildRunOptions = {
      ...(upset?.kind === 'kill after' ? { killAfterMs: upset.ms } : {}),
      ...(clockAheadMs === 0 ? {} : { clockAheadMs }),
    };
    const end = await runChild(
      {
        mode,
        full,
        allowLoss,
        readerThreads,
        options: asked,
        fault:
          upset?.kind === 'kill at'
            ? { point: upset.point, occurrence: upset.occurrence, action: 'kill' }
            : null,
        ...(upset?.kind === 'abort after' ? { abortAfterMs: upset.ms } : {}),
      },
      how,
    );
    if (end.kind === 'verified') throw new Error('a sync was ordered');
    return end;
  },
};

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
  if (code === 0 && told && 'tables' in told) return { kind: 'completed', report: told };
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
