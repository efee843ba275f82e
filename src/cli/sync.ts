import type { CommandContext } from './command-run.js';
import type { SyncFlags } from './settings.js';
import { runSync } from './sync-run.js';

/** `storage-sync sync`: brings the cache up to the source. */
export function sync(flags: SyncFlags, context: CommandContext): Promise<number> {
  return runSync(flags, context, (storage, options) => storage.sync(options));
}
