import type { TableCheckpoint } from '../cache/catalog.js';
import { NEW_LANE } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { keysOnly, type TablePlan } from '../source/plan.js';
import type { EncodedPage } from './messages.js';
import { pageStream } from './page-stream.js';
import { commit, refuseRejected, sweepRows, type SyncContext } from './table-sync.js';

/** Rows asked for by their keys at once. */
const KEYS_AT_ONCE = 200;

/** Whether it is time to read all keys of a table that is followed by its cursor. */
export function isSweepDue({ cursor }: TablePlan, checkpoint: TableCheckpoint): boolean {
  const age = Date.now() - checkpoint.cursor!.sweptAt;
  // A clock that was set back says nothing of the time that has gone by.
  return checkpoint.keySweep !== null || age >= cursor!.sweepEveryMs || age < 0;
}

/**
 * Reads the keys of a table and removes the rows that the source no longer has. Rows that the cache lacks, because they
 * were committed later than the overlap reaches, are fetched.
 *
 * Nothing is removed before all keys were read. A sweep that is interrupted goes on where it was.
 */
export async function sweepKeys(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
): Promise<TableCheckpoint> {
  const { pool, generation } = context;
  const begun = await pool.write('beginSweep', { generation, tableId: table.id });
  let { checkpoint } = begun;
  if (checkpoint.phase === 'reading') {
    let lane = checkpoint.lanes[0] ?? NEW_LANE;
    for await (const page of pageStream(context, keysOnly(plan), lane)) {
      refuseRejected(context, plan, page.rejected);
      const whole = await fetchAbsent(context, plan, table, page);
      checkpoint = await commit(context, table.id, { number: 0, checkpoint: lane }, whole);
      lane = checkpoint.lanes[0]!;
      context.onBatch(plan.name, page.batch.count + page.rejected.length, page.batch.bytes);
    }
  }
  context.onReadOut(plan.name);
  return await sweepRows(context, plan, table.id, checkpoint);
}

/** Brings the rows of a page's keys that the cache lacks. Until that is done the page is not committed. */
async function fetchAbsent(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
  page: EncodedPage,
): Promise<EncodedPage> {
  const { pool, generation } = context;
  const { batch } = page;
  const compared = await pool.write('absentKeys', { generation, tableId: table.id, batch }, [
    batch.arena,
    batch.spans,
  ]);
  for (let from = 0; from < compared.absent.length; from += KEYS_AT_ONCE) {
    await fetchRows(context, plan, table, compared.absent.slice(from, from + KEYS_AT_ONCE));
  }
  return { ...page, batch: compared.batch };
}

async function fetchRows(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
  keys: readonly Uint8Array[],
): Promise<void> {
  const { pool, source, bounds, generation } = context;
  const tableId = table.id;
  let position: Uint8Array | null = null;
  for (;;) {
    context.throwIfAborted();
    const page: EncodedPage = await pool.read('rowsByKey', {
      source,
      plan,
      keys,
      position,
      bounds,
    });
    context.onRetries(page.retries);
    refuseRejected(context, plan, page.rejected);
    const { batch, rejected, sourceRows } = page;
    const rows = { tableId, batch, rejected, sourceRows };
    await pool.write('insertMissed', { generation, rows }, [batch.arena, batch.spans]);
    if (page.done) return;
    position = page.position;
  }
}
