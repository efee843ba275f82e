import { readFileSync } from 'node:fs';
import { describeError, StorageSyncError } from '../errors.js';
import { writeFileAtomic } from './files.js';
import { statePath } from './layout.js';

/** The last failure of a sync, for `status`. */
export interface LastError {
  readonly at: string;
  readonly code: string;
  readonly message: string;
}

export async function writeLastError(cacheDir: string, error: unknown): Promise<void> {
  const lastError: LastError = {
    at: new Date().toISOString(),
    code: error instanceof StorageSyncError ? error.code : 'UNKNOWN',
    message: describeError(error),
  };
  await writeFileAtomic(statePath(cacheDir), `${JSON.stringify({ lastError }, null, 2)}\n`);
}

export async function clearLastError(cacheDir: string): Promise<void> {
  if (readLastError(cacheDir) !== null) await writeFileAtomic(statePath(cacheDir), '{}\n');
}

/** The last failure since the last complete sync, or null. */
export function readLastError(cacheDir: string): LastError | null {
  try {
    const state = JSON.parse(readFileSync(statePath(cacheDir), 'utf8')) as {
      lastError?: LastError;
    };
    return state.lastError ?? null;
  } catch {
    // It is a remark for people: missing or unreadable, there is none.
    return null;
  }
}
