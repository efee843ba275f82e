import { SourceError } from '../errors.js';
import { CAPTURE_TABLE, logName } from '../source/change-log/layout.js';
import type { Query } from '../source/connection.js';
import type { TablePlan } from '../source/plan.js';
import { exactCell } from '../source/projection.js';
import { anyLoggedKey } from './key-condition.js';
import { keySet, type KeyValues } from './row-keys.js';
import type { LogRef } from './tasks.js';

/** What the next sync is known to bring of some keys. */
export interface PendingChanges {
  /** Those whose rows it looks at, as the latin1 text of their bytes. */
  readonly changed: ReadonlySet<string>;
  /** Whether rows may have come into the table's limit or references, or gone, because others changed. */
  readonly scopeChanged: boolean;
  /** True when the log is not there any more: then nothing can be told. */
  readonly isGone: boolean;
}

/** Asks the log, in the snapshot in which the rows are read. */
export async function changesOf(
  query: Query,
  plan: TablePlan,
  log: LogRef,
  keys: readonly KeyValues[],
): Promise<PendingChanges> {
  try {
    if (!(await isThere(query, log))) return GONE;
    return {
      changed: keys.length > 0 ? await changedKeys(query, plan, log, keys) : new Set(),
      scopeChanged: await hasChanges(query, log.scope),
      isGone: false,
    };
  } catch (error) {
    // Without the tables that a log is made of, statements over them are refused.
    if (error instanceof SourceError && error.code === 'SOURCE_SQL') return GONE;
    throw error;
  }
}

const GONE: PendingChanges = { changed: new Set(), scopeChanged: false, isGone: true };

/** Whether the log is the one that the cache has followed. */
async function isThere(query: Query, { number, logId }: LogRef): Promise<boolean> {
  const [row] = await query(`SELECT log_id FROM main.${CAPTURE_TABLE} WHERE id = ${number}`);
  return row?.[0] === logId;
}

async function changedKeys(
  query: Query,
  plan: TablePlan,
  log: LogRef,
  keys: readonly KeyValues[],
): Promise<Set<string>> {
  const columns = plan.key.map((_, i) => exactCell(`k${i + 1}`));
  const list = [...columns, ...(plan.keyNullable ? ['row'] : [])].join(', ');
  const found = await query(
    `SELECT ${list} FROM main.${logName(log.number)} ` +
      `WHERE version > ${log.after} AND (${anyLoggedKey(plan, keys)})`,
  );
  return keySet(plan, found);
}

async function hasChanges(query: Query, scope: LogRef['scope']): Promise<boolean> {
  if (scope.length === 0) return false;
  const any = scope.map(
    ({ number, after }) =>
      `EXISTS (SELECT 1 FROM main.${logName(number)} WHERE version > ${after})`,
  );
  const [row] = await query(`SELECT ${any.join(' OR ')}`);
  return Number(row![0]) === 1;
}
