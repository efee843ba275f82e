import type { SqlValue } from '../values.js';
import { changedRows, type Changes, type LogWindow } from './changes.js';
import { logName } from './change-log/layout.js';
import type { Query, RawRow, SourceConnection } from './connection.js';
import { orderBy } from './keyset.js';
import type { PageBounds } from './page.js';
import { readPageWithin } from './page-reader.js';
import { isScoped, type PlanScope, type TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import type { RowSink } from './row-sink.js';
import { decodeExact } from './sql-page.js';
import type { RowTally } from './row-tally.js';
import { quoteIdentifier } from './sql.js';

/** Of each change there may come the changed row, and a row on either side of the limit. */
const ROWS_OF_A_CHANGE = 3;

/**
 * The changes of a table whose rows come and go without a change to them: by its own limit, or by the limit of a table
 * that it refers to. All that lies in the logs is taken at once.
 *
 * Let n rows of a table with the limit N have changed. What was among its newest N rows and is not any more, or the
 * other way round, is one of the n, or its rank is now within n of N: each change moves the others by one rank at most.
 * So those rows are looked at besides the changed ones; and of a table that refers to it, the rows that refer to them.
 *
 * @param asked asks within one snapshot.
 * @param tally counts the rows and entries of logs that the source gives.
 * @returns null where that is more than a page: the table is then better read in full.
 */
export async function readScopedChanges(
  connection: SourceConnection,
  asked: Query,
  plan: TablePlan,
  own: LogWindow,
  scopes: readonly LogWindow[],
  bounds: PageBounds,
  sink: RowSink,
  tally: RowTally,
): Promise<Changes | null> {
  const query = tally.over(asked);
  const windows = [own, ...scopes];
  const sizes = await readSizes(query, windows);
  const changed = sizes.reduce((sum, { count }) => sum + count, 0);
  if (changed * ROWS_OF_A_CHANGE > bounds.maxRows) return null;
  const versions = windows.map(({ after }, i) => sizes[i]!.version ?? after);
  const [version, ...scopeVersions] = versions as [number, ...number[]];
  const told = { version, scopeVersions, complete: true };
  if (changed === 0) return { count: 0, keys: [], page: EMPTY_PAGE, ...told };

  const id = idOf(plan);
  const moved = movedRows(plan, id, sizes[0]!.count, scopes, sizes.slice(1));
  const keys = await readKeys(query, plan, own, id, moved);
  const ids = [
    `SELECT ${id.list} FROM ${tableOf(plan)} WHERE ${changedRows(plan, own, version)}`,
    ...moved,
  ];
  const conditions = [`${id.operand} IN (${ids.join(' UNION ALL ')})`];
  if (plan.filter !== null) conditions.push(`(${plan.filter})`);
  if (plan.limit) conditions.push(`${id.operand} IN (${ranked(plan, id, 0, plan.limit.count)})`);
  const scoped: TablePlan = {
    ...plan,
    limit: null,
    filter: conditions.join(' AND '),
    // By the key: an order by the limit's column would invite a walk along its index.
    order: plan.limit
      ? plan.order.slice(1).map((term) => ({ ...term, descending: false }))
      : plan.order,
  };
  const page = await readPageWithin(asked, connection, scoped, null, bounds, sink);
  tally.add(page.sourceRows);
  return page.done ? { count: changed, keys, page, ...told } : null;
}

/**
 * The keys that `readScopedChanges` would look at now though their rows did not change, by exact lists, with the rowid
 * where it may be needed to complete them.
 *
 * @param among SQL: which rows to ask of.
 */
export async function readMoved(
  query: Query,
  plan: TablePlan,
  own: LogWindow,
  scopes: readonly LogWindow[],
  among: string,
): Promise<RawRow[]> {
  if (!isScoped(plan)) return [];
  const [size, ...sizes] = await readSizes(query, [own, ...scopes]);
  const id = idOf(plan);
  const moved = movedRows(plan, id, size!.count, scopes, sizes);
  if (moved.length === 0) return [];
  const rowid = plan.keyNullable ? [plan.rowidName] : [];
  const list = [...plan.keyNames.map((name) => exactCell(quoteIdentifier(name))), ...rowid];
  return await query(
    `SELECT ${list.join(', ')} FROM ${tableOf(plan)} ` +
      `WHERE (${among}) AND ${id.operand} IN (${moved.join(' UNION ALL ')})`,
  );
}

const EMPTY_PAGE = {
  taken: 0,
  rejected: [],
  position: null,
  done: true,
  bytes: 0,
  sourceRows: 0,
  nextMaxRows: 1,
} as const;

interface WindowSize {
  readonly count: number;
  /** The newest version, or null for an empty window. */
  readonly version: number | null;
}

async function readSizes(query: Query, windows: readonly LogWindow[]): Promise<WindowSize[]> {
  const parts = windows.map(
    ({ log, after }) =>
      `SELECT count(*), max(version) FROM main.${logName(log)} WHERE version > ${after}`,
  );
  const rows = await query(parts.join(' UNION ALL '));
  return rows.map(([count, version]) => ({
    count: Number(count),
    version: version === null ? null : Number(version),
  }));
}

/** What names a row within the source: its rowid, or else its key. */
interface RowId {
  readonly list: string;
  readonly operand: string;
}

function idOf({ rowidName, keyNames }: TablePlan): RowId {
  if (rowidName !== null) return { list: rowidName, operand: rowidName };
  const list = keyNames.map((name) => quoteIdentifier(name)).join(', ');
  return { list, operand: keyNames.length === 1 ? list : `(${list})` };
}

/** Selects the ids of rows that may have moved across a limit without a change to them. */
function movedRows(
  plan: TablePlan,
  id: RowId,
  changed: number,
  windows: readonly LogWindow[],
  sizes: readonly WindowSize[],
): string[] {
  const moved: string[] = [];
  if (plan.limit && changed > 0) {
    const { count } = plan.limit;
    moved.push(
      `SELECT * FROM (${ranked(plan, id, Math.max(0, count - changed), count + changed)})`,
    );
  }
  for (const [i, scope] of plan.scopes.entries()) {
    const { count } = sizes[i]!;
    if (count === 0) continue;
    const targets = movedTargets(scope, windows[i]!, count);
    const refers = `${scope.columns} IN (${targets})`;
    const condition = scope.when === null ? refers : `${scope.when} AND ${refers}`;
    moved.push(`SELECT ${id.list} FROM ${tableOf(plan)} WHERE ${condition}`);
  }
  return moved;
}

/** Selects the keys of a limited table's rows that changed, or may have moved across its limit. */
function movedTargets(
  { key, newestFirst, count }: PlanScope,
  window: LogWindow,
  changed: number,
): string {
  const logged = key.map((_, i) => `k${i + 1}`).join(', ');
  const first = Math.max(0, count - changed);
  return (
    `SELECT ${logged} FROM main.${logName(window.log)} WHERE version > ${window.after} UNION ALL ` +
    `SELECT * FROM (${newestFirst} LIMIT ${count + changed - first} OFFSET ${first})`
  );
}

/** Selects the ids of the rows that are newest but `from`, up to the newest `to`. */
function ranked(plan: TablePlan, { list }: RowId, from: number, to: number): string {
  return (
    `SELECT ${list} FROM ${tableOf(plan)}${plan.alive === null ? '' : ` WHERE ${plan.alive}`} ` +
    `ORDER BY ${orderBy(plan.order)} ` +
    `LIMIT ${to - from} OFFSET ${from}`
  );
}

/** The keys that the cache may have to change: those in the log, and those of moved rows. */
async function readKeys(
  query: Query,
  plan: TablePlan,
  { log, after }: LogWindow,
  id: RowId,
  moved: readonly string[],
): Promise<Changes['keys']> {
  const logged = plan.keyNames.map((_, i) => `k${i + 1}`);
  const own = plan.keyNames.map((name) => quoteIdentifier(name));
  const select = (columns: readonly string[], rowid: string | null, rest: string) =>
    `SELECT ${[...columns.map(exactCell), ...(rowid === null ? [] : [rowid])].join(', ')} ${rest}`;
  const parts = [
    select(
      logged,
      plan.keyNullable ? 'row' : null,
      `FROM main.${logName(log)} WHERE version > ${after}`,
    ),
  ];
  if (moved.length > 0) {
    const ids = moved.join(' UNION ALL ');
    const from = `FROM ${tableOf(plan)} WHERE ${id.operand} IN (${ids})`;
    parts.push(select(own, plan.keyNullable ? plan.rowidName : null, from));
  }
  const rows = await query(parts.join(' UNION ALL '));
  return rows.map((row) => ({
    key: decodeExact(row.slice(0, logged.length), plan.encoding),
    rowid: (plan.keyNullable ? (row[logged.length] as SqlValue) : null) as number | bigint | null,
  }));
}

function tableOf(plan: TablePlan): string {
  return `main.${quoteIdentifier(plan.name)}`;
}
