import type { CacheStatus } from '../cache/status.js';
import type { ErrorCode } from '../errors.js';
import type { SyncProgress } from '../progress.js';
import type { SyncMode } from '../report.js';
import type { VerifyLevel } from '../verify/report.js';

/** What a watch does, one at a time. */
export type WatchJob = 'sync' | 'rebuild' | 'verify';

/**
 * Why a round is due:
 *
 * - `start`: the watch began.
 * - `interval`: the interval is over.
 * - `stale`: the cache is about to be older than it may be.
 * - `recovery`: the last round failed, or reads met damage in the cache.
 * - `request`: somebody asked for it.
 * - `schedule`: a cron expression of `verifyCron` or `rebuildCron` came due.
 */
export type WatchReason = 'start' | 'interval' | 'stale' | 'recovery' | 'request' | 'schedule';

/**
 * How a round ended. `skipped`: the source was away, or another process writes the cache; `differences`: a verify left
 * some.
 */
export type RoundOutcome = 'done' | 'differences' | 'skipped' | 'failed' | 'aborted';

/** A failure, as it is told: free of secrets. */
export interface RoundError {
  readonly code: ErrorCode | 'UNEXPECTED';
  readonly message: string;
  readonly hint: string | null;
}

/** A round that ended. Times are ISO 8601, durations and ages milliseconds. */
export interface WatchRound {
  /** Counted from 1 since the watch began. */
  readonly number: number;
  readonly job: WatchJob;
  readonly reason: WatchReason;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly outcome: RoundOutcome;
  readonly error: RoundError | null;
  /** Of a sync or rebuild that was not skipped. */
  readonly mode: SyncMode | null;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly rowsDeleted: number;
  readonly sourceRowsRead: number;
  readonly bytesWritten: number;
  /** How old the oldest data may have been as the round began and as it ended; null where that is not known. */
  readonly ageBeforeMs: number | null;
  readonly ageAfterMs: number | null;
  readonly warnings: readonly string[];
}

/** The round that is under way. */
export interface RunningRound {
  readonly job: WatchJob;
  readonly reason: WatchReason;
  readonly startedAt: string;
  readonly progress: SyncProgress | null;
}

/** What the last verify that ended found. */
export interface VerifySummary {
  readonly at: string;
  readonly level: VerifyLevel;
  readonly complete: boolean;
  readonly rowsCompared: number;
  readonly differences: number;
  readonly repaired: number;
  readonly left: number;
  readonly tables: Readonly<
    Record<string, { readonly rowsCompared: number; readonly differences: number }>
  >;
}

/**
 * The state of a watch:
 *
 * | state      | a round comes due | a round ends              | `stop`                                  |
 * |------------|-------------------|---------------------------|-----------------------------------------|
 * | `waiting`  | `running`         |                           | `stopped`                               |
 * | `running`  | stays, and it follows | `waiting`             | `stopping`: the round is aborted        |
 * | `stopping` | stays             | `stopped`                 | stays                                   |
 * | `stopped`  |                   |                           | stays                                   |
 */
export type WatchState = 'waiting' | 'running' | 'stopping' | 'stopped';

/** How a watch stands, and the cache it keeps. */
export interface WatchStatus {
  readonly version: string;
  /** The source without what may be secret, for people. */
  readonly source: string;
  readonly cacheDir: string;
  readonly state: WatchState;
  readonly startedAt: string;
  readonly intervalMs: number;
  /** The age from which the cache counts as stale. */
  readonly staleAfterMs: number;
  readonly nextRoundAt: string | null;
  readonly running: RunningRound | null;
  readonly rounds: number;
  readonly failedRounds: number;
  readonly cache: CacheStatus;
  /** Bytes that the cache directory takes on the disk. */
  readonly diskBytes: number;
  readonly lastVerify: VerifySummary | null;
  /** Rounds that ended, oldest first, {@link MAX_ROUNDS_KEPT} at most. */
  readonly history: readonly WatchRound[];
}

/** Rounds of which a watch keeps what they did. */
export const MAX_ROUNDS_KEPT = 500;
