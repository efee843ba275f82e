import type { SourceConnection } from './connection.js';
import type { PlanColumn, TablePlan } from './plan.js';
import { quoteIdentifier } from './sql.js';

/**
 * The SELECT lists by which a table's rows are read. There are two:
 *
 * - The *plain* list gives each value as it is, except that a value larger than `maxCellBytes` (or, where the wire
 *   cannot carry it, an infinity) comes as NULL. A last column, `oversize`, is NULL for a whole row, and otherwise the
 *   row's size in bytes. So a page of rows is bounded in memory whatever the rows hold, at the price of one
 *   comparison a cell.
 * - The *exact* list gives each value in a form that survives every transport: TEXT as a BLOB of its bytes in the
 *   database's encoding, BLOB as TEXT in hexadecimal, infinities as the TEXT 'inf' and '-inf'. It is for the rows that
 *   the plain list marks, and for pages that hold TEXT which is not plain.
 *
 * Columns that order the scan are never cut: their values are the position.
 */
export interface Projection {
  readonly plain: string;
  readonly exact: string;
  /** The exact list with TEXT and BLOB values outside the key and the order left out. */
  readonly keys: string;
  /** The row's size in bytes. */
  readonly size: string;
  /** Where `oversize` stands in a plain row: after the columns and the rowid. */
  readonly oversizeAt: number;
}

export function projectionOf(
  plan: TablePlan,
  connection: Pick<SourceConnection, 'losesInfinities'>,
  maxCellBytes: number,
): Projection {
  const ordering = new Set(plan.order.map((term) => term.column));
  const cut = plan.columns.map((column, i) =>
    ordering.has(i)
      ? infinityCondition(column, connection.losesInfinities)
      : cutCondition(column, connection.losesInfinities, maxCellBytes),
  );
  const rowid = plan.readsRowid ? [plan.rowidName!] : [];

  const plainCells = plan.columns.map((column, i) => {
    const name = quoteIdentifier(column.name);
    return cut[i] === null ? name : `CASE WHEN ${cut[i]} THEN NULL ELSE ${name} END`;
  });
  const size = plan.columns.length > 0 ? joinBalanced(plan.columns.map(sizeOf), ' + ') : '0';
  const anyCut = cut.filter((condition) => condition !== null);
  const oversize =
    anyCut.length === 0 ? 'NULL' : `CASE WHEN ${joinBalanced(anyCut, ' OR ')} THEN ${size} END`;

  const exactCells = plan.columns.map((column) => exactCell(quoteIdentifier(column.name)));
  const keyCells = plan.columns.map((column, i) => {
    const name = quoteIdentifier(column.name);
    if (ordering.has(i) || plan.key.includes(i)) return exactCell(name);
    return `CASE WHEN ${name} < '' THEN ${exactCell(name)} END`;
  });

  return {
    plain: [...plainCells, ...rowid, oversize].join(', '),
    exact: [...exactCells, ...rowid].join(', '),
    keys: [...keyCells, ...rowid].join(', '),
    size,
    oversizeAt: plan.columns.length + rowid.length,
  };
}

/** A value in a form that survives every transport. */
export function exactCell(name: string): string {
  return (
    `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) WHEN 'blob' THEN hex(${name}) ` +
    `WHEN 'real' THEN CASE ${name} WHEN 9e999 THEN 'inf' WHEN -9e999 THEN '-inf' ELSE ${name} END ` +
    `ELSE ${name} END`
  );
}

/** Operands in one run; SQLite's parser allows a depth of 1000 and functions take at most 100 arguments. */
const RUN = 40;

/** Joins operands as a tree: a flat chain of a thousand would exceed the parser's depth. */
function joinBalanced(operands: readonly string[], operator: string): string {
  if (operands.length <= RUN) return operands.join(operator);
  const groups: string[] = [];
  for (let i = 0; i < operands.length; i += RUN) {
    groups.push(`(${operands.slice(i, i + RUN).join(operator)})`);
  }
  return joinBalanced(groups, operator);
}

/** The bytes that a value takes as TEXT or BLOB; a number counts as nine. */
function sizeOf(column: PlanColumn): string {
  const name = quoteIdentifier(column.name);
  return `CASE WHEN ${name} >= '' THEN octet_length(${name}) ELSE 9 END`;
}

/**
 * When a cell is not given as it is, or null for never. In SQLite every TEXT and BLOB sorts above every number, and
 * the comparison with '' applies no affinity that could change the column's side.
 */
function cutCondition(
  column: PlanColumn,
  losesInfinities: boolean,
  maxCellBytes: number,
): string | null {
  const name = quoteIdentifier(column.name);
  const infinite = infinityCondition(column, losesInfinities);
  if (column.strict && (column.affinity === 'integer' || column.affinity === 'real'))
    return infinite;
  const large =
    column.affinity === 'text' || column.affinity === 'blob'
      ? `octet_length(${name}) > ${maxCellBytes}`
      : `(${name} >= '' AND octet_length(${name}) > ${maxCellBytes})`;
  return infinite === null ? large : `${large} OR ${infinite}`;
}

function infinityCondition(column: PlanColumn, losesInfinities: boolean): string | null {
  if (!losesInfinities || column.affinity === 'text') return null;
  if (column.strict && column.affinity === 'integer') return null;
  const name = quoteIdentifier(column.name);
  return `${name} = 9e999 OR ${name} = -9e999`;
}
