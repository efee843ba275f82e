import type { Cell } from '../values.js';
import { operand } from './connection.js';

/** One term of a scan's total order. */
export interface OrderTerm {
  /** The SQL of the column, quoted. */
  readonly sql: string;
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
 * in SQL, and would lose rows. Every segment can use an index on the terms.
 */
export function segmentsAfter(
  terms: readonly OrderTerm[],
  position: readonly Cell[] | null,
): KeysetSegment[] {
  if (position === null) return [{ where: null, params: [] }];
  if (position.length !== terms.length) {
    throw new RangeError(`position has ${position.length} values, the order ${terms.length}`);
  }
  if (isPlain(terms, position)) return [rowValueSegment(terms, position)];

  const operands = position.map(operand);
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

/** The `ORDER BY` list of a scan. */
export function orderBy(terms: readonly OrderTerm[]): string {
  return terms.map((term) => (term.descending ? `${term.sql} DESC` : term.sql)).join(', ');
}

function isPlain(terms: readonly OrderTerm[], position: readonly Cell[]): boolean {
  const descending = terms[0]!.descending;
  return terms.every(
    (term, i) =>
      term.descending === descending && position[i] !== null && !(descending && term.nullable),
  );
}

function rowValueSegment(terms: readonly OrderTerm[], position: readonly Cell[]): KeysetSegment {
  const operator = terms[0]!.descending ? '<' : '>';
  const operands = position.map(operand);
  const left = terms.map((term) => term.sql).join(', ');
  const right = operands.map(({ sql }) => sql).join(', ');
  return {
    where: terms.length === 1 ? `${left} ${operator} ${right}` : `(${left}) ${operator} (${right})`,
    params: operands.flatMap(({ params }) => params),
  };
}
