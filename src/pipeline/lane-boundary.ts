import type { LaneBoundary } from '../cache/catalog.js';
import type { TablePlan } from '../source/plan.js';
import { cacheableKey } from '../transform/key-codec.js';
import type { Cell } from '../values.js';
import { encodePosition } from './position.js';

/** A position without a NULL as the end of a lane, or null where the cache can have no such key. */
export function laneBoundary(plan: TablePlan, position: readonly Cell[]): LaneBoundary | null {
  // The order of a table that can be divided is that of its key, then of the rowid where the key may be NULL.
  const key = cacheableKey(position.slice(0, plan.key.length));
  return key && { position: encodePosition(position)!, key };
}
