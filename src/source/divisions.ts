import type { Cell } from '../values.js';
import type { Query } from './connection.js';
import { orderBy, segmentWithoutNulls } from './keyset.js';
import { canSplit } from './page-reader.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import { decodeExact } from './sql-page.js';
import { quoteIdentifier } from './sql.js';

/** Rows that are looked at. The parts are uneven by about 1 / sqrt(SAMPLES / parts). */
const SAMPLES = 256;

/** Where a table can be divided. */
export interface Divisions {
  /** Positions of rows, in order, without a NULL. None where the table cannot be divided. */
  readonly positions: readonly (readonly Cell[])[];
  /** The share of the table's rows that lies behind the position from which it is divided. */
  readonly shareBehind: number;
}

/**
 * Divides what lies behind a position into parts of about as many rows, by a sample: the rows at evenly spaced rowids,
 * which are about as many of every part whatever the keys are. It costs a server some rows for each of them, and two
 * round trips; a table without rowids is not divided.
 *
 * Rowids with one gap much larger than all the rest give few samples, and so uneven parts, or none.
 */
export async function findDivisions(
  query: Query,
  plan: TablePlan,
  position: readonly Cell[] | null,
  parts: number,
): Promise<Divisions> {
  const rowid = rowidOf(plan);
  if (rowid === null || !canSplit(plan)) return { positions: [], shareBehind: 1 };
  const probes = await spacedRowids(query, plan, rowid);
  const sample = await sampleAt(query, plan, rowid, probes, position);
  const behind = sample.filter(({ isBehind }) => isBehind).map(({ cells }) => cells);
  const cuts = Array.from({ length: parts - 1 }, (_, i) =>
    Math.round(((i + 1) * behind.length) / parts),
  );
  const positions = [...new Set(cuts)].filter((at) => at > 0 && at < behind.length);
  return {
    positions: positions.map((at) => behind[at - 1]!),
    shareBehind: sample.length === 0 ? 1 : behind.length / sample.length,
  };
}

function rowidOf({ rowidName, order }: TablePlan): string | null {
  const [first] = order;
  // The rowid alone has no collation; a column of that name may hide the name it usually has.
  if (order.length === 1 && first!.collation === null) return first!.sql;
  return rowidName === null ? null : quoteIdentifier(rowidName);
}

/** Rowids from the least to the greatest, evenly spaced. Each end is one step down a b-tree. */
async function spacedRowids(query: Query, { name }: TablePlan, rowid: string): Promise<bigint[]> {
  const table = `main.${quoteIdentifier(name)}`;
  const [ends] = await query(
    `SELECT (SELECT min(${rowid}) FROM ${table}), (SELECT max(${rowid}) FROM ${table})`,
  );
  const [least, greatest] = ends ?? [];
  if (!isInteger(least) || !isInteger(greatest)) return [];
  const from = BigInt(least);
  const width = BigInt(greatest) - from;
  const spaced = Array.from(
    { length: SAMPLES },
    (_, i) => from + (width * BigInt(i)) / BigInt(SAMPLES - 1),
  );
  return [...new Set(spaced)];
}

interface Sampled {
  readonly cells: readonly Cell[];
  /** Whether it lies behind the position. */
  readonly isBehind: boolean;
}

/**
 * The first row from each rowid on that has no NULL in the order's terms, in their order. The sign before each term keeps
 * SQLite from walking the order's index instead of looking the rowids up.
 */
async function sampleAt(
  query: Query,
  plan: TablePlan,
  rowid: string,
  probes: readonly bigint[],
  position: readonly Cell[] | null,
): Promise<Sampled[]> {
  if (probes.length === 0) return [];
  const { order } = plan;
  const table = `main.${quoteIdentifier(plan.name)}`;
  const values = probes.map((probe) => `(${probe})`).join(', ');
  const rowids =
    `SELECT (SELECT min(${rowid}) FROM ${table} WHERE ${rowid} >= storage_sync_probe.column1)` +
    ` FROM (VALUES ${values}) AS storage_sync_probe`;
  const { where, params } = segmentWithoutNulls(order, position);
  const cells = order.map((term) => exactCell(term.sql));
  const noNulls = order.map((term) => `${term.sql} IS NOT NULL`).join(' AND ');
  const sorted = order.map((term) => ({ ...term, sql: `+${term.sql}` }));
  const found = await query(
    `SELECT ${cells.join(', ')}, ${where === null ? '1' : `(${where})`} FROM ${table} ` +
      `WHERE ${rowid} IN (${rowids}) AND ${noNulls} ORDER BY ${orderBy(sorted)}`,
    params,
  );
  return found.map((row) => ({
    cells: decodeExact(row.slice(0, order.length), plan.encoding),
    isBehind: Number(row[order.length]) === 1,
  }));
}

function isInteger(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || Number.isSafeInteger(value);
}
