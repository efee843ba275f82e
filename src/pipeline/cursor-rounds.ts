import type { CursorPosition, TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { cursorStages } from '../source/cursor-rows.js';
import type { TablePlan } from '../source/plan.js';
import type { EncodedCursorLook } from './messages.js';
import { refuseRejected, type SyncContext } from './table-sync.js';

/** A table that is brought up to date by its cursor. */
export interface CursorFollower {
  readonly plan: TablePlan;
  readonly table: PreparedTable;
  /** How the cursor stood before this sync read any row. */
  readonly look: EncodedCursorLook;
}

/** How a table stands while its rounds are read. */
interface Progress extends CursorFollower {
  cursor: CursorPosition;
  checkpoint: TableCheckpoint;
  /** True once the round was begun that ends where the cursor stood as this sync began. */
  isLastRound: boolean;
}

/**
 * Brings tables up to date by their cursors. A table has one round, from where the one before ended less the overlap,
 * up to where the cursor stood as the sync began; and before it, what was left of one that was interrupted. What is
 * read at once is of one snapshot of the source and one transaction of the cache.
 *
 * @returns the tables' checkpoints, in order.
 */
export async function followCursors(
  context: SyncContext,
  followers: readonly CursorFollower[],
): Promise<TableCheckpoint[]> {
  const tables = followers.map((follower): Progress => {
    const { checkpoint, cursor } = follower.table;
    return { ...follower, checkpoint, cursor: cursor!, isLastRound: false };
  });
  for (;;) {
    for (const table of tables) beginRound(table);
    const behind = tables.filter(({ cursor }) => cursor.round !== null);
    if (behind.length === 0) return tables.map(({ checkpoint }) => checkpoint);
    await takeSteps(context, behind);
  }
}

function beginRound(table: Progress): void {
  const { plan, look, cursor } = table;
  if (cursor.round !== null || table.isLastRound) return;
  table.isLastRound = true;
  const stages = cursorStages(plan, look.hasNulls, look.last !== null);
  if (stages.length === 0) return;
  table.cursor = { ...cursor, round: { stages, position: null, upTo: look.last, last: null } };
}

async function takeSteps(context: SyncContext, behind: readonly Progress[]): Promise<void> {
  const { pool, source, bounds, generation, maxLossShare } = context;
  context.throwIfAborted();
  const { steps, retries } = await pool.read('cursorSteps', {
    source,
    tables: behind.map(({ plan, table, cursor }) => ({ plan, tableId: table.id, cursor })),
    bounds,
  });
  context.onRetries(retries);
  const tableOf = (tableId: number) => behind.find(({ table }) => table.id === tableId)!;
  for (const { tableId, rejected } of steps) {
    refuseRejected(context, tableOf(tableId).plan, rejected);
  }
  context.throwIfAborted();
  const { checkpoints } = await pool.write(
    'follow',
    {
      generation,
      steps: steps.map((step) => ({ ...step, rowsBefore: tableOf(step.tableId).table.rows })),
      maxLossShare,
    },
    steps.flatMap(({ batch }) => [batch.arena, batch.spans]),
  );
  for (const [i, step] of steps.entries()) {
    const table = tableOf(step.tableId);
    table.checkpoint = checkpoints[i]!;
    table.cursor = step.cursor;
    context.onBatch(table.plan.name, step.rowsRead, step.batch.bytes);
  }
}
