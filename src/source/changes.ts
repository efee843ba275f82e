import type { Cell } from '../values.js';
import { logName } from './change-log/layout.js';
import type { Query, SourceConnection } from './connection.js';
import { collate } from './keyset.js';
import type { Page, PageBounds } from './page.js';
import { readPageWithin } from './page-reader.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import type { RowTally } from './row-tally.js';
import type { RowSink } from './row-sink.js';
import { decodeExact } from './sql-page.js';
import { quoteIdentifier } from './sql.js';

/** What lies in a log behind a version. */
export interface LogWindow {
  readonly log: number;
  /** Which of the logs that had this number it is. */
  readonly logId: string;
  readonly after: number;
}

/** A run of changes of one table. */
export interface Changes {
  /** How many keys changed. */
  readonly count: number;
  /**
   * The changed keys, with the rowid that completes one that holds a NULL. Not read, and empty, where every one of them
   * has its row.
   */
  readonly keys: readonly ChangedKey[];
  /** The rows that there are of these keys went to the sink; the others are gone. */
  readonly page: Page;
  /** The last change of the run. */
  readonly version: number;
  /** For each of the plan's scopes, up to which version of its log the changes are told. */
  readonly scopeVersions: readonly number[];
  /** True when no change lies behind. */
  readonly complete: boolean;
}

export interface ChangedKey {
  readonly key: readonly Cell[];
  readonly rowid: number | bigint | null;
}

/**
 * Reads the changes behind a version, in their order, and gives the rows as they are now to a sink.
 *
 * @param query asks within one snapshot: what has no row in it is deleted.
 * @param tally counts the rows and entries of the log that the source gives.
 */
export async function readChanges(
  connection: SourceConnection,
  query: Query,
  plan: TablePlan,
  own: LogWindow,
  bounds: PageBounds,
  sink: RowSink,
  tally: RowTally,
): Promise<Changes> {
  for (let limit = bounds.maxRows; ;) {
    const { count, version } = await findRun(query, own, limit);
    const changed = changedRows(plan, own, version);
    const filter = plan.filter === null ? changed : `(${plan.filter}) AND ${changed}`;
    const scoped = { ...plan, filter };
    const page = await readPageWithin(
      query,
      connection,
      scoped,
      null,
      { ...bounds, maxRows: count + 1 },
      sink,
    );
    // One row told of the run.
    tally.add(1 + page.sourceRows);
    if (page.done || count <= 1) {
      const keys = eachHasItsRow(plan, count, page)
        ? []
        : await readKeys(query, plan, own, version);
      tally.add(keys.length);
      return { count, keys, page, version, scopeVersions: [], complete: count < limit };
    }
    // They were too many bytes.
    limit = Math.max(1, Math.min(Math.floor(count / 2), page.taken + page.rejected.length));
  }
}

/** How many changes lie behind a version, and which is the last of them. */
async function findRun(
  query: Query,
  { log, after }: LogWindow,
  limit: number,
): Promise<{ readonly count: number; readonly version: number }> {
  const [run] = await query(
    `SELECT count(*), max(version) FROM (SELECT version FROM main.${logName(log)} ` +
      `WHERE version > ${after} ORDER BY version LIMIT ${limit})`,
  );
  return { count: Number(run![0]), version: Number(run![1] ?? after) };
}

function behind({ after }: LogWindow, upTo: number): string {
  return `version > ${after} AND version <= ${upTo}`;
}

/**
 * Whether there are as many rows as changed keys, where that says that none is gone: a key has one entry in the log,
 * and one row at most.
 */
function eachHasItsRow(plan: TablePlan, count: number, page: Page): boolean {
  return comparesExactly(plan) && page.taken === count;
}

/** Whether a key in the log equals one in the table only where both are one key in the cache. */
function comparesExactly({ inKeyOrder, keyNullable }: TablePlan): boolean {
  return inKeyOrder && !keyNullable;
}

async function readKeys(
  query: Query,
  plan: TablePlan,
  own: LogWindow,
  upTo: number,
): Promise<ChangedKey[]> {
  const columns = plan.key.map((_, i) => exactCell(`k${i + 1}`));
  const list = [...columns, ...(plan.keyNullable ? ['row'] : [])];
  const rows = await query(
    `SELECT ${list.join(', ')} FROM main.${logName(own.log)} WHERE ${behind(own, upTo)} ORDER BY version`,
  );
  return rows.map((row) => ({
    key: decodeExact(row.slice(0, columns.length), plan.encoding),
    rowid: plan.keyNullable ? (row[columns.length] as number | bigint | null) : null,
  }));
}

/**
 * Selects the rows of a table whose keys changed behind one version and up to another, through the index over the key.
 */
export function changedRows(plan: TablePlan, own: LogWindow, upTo: number): string {
  const names = plan.keyNames.map((name) => quoteIdentifier(name));
  const from = `main.${logName(own.log)}`;
  const run = behind(own, upTo);
  const columns = names.map((_, i) => `k${i + 1}`);
  if (plan.keyNullable) {
    const rowid = plan.rowidName!;
    const same = names.map((name, i) => `t.${name} IS l.k${i + 1}`).join(' AND ');
    const whole = columns.map((column) => `l.${column} IS NOT NULL`).join(' AND ');
    return (
      `${rowid} IN (SELECT t.${rowid} FROM ${from} AS l CROSS JOIN main.${quoteIdentifier(plan.name)} AS t ` +
      `ON ${same} WHERE ${run} AND ((${whole}) OR t.${rowid} = l.row))`
    );
  }
  // A column may compare in another way than the index over it.
  const terms = comparesExactly(plan)
    ? names.map((name, i) => `${name}${collate(plan.order[i]!)}`)
    : names;
  const left = terms.length === 1 ? terms[0]! : `(${terms.join(', ')})`;
  return `${left} IN (SELECT ${columns.join(', ')} FROM ${from} WHERE ${run})`;
}
