import type { TablePlan } from '../source/plan.js';
import { recordsOf, type Batch } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import type { TableCheckpoint } from './catalog.js';
import type { Environment } from './environment.js';
import { packMeta } from './record.js';
import { TableIndexes } from './table-indexes.js';

/** Rows that the source gave for keys which a table of the cache did not have. */
export interface FetchedRows {
  readonly tableId: number;
  /** Where the table stood before the source was asked: see {@link checkpointStamp}. */
  readonly stamp: Uint8Array;
  readonly batch: Batch;
}

/**
 * Whether single rows may be added to a table between two syncs. Not where a sync was interrupted in it, where rows
 * come and go with others (a limit, references), nor where one row may contradict another until both are new (a unique
 * index).
 */
export function takesSingleRows(plan: TablePlan, checkpoint: TableCheckpoint | null): boolean {
  if (checkpoint === null || plan.limit !== null || plan.scopes.length > 0) return false;
  if (plan.indexes.some(({ unique }) => unique)) return false;
  const { phase, settled, cursor, keySweep } = checkpoint;
  return phase === 'complete' && settled && keySweep === null && (cursor?.round ?? null) === null;
}

/** Names where a table stands: another one as soon as a sync has come further in it. */
export function checkpointStamp(checkpoint: TableCheckpoint | null): Uint8Array {
  return packMeta(NO_KEY, checkpoint);
}

const NO_KEY = Buffer.alloc(0);

/**
 * Adds rows to tables that do not have them, with their index entries and the tables' row counts, in one transaction.
 * Checkpoints stay as they are: what the source did to a row since, the next sync brings as it does of any other. So a
 * table in which a sync has come further since the source was asked takes none: that sync may have removed the row, and
 * none that follows would do so again. A row that is there is not replaced, because it may be newer.
 *
 * @returns how many rows were added of each, or null for a table that takes none.
 */
export function addFetched(
  environment: Environment,
  checksum: Checksum,
  fetched: readonly FetchedRows[],
): (number | null)[] {
  environment.refresh();
  const { tables } = environment.catalog();
  const known = fetched.map(({ tableId }) => {
    const table = tables.find(({ id }) => id === tableId);
    // Not within the transaction: opening a database is one of its own.
    if (table) environment.openTable(tableId);
    return table;
  });
  return environment.transaction(() =>
    fetched.map(({ tableId, stamp, batch }, i) => {
      const table = known[i];
      if (!table) return null;
      const { rows: before, checkpoint } = environment.tableState(tableId);
      if (!takesSingleRows(table.plan, checkpoint)) return null;
      if (Buffer.compare(checkpointStamp(checkpoint), stamp) !== 0) return null;
      const rows = environment.rows(tableId);
      const indexes = new TableIndexes(environment, table, checksum);
      const arena = Buffer.from(batch.arena);
      let added = 0;
      for (const { keyStart, valueStart, end } of recordsOf(batch)) {
        const key = arena.subarray(keyStart, valueStart);
        if (rows.doesExist(key)) continue;
        const value = arena.subarray(valueStart, end);
        rows.putSync(key, value);
        indexes.add(key, value);
        added++;
      }
      if (added > 0) environment.putTableState(tableId, { rows: before + added, checkpoint });
      return added;
    }),
  );
}
