import type { LogPosition, TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import type { LogWindow } from '../source/changes.js';
import type { TablePlan } from '../source/plan.js';
import type { FollowedTable } from './messages.js';
import { refuseRejected, type SyncContext } from './table-sync.js';

/**
 * Brings tables up to date by their change logs, in rounds. A round is of one snapshot of the source and one
 * transaction of the cache: what it holds of several tables becomes visible together. It is as large as a page may be.
 *
 * Goes on until the changes are there that stood in the logs as the sync began; a busy source is never caught up with.
 *
 * @returns the tables' checkpoints, in order: null for a table that is to be read in full, because it has more changes
 * than can be told or its log is not the one any more that the sync has seen.
 */
export async function followChanges(
  context: SyncContext,
  plans: readonly TablePlan[],
  tables: readonly PreparedTable[],
): Promise<(TableCheckpoint | null)[]> {
  const checkpoints: (TableCheckpoint | null)[] = tables.map(({ checkpoint }) => checkpoint);
  const { source, bounds, generation, pool, maxLossShare } = context;
  for (;;) {
    const behind = tables.flatMap((table, i) => {
      const checkpoint = checkpoints[i]!;
      return checkpoint && isBehind(table, checkpoint)
        ? [{ ...followed(plans[i]!, table, checkpoint), i }]
        : [];
    });
    if (behind.length === 0) return checkpoints;
    context.throwIfAborted();
    const round = await pool.read('changes', { source, tables: behind, bounds });
    context.onRetries(round.retries);
    context.onSourceRows(round.sourceRows);
    const told = round.changes.flatMap((change, at) => {
      const { i, plan } = behind[at]!;
      if (change) return [{ i, plan, change }];
      checkpoints[i] = null;
      return [];
    });
    for (const { plan, change } of told) refuseRejected(context, plan, change.rejected);
    context.throwIfAborted();
    const { checkpoints: applied } = await pool.write(
      'apply',
      {
        generation,
        changes: told.map(({ i, change }) => ({ ...change, rowsBefore: tables[i]!.rows })),
        maxLossShare,
      },
      told.flatMap(({ change: { batch } }) => [batch.arena, batch.spans]),
    );
    for (const [at, { i, plan, change }] of told.entries()) {
      checkpoints[i] = applied[at]!;
      const { batch, rejected, removed } = change;
      context.onBatch(plan.name, batch.count + rejected.length + removed.length, batch.bytes);
    }
  }
}

/** Whether changes that stood in the logs as the sync began are still to come. */
function isBehind({ follows }: PreparedTable, { log, scopes }: TableCheckpoint): boolean {
  return (
    log!.version < follows!.upTo || follows!.scopes.some(({ upTo }, i) => scopes[i]!.version < upTo)
  );
}

function windowBehind(log: number, { id, version }: LogPosition): LogWindow {
  return { log, logId: id, after: version };
}

function followed(
  plan: TablePlan,
  { id, follows }: PreparedTable,
  { log, scopes }: TableCheckpoint,
): FollowedTable {
  return {
    plan,
    tableId: id,
    own: windowBehind(follows!.log, log!),
    scopes: follows!.scopes.map((scope, i) => windowBehind(scope.log, scopes[i]!)),
  };
}
