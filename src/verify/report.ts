import type { SyncProgress } from '../progress.js';

/**
 * How closely the cache is held against the source:
 *
 * - `quick`: counts, the newest rows, the source's schema and the cache's own books.
 * - `sample`: random ranges of keys besides, each compared row by row on both sides.
 * - `deep`: every row and every index entry.
 */
export type VerifyLevel = 'quick' | 'sample' | 'deep';

/** How closely a verify looks, at what, and whether it repairs. */
export interface VerifyOptions {
  /** Default: `sample`, whose cost does not grow with the tables. */
  readonly level?: VerifyLevel | undefined;
  /** Only these tables of the cache. Default: all. */
  readonly tables?: readonly string[] | undefined;
  /** Rewrite the rows and index entries that are wrong, and nothing else. */
  readonly repair?: boolean | undefined;
  /**
   * Rows to read from the source at most. A deep verify goes on, the next time, from where it stopped. A server may
   * count more where a limit or a reference has to be looked up.
   */
  readonly maxSourceRows?: number | undefined;
  /** With `repair`: remove rows also where a table loses more of them than `maxLossShare`. */
  readonly allowLoss?: boolean | undefined;
  /** Which ranges a sample takes: the same seed and cache give the same ones. Default: a new one each time. */
  readonly seed?: number | undefined;
  /** Stops the verify; a deep one goes on from there the next time. */
  readonly signal?: AbortSignal | undefined;
  /** Called as the verify comes on, in this thread, some times a second at most. */
  readonly onProgress?: ((progress: SyncProgress) => void) | undefined;
}

/**
 * What is wrong with a row of the cache:
 *
 * - `damaged`: its checksum does not hold.
 * - `differs`: it is whole, but not what the source has.
 * - `missing`: the source has it, the cache does not.
 * - `extra`: the cache has it, the source does not.
 */
export type DifferenceKind = 'damaged' | 'differs' | 'missing' | 'extra';

/** One row that is not in the cache as it is in the source. */
export interface Difference {
  /** The row's key, for people. */
  readonly key: string;
  readonly kind: DifferenceKind;
  readonly repaired: boolean;
}

/** A run of neighbouring keys in which rows differ. */
export interface DifferentRange {
  readonly first: string;
  readonly last: string;
  readonly differences: number;
}

/** One thing that a verify looked at besides the rows. */
export interface VerifyCheck {
  /** What was looked at, such as `count` or `schema`. */
  readonly check: string;
  readonly passed: boolean;
  /** What was found, for people. */
  readonly detail: string;
}

/** What a verify found in one table. */
export interface VerifyTableReport {
  /** Rows of the source that were compared, those of earlier runs of the same verify included. */
  readonly rowsCompared: number;
  /** Differences, all of them counted. */
  readonly differences: Readonly<Record<DifferenceKind, number>>;
  /** The first differences, 20 at most. */
  readonly found: readonly Difference[];
  /** Where differences are, 20 ranges at most. */
  readonly ranges: readonly DifferentRange[];
  /** Index entries: that should be there, and that should not. Only a deep verify looks. */
  readonly indexEntries: { readonly missing: number; readonly dangling: number };
  /** Rows and index entries that were put right. */
  readonly repaired: number;
  /** Rows that the source's change log names behind the cache's version: the next sync brings them. */
  readonly pending: number;
  /** Rows that changed in the source while they were looked at. */
  readonly moving: number;
  /** Rows of the source that cannot be cached, and are not. */
  readonly quarantined: number;
  readonly checks: readonly VerifyCheck[];
  /** True when all was looked at that the level asks for. */
  readonly complete: boolean;
  /** Behind which key rows were not looked at; null where that is no key, or nothing was left out. */
  readonly unverifiedBehind: string | null;
  /** What was skipped or cannot be told, and why. */
  readonly notes: readonly string[];
  readonly durationMs: number;
}

/** What a verify found, and repaired. */
export interface VerifyReport {
  readonly level: VerifyLevel;
  /** Of a sample: which ranges it took. */
  readonly seed: number | null;
  readonly generation: number;
  readonly durationMs: number;
  /** True when all was looked at that the level asks for. */
  readonly complete: boolean;
  /** True when it went on from an earlier run. */
  readonly resumed: boolean;
  /** Rows read from the source in this run. */
  readonly sourceRowsRead: number;
  /** Rows, index entries and checks that are wrong, repaired or not. */
  readonly differences: number;
  readonly repaired: number;
  /** Of the differences, those that are still there. */
  readonly left: number;
  readonly lastSyncAt: string | null;
  readonly tables: Readonly<Record<string, VerifyTableReport>>;
  readonly transport: string;
  /** Requests that were sent again after a failure worth retrying. */
  readonly retries: number;
  readonly warnings: readonly string[];
}

/** Differences and ranges listed of each table. */
export const MAX_LISTED = 20;
