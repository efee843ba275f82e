import { SourceError } from '../errors.js';
import type { LogWindow } from './changes.js';
import { readCaptures } from './change-log/capture-status.js';
import { CAPTURE_TABLE, logName, READER_TABLE } from './change-log/layout.js';
import type { Batch, Query, RawRow, Statement } from './connection.js';
import type { SourceSchema } from './introspection.js';

/** The change log of one table, as far as a reader needs to know it. */
export interface LogState {
  readonly table: string;
  /** Names the log's own table. */
  readonly number: number;
  /** Another one after each install. */
  readonly logId: string;
  readonly key: readonly string[];
  /** The newest change. */
  readonly version: number;
  /** Changes up to this one were removed. */
  readonly compacted: number;
  /** Up to which version each reader said it has all changes. */
  readonly readers: Readonly<Record<string, number>>;
  /** True when the source was put back to an older state: see {@link markRestored}. */
  readonly restored: boolean;
}

/**
 * Marks the logs that do not know any more what a reader told them: the source was put back to a state from before
 * that, as from a backup. What has been lost since is in no log, though its versions may have gone beyond again.
 *
 * @param acknowledged what the reader told, by the log's id.
 */
export function markRestored(
  logs: readonly LogState[],
  reader: string,
  acknowledged: Readonly<Record<string, number>>,
): LogState[] {
  return logs.map((log) => {
    const told = acknowledged[log.logId] ?? 0;
    return { ...log, restored: told > (log.readers[reader] ?? 0) };
  });
}

/** A statement that says how far a reader has come in a log. */
export function acknowledgement(reader: string, log: number, version: number): Statement {
  return {
    sql:
      `INSERT INTO main.${READER_TABLE} (reader, id, version, seen_at) VALUES (?, ?, ?, ?) ` +
      `ON CONFLICT (reader, id) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at`,
    params: [reader, log, version, Date.now()],
  };
}

/** By the number of a log: which one it is, and up to which version its changes were removed. */
export type KeptChanges = ReadonlyMap<
  number,
  { readonly logId: string; readonly compacted: number }
>;

/**
 * Reads what the logs still hold, in the snapshot in which they are read: since a sync has seen them they may have been
 * compacted, removed or installed anew.
 */
export async function readKeptChanges(query: Query): Promise<KeptChanges> {
  try {
    const rows = await query(`SELECT id, log_id, compacted FROM main.${CAPTURE_TABLE}`);
    return new Map(
      rows.map(([id, logId, compacted]) => [
        Number(id),
        { logId: String(logId), compacted: Number(compacted) },
      ]),
    );
  } catch (error) {
    // There are no logs any more.
    if (error instanceof SourceError && error.code === 'SOURCE_SQL') return new Map();
    throw error;
  }
}

/** Whether all changes are there that lie in a window. */
export function isKept(kept: KeptChanges, { log, logId, after }: LogWindow): boolean {
  const found = kept.get(log);
  return found?.logId === logId && found.compacted <= after;
}

/** The change logs that hold all changes. Where there are none, nothing is asked. */
export async function readLogStates(batch: Batch, schema: SourceSchema): Promise<LogState[]> {
  if (!schema.others.has(CAPTURE_TABLE)) return [];
  const { captures } = await readCaptures(batch, schema);
  const whole = captures.filter(({ problem }) => problem === null);
  if (whole.length === 0) return [];
  const newest = whole.map(({ id }) => `(SELECT max(version) FROM main.${logName(id)})`);
  const [[versions], readers] = (await batch([
    { sql: `SELECT ${newest.join(', ')}` },
    { sql: `SELECT reader, id, version FROM main.${READER_TABLE}` },
  ])) as [RawRow[], RawRow[]];
  return whole.map(({ id, table, logId, key, compacted }, i) => ({
    table,
    number: id,
    logId,
    key,
    version: Number(versions![i] ?? 0),
    compacted,
    readers: Object.fromEntries(
      readers
        .filter(([, log]) => Number(log) === id)
        .map(([reader, , version]) => [String(reader), Number(version)]),
    ),
    restored: false,
  }));
}
