import { ExponentialBackoff, type IBackoff } from 'cockatiel';
import { MAX_RECOVERY_WAIT_MS, nextCronRun, type ResolvedWatchOptions } from './watch-options.js';
import type { WatchJob, WatchReason } from './watch-status.js';

/** A round to come, and in how many milliseconds: none or fewer where it is overdue. */
export interface DueRound {
  readonly inMs: number;
  readonly job: WatchJob;
  readonly reason: WatchReason;
}

/**
 * Two clocks, in milliseconds: one that is never set, by which intervals go, and the time of day, by which cron
 * expressions go.
 */
export interface Now {
  readonly monotonic: number;
  readonly wall: number;
}

/** What an agenda has to know of a sync or rebuild that ended. Times are monotonic, in milliseconds. */
export interface EndedSync {
  readonly startedAt: number;
  readonly endedAt: number;
  /** Whether the same may well succeed a little later: the source was away, or another process writes the cache. */
  readonly isPassing: boolean;
  readonly succeeded: boolean;
  /** How old the cache was as it ended, or null where that is not known. */
  readonly ageMs: number | null;
}

/** The first wait after a round that failed for a passing reason; it doubles, with jitter. */
const FIRST_RECOVERY_WAIT_MS = 1000;
/** The least pause before a sync that is due because the cache grows stale, so that slow syncs do not follow at once. */
const MIN_STALE_PAUSE_MS = 1000;

/**
 * When which round is due. It holds no timer and does no work: it is told what ended, and asked what is next.
 *
 * Invariant: there is always a next sync.
 */
export class Agenda {
  readonly #options: ResolvedWatchOptions;
  readonly #staleAfterMs: number;
  readonly #random: () => number;
  #syncAt: number;
  #syncReason: WatchReason;
  /** By the time of day. */
  #verifyAt: number;
  #rebuildAt: number;
  #backoff: IBackoff<unknown> | null = null;

  constructor(options: ResolvedWatchOptions, staleAfterMs: number, now: Now, random = Math.random) {
    this.#options = options;
    this.#staleAfterMs = staleAfterMs;
    this.#random = random;
    this.#syncAt = now.monotonic + (options.syncOnStart ? 0 : this.#interval());
    this.#syncReason = options.syncOnStart ? 'start' : 'interval';
    this.#verifyAt = cronTime(options.verifyCron, now.wall);
    this.#rebuildAt = cronTime(options.rebuildCron, now.wall);
  }

  /** The round that comes first. A rebuild makes the sync beside it needless, which therefore waits. */
  next({ monotonic, wall }: Now): DueRound {
    const rounds: DueRound[] = [
      { inMs: this.#rebuildAt - wall, job: 'rebuild', reason: 'schedule' },
      { inMs: this.#syncAt - monotonic, job: 'sync', reason: this.#syncReason },
      { inMs: this.#verifyAt - wall, job: 'verify', reason: 'schedule' },
    ];
    return rounds.reduce((first, each) => (each.inMs < first.inMs ? each : first));
  }

  /** A round begins: what was scheduled for now is not due any more. */
  begin(job: WatchJob, { wall }: Now): void {
    if (job === 'verify' && this.#verifyAt <= wall) {
      this.#verifyAt = cronTime(this.#options.verifyCron, wall);
    }
    if (job === 'rebuild' && this.#rebuildAt <= wall) {
      this.#rebuildAt = cronTime(this.#options.rebuildCron, wall);
    }
  }

  /** A sync or rebuild ended. */
  end({ startedAt, endedAt, isPassing, succeeded, ageMs }: EndedSync): void {
    this.#backoff = !succeeded && isPassing ? this.#nextBackoff() : null;
    if (this.#backoff) {
      this.#plan(endedAt + this.#backoff.duration, 'recovery');
      return;
    }
    this.#plan(Math.max(endedAt, startedAt + this.#interval()), 'interval');
    if (!succeeded || ageMs === null) return;
    // A sync that takes as long as this one did should end before the cache is stale.
    const durationMs = endedAt - startedAt;
    const freshMs = this.#staleAfterMs - ageMs - durationMs;
    const staleAt = endedAt + Math.max(freshMs, durationMs, MIN_STALE_PAUSE_MS);
    if (staleAt < this.#syncAt) this.#plan(staleAt, 'stale');
  }

  /** Reads met damage: the next sync mends it. While rounds fail for a passing reason, it waits for its turn. */
  damaged({ monotonic }: Now): void {
    if (this.#backoff === null) this.#plan(monotonic, 'recovery');
  }

  #plan(at: number, reason: WatchReason): void {
    this.#syncAt = at;
    this.#syncReason = reason;
  }

  #interval(): number {
    const { intervalMs, jitter } = this.#options;
    return intervalMs * (1 + jitter * (2 * this.#random() - 1));
  }

  #nextBackoff(): IBackoff<unknown> {
    if (this.#backoff) return this.#backoff.next(undefined);
    const maxDelay = Math.min(MAX_RECOVERY_WAIT_MS, Math.max(1, this.#options.intervalMs));
    const initialDelay = Math.min(FIRST_RECOVERY_WAIT_MS, maxDelay);
    return new ExponentialBackoff({ initialDelay, maxDelay }).next();
  }
}

function cronTime(expression: string | null, after: number): number {
  return expression === null ? Infinity : nextCronRun(expression, after);
}
