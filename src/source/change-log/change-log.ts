import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { checkOptions, flag, integerBetween, text } from '../../check-options.js';
import { CaptureError, SourceError, StorageSyncError } from '../../errors.js';
import {
  DEFAULT_REQUEST_TIMEOUT_MS,
  DEFAULT_RETRIES,
  DEFAULT_RETRY_INITIAL_MS,
  DEFAULT_RETRY_MAX_MS,
  sourceAccess,
  type SourceOptions,
} from '../../options.js';
import { ClientConnection } from '../client-connection.js';
import { inTurn, type Statement } from '../connection.js';
import { filePathOf, refuseMissing } from '../file-url.js';
import { findTable, foldName } from '../introspection.js';
import type { CapturePlan } from './capture-plan.js';
import {
  captureStatus,
  highestId,
  readCaptures,
  triggersOf,
  type Capture,
  type Captures,
  type CaptureStatus,
} from './capture-status.js';
import {
  CAPTURE_FORMAT,
  CAPTURE_TABLE,
  CREATE_SHARED_TABLES,
  logName,
  READER_TABLE,
  rowName,
} from './layout.js';
import { createLogStatements, fingerprint } from './triggers.js';
import { refuseUnserializedWriters } from './writers.js';

/** Where the source of a change log is. The defaults are those of {@link StorageSyncOptions}. */
export interface ChangeLogOptions extends SourceOptions {
  readonly requestTimeoutMs?: number | undefined;
  readonly retries?: number | undefined;
  readonly retryInitialMs?: number | undefined;
  readonly retryMaxMs?: number | undefined;
}

/** What `install` did with one table. */
export interface InstalledTable {
  readonly table: string;
  readonly action: 'installed' | 'reinstalled' | 'unchanged';
  /** Why the log that was there was replaced. */
  readonly reason: string | null;
}

/** What {@link ChangeLog.install} did. */
export interface InstallReport {
  readonly tables: readonly InstalledTable[];
  /** Tables whose changes cannot be logged, where none were named. */
  readonly leftOut: readonly { readonly table: string; readonly reason: string }[];
}

/** How the change logs of a source stand: see {@link ChangeLog.status}. */
export interface ChangeLogStatus {
  readonly tables: readonly CaptureStatus[];
  /** User tables without a log, and what stands against one. */
  readonly notCaptured: readonly { readonly table: string; readonly reason: string | null }[];
}

/** What {@link ChangeLog.compact} removes. */
export interface CompactOptions {
  /** Default: every captured table. */
  readonly tables?: readonly string[] | undefined;
  /** Remove changes older than this version. Readers that are slower are still waited for. */
  readonly before?: number | undefined;
  /** Remove all that the readers have seen; with no reader, everything but the newest change. */
  readonly all?: boolean | undefined;
  /** Forget readers that were not seen for so long, in ms. They must read their tables in full. */
  readonly forgetReadersAfterMs?: number | undefined;
  /** Rows removed in one transaction at most. */
  readonly chunkRows?: number | undefined;
}

const compactSchema = v.strictObject({
  tables: v.optional(v.array(text, 'must be a list of names')),
  before: v.optional(integerBetween(0)),
  all: v.optional(flag),
  forgetReadersAfterMs: v.optional(integerBetween(0)),
  chunkRows: v.optional(integerBetween(1)),
});

/** What a compaction did to one log. */
export interface CompactedTable {
  readonly table: string;
  readonly rowsRemoved: number;
  /** Changes up to this version are gone: who has not read them must read the table in full. */
  readonly compacted: number;
  /** Why nothing was looked at, or null. */
  readonly skipped: string | null;
}

/** What {@link ChangeLog.compact} did. */
export interface CompactReport {
  readonly tables: readonly CompactedTable[];
  readonly readersForgotten: number;
}

/** What {@link ChangeLog.uninstall} did. */
export interface UninstallReport {
  /** The tables whose logs were dropped. */
  readonly tables: readonly string[];
}

/** Rows of a log removed in one transaction. */
export const DEFAULT_COMPACT_CHUNK_ROWS = 10_000;

/** How often a plan is made anew because the schema changed under it. */
const MAX_PLANS = 5;

/**
 * Opens the change log of a source. Nothing is asked of the source yet.
 *
 * @example
 * ```ts
 * await using log = await openChangeLog({ url: 'file:app.db' });
 * const { tables, leftOut } = await log.install();
 * ```
 *
 * @throws {SourceError} `SOURCE_NOT_FOUND` when a file does not exist.
 * @throws {ConfigError} naming every option that is wrong.
 */
