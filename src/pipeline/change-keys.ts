import type { Changes } from '../source/changes.js';
import { recordsOf, type Batch } from '../transform/batch.js';
import { keyBound, MAX_KEY_BYTES, unkeyableReason, writeKey } from '../transform/key-codec.js';
import type { SqlValue } from '../values.js';

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
  for (const { key, rowid } of changed) {
    if (unkeyableReason(key) !== null) continue;
    const buffer = Buffer.allocUnsafe(keyBound(key));
    const end = writeKey(buffer, 0, key as SqlValue[], rowid ?? undefined);
    const name = buffer.toString('latin1', 0, end);
    if (end > MAX_KEY_BYTES || there.has(name)) continue;
    there.add(name);
    gone.push(new Uint8Array(buffer.subarray(0, end)));
  }
  return gone;
}
