import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ReadRows } from './source-states.js';

/** One way of reading one table. Crosses by structured clone. */
export interface TableRead extends ReadRows {
  /** The code of the error that ended it, or null. */
  readonly code: string | null;
}

/** What a process could read of a cache. */
export interface WholeRead {
  readonly reads: readonly TableRead[];
  /** The code of the error by which the cache could not be opened, or null. */
  readonly code: string | null;
  /** An error that was not thrown on purpose. */
  readonly complaint: string | null;
}

const CHILD = fileURLToPath(new URL('./whole-read-child.js', import.meta.url));
const HANG_MS = 60_000;

/** Reads all of a cache in a process of its own, which must live through whatever the cache is. */
export async function readWhole(cacheDir: string): Promise<WholeRead> {
  const child = fork(CHILD, [cacheDir], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), HANG_MS);
  let read: WholeRead | null = null;
  child.on('message', (message) => (read = message as WholeRead));
  const end = await new Promise((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  clearTimeout(timer);
  assert.equal(end, 0, `a process that reads ended with ${String(end)}: ${stderr}`);
  assert.ok(read, 'a process that reads tells what it read');
  return read;
}
