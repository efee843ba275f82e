import { NEW_LANE, type LaneCheckpoint, type TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { RowRejectedError } from '../errors.js';
import { refuseLoss } from '../loss-guard.js';
import type { RowErrorPolicy } from '../options.js';
import type { RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { EncodedPage, GenerationRef } from './messages.js';
import type { SchemaWatch } from './schema-watch.js';
import { pageStream, type PageStreamContext } from './page-stream.js';

/** What the tables of one sync have in common. */
export interface SyncContext extends PageStreamContext {
  readonly generation: GenerationRef;
  readonly maxBytesInFlight: number;
  readonly onRowError: RowErrorPolicy;
  /** The share of a table's rows that may go at once: 1 where all may. */
  readonly maxLossShare: number;
  readonly schema: SchemaWatch;
  /** Told once all that a table has to give was received, for tables whose rows, or keys, are all read. */
  readonly onReadOut: (table: string) => void;
  readonly onBatch: (table: string, rows: number, bytes: number) => void;
  /** Told of rows that the source gave beside those of tables and their logs. */
  readonly onSourceRows: (rows: number) => void;
}

/** Kept for reuse: one for each page that may be under way. */
const MAX_SPARES = 8;

/**
 * Brings one table from its checkpoint to the end: pages are read and encoded by reader threads and committed in order
 * by the writer, while the next ones are read. Then removes what the source no longer has.
 */
export async function syncTable(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
): Promise<TableCheckpoint> {
  let { checkpoint } = table;
  if (checkpoint.phase === 'reading') {
    let lane = checkpoint.lanes[0] ?? NEW_LANE;
    const onLast = () => context.onReadOut(plan.name);
    for await (const page of pageStream(context, plan, lane, onLast)) {
      refuseRejected(context, plan, page.rejected);
      // A limit is reached when the consumer has counted.
      if (page.done) onLast();
      checkpoint = await commit(context, table.id, lane, page);
      lane = checkpoint.lanes[0]!;
      context.onBatch(plan.name, page.batch.count + page.rejected.length, page.batch.bytes);
    }
  }
  context.onReadOut(plan.name);
  return await sweepRows(context, plan, table.id, checkpoint);
}

/** Removes the rows that a completely read table no longer has. */
export async function sweepRows(
  context: SyncContext,
  plan: TablePlan,
  tableId: number,
  checkpoint: TableCheckpoint,
): Promise<TableCheckpoint> {
  if (checkpoint.phase !== 'sweeping') return { ...checkpoint, phase: 'complete' };
  await context.schema.check([plan]);
  await guardSweep(context, plan, tableId);
  const { pool, generation } = context;
  for (;;) {
    context.throwIfAborted();
    const { counters, done } = await pool.write('sweep', { generation, tableId });
    if (done) return { ...checkpoint, counters, phase: 'complete' };
  }
}

/** Before anything is removed: whether the source may be believed. If not, the table is to be read anew. */
async function guardSweep(context: SyncContext, plan: TablePlan, tableId: number): Promise<void> {
  const { pool, generation, maxLossShare } = context;
  const counts = await pool.write('previewSweep', { generation, tableId });
  try {
    refuseLoss({ table: plan.name, ...counts }, maxLossShare);
  } catch (error) {
    await pool.write('abandon', { generation, tableId });
    throw error;
  }
}

/** Commits a page of a table's reading. */
export async function commit(
  context: SyncContext,
  tableId: number,
  lane: LaneCheckpoint,
  page: EncodedPage,
): Promise<TableCheckpoint> {
  context.throwIfAborted();
  const { batch, rejected, position, done, sourceRows } = page;
  const write = {
    tableId,
    lane: 0,
    sequence: lane.sequence + 1,
    batch,
    rejected,
    position,
    done,
    sourceRows,
  };
  const { checkpoint, spare } = await context.pool.write(
    'write',
    { generation: context.generation, write },
    [batch.arena, batch.spans],
  );
  const reusable = spare.arena.byteLength <= 2 * context.bounds.maxBytes;
  if (reusable && context.spares.length < MAX_SPARES) context.spares.push(spare);
  return checkpoint;
}

/** @throws {RowRejectedError} for the first row that cannot be cached, where such rows are to stop the sync. */
export function refuseRejected(
  context: Pick<SyncContext, 'onRowError'>,
  plan: TablePlan,
  rejected: readonly RejectedRow[],
): void {
  const [first] = rejected;
  if (!first || context.onRowError === 'quarantine') return;
  throw new RowRejectedError(
    `A row of ${JSON.stringify(plan.name)} cannot be cached: ${first.reason}. The row is the one with ${first.key}.`,
    {
      context: { table: plan.name, key: first.key, reason: first.reason },
      hint: 'Correct the row in the source, or set such rows aside with --on-row-error quarantine.',
    },
  );
}
