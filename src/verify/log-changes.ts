import { SourceError } from '../errors.js';
import { CAPTURE_TABLE, logName } from '../source/change-log/layout.js';
import type { LogWindow } from '../source/changes.js';
import type { Query } from '../source/connection.js';
import type { TablePlan } from '../source/plan.js';
import { exactCell } from '../source/projection.js';
import { readMoved } from '../source/scoped-changes.js';
import { anyKey, anyLoggedKey } from './key-condition.js';
import { encodeValues, keySet, type KeyValues } from './row-keys.js';
import type { LogRef } from './tasks.js';

/** What the next sync is known to bring of some keys. */
export interface PendingChanges {
  /** Those that it looks at because they changed, as the latin1 text of their bytes. */
  readonly changed: ReadonlySet<string>;
  /** Those that it looks at because they may have moved across a limit as others changed. */
  readonly moved: ReadonlySet<string>;
  /** True when the log is not there any more: then nothing can be told. */
  readonly isGone: boolean;
}

/** Asks the logs, in the snapshot in which the rows are read. */
export async function changesOf(
  query: Query,
  plan: TablePlan,
  log: LogRef,
  keys: readonly KeyValues[],
): Promise<PendingChanges> {
  try {
    for (const window of [log.own, ...log.scopes]) {
      if (!(await isThere(query, window))) return GONE;
    }
    const changed = await changedKeys(query, plan, log.own, keys);
    const others = keys.filter((key) => !changed.has(encodeValues(key).toString('latin1')));
    return { changed, moved: await movedKeys(query, plan, log, others), isGone: false };
  } catch (error) {
    // Without the tables that a log is made of, statements over them are refused.
    if (error instanceof SourceError && error.code === 'SOURCE_SQL') return GONE;
    throw error;
  }
}

const GONE: PendingChanges = { changed: new Set(), moved: new Set(), isGone: true };

/** Whether the log is the one that the cache has followed. */
async function isThere(query: Query, { log, logId }: LogWindow): Promise<boolean> {
  const [row] = await query(`SELECT log_id FROM main.${CAPTURE_TABLE} WHERE id = ${log}`);
  return row?.[0] === logId;
}

async function changedKeys(
  query: Query,
  plan: TablePlan,
  { log, after }: LogWindow,
  keys: readonly KeyValues[],
): Promise<Set<string>> {
  if (keys.length === 0) return new Set();
  const columns = plan.key.map((_, i) => exactCell(`k${i + 1}`));
  const list = [...columns, ...(plan.keyNullable ? ['row'] : [])].join(', ');
  const found = await query(
    `SELECT ${list} FROM main.${logName(log)} ` +
      `WHERE version > ${after} AND (${anyLoggedKey(plan, keys)})`,
  );
  return keySet(plan, found);
}

async function movedKeys(
  query: Query,
  plan: TablePlan,
  { own, scopes }: LogRef,
  keys: readonly KeyValues[],
): Promise<Set<string>> {
  if (keys.length === 0) return new Set();
  return keySet(plan, await readMoved(query, plan, own, scopes, anyKey(plan, keys)));
}
