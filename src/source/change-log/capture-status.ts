import { StorageSyncError } from '../../errors.js';
import type { Batch, Query, RawRow, Statement } from '../connection.js';
import { foldName, introspect, type SourceSchema } from '../introspection.js';
import { planCapture, type CapturePlan } from './capture-plan.js';
import {
  CAPTURE_FORMAT,
  CAPTURE_TABLE,
  idOfName,
  logName,
  READER_TABLE,
  rowName,
  TRIGGER_KINDS,
  triggerName,
} from './layout.js';
import { fingerprint, triggerKinds, usesScratchRow } from './triggers.js';
import { TABLE_SQL, UNIQUE_INDEXES, uniqueIndexesOf } from './unique-indexes.js';

/** A row of `storage_sync_capture`, held against the schema as it is. */
export interface Capture {
  readonly id: number;
  readonly table: string;
  /** The key's column names when the log was installed. */
  readonly key: readonly string[];
  readonly format: number;
  /** Names this log: one that was installed anew has another. Opaque. */
  readonly logId: string;
  /** Changes up to this version were removed. */
  readonly compacted: number;
  readonly installedAt: number;
  /** Why the log may miss changes, or null when it holds them all. */
  readonly problem: string | null;
}

/** All that is known of the logs in a source, of one snapshot. */
export interface Captures {
  readonly schema: SourceSchema;
  readonly schemaVersion: number;
  readonly captures: readonly Capture[];
  /** How each table would be captured, or why it cannot be. By name. */
  readonly plans: ReadonlyMap<string, CapturePlan | StorageSyncError>;
  /** The objects of storage-sync in the source: their names, and the table each belongs to. */
  readonly objects: ReadonlyMap<string, { readonly type: string; readonly table: string }>;
}

const VERSION: Statement = { sql: 'SELECT schema_version FROM pragma_schema_version' };
const OBJECTS: Statement = {
  sql: `SELECT name, type, tbl_name FROM main.sqlite_schema
     WHERE type IN ('table', 'trigger') AND name LIKE 'storage!_sync!_%' ESCAPE '!'`,
};
const CAPTURES: Statement = {
  sql: `SELECT id, table_name, key, format, log_id, compacted, installed_at FROM ${CAPTURE_TABLE} ORDER BY id`,
};

/**
 * Reads which tables have a log, and whether each log can be trusted. Run it in the snapshot in which the log is read.
 *
 * @param known the schema, where it was just read.
 */
export async function readCaptures(batch: Batch, known?: SourceSchema): Promise<Captures> {
  const schema = known ?? (await introspect(batch));
  const [version, indexRows, tableSql, named, rows = []] = (await batch([
    VERSION,
    UNIQUE_INDEXES,
    TABLE_SQL,
    OBJECTS,
    ...(schema.others.has(CAPTURE_TABLE) ? [CAPTURES] : []),
  ])) as [RawRow[], RawRow[], RawRow[], RawRow[], RawRow[]?];
  const indexes = uniqueIndexesOf(indexRows, tableSql);
  const plans = new Map<string, CapturePlan | StorageSyncError>();
  for (const table of schema.tables) {
    try {
      plans.set(table.name, planCapture(table, indexes));
    } catch (error) {
      if (!(error instanceof StorageSyncError)) throw error;
      plans.set(table.name, error);
    }
  }
  const objects = new Map(
    named.map(([name, type, table]) => [
      foldName(String(name)),
      { type: String(type), table: String(table) },
    ]),
  );
  const captures = rows.map(([id, table, key, format, logId, compacted, installedAt]): Capture => {
    const capture = {
      id: Number(id),
      table: String(table),
      key: keyOf(String(key)),
      format: Number(format),
      logId: String(logId),
      compacted: Number(compacted),
      installedAt: Number(installedAt),
    };
    return { ...capture, problem: problemOf(capture, plans, objects) };
  });
  return { schema, schemaVersion: Number(version[0]![0]), captures, plans, objects };
}

/** The highest number that any object of a log is named by. */
export function highestId({ captures, objects }: Captures): number {
  const ids = [...objects.keys()].map((name) => idOfName(name) ?? 0);
  return Math.max(0, ...ids, ...captures.map(({ id }) => id));
}

