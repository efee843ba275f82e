import type { TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import type { TablePlan } from '../source/plan.js';
import type { FollowedTable } from './messages.js';
import { refuseRejected, type SyncContext } from './table-sync.js';

/**
 * Brings tables up to date by their change logs, in rounds. A round is of one snapshot of the source and one
 * transaction of the cache: what it holds of several tables becomes visible together. It is as large as a page may be.
 *
 * Goes on until the changes are there that stood in the logs as the sync began; a busy source is never caught up with.
 *
 * @returns the tables' checkpoints, in order.
 */
export async function followChanges(
  context: SyncContext,
  plans: readonly TablePlan[],
  tables: readonly PreparedTable[],
): Promise<TableCheckpoint[]> {
  const checkpoints = tables.map(({ checkpoint }) => checkpoint);
  const after = tables.map(({ follows }) => follows!.after);
  const { source, bounds, generation, pool, maxLossShare } = context;
  for (;;) {
    const behind = tables.flatMap((table, i): (FollowedTable & { readonly i: number })[] => {
      const { log, upTo } = table.follows!;
      if (after[i]! >= upTo) return [];
      return [{ i, plan: plans[i]!, tableId: table.id, log, after: after[i]! }];
    });
    if (behind.length === 0) return checkpoints;
    context.throwIfAborted();
    const round = await pool.read('changes', { source, tables: behind, bounds });
    context.onRetries(round.retries);
    for (const [at, change] of round.changes.entries()) {
      refuseRejected(context, behind[at]!.plan, change.rejected);
    }
    context.throwIfAborted();
    const { checkpoints: applied } = await pool.write(
      'apply',
      {
        generation,
        changes: round.changes.map((change, at) => ({
          ...change,
          rowsBefore: tables[behind[at]!.i]!.rows,
        })),
        maxLossShare,
      },
      round.changes.flatMap(({ batch }) => [batch.arena, batch.spans]),
    );
    for (const [at, change] of round.changes.entries()) {
      const { i, plan } = behind[at]!;
      checkpoints[i] = applied[at]!;
      after[i] = change.version;
      const { batch, rejected, removed } = change;
      context.onBatch(plan.name, batch.count + rejected.length + removed.length, batch.bytes);
    }
  }
}
