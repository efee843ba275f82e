import type { Cell } from '../values.js';
import type { Query } from './connection.js';
import { describeKey, tooLarge, type RejectedRow } from './page.js';
import type { TablePlan } from './plan.js';
import { invalidTextReason, type RowSink } from './row-sink.js';
import type { SqlPageReader } from './sql-page.js';
import type { Refusal } from './stored/stored-page.js';

export interface SettledRows {
  readonly rejected: readonly RejectedRow[];
  /** What was read of each refused row, by its ordinal: its key at least. */
  readonly cells: ReadonlyMap<number, readonly Cell[]>;
}

/** Names the rows that a sink refused, and reads those by SQL that may be too large. */
export async function settleRefused(
  query: Query,
  sql: SqlPageReader,
  plan: TablePlan,
  maxRowBytes: number,
  sink: RowSink,
  refused: readonly Refusal[],
): Promise<SettledRows> {
  const rejected: RejectedRow[] = [];
  const read = new Map<number, readonly Cell[]>();
  for (const { ordinal, row, reason: given } of refused.toSorted(byOrdinal)) {
    let reason = given;
    let cells = await sql.keysOfRow(query, row);
    if (reason === null) {
      const size = await sql.sizeOfRow(query, row);
      if (size > maxRowBytes) reason = tooLarge(size, maxRowBytes);
      else {
        cells = await sql.readRow(query, row);
        reason = invalidTextReason(plan, cells) ?? sink.take(ordinal, cells);
      }
    }
    if (reason !== null) rejected.push({ key: describeKey(plan, cells), reason });
    read.set(ordinal, cells);
  }
  return { rejected, cells: read };
}

function byOrdinal(a: Refusal, b: Refusal): number {
  return a.ordinal - b.ordinal;
}
