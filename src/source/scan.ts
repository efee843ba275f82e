import { SourceError } from '../errors.js';
import { InvalidText, type Cell } from '../values.js';
import type { Query, RawRow } from './connection.js';
import { both, orderBy, segmentsAfter, segmentsBetween, type KeysetSegment } from './keyset.js';
import type { TablePlan } from './plan.js';
import { quoteIdentifier } from './sql.js';

/**
 * Asks for rows of a plan's table in its order, behind a position and, in a range, up to its end; where `only` is
 * given, for those that it selects.
 */
export class Scan {
  readonly plan: TablePlan;
  readonly #upTo: readonly Cell[] | null;
  readonly #only: KeysetSegment | null;

  constructor(plan: TablePlan, upTo: readonly Cell[] | null, only: KeysetSegment | null = null) {
    this.plan = plan;
    this.#upTo = upTo;
    this.#only = only;
  }

  /**
   * The given select list of the first `maxRows` rows behind a position.
   *
   * @param width how many values the list has.
   * @throws {SourceError} `SOURCE_PROTOCOL` when the source gives more rows, or rows of another width.
   */
  async select(
    query: Query,
    list: string,
    position: readonly Cell[] | null,
    maxRows: number,
    width: number,
  ): Promise<RawRow[]> {
    const found: RawRow[] = [];
    for (const segment of this.segments(position)) {
      if (found.length >= maxRows) break;
      const statement = this.statement(list, segment.where, maxRows - found.length);
      const rows = await query(statement, segment.params);
      for (const row of rows) found.push(row);
    }
    if (found.length > maxRows) throw notAsked(`${found.length} rows, not ${maxRows} at most`);
    for (const { length } of found) {
      if (length !== width) throw notAsked(`rows of ${length} values, not ${width}`);
    }
    return found;
  }

  /** What lies behind a position, up to the end of the range where there is one. */
  segments(position: readonly Cell[] | null): readonly KeysetSegment[] {
    const { order } = this.plan;
    const only = this.#only;
    const segments = this.#upTo
      ? segmentsBetween(order, position, this.#upTo)
      : segmentsAfter(order, position);
    return only ? segments.map((segment) => both(segment, only)) : segments;
  }

  statement(list: string, where: string | null, maxRows: number): string {
    const { name, filter, order } = this.plan;
    const conditions = [where, filter].filter((condition) => condition !== null);
    return (
      `SELECT ${list} FROM main.${quoteIdentifier(name)}${whereAll(conditions)}` +
      ` ORDER BY ${orderBy(order)} LIMIT ${maxRows}`
    );
  }

  positionOf(row: readonly Cell[]): Cell[] {
    return this.plan.order.map((term) => row[term.column]!);
  }

  /** Whether a position is where the range ends. */
  isEnd(position: readonly Cell[] | null): boolean {
    return Boolean(this.#upTo && position && samePosition(position, this.#upTo));
  }
}

/** An answer that is none to what was asked. */
export function notAsked(what: string): SourceError {
  return new SourceError(
    'SOURCE_PROTOCOL',
    `The source answered something else than asked: ${what}.`,
    {
      hint: 'Try again. If it stays so, check what lies between here and the server.',
    },
  );
}

/** A WHERE clause of all the conditions, with a space before it, or nothing. */
export function whereAll(conditions: readonly string[]): string {
  return conditions.length > 0 ? ` WHERE ${conditions.map((c) => `(${c})`).join(' AND ')}` : '';
}

export function samePosition(a: readonly Cell[], b: readonly Cell[]): boolean {
  return a.every((value, i) => {
    const other = b[i]!;
    if (value instanceof InvalidText) {
      return other instanceof InvalidText && Buffer.compare(value.bytes, other.bytes) === 0;
    }
    if (value instanceof Uint8Array) {
      return other instanceof Uint8Array && Buffer.compare(value, other) === 0;
    }
    // Loose, because a transport may give the same INTEGER as number or bigint.
    return value === other || (isNumeric(value) && isNumeric(other) && value == other);
  });
}

function isNumeric(value: Cell): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}