export function openChangeLog(options: ChangeLogOptions): Promise<ChangeLog> {
  return Promise.resolve(options).then(() => new ChangeLog(options));
}

/**
 * The change log in a source: for each captured table, triggers note every key that is written or deleted under a
 * version that grows in commit order. Each call is one transaction (compaction: one for each chunk).
 */
export class ChangeLog implements AsyncDisposable {
  readonly #connection: ClientConnection;

  constructor(options: ChangeLogOptions) {
    checkOptions('Invalid options of the change log', sourceAccess, options);
    if (/^file:/i.test(options.url)) refuseMissing(filePathOf(options.url));
    this.#connection = new ClientConnection({
      url: options.url,
      authToken: options.authToken,
      requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
      retries: options.retries ?? DEFAULT_RETRIES,
      retryInitialMs: options.retryInitialMs ?? DEFAULT_RETRY_INITIAL_MS,
      retryMaxMs: options.retryMaxMs ?? DEFAULT_RETRY_MAX_MS,
    });
  }

  /**
   * Begins to log the changes of tables: of those named, or of all that can be. A log that is whole stays as it is; one
   * that is broken is replaced by an empty one with another `log_id`.
   *
   * @throws {SourceError} `TABLE_NOT_FOUND`, `TABLE_NOT_SUPPORTED` for a table named.
   * @throws {CaptureError} `CAPTURE_UNSAFE`, `CAPTURE_FORMAT_UNSUPPORTED`.
   */
  async install(tables?: readonly string[]): Promise<InstallReport> {
    await refuseUnserializedWriters(this.#connection.query);
    return await this.#change((captures) => planInstall(captures, tables));
  }

  /** What is captured, how much each log holds, and who reads it. */
  async status(): Promise<ChangeLogStatus> {
    return await this.#connection.snapshot(async (query) => {
      const captures = await readCaptures(inTurn(query));
      const now = Date.now();
      const tables: CaptureStatus[] = [];
      for (const capture of captures.captures) {
        tables.push(await captureStatus(query, captures, capture, now));
      }
      const captured = new Set(tables.map(({ table }) => foldName(table)));
      const notCaptured = [...captures.plans]
        .filter(([name]) => !captured.has(foldName(name)))
        .map(([table, plan]) => ({
          table,
          reason: plan instanceof StorageSyncError ? plan.message : null,
        }));
      return { tables, notCaptured };
    });
  }

  /**
   * Removes changes that every registered reader has seen. Without a reader nothing is removed unless `before` or `all`
   * says so. The newest change always stays, so that versions go on from it.
   *
   * @throws {CaptureError} `CAPTURE_NOT_INSTALLED` for a table named that has no log, `CAPTURE_FORMAT_UNSUPPORTED`.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    checkOptions('Invalid options of the compaction', compactSchema, options);
    const captures = await this.#readCaptures();
    const chosen = chooseCaptures(captures, options.tables);
    for (const capture of chosen) refuseNewerFormat(capture);
    const readersForgotten = await this.#forgetReaders(chosen, options.forgetReadersAfterMs);
    const tables: CompactedTable[] = [];
    for (const capture of chosen) tables.push(await this.#compactTable(captures, capture, options));
    return { tables, readersForgotten };
  }

  /**
   * Ends the log of tables, of those named or of all: their triggers, logs and readers. With the last one the shared
   * tables go too.
   *
   * @throws {CaptureError} `CAPTURE_NOT_INSTALLED` for a table named that has no log, `CAPTURE_FORMAT_UNSUPPORTED`.
   */
  async uninstall(tables?: readonly string[]): Promise<UninstallReport> {
    return await this.#change((captures) => {
      const chosen = chooseCaptures(captures, tables);
      for (const capture of chosen) refuseNewerFormat(capture);
      const statements = chosen.flatMap((capture) => dropCapture(captures, capture.id));
      if (tables === undefined || chosen.length === captures.captures.length) {
        statements.push(
          { sql: `DROP TABLE IF EXISTS ${CAPTURE_TABLE}` },
          { sql: `DROP TABLE IF EXISTS ${READER_TABLE}` },
        );
      }
      const nothing = chosen.length === 0 && !captures.objects.has(CAPTURE_TABLE);
      return {
        statements: nothing ? [] : statements,
        result: { tables: chosen.map(({ table }) => table) },
      };
    });
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #readCaptures(): Promise<Captures> {
    return await this.#connection.snapshot(async (query) => await readCaptures(inTurn(query)));
  }

  /**
   * Plans a change of the schema and makes it in one transaction, which fails when the schema is no longer what the
   * plan was made for; then it is planned anew.
   */
  async #change<T>(plan: (captures: Captures) => Change<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const captures = await this.#readCaptures();
      const { statements, result } = plan(captures);
      if (statements.length === 0) return result;
      try {
        await this.#connection.write([guard(captures.schemaVersion), ...statements]);
        return result;
      } catch (error) {
        if (!(error instanceof SourceError) || error.code !== 'SOURCE_SQL') throw error;
        const now = await this.#connection.query(
          'SELECT schema_version FROM pragma_schema_version',
        );
        if (attempt === MAX_PLANS || Number(now[0]![0]) === captures.schemaVersion) throw error;
      }
    }
  }

  async #forgetReaders(captures: readonly Capture[], afterMs: number | undefined): Promise<number> {
    if (afterMs === undefined || captures.length === 0) return 0;
    const ids = captures.map(({ id }) => id);
    const [forgotten] = await this.#connection.write([
      {
        sql: `DELETE FROM ${READER_TABLE} WHERE seen_at < ? AND id IN (${ids.map(() => '?').join(', ')})`,
        params: [Date.now() - afterMs, ...ids],
      },
    ]);
    return forgotten!;
  }

  async #compactTable(
    captures: Captures,
    { id, table, logId, compacted: before }: Capture,
    options: CompactOptions,
  ): Promise<CompactedTable> {
    const skip = (skipped: string) => ({ table, rowsRemoved: 0, compacted: before, skipped });
    if (!captures.objects.has(logName(id))) return skip('its log is missing');
    const bound = await this.#compactBound(id, options);
    if (bound === null) return skip('it has no reader');
    const chunkRows = options.chunkRows ?? DEFAULT_COMPACT_CHUNK_ROWS;
    let rowsRemoved = 0;
    let compacted = before;
    for (;;) {
      const [chunkEnd] = await this.#connection.query(
        `SELECT version FROM ${logName(id)} WHERE version <= ? ORDER BY version LIMIT 1 OFFSET ?`,
        [bound, chunkRows - 1],
      );
      const upTo = chunkEnd ? Number(chunkEnd[0]) : bound;
      const [, removed] = await this.#connection.write(compactStatements(id, logId, upTo));
      rowsRemoved += removed!;
      const [row] = await this.#connection.query(
        `SELECT compacted FROM ${CAPTURE_TABLE} WHERE id = ? AND log_id = ?`,
        [id, logId],
      );
      if (!row) return { table, rowsRemoved, compacted, skipped: null };
      const reached = Number(row[0]);
      const stuck = reached === compacted && removed === 0;
      compacted = reached;
      if (!chunkEnd || stuck) return { table, rowsRemoved, compacted, skipped: null };
    }
  }

  /** The version up to which changes may be removed, or null when nobody has said so. */
  async #compactBound(id: number, { before, all }: CompactOptions): Promise<number | null> {
    const [row] = await this.#connection.query(
      `SELECT (SELECT min(version) FROM ${READER_TABLE} WHERE id = ?), (SELECT max(version) FROM ${logName(id)})`,
      [id],
    );
    const [slowest, newest] = row!;
    const bounds = [
      ...(slowest === null ? [] : [Number(slowest)]),
      ...(before === undefined ? [] : [before - 1]),
      ...(all ? [Number(newest ?? 0)] : []),
    ];
    return bounds.length === 0 ? null : Math.min(...bounds);
  }
}

