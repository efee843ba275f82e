import type { Cell } from '../values.js';
import { operand, type Operand } from './connection.js';

/** One term of a scan's total order. */
export interface OrderTerm {
  /** The SQL of the column, quoted. */
  readonly sql: string;
  /** How the index that serves the order compares, or null for a rowid. The column itself may compare in another way. */
  readonly collation: string | null;
  readonly descending: boolean;
  /** Whether the column may hold NULL, which SQLite orders below every value. */
  readonly nullable: boolean;
}

/** A condition and its parameters that select part of what lies behind a position. */
export interface KeysetSegment {
  /** A SQL condition, or null for no condition. */
  readonly where: string | null;
  readonly params: readonly Cell[];
}

/**
 * What lies strictly behind `position` in the order of `terms`, as segments that are read one after the other.
 *
 * A row-value comparison does it in one segment where no NULL is involved and all terms have one direction. A NULL in
 * the position, or a direction in which NULLs come last, needs a segment for each prefix: `(a, b) > (NULL, 1)` is NULL
 * in SQL, and would lose rows. Every segment can use an index on the terms; for that, SQLite wants a collation on the
 * value, not on the column.
 */
export function segmentsAfter(
  terms: readonly OrderTerm[],
  position: readonly Cell[] | null,
): KeysetSegment[] {
  if (position === null) return [{ where: null, params: [] }];
  if (position.length !== terms.length) {
    throw new RangeError(`position has ${position.length} values, the order ${terms.length}`);
  }
  if (isPlain(terms, position)) {
    return [compareRows(terms, terms[0]!.descending ? '<' : '>', position)];
  }
  const operands = terms.map((term, i) => operandOf(term, position[i]!));
  const segments: KeysetSegment[] = [];
  for (let depth = terms.length - 1; depth >= 0; depth--) {
    const prefix = terms.slice(0, depth).map((term, i) => `${term.sql} IS ${operands[i]!.sql}`);
    const prefixParams = operands.slice(0, depth).flatMap(({ params }) => params);
    const term = terms[depth]!;
    const value = operands[depth]!;
    const push = (condition: string, params: readonly Cell[]) =>
      segments.push({
        where: [...prefix, condition].join(' AND '),
        params: [...prefixParams, ...params],
      });

    const isNull = position[depth] === null;
    if (!term.descending) {
      if (isNull) push(`${term.sql} IS NOT NULL`, []);
      else push(`${term.sql} > ${value.sql}`, value.params);
    } else if (!isNull) {
      push(`${term.sql} < ${value.sql}`, value.params);
      if (term.nullable) push(`${term.sql} IS NULL`, []);
    }
  }
  return segments;
}

/**
 * Whether a scan can be split into ranges: ascending, and with no NULL but in a first term whose only companion is the
 * rowid. A range then ends at a position without a NULL, and rows with one lie before the end of the first range.
 */
export function isSplittable(terms: readonly OrderTerm[]): boolean {
  return (
    terms.every((term, i) => !term.descending && (!term.nullable || i === 0)) &&
    (!terms[0]!.nullable || terms.length === 2)
  );
}

/** What lies behind `position` and not behind `end`, in an order that {@link isSplittable}. `end` holds no NULL. */
export function segmentsBetween(
  terms: readonly OrderTerm[],
  position: readonly Cell[] | null,
  end: readonly Cell[],
): KeysetSegment[] {
  const first = terms[0]!;
  const upToEnd = compareRows(terms, '<=', end);
  if (!first.nullable) {
    return segmentsAfter(terms, position).map((segment) => both(segment, upToEnd));
  }
  const isNull: KeysetSegment = { where: `${first.sql} IS NULL`, params: [] };
  const isNotNull: KeysetSegment = { where: `${first.sql} IS NOT NULL`, params: [] };
  if (position === null) return [isNull, both(isNotNull, upToEnd)];
  if (position[0] !== null) {
    return segmentsAfter(terms, position).map((segment) => both(segment, upToEnd));
  }
  return [
    both(isNull, compareRows(terms.slice(1), '>', position.slice(1))),
    both(isNotNull, upToEnd),
  ];
}

/** What lies behind `position` and has no NULL, in an order that {@link isSplittable}. */
export function segmentWithoutNulls(
  terms: readonly OrderTerm[],
  position: readonly Cell[] | null,
): KeysetSegment {
  const first = terms[0]!;
  const behind =
    position === null || position[0] === null ? null : compareRows(terms, '>', position);
  if (!first.nullable) return behind ?? { where: null, params: [] };
  const isNotNull: KeysetSegment = { where: `${first.sql} IS NOT NULL`, params: [] };
  return behind === null ? isNotNull : both(isNotNull, behind);
}

/** The `ORDER BY` list of a scan. */
export function orderBy(terms: readonly OrderTerm[]): string {
  return terms
    .map((term) => `${term.sql}${collate(term)}${term.descending ? ' DESC' : ''}`)
    .join(', ');
}

/** The COLLATE clause of a term, with a space before it, or nothing. */
export function collate(term: Pick<OrderTerm, 'collation'>): string {
  return term.collation === null ? '' : ` COLLATE ${term.collation}`;
}

function isPlain(terms: readonly OrderTerm[], position: readonly Cell[]): boolean {
  const descending = terms[0]!.descending;
  return terms.every(
    (term, i) =>
      term.descending === descending && position[i] !== null && !(descending && term.nullable),
  );
}

function compareRows(
  terms: readonly OrderTerm[],
  operator: '<' | '>' | '<=',
  position: readonly Cell[],
): KeysetSegment {
  const operands = terms.map((term, i) => operandOf(term, position[i]!));
  const left = terms.map((term) => term.sql).join(', ');
  const right = operands.map(({ sql }) => sql).join(', ');
  return {
    where: terms.length === 1 ? `${left} ${operator} ${right}` : `(${left}) ${operator} (${right})`,
    params: operands.flatMap(({ params }) => params),
  };
}

function operandOf(term: OrderTerm, value: Cell): Operand {
  const { sql, params } = operand(value);
  return { sql: `${sql}${collate(term)}`, params };
}

/** What both segments select. */
export function both(a: KeysetSegment, b: KeysetSegment): KeysetSegment {
  const conditions = [a.where, b.where].filter((where) => where !== null);
  return {
    where: conditions.length > 0 ? conditions.join(' AND ') : null,
    params: [...a.params, ...b.params],
  };
}
