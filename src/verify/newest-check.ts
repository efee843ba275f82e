import type { ValidationCheck } from '../report.js';
import { readPage } from '../source/page-reader.js';
import type { PageBounds } from '../source/page.js';
import type { RowTally } from '../source/row-tally.js';
import { decodeRecord } from '../cache/record.js';
import { compareIndexed } from '../cache/index-key.js';
import { BatchBuilder, recordsOf } from '../transform/batch.js';
import type { SqlValue } from '../values.js';
import type { LookTarget } from './second-look.js';

/** Rows that must be in the cache after a sync. */
const NEWEST_ROWS = 10;

/**
 * Whether the newest rows of a table with a limit are in the cache. Those that are newer than all that it has were
 * written after the sync had read.
 */
export async function checkNewest(
  target: LookTarget,
  bounds: PageBounds,
  tally: RowTally,
): Promise<ValidationCheck> {
  const { connection, checksum, plan, signal } = target;
  const count = Math.min(NEWEST_ROWS, plan.limit!.count);
  const builder = new BatchBuilder(plan, checksum);
  const asked = { ...bounds, maxRows: count };
  const page = await readPage(connection, plan, null, asked, builder, signal);
  tally.add(page.sourceRows);
  const { present, missing, since } = holdNewest(target, builder);
  const later = since === 0 ? '' : `, ${since} written after it was read`;
  return {
    table: plan.name,
    check: 'newest rows',
    passed: missing === 0,
    detail:
      missing === 0
        ? `${present} of the newest rows are there${later}`
        : `${missing} of the ${present + missing + since} newest rows are missing${later}`,
  };
}

function holdNewest(
  { environment, rows, plan }: LookTarget,
  builder: BatchBuilder,
): { readonly present: number; readonly missing: number; readonly since: number } {
  environment.refresh();
  const batch = builder.finish();
  const arena = Buffer.from(batch.arena);
  const absent: SqlValue[] = [];
  let newest: SqlValue | undefined;
  let present = 0;
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    const value = arena.subarray(valueStart, end);
    const at = decodeRecord(value, value.length)[plan.limit!.column]!;
    if (rows.doesExist(arena.subarray(keyStart, valueStart))) {
      present++;
      newest ??= at;
    } else absent.push(at);
  }
  const since = absent.filter((at) => newest !== undefined && isLater(at, newest)).length;
  return { present, missing: absent.length - since, since };
}

const BY_VALUE = { name: '', columns: [0], descending: [false], unique: false };

function isLater(a: SqlValue, b: SqlValue): boolean {
  return compareIndexed(BY_VALUE, [a], [b]) > 0;
}
