import type { CacheReads } from './cache/read-window.js';
import type { ErrorCode } from './errors.js';

/** Rows and bytes, counted from the first batch of a table's sync, also where that was resumed. */
export interface TableCounters {
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly rowsUnchanged: number;
  readonly rowsDeleted: number;
  readonly rowsQuarantined: number;
  /** Keys and values written to the cache, before LMDB's own overhead. */
  readonly bytesWritten: number;
  /**
   * What the source gave for the table: rows, again where one had to be asked for again, and entries of its change log.
   * What it looked at besides to find them is not known here: a server's own count of rows read, by which it may bill,
   * is not told by `@libsql/client`.
   */
  readonly sourceRowsRead: number;
}

/** How a table was brought up to date: read in full, by the source's change log, or by its cursor. */
export type TableMode = 'full' | 'change-log' | 'cursor';

/**
 * A table that is now stored in another way, because the source's schema was changed or because something else is asked
 * of it:
 *
 * | kind            | what changed                                                                             |
 * |-----------------|------------------------------------------------------------------------------------------|
 * | `columns-added` | columns came behind those that there were, and nothing else                              |
 * | `redefined`     | columns are gone, have other names or places, or the key, the limit or references differ |
 * | `renamed`       | the source has the table under another name                                              |
 */
export interface SchemaChange {
  readonly kind: 'columns-added' | 'redefined' | 'renamed';
  /** What changed, for people. */
  readonly detail: string;
}

/** What one sync did to one table. */
export interface TableReport extends TableCounters {
  readonly mode: TableMode;
  /** What is new about how the table is stored. It was then built anew, beside the one that was served. */
  readonly schemaChange?: SchemaChange;
  readonly durationMs: number;
  /** True when this sync went on from the checkpoint of an interrupted one. */
  readonly resumed: boolean;
}

/** One thing that a sync looked at when its rows were in the cache. */
export interface ValidationCheck {
  readonly table: string;
  /** What was looked at, such as `count` or `newest`. */
  readonly check: string;
  readonly passed: boolean;
  /** What was found, for people. */
  readonly detail: string;
}

/** What a sync looked at when its rows were in the cache. */
export interface ValidationReport {
  /** Whether all checks passed. */
  readonly passed: boolean;
  readonly checks: readonly ValidationCheck[];
}

/**
 * What a sync did: read at least one table in full, took changes only, built the cache anew, or nothing, because the
 * source was away.
 */
export type SyncMode = 'full' | 'incremental' | 'rebuild' | 'skipped';

/** What a sync or a rebuild did. */
export interface SyncReport {
  readonly mode: SyncMode;
  readonly durationMs: number;
  /** Whether the cache may lag behind the source after this sync: true when it was skipped. */
  readonly stale: boolean;
  /** The generation that is served after this sync, or null when there is none yet. */
  readonly generation: number | null;
  readonly tables: Readonly<Record<string, TableReport>>;
  /** What the source gave in all: for the tables, and to tell its schema and the state of its change logs. */
  readonly sourceRowsRead: number;
  /** Requests that were sent again after a failure worth retrying. */
  readonly retries: number;
  /** How rows were read: see {@link Transport}. */
  readonly transport: string;
  /** What is not as it should be and did not stop the sync, for people. */
  readonly warnings: readonly string[];
  readonly validation: ValidationReport;
  /** Damaged records that reads had met and the sync fetched again, by table; only where there were any. */
  readonly repaired?: Readonly<Record<string, number>>;
  /**
   * What this process asked of `storage.cache` from the sync before to this one, and how much of it the cache had: see
   * {@link CacheReads}. Only where it was read.
   */
  readonly reads?: CacheReads;
  /** Of a skipped sync: why the source could not be had. */
  readonly outage?: { readonly code: ErrorCode; readonly message: string };
  /** With the memory preset: rows of each kind that the source and the cache now share. */
  readonly episodesSynced?: number;
  readonly patternsSynced?: number;
  readonly heuristicsSynced?: number;
  readonly embeddingsSynced?: number;
}
