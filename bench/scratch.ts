import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where generated data and the caches of single runs are kept. */
export function scratchDirectory(...path: readonly string[]): string {
  return join(tmpdir(), 'storage-sync-bench', ...path);
}
