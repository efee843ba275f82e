import type { Changes } from '../source/changes.js';
import { recordsOf, type Batch } from '../transform/batch.js';
import { cacheableKey } from '../transform/key-codec.js';

/**
 * The keys, each once, of changes that have no record in the batch of their rows: these rows are gone, or cannot be cached. A key
 * that no cached row can have is left out.
 */
export function keysWithoutRows(changed: Changes['keys'], batch: Batch): Uint8Array[] {
  const arena = Buffer.from(batch.arena);
  const there = new Set<string>();
  for (const { keyStart, valueStart } of recordsOf(batch)) {
    there.add(arena.toString('latin1', keyStart, valueStart));
  }
  const gone: Uint8Array[] = [];
  for (const change of changed) {
    const key = cacheableKey(change.key, change.rowid ?? undefined);
    if (key === null) continue;
    const name = Buffer.from(key.buffer).toString('latin1', 0, key.length);
    if (there.has(name)) continue;
    there.add(name);
    gone.push(key);
  }
  return gone;
}