/** Statements to run in one transaction, none when there is nothing to change, and what to answer then. */
interface Change<T> {
  readonly statements: readonly Statement[];
  readonly result: T;
}

/** Fails, by an overflow, when the schema is not of this version. */
function guard(schemaVersion: number): Statement {
  return {
    sql: `SELECT CASE WHEN schema_version = ? THEN 1 ELSE abs(-9223372036854775807 - 1) END FROM pragma_schema_version`,
    params: [schemaVersion],
  };
}

function planInstall(
  captures: Captures,
  names: readonly string[] | undefined,
): Change<InstallReport> {
  const leftOut: { table: string; reason: string }[] = [];
  const plans: CapturePlan[] = [];
  const wanted = names?.map((name) => findTable(captures.schema, name).name);
  for (const name of new Set(wanted ?? captures.plans.keys())) {
    const plan = captures.plans.get(name)!;
    if (!(plan instanceof StorageSyncError)) plans.push(plan);
    else if (wanted) throw plan;
    else leftOut.push({ table: name, reason: plan.message });
  }
  const statements: Statement[] = [];
  const tables: InstalledTable[] = [];
  let nextId = highestId(captures) + 1;
  const dropped = new Set<number>();
  for (const plan of plans) {
    const there = captures.captures.filter(({ id, table }) => {
      const onTable = triggersOf(captures, id).some((trigger) => isSame(trigger.table, plan.table));
      return onTable || isSame(table, plan.table);
    });
    for (const capture of there) refuseNewerFormat(capture);
    const [whole] = there;
    if (whole && there.length === 1 && whole.problem === null) {
      tables.push({ table: plan.table, action: 'unchanged', reason: null });
      continue;
    }
    for (const { id } of there) {
      if (!dropped.has(id)) statements.push(...dropCapture(captures, id));
      dropped.add(id);
    }
    const id = nextId++;
    statements.push(...createCapture(plan, id));
    const reason = there.find((capture) => capture.problem !== null)?.problem ?? null;
    const action = there.length > 0 ? 'reinstalled' : 'installed';
    tables.push({ table: plan.table, action, reason });
  }
  const result = { tables, leftOut };
  if (statements.length === 0) return { statements, result };
  return { statements: [...CREATE_SHARED_TABLES.map((sql) => ({ sql })), ...statements], result };
}

