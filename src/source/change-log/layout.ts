import type { Affinity } from '../introspection.js';
import { quoteIdentifier } from '../sql.js';

/** The format of the tables below. A log of a newer one is refused. */
export const CAPTURE_FORMAT = 1;

/** One row per captured table. */
export const CAPTURE_TABLE = 'storage_sync_capture';

/** How far each reader of a log has come. */
export const READER_TABLE = 'storage_sync_reader';

export const CREATE_SHARED_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS ${CAPTURE_TABLE} (
  id INTEGER PRIMARY KEY,
  table_name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  key TEXT NOT NULL,
  format INTEGER NOT NULL,
  log_id TEXT NOT NULL,
  compacted INTEGER NOT NULL DEFAULT 0,
  installed_at INTEGER NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS ${READER_TABLE} (
  reader TEXT, id INTEGER, version INTEGER, seen_at INTEGER, PRIMARY KEY (reader, id)) WITHOUT ROWID`,
];

/** A table's log, and what its triggers' names begin with. */
export function logName(id: number): string {
  return `storage_sync_log_${id}`;
}

/** Holds the new row while a unique index over expressions is asked which row it would replace. */
export function rowName(id: number): string {
  return `storage_sync_row_${id}`;
}

export type TriggerKind = 'insert' | 'update' | 'delete' | 'before_insert' | 'before_update';

export const TRIGGER_KINDS: readonly TriggerKind[] = [
  'insert',
  'update',
  'delete',
  'before_insert',
  'before_update',
];

export function triggerName(id: number, kind: TriggerKind): string {
  return `${logName(id)}_${kind}`;
}

/** The number in the name of a log, of one of its triggers, or of its scratch row; null for other names. */
export function idOfName(name: string): number | null {
  const [, digits] = /^storage_sync_(?:log|row)_(\d{1,15})(?:_|$)/i.exec(name) ?? [];
  return digits === undefined ? null : Number(digits);
}

/** A column declaration that has this affinity and this collation. */
export function declareColumn(name: string, affinity: Affinity, collation: string): string {
  const collate = collation === 'BINARY' ? '' : ` COLLATE ${quoteIdentifier(collation)}`;
  return `${quoteIdentifier(name)} ${affinity.toUpperCase()}${collate}`;
}
