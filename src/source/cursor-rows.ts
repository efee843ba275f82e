import { InvalidText, type Cell, type SqlValue } from '../values.js';
import type { Changes } from './changes.js';
import type { Query, SourceConnection } from './connection.js';
import { operand } from './connection.js';
import { collate, type KeysetSegment } from './keyset.js';
import type { Page, PageBounds } from './page.js';
import { readPageWithin } from './page-reader.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import type { RowSink } from './row-sink.js';
import { Scan } from './scan.js';
import { decodeExact } from './sql-page.js';

/**
 * What a round reads one after the other: rows whose cursor is NULL, then rows from a value on; of a table with soft
 * deletes then the keys of those that are dead, in the same order.
 */
export type CursorStage = 'nulls' | 'values' | 'dead-nulls' | 'dead-values';

/** A round over a cursor, as far as it has come. */
export interface CursorScan {
  /** What is still to be read. */
  readonly stages: readonly CursorStage[];
  /** Where the first of them has come to. */
  readonly position: readonly Cell[] | null;
  /** The value at which the round begins; null for the lowest. */
  readonly from: Cell;
  /** The value at which it ends. */
  readonly upTo: Cell;
  /** The largest value read. */
  readonly last: Cell;
}

/** A page of a round. Its rows went to a sink. */
export interface CursorPage {
  /** The scan behind the page. Without stages it is over. */
  readonly scan: CursorScan;
  /** Rows that the source has, dead ones among them. */
  readonly rows: number;
  /** Rows that the source gave for it. */
  readonly sourceRows: number;
  readonly bytes: number;
  readonly rejected: Page['rejected'];
  /** Keys of which there is no row, unless the sink took one. */
  readonly gone: Changes['keys'];
}

/** The stages of a round. */
export function cursorStages(
  plan: TablePlan,
  hasNulls: boolean,
  hasValues: boolean,
): CursorStage[] {
  const alive: CursorStage[] = [
    ...(hasNulls ? (['nulls'] as const) : []),
    ...(hasValues ? (['values'] as const) : []),
  ];
  if (plan.alive === null) return alive;
  const dead = alive.map((stage): CursorStage =>
    stage === 'nulls' ? 'dead-nulls' : 'dead-values',
  );
  return [...alive, ...dead];
}

/**
 * Reads the next page of a round that is not over. In order of the cursor, then of the key: rows that share a value
 * are told apart by their keys, so none is skipped where a page ends between them.
 *
 * @param query asks within one snapshot: the page's position is that of its last row in it.
 */
export async function readCursorPage(
  connection: SourceConnection,
  query: Query,
  plan: TablePlan,
  scan: CursorScan,
  bounds: PageBounds,
  sink: RowSink,
): Promise<CursorPage> {
  const stage = scan.stages[0]!;
  const isValues = stage === 'values' || stage === 'dead-values';
  const { term } = plan.cursor!;
  const ordered = { ...plan, order: isValues ? [term, ...plan.order] : plan.order };
  const only = isValues ? valuesOf(plan, scan) : { where: `${term.sql} IS NULL`, params: [] };
  const page =
    stage === 'nulls' || stage === 'values'
      ? await readRows(connection, query, ordered, only, scan.position, bounds, sink)
      : await readDead(query, ordered, only, scan.position, bounds, sink);
  const { position, done, ...found } = page;
  const last = isValues && position ? larger(position[0]!, scan.last) : scan.last;
  return {
    ...found,
    scan: done
      ? { ...scan, stages: scan.stages.slice(1), position: null, last }
      : { ...scan, position, last },
  };
}

interface Stage extends Omit<CursorPage, 'scan'> {
  readonly position: readonly Cell[] | null;
  readonly done: boolean;
}

async function readRows(
  connection: SourceConnection,
  query: Query,
  plan: TablePlan,
  only: KeysetSegment,
  start: readonly Cell[] | null,
  bounds: PageBounds,
  sink: RowSink,
): Promise<Stage> {
  const page = await readPageWithin(query, connection, plan, start, { ...bounds, only }, sink);
  const { position, done, bytes, rejected } = page;
  const rows = page.taken + rejected.length;
  // What cannot be cached any more must not stay as it was.
  const gone = rejected.length > 0 ? await readKeys(query, plan, only, start, rows) : [];
  const sourceRows = page.sourceRows + gone.length;
  return { position, done, bytes, rejected, rows, sourceRows, gone: gone.map(({ key }) => key) };
}