function createCapture(plan: CapturePlan, id: number): Statement[] {
  const logId = `${randomBytes(12).toString('base64url')}.${fingerprint(plan)}`;
  const key = JSON.stringify(plan.key.map(({ name }) => name));
  return [
    {
      sql: `INSERT INTO ${CAPTURE_TABLE} (id, table_name, key, format, log_id, installed_at) VALUES (?, ?, ?, ?, ?, ?)`,
      params: [id, plan.table, key, CAPTURE_FORMAT, logId, Date.now()],
    },
    ...createLogStatements(plan, id).map((sql) => ({ sql })),
  ];
}

function dropCapture(captures: Captures, id: number): Statement[] {
  return [
    ...triggersOf(captures, id).map(({ name }) => ({ sql: `DROP TRIGGER IF EXISTS ${name}` })),
    { sql: `DROP TABLE IF EXISTS ${logName(id)}` },
    { sql: `DROP TABLE IF EXISTS ${rowName(id)}` },
    { sql: `DELETE FROM ${CAPTURE_TABLE} WHERE id = ?`, params: [id] },
    ...(captures.objects.has(READER_TABLE)
      ? [{ sql: `DELETE FROM ${READER_TABLE} WHERE id = ?`, params: [id] }]
      : []),
  ];
}

/** One chunk. What bounds it is read again in the same transaction: a slower reader may have come. */
function compactStatements(id: number, logId: string, upTo: number): Statement[] {
  return [
    {
      sql: `UPDATE ${CAPTURE_TABLE} SET compacted = max(compacted, min(?,
        (SELECT coalesce(min(version), ?) FROM ${READER_TABLE} WHERE id = ?),
        (SELECT coalesce(max(version), 1) - 1 FROM ${logName(id)}))) WHERE id = ? AND log_id = ?`,
      params: [upTo, upTo, id, id, logId],
    },
    {
      sql: `DELETE FROM ${logName(id)} WHERE version <=
        (SELECT compacted FROM ${CAPTURE_TABLE} WHERE id = ? AND log_id = ?)`,
      params: [id, logId],
    },
  ];
}

/** The captures of the tables named, by the name they have or had; or all of them. */
function chooseCaptures(
  captures: Captures,
  names: readonly string[] | undefined,
): readonly Capture[] {
  if (names === undefined) return captures.captures;
  const chosen = names.map((name) => {
    const found =
      captures.captures.find(({ table }) => isSame(table, name)) ??
      captures.captures.find(({ id }) =>
        triggersOf(captures, id).some((trigger) => isSame(trigger.table, name)),
      );
    if (found) return found;
    throw new CaptureError(
      'CAPTURE_NOT_INSTALLED',
      `The changes of ${JSON.stringify(name)} are not logged.`,
      { context: { table: name }, hint: 'See storage-sync capture status.' },
    );
  });
  return [...new Set(chosen)];
}

function refuseNewerFormat({ table, format }: Capture): void {
  if (format <= CAPTURE_FORMAT) return;
  throw new CaptureError(
    'CAPTURE_FORMAT_UNSUPPORTED',
    `The change log of ${JSON.stringify(table)} was made by a newer version of storage-sync (format ${format}).`,
    { context: { table, format }, hint: 'Use that version here too.' },
  );
}

function isSame(a: string, b: string): boolean {
  return foldName(a) === foldName(b);
}
