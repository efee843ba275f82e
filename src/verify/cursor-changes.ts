import type { Query } from '../source/connection.js';
import { operand } from '../source/connection.js';
import { collate } from '../source/keyset.js';
import type { TablePlan } from '../source/plan.js';
import { exactCell } from '../source/projection.js';
import { quoteIdentifier } from '../source/sql.js';
import { decodeValue } from '../pipeline/position.js';
import { anyKey } from './key-condition.js';
import type { PendingChanges } from './log-changes.js';
import { keySet, type KeyValues } from './row-keys.js';
import type { CursorRef } from './tasks.js';

/**
 * Which rows the next sync reads by its cursor: those from a value on, and those without one; dead ones too. Asked in
 * the snapshot in which the rows are read.
 */
export async function behindCursor(
  query: Query,
  plan: TablePlan,
  { from }: CursorRef,
  keys: readonly KeyValues[],
): Promise<PendingChanges> {
  const { term } = plan.cursor!;
  const value = decodeValue(from);
  const start = value === null ? null : operand(value);
  const behind = start === null ? '1' : `${term.sql} >= ${start.sql}${collate(term)}`;
  const columns = plan.order.slice(0, plan.key.length).map(({ sql }) => exactCell(sql));
  const list = [...columns, ...(plan.keyNullable ? [plan.rowidName!] : [])].join(', ');
  const found = await query(
    `SELECT ${list} FROM main.${quoteIdentifier(plan.name)} ` +
      `WHERE (${behind} OR ${term.sql} IS NULL) AND (${anyKey(plan, keys)})`,
    start?.params ?? [],
  );
  return { changed: keySet(plan, found), moved: new Set(), isGone: false };
}