/** The log's triggers that are there, with the table each is on. */
export function triggersOf(
  { objects }: Pick<Captures, 'objects'>,
  id: number,
): { name: string; table: string }[] {
  return TRIGGER_KINDS.flatMap((kind) => {
    const found = objects.get(triggerName(id, kind));
    return found?.type === 'trigger' ? [{ name: triggerName(id, kind), table: found.table }] : [];
  });
}

function keyOf(json: string): string[] {
  try {
    const key: unknown = JSON.parse(json);
    return Array.isArray(key) ? key.map(String) : [];
  } catch {
    return [];
  }
}

function problemOf(
  capture: Omit<Capture, 'problem'>,
  plans: Captures['plans'],
  objects: Captures['objects'],
): string | null {
  const { id, table, format } = capture;
  if (format > CAPTURE_FORMAT) return `a newer version of storage-sync made it (format ${format})`;
  if (format !== CAPTURE_FORMAT) return `it has an unknown format (${format})`;
  const triggers = triggersOf({ objects }, id);
  const elsewhere = triggers.find((trigger) => foldName(trigger.table) !== foldName(table));
  if (elsewhere) return `the table was renamed to ${JSON.stringify(elsewhere.table)}`;
  const plan = [...plans].find(([name]) => foldName(name) === foldName(table))?.[1];
  if (plan === undefined) return 'the table does not exist';
  if (plan instanceof StorageSyncError) return plan.message;
  if (triggers.length === 0) return 'its triggers are gone; the table may have been made anew';
  const key = plan.key.map(({ name }) => name);
  if (JSON.stringify(key) !== JSON.stringify(capture.key)) {
    return `the key changed from (${capture.key.join(', ')}) to (${key.join(', ')})`;
  }
  if (!capture.logId.endsWith(`.${fingerprint(plan)}`)) {
    return "the table's key or its unique indexes changed, or another version of storage-sync made the log";
  }
  const there = new Set(triggers.map(({ name }) => name));
  const missing = triggerKinds(plan).find((kind) => !there.has(triggerName(id, kind)));
  if (missing) return `the trigger ${triggerName(id, missing)} is missing`;
  if (!objects.has(logName(id))) return `the table ${logName(id)} is missing`;
  if (usesScratchRow(plan) && !objects.has(rowName(id)))
    return `the table ${rowName(id)} is missing`;
  return null;
}

/** A reader of a log, and how far it has come. */
export interface CaptureReader {
  readonly reader: string;
  readonly version: number;
  /** When it was last seen, in ms since 1970. */
  readonly seenAt: number;
  readonly ageMs: number;
}

/** The log of one table. */
export interface CaptureStatus {
  readonly table: string;
  readonly state: 'installed' | 'broken';
  /** Why a broken log may miss changes. */
  readonly problem: string | null;
  readonly id: number;
  readonly key: readonly string[];
  readonly logId: string;
  readonly installedAt: number;
  /** Rows in the log; null when it is gone. */
  readonly rows: number | null;
  /** The version of the newest change; 0 before the first, null when the log is gone. */
  readonly newestVersion: number | null;
  /** Changes up to this version were removed. */
  readonly compacted: number;
  readonly readers: readonly CaptureReader[];
}

/** Adds to a capture what its log holds and who reads it. Counting reads the whole log. */
export async function captureStatus(
  query: Query,
  captures: Captures,
  capture: Capture,
  now: number,
): Promise<CaptureStatus> {
  const { id, table, problem, key, logId, installedAt, compacted } = capture;
  const [log] = captures.objects.has(logName(id))
    ? await query(`SELECT count(*), coalesce(max(version), 0) FROM ${logName(id)}`)
    : [];
  const readers = captures.objects.has(READER_TABLE)
    ? await query(
        `SELECT reader, version, seen_at FROM ${READER_TABLE} WHERE id = ? ORDER BY reader`,
        [id],
      )
    : [];
  return {
    table,
    state: problem === null ? 'installed' : 'broken',
    problem,
    id,
    key,
    logId,
    installedAt,
    rows: log ? Number(log[0]) : null,
    newestVersion: log ? Number(log[1]) : null,
    compacted,
    readers: readers.map(([reader, version, seenAt]) => ({
      reader: String(reader),
      version: Number(version),
      seenAt: Number(seenAt),
      ageMs: Math.max(0, now - Number(seenAt)),
    })),
  };
}
