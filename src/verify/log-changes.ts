import { SourceError } from '../errors.js';
import { CAPTURE_TABLE, logName } from '../source/change-log/layout.js';
import type { Query } from '../source/connection.js';
import type { TablePlan } from '../source/plan.js';
import { exactCell } from '../source/projection.js';
import { decodeExact } from '../source/sql-page.js';
import { InvalidText, type SqlValue } from '../values.js';
import { anyLoggedKey } from './key-condition.js';
import { encodeValues, type KeyValues } from './row-keys.js';
import type { LogRef } from './tasks.js';

/** What a change log says of some keys behind the cache's version. */
export interface LoggedChanges {
  /** Those that it names, as the latin1 text of their bytes. */
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
): Promise<LoggedChanges> {
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

const GONE: LoggedChanges = { changed: new Set(), scopeChanged: false, isGone: true };

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
  const changed = new Set<string>();
  for (const row of found) {
    const values = decodeExact(row.slice(0, columns.length), plan.encoding);
    if (values.some((value) => value instanceof InvalidText)) continue;
    const rowid = plan.keyNullable && values.includes(null) ? row[columns.length] : null;
    const key = { values: values as SqlValue[], rowid: rowid as number | bigint | null };
    changed.add(encodeValues(key).toString('latin1'));
  }
  return changed;
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
