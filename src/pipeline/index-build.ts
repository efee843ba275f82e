import type { PreparedTable } from '../cache/generation-writer.js';
import { SyncAbortedError } from '../errors.js';
import type { GenerationRef } from './messages.js';
import type { WorkerPool } from './worker-pool.js';

/**
 * Builds the indexes that were declared since a table's rows were stored, and removes those that are not declared any
 * more, from what the cache holds. Readers go on meanwhile. Given up at any step, the next sync goes on from there.
 */
export async function buildIndexes(
  pool: WorkerPool,
  generation: GenerationRef,
  tables: readonly PreparedTable[],
  signal: AbortSignal,
): Promise<void> {
  for (const { id, indexWork } of tables) {
    for (let done = !indexWork; !done;) {
      if (signal.aborted) throw new SyncAbortedError();
      ({ done } = await pool.write('index', { generation, tableId: id }));
    }
  }
}
