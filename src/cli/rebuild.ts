import type { CommandContext } from './command-run.js';
import type { SyncFlags } from './settings.js';
import { runSync } from './sync-run.js';

/** `storage-sync rebuild`: builds a new generation beside the one that is served, and publishes it. */
export function rebuild(flags: SyncFlags, context: CommandContext): Promise<number> {
  return runSync(flags, context, (storage, options) => storage.rebuild(options));
}
