import type { Cell, SqlValue } from '../values.js';
import { logName } from './change-log/layout.js';
import type { Query, SourceConnection } from './connection.js';
import type { Page, PageBounds } from './page.js';
import { readPageWithin } from './page-reader.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
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
  /** The changed keys, with the rowid that completes one that holds a NULL. */
  readonly keys: readonly {
    readonly key: readonly Cell[];
    readonly rowid: number | bigint | null;
  }[];
  /** The rows that there are of these keys went to the sink; the others are gone. */
  readonly page: Page;
  /** The last change of the run. */
  readonly version: number;
  /** For each of the plan's scopes, up to which version of its log the changes are told. */
  readonly scopeVersions: readonly number[];
  /** True when no change lies behind. */
  readonly complete: boolean;
}

/**
 * Reads the changes behind a version, in their order, and gives the rows as they are now to a sink.
 *
 * @param query asks within one snapshot: what has no row in it is deleted.
 */
export async function readChanges(
  connection: SourceConnection,
  query: Query,
  plan: TablePlan,
  own: LogWindow,
  bounds: PageBounds,
  sink: RowSink,
): Promise<Changes> {
  const { log, after } = own;
  const columns = plan.key.map((_, i) => `k${i + 1}`);
  const list = ['version', ...columns.map(exactCell), ...(plan.keyNullable ? ['row'] : [])];
  const found = await query(
    `SELECT ${list.join(', ')} FROM main.${logName(log)} WHERE version > ${after} ` +
      `ORDER BY version LIMIT ${bounds.maxRows}`,
  );
  let rows = found;
  for (;;) {
    const version = Number(rows.at(-1)?.[0] ?? after);
    const changed = changedRows(plan, own, version);
    const filter = plan.filter === null ? changed : `(${plan.filter}) AND ${changed}`;
    const scoped = { ...plan, filter };
    const page = await readPageWithin(
      query,
      connection,
      scoped,
      null,
      { ...bounds, maxRows: rows.length + 1 },
      sink,
    );
    if (page.done || rows.length <= 1) {
      const whole = rows.length === found.length && found.length < bounds.maxRows;
      const keys = rows.map((row) => {
        const cells = decodeExact(row.slice(1, 1 + columns.length), plan.encoding);
        const rowid = plan.keyNullable ? (row[1 + columns.length] as SqlValue) : null;
        return { key: cells, rowid: rowid as number | bigint | null };
      });
      return { keys, page, version, scopeVersions: [], complete: whole };
    }
    // They were too many bytes.
    const fewer = Math.min(Math.floor(rows.length / 2), page.taken + page.rejected.length);
    rows = rows.slice(0, Math.max(1, fewer));
  }
}

/**
 * Selects the rows of a table whose keys changed behind one version and up to another, through the index over the key.
 */
export function changedRows(plan: TablePlan, { log, after }: LogWindow, upTo: number): string {
  const names = plan.keyNames.map((name) => quoteIdentifier(name));
  const window = `version > ${after} AND version <= ${upTo}`;
  const from = `main.${logName(log)}`;
  const columns = names.map((_, i) => `k${i + 1}`);
  if (plan.keyNullable) {
    const rowid = plan.rowidName!;
    const same = names.map((name, i) => `t.${name} IS l.k${i + 1}`).join(' AND ');
    const whole = columns.map((column) => `l.${column} IS NOT NULL`).join(' AND ');
    return (
      `${rowid} IN (SELECT t.${rowid} FROM ${from} AS l CROSS JOIN main.${quoteIdentifier(plan.name)} AS t ` +
      `ON ${same} WHERE ${window} AND ((${whole}) OR t.${rowid} = l.row))`
    );
  }
  const left = names.length === 1 ? names[0]! : `(${names.join(', ')})`;
  return `${left} IN (SELECT ${columns.join(', ')} FROM ${from} WHERE ${window})`;
}
