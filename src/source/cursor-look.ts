import type { Cell } from '../values.js';
import type { Query } from './connection.js';
import { collate } from './keyset.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import { decodeExact } from './sql-page.js';
import { quoteIdentifier, quoteText } from './sql.js';

/** How the cursor of a table stands. */
export interface CursorLook {
  /** The largest value, or null where there is none. */
  readonly last: Cell;
  /** True when rows have NULL there. */
  readonly hasNulls: boolean;
  /** True when rows can be found by their cursor without reading all of them. */
  readonly indexed: boolean;
}

/** Tables asked about in one statement: SQLite gives 2000 columns at most. */
const TABLES_AT_ONCE = 200;

/**
 * Looks at the cursors of plans that have one, in order. With an index that costs one row a table, or two.
 *
 * What rows are read afterwards hold everything up to `last`.
 */
export async function lookAtCursors(
  query: Query,
  plans: readonly TablePlan[],
): Promise<CursorLook[]> {
  const looks: CursorLook[] = [];
  for (let from = 0; from < plans.length; from += TABLES_AT_ONCE) {
    const some = plans.slice(from, from + TABLES_AT_ONCE);
    const [row] = await query(`SELECT ${some.flatMap(lookOf).join(', ')}`);
    for (const [i, { encoding }] of some.entries()) {
      const [last, hasNulls, indexed] = row!.slice(3 * i);
      looks.push({
        last: decodeExact([last!], encoding)[0]!,
        hasNulls: Number(hasNulls) === 1,
        indexed: Number(indexed) === 1,
      });
    }
  }
  return looks;
}

function lookOf({ name, columns, cursor }: TablePlan): string[] {
  const { term, nullable } = cursor!;
  const from = `main.${quoteIdentifier(name)}`;
  const last = `(SELECT ${exactCell(term.sql)} FROM ${from} ORDER BY ${term.sql}${collate(term)} DESC LIMIT 1)`;
  const hasNulls = nullable ? `EXISTS (SELECT 1 FROM ${from} WHERE ${term.sql} IS NULL)` : '0';
  return [last, hasNulls, isIndexed({ name, columns, cursor })];
}

/** SQL: whether rows can be found by the cursor of a plan that has one. */
export function isIndexed({
  name,
  columns,
  cursor,
}: Pick<TablePlan, 'name' | 'columns' | 'cursor'>): string {
  const { term } = cursor!;
  if (term.collation === null) return '1';
  return (
    `EXISTS (SELECT 1 FROM pragma_index_list(${quoteText(name)}, 'main') AS i, ` +
    `pragma_index_xinfo(i.name, 'main') AS x WHERE i.partial = 0 AND x.seqno = 0 AND ` +
    `x.name = ${quoteText(columns[term.column]!.name)} AND upper(x.coll) = 'BINARY')`
  );
}
