import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Longer than any run may take, or the making of any file goes without writing. */
const LEFT_AFTER_MS = 2 * 60 * 60_000;

/** Where generated data and the caches of single runs are kept. */
export function scratchDirectory(...path: readonly string[]): string {
  return join(tmpdir(), 'storage-sync-bench', ...path);
}

/** Makes a directory, and removes from it what a bench that was killed has left: that may be some gigabytes. */
export function clearDirectory(directory: string, isTemporary: (name: string) => boolean): void {
  mkdirSync(directory, { recursive: true });
  for (const name of readdirSync(directory).filter(isTemporary)) {
    const path = join(directory, name);
    const writtenAt = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (Date.now() - writtenAt > LEFT_AFTER_MS) rmSync(path, { recursive: true, force: true });
  }
}
