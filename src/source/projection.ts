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
  /** The values as they are, without a mark: for pages of which {@link unusual} holds for no row. */
  readonly bare: string;
  /** A condition that is true of a row which the bare list should not give, or null where there can be none. */
  readonly unusual: string | null;
  /** An expression that joins the TEXT of a row that is not unusual, or null where it can hold none. */
  readonly usualText: string | null;
  /**
   * An expression that gives a whole row as bytes, see {@link PackedCell}; NULL for a row that does not fit the form.
   * Null where a column may hold BLOBs.
   */
  readonly packed: string | null;
  /** The exact list with TEXT and BLOB values outside the key and the order left out. */
  readonly keys: string;
  /** The row's size in bytes. */
  readonly size: string;
  /** An expression that joins the TEXT values the plain list would give, or null where no column can hold TEXT. */
  readonly textOnly: string | null;
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
  const size = joinBalanced(plan.columns.map(sizeOf), ' + ');
  const anyCut = cut.filter((condition) => condition !== null);
  const oversize =
    anyCut.length === 0 ? 'NULL' : `CASE WHEN ${joinBalanced(anyCut, ' OR ')} THEN ${size} END`;

  const exactCells = plan.columns.map((column) => exactCell(quoteIdentifier(column.name)));
  const keyCells = plan.columns.map((column, i) => {
    const name = quoteIdentifier(column.name);
    if (ordering.has(i) || plan.key.includes(i)) return exactCell(name);
    return `CASE WHEN ${name} < '' THEN ${exactCell(name)} END`;
  });

  const texts = plan.columns
    .map((column, i) => textOnly(column, cut[i] ?? null))
    .filter((cell) => cell !== null);

  const unusual = plan.columns
    .map((column, i) => unusualCondition(column, ordering.has(i), maxCellBytes))
    .filter((condition) => condition !== null);
  const usualTexts = plan.columns.map(usualText).filter((cell) => cell !== null);

  return {
    bare: [...plan.columns.map((column) => quoteIdentifier(column.name)), ...rowid].join(', '),
    packed: packedRow(plan, unusual),
    unusual: unusual.length === 0 ? null : joinBalanced(unusual, ' OR '),
    usualText: usualTexts.length === 0 ? null : concatBalanced(usualTexts),
    plain: [...plainCells, ...rowid, oversize].join(', '),
    exact: [...exactCells, ...rowid].join(', '),
    keys: [...keyCells, ...rowid].join(', '),
    size,
    textOnly: texts.length === 0 ? null : concatBalanced(texts),
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

/**
 * A whole row as one value, every cell ending with a NUL. It is for rows of TEXT and numbers, of which it brings a page
 * out of SQLite at once: a crossing into JavaScript for each cell costs more than reading the row.
 *
 * | column            | cell                                                                              |
 * |-------------------|-----------------------------------------------------------------------------------|
 * | TEXT, NOT NULL    | the text                                                                          |
 * | TEXT              | `t` and the text; nothing for NULL                                                |
 * | INTEGER           | decimal digits; nothing for NULL                                                  |
 * | REAL, NUMERIC     | the same, or for a REAL 20 significant digits, three more than tell every double  |
 *
 * A text with a NUL makes the cells come out wrong in number, by which it is found.
 */
export type PackedCell = 'text' | 'text?' | 'integer' | 'number';

/** The form of each cell of a packed row, the rowid's included. */
export function packedCells(plan: TablePlan): PackedCell[] {
  const cells = plan.columns.map((column): PackedCell => {
    if (column.affinity === 'integer') return 'integer';
    if (column.affinity !== 'text') return 'number';
    return column.notNull ? 'text' : 'text?';
  });
  return plan.readsRowid ? [...cells, 'integer'] : cells;
}

function packedRow(plan: TablePlan, unusual: readonly string[]): string | null {
  if (plan.encoding !== 'utf8') return null;
  if (plan.columns.some((column) => column.affinity === 'blob')) return null;
  const misfits = plan.columns
    .filter((column) => column.affinity === 'text')
    .map((column) => `${quoteIdentifier(column.name)} >= x''`);
  const cells = plan.columns.map((column) => {
    const name = quoteIdentifier(column.name);
    if (column.affinity === 'text') return column.notNull ? name : `'t' || ${name}`;
    if (column.affinity === 'integer') return name;
    return `CASE WHEN typeof(${name}) = 'real' THEN printf('%!.20g', ${name}) ELSE ${name} END`;
  });
  if (plan.readsRowid) cells.push(plan.rowidName!);
  const row = concatBalanced(cells, "x'00'");
  const misfit = [...unusual, ...misfits];
  return misfit.length === 0
    ? `${row} || x'00'`
    : `CASE WHEN ${joinBalanced(misfit, ' OR ')} THEN NULL ELSE ${row} || x'00' END`;
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

function concatBalanced(operands: readonly string[], separator = "'|'"): string {
  if (operands.length <= RUN) return `concat(${operands.join(`, ${separator}, `)})`;
  const groups: string[] = [];
  for (let i = 0; i < operands.length; i += RUN) {
    groups.push(concatBalanced(operands.slice(i, i + RUN), separator));
  }
  return concatBalanced(groups, separator);
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

/** When a row is not for the bare list: a value too large, or TEXT or BLOB where numbers belong. */
function unusualCondition(
  column: PlanColumn,
  orders: boolean,
  maxCellBytes: number,
): string | null {
  const name = quoteIdentifier(column.name);
  if (column.affinity === 'text' || column.affinity === 'blob') {
    return orders ? null : `octet_length(${name}) > ${maxCellBytes}`;
  }
  return column.strict && column.affinity !== 'numeric' ? null : `${name} >= ''`;
}

/** A BLOB in a TEXT column comes along: it is taken for damaged TEXT if it looks so, and then read with more care. */
function usualText(column: PlanColumn): string | null {
  const name = quoteIdentifier(column.name);
  if (column.affinity === 'text') return name;
  return column.affinity === 'blob' ? `CASE WHEN ${name} < x'' THEN ${name} END` : null;
}

function textOnly(column: PlanColumn, cut: string | null): string | null {
  if (column.strict && column.affinity !== 'text' && column.affinity !== 'blob') return null;
  const name = quoteIdentifier(column.name);
  const isText = column.affinity === 'text' ? `${name} < x''` : `${name} >= '' AND ${name} < x''`;
  return cut === null
    ? `CASE WHEN ${isText} THEN ${name} END`
    : `CASE WHEN ${isText} AND NOT (${cut}) THEN ${name} END`;
}
