import type { CommandContext } from './command-run.js';
import type { SyncFlags } from './settings.js';
import { runSync } from './sync-run.js';

/** `storage-sync sync`: brings the cache up to the source. */
export function sync(
  flags: SyncFlags & { readonly full?: boolean },
  context: CommandContext,
): Promise<number> {
  const { full } = flags;
  return runSync(flags, context, (storage, options) => storage.sync({ ...options, full }));
}
