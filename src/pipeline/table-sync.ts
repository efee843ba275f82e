import type { LaneCheckpoint, TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { RowRejectedError } from '../errors.js';
import { refuseLoss } from '../loss-guard.js';
import type { RowErrorPolicy } from '../options.js';
import type { RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { EncodedPage, GenerationRef } from './messages.js';
import type { SchemaWatch } from './schema-watch.js';
import type { PageStreamContext } from './page-stream.js';
import { TableLanes } from './table-lanes.js';

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
  /** Told of a failure while other lanes of its table are still being read. Ends what the sync waits for. */
  readonly onFailure: (plan: TablePlan, error: unknown) => Promise<void>;
  readonly onBatch: (table: string, rows: number, bytes: number) => void;
  /** Told of rows that the source gave beside those of tables and their logs. */
  readonly onSourceRows: (rows: number) => void;
  /** Lanes that a large table on a server may be divided into: 1 for none. */
  readonly maxLanes: number;
}

/** Kept for reuse: one for each page that may be under way. */
const MAX_SPARES = 8;

/**
 * Brings one table from its checkpoint to the end: pages are read and encoded by reader threads and committed by the
 * writer, those of a lane in order, while the next ones are read. Then removes what the source no longer has.
 */
export async function syncTable(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
): Promise<TableCheckpoint> {
  let { checkpoint } = table;
  if (checkpoint.phase === 'reading') {
    checkpoint = await new TableLanes(context, plan, table.id, checkpoint).read();
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

/** A lane, by its place in the table's checkpoint. */
export interface LaneRef {
  readonly number: number;
  readonly checkpoint: LaneCheckpoint;
}

/** Commits a page of a table's reading. */
export async function commit(
  context: SyncContext,
  tableId: number,
  lane: LaneRef,
  page: EncodedPage,
): Promise<TableCheckpoint> {
  context.throwIfAborted();
  const { batch, rejected, position, done, sourceRows } = page;
  const write = {
    tableId,
    lane: lane.number,
    sequence: lane.checkpoint.sequence + 1,
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
