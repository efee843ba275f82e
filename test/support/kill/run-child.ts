import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { StorageSyncOptions } from '../../../src/options.js';
import type { SyncReport } from '../../../src/report.js';
import type { VerifyLevel, VerifyReport } from '../../../src/verify/report.js';
import { KILLED_AT, type Fault } from './fault.js';

/** What a child process is to do. Crosses as JSON. */
export interface ChildOrder {
  readonly mode: 'sync' | 'rebuild' | 'verify' | 'read-through';
  readonly options: StorageSyncOptions;
  readonly readerThreads: number;
  readonly fault: Fault | null;
  readonly full?: boolean;
  readonly allowLoss?: boolean;
  /** Of a verify. Default: a deep one that repairs. */
  readonly verify?: { readonly level: VerifyLevel; readonly repair: boolean };
  /** What to read through, until it is stored. */
  readonly read?: { readonly table: string; readonly keys: readonly string[] };
  /** Abort the run by its signal, this long after it began. */
  readonly abortAfterMs?: number;
}

export type ChildResult = ChildUse &
  (
    | { readonly report: SyncReport; readonly rowsFetched: number }
    | { readonly verified: VerifyReport }
    | { readonly rowsRead: number }
    | { readonly failed: { readonly code: string | null; readonly message: string } }
  );

/** What a child that came to its end had used. */
export interface ChildUse {
  readonly maxRssKiB: number;
  /** The longest time that its event loop had no turn. */
  readonly longestTurnMs: number;
}

export type ChildEnd =
  | { readonly kind: 'killed'; readonly point: string; readonly elapsedMs: number }
  | ({
      readonly kind: 'completed';
      readonly report: SyncReport;
      readonly rowsFetched: number;
    } & ChildUse)
  | ({ readonly kind: 'verified'; readonly report: VerifyReport } & ChildUse)
  | ({
      readonly kind: 'failed';
      readonly code: string | null;
      readonly message: string;
    } & ChildUse);

export interface ChildRunOptions {
  /** Kill the child from outside, this long after its sync began. */
  readonly killAfterMs?: number;
  /** A shell prefix to start the child with, such as limits. `"$@"` stands for the child. */
  readonly shell?: string;
  /** How far ahead the child's clock is. */
  readonly clockAheadMs?: number;
}

/** What the child says on stdout as its sync begins. */
export const STARTED = 'started\n';

/** The variable that tells `shifted-clock.js` how far ahead the clock is, in ms. */
export const CLOCK_AHEAD = 'STORAGE_SYNC_TEST_CLOCK_AHEAD_MS';
const SHIFTED_CLOCK = new URL('./shifted-clock.js', import.meta.url).href;
const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
const LONGEST_RUN_MS = 60_000;

/** Runs a child to its end, whatever that is. A child that hangs is an error. */
export async function runChild(
  order: ChildOrder,
  { killAfterMs, shell, clockAheadMs }: ChildRunOptions = {},
): Promise<ChildEnd> {
  const clock = clockAheadMs === undefined ? [] : ['--import', SHIFTED_CLOCK];
  const command = [process.execPath, ...clock, CHILD, JSON.stringify(order)];
  const [file, ...args] =
    shell === undefined ? command : ['/bin/sh', '-c', shell, 'sh', ...command];
  const child = spawn(file!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, [CLOCK_AHEAD]: String(clockAheadMs ?? 0) },
  });
  const startedAt = performance.now();
  let stdout = '';
  let stderr = '';
  let hangs = false;
  let killTimer: NodeJS.Timeout | undefined;
  const hangTimer = setTimeout(() => {
    hangs = true;
    child.kill('SIGKILL');
  }, LONGEST_RUN_MS);
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (killAfterMs !== undefined && killTimer === undefined && stdout.startsWith(STARTED)) {
      killTimer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    }
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
    (resolve, reject) => {
      child.on('error', reject);
      child.on('close', (exitCode, exitSignal) => resolve([exitCode, exitSignal]));
    },
  );
  clearTimeout(killTimer);
  clearTimeout(hangTimer);
  if (hangs) throw new Error(`a child hung: ${JSON.stringify(order)}\n${stdout}${stderr}`);
  if (signal === 'SIGKILL') {
    const point = stderr.split(KILLED_AT)[1]?.trimEnd() ?? `${killAfterMs} ms`;
    return { kind: 'killed', point, elapsedMs: performance.now() - startedAt };
  }
  const answer = stdout.slice(STARTED.length);
  if (code !== 0 || answer === '') {
    throw new Error(`a child ended with ${code ?? signal}: ${JSON.stringify(order)}\n${stderr}`);
  }
  const result = JSON.parse(answer) as ChildResult;
  const { maxRssKiB, longestTurnMs } = result;
  const use = { maxRssKiB, longestTurnMs };
  if ('failed' in result) return { kind: 'failed', ...result.failed, ...use };
  if ('rowsRead' in result) throw new Error('a child that reads through came to its end');
  if ('verified' in result) return { kind: 'verified', report: result.verified, ...use };
  return { kind: 'completed', ...result };
}