async function readDead(
  query: Query,
  plan: TablePlan,
  only: KeysetSegment,
  start: readonly Cell[] | null,
  bounds: PageBounds,
  sink: RowSink,
): Promise<Stage> {
  sink.start(0);
  const dead = { ...plan, filter: `NOT (${plan.alive!})` };
  const found = await readKeys(query, dead, only, start, bounds.maxRows);
  return {
    position: found.at(-1)?.position ?? start,
    done: found.length < bounds.maxRows,
    bytes: found.length * KEY_BYTES,
    rejected: [],
    rows: found.length,
    sourceRows: found.length,
    gone: found.map(({ key }) => key),
  };
}

/** What a key counts in the size of a page. */
const KEY_BYTES = 64;

interface FoundKey {
  readonly position: readonly Cell[];
  readonly key: Changes['keys'][number];
}

async function readKeys(
  query: Query,
  plan: TablePlan,
  only: KeysetSegment,
  start: readonly Cell[] | null,
  maxRows: number,
): Promise<FoundKey[]> {
  const list = plan.order.map(({ sql }) => exactCell(sql)).join(', ');
  const found = await new Scan(plan, null, only).select(
    query,
    list,
    start,
    maxRows,
    plan.order.length,
  );
  return found.map((row) => {
    const position = decodeExact(row, plan.encoding);
    // The key's columns, and where one of them may be NULL the rowid, end the order.
    const rowid = plan.keyNullable ? (position.at(-1) as number | bigint) : null;
    const key = plan.keyNullable
      ? position.slice(-plan.key.length - 1, -1)
      : position.slice(-plan.key.length);
    return { position, key: { key, rowid } };
  });
}

/** The rows of a round by their values. Behind a position, that is where they begin. */
function valuesOf({ cursor }: TablePlan, { from, upTo, position }: CursorScan): KeysetSegment {
  const { term } = cursor!;
  const begins = position === null && from !== null ? [compare('>=', from)] : [];
  const bounds = [...begins, compare('<=', upTo)];
  return {
    where: bounds.map(({ where }) => where).join(' AND '),
    params: bounds.flatMap(({ params }) => params),
  };

  function compare(operator: '>=' | '<=', value: Cell) {
    const { sql, params } = operand(value);
    return { where: `${term.sql} ${operator} ${sql}${collate(term)}`, params };
  }
}

/**
 * The larger of two values, or the first where that cannot be told. Both ends were read up to: the smaller one only
 * costs more to go on from.
 */
function larger(value: Cell, other: Cell): Cell {
  if (other === null || rank(value) !== rank(other)) {
    return rank(value) >= rank(other) ? value : other;
  }
  if (value instanceof InvalidText || other instanceof InvalidText) return value;
  if (value instanceof Uint8Array) {
    return Buffer.compare(value, other as Uint8Array) >= 0 ? value : other;
  }
  return value! >= (other as SqlValue & {}) ? value : other;
}

function rank(value: Cell): number {
  if (value === null) return 0;
  if (typeof value === 'number' || typeof value === 'bigint') return 1;
  return typeof value === 'string' || value instanceof InvalidText ? 2 : 3;
}

/**
 * Selects rows by their keys.
 *
 * @param keys each the key's values; where one of them is NULL, the rowid behind them.
 */
export function onlyKeys(plan: TablePlan, keys: readonly (readonly SqlValue[])[]): KeysetSegment {
  const names = plan.order.slice(0, plan.key.length).map(({ sql }) => sql);
  const params: Cell[] = [];
  const listed = (values: readonly SqlValue[]): string =>
    values
      .map((value) => {
        const { sql, params: bound } = operand(keyCell(value));
        params.push(...bound);
        return sql;
      })
      .join(', ');
  const whole = keys.filter((key) => !key.includes(null));
  const rowids = keys.filter((key) => key.includes(null)).map((key) => key.at(-1)!);
  const conditions: string[] = [];
  if (whole.length > 0 && names.length === 1) {
    conditions.push(`${names[0]!} IN (${listed(whole.flat())})`);
  } else if (whole.length > 0) {
    const rows = whole.map((key) => `(${listed(key)})`).join(', ');
    conditions.push(`(${names.join(', ')}) IN (VALUES ${rows})`);
  }
  if (rowids.length > 0) conditions.push(`${plan.rowidName!} IN (${listed(rowids)})`);
  return { where: `(${conditions.join(' OR ')})`, params };
}

/** A number that is no INTEGER of SQLite is a REAL. */
function keyCell(value: SqlValue): SqlValue {
  const isInteger = typeof value !== 'bigint' || BigInt.asIntN(64, value) === value;
  return isInteger ? value : Number(value);
}
