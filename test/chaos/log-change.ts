import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a process is to do to a change log, again and again until it is killed. Crosses as JSON. */
export interface LogChangeOrder {
  readonly file: string;
  /** `install` uninstalls it before, so that there is something to do. */
  readonly kind: 'compact' | 'install';
  /** Of a compaction: all that readers have not asked to keep. */
  readonly all: boolean;
}

const CHILD = fileURLToPath(new URL('./log-change-child.js', import.meta.url));
const HANG_MS = 60_000;

/**
 * Runs a process that changes the log and kills it, so long after it began.
 *
 * @returns whether it was killed before it came to its end.
 */
export async function killLogChange(order: LogChangeOrder, afterMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let timer = setTimeout(() => child.kill('SIGKILL'), HANG_MS);
  child.stdout.once('data', () => {
    clearTimeout(timer);
    timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
  });
  const end = await new Promise((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  clearTimeout(timer);
  assert.ok(
    end === 'SIGKILL' || end === 0,
    `a change of the log ended with ${String(end)}: ${stderr}`,
  );
  return end === 'SIGKILL';
}
