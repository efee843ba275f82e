import { Cron } from 'croner';
import * as v from 'valibot';
import { checkOptions, flag, share, verifyLevel } from '../check-options.js';
import type { VerifyLevel } from '../verify/report.js';

/** From the start of one sync to the start of the next. */
export const DEFAULT_WATCH_INTERVAL_MS = 300_000;
/** The share of the interval by which it may be shorter or longer, so that many watches do not come all at once. */
export const DEFAULT_WATCH_JITTER = 0.1;
/** The longest wait after a round that failed because the source was away, whatever the interval. */
export const MAX_RECOVERY_WAIT_MS = 60_000;

/** When a watch does what: see {@link StorageSync.watch}. */
export interface WatchOptions {
  /** From the start of one sync to the start of the next, which waits where the first takes longer. */
  readonly intervalMs?: number | undefined;
  /** 0 to 1. */
  readonly jitter?: number | undefined;
  /** Whether to sync at once. Default: true. */
  readonly syncOnStart?: boolean | undefined;
  /** When to verify besides: a cron expression in local time (https://croner.56k.guru/usage/pattern/). */
  readonly verifyCron?: string | undefined;
  /** What such a verify looks at. Default: `sample`. */
  readonly verifyLevel?: VerifyLevel | undefined;
  /** Whether such a verify rewrites what is wrong. Default: true. */
  readonly verifyRepair?: boolean | undefined;
  /** When to build the cache anew: a cron expression in local time. */
  readonly rebuildCron?: string | undefined;
  /** Stops the watch, as {@link Watch.stop} does. */
  readonly signal?: AbortSignal | undefined;
}

export interface ResolvedWatchOptions {
  readonly intervalMs: number;
  readonly jitter: number;
  readonly syncOnStart: boolean;
  readonly verifyCron: string | null;
  readonly verifyLevel: VerifyLevel;
  readonly verifyRepair: boolean;
  readonly rebuildCron: string | null;
}

const cronExpression = v.pipe(
  v.string('must be a cron expression'),
  v.check(isCron, 'must be a cron expression that comes due, such as "0 3 * * *"'),
);

const schema = v.strictObject({
  intervalMs: v.optional(
    v.pipe(
      v.number('must be a number of milliseconds'),
      v.minValue(1, 'must be at least 1'),
      v.maxValue(Number.MAX_SAFE_INTEGER, 'must be a number of milliseconds'),
    ),
  ),
  jitter: v.optional(share),
  syncOnStart: v.optional(flag),
  verifyCron: v.optional(cronExpression),
  verifyLevel: v.optional(verifyLevel),
  verifyRepair: v.optional(flag),
  rebuildCron: v.optional(cronExpression),
  signal: v.optional(v.instance(AbortSignal, 'must be an AbortSignal')),
});

/** @throws {ConfigError} naming every wrong field. */
export function resolveWatchOptions(options: WatchOptions): ResolvedWatchOptions {
  checkOptions('Invalid options of the watch', schema, options);
  return {
    intervalMs: options.intervalMs ?? DEFAULT_WATCH_INTERVAL_MS,
    jitter: options.jitter ?? DEFAULT_WATCH_JITTER,
    syncOnStart: options.syncOnStart ?? true,
    verifyCron: options.verifyCron ?? null,
    verifyLevel: options.verifyLevel ?? 'sample',
    verifyRepair: options.verifyRepair ?? true,
    rebuildCron: options.rebuildCron ?? null,
  };
}

/** When a cron expression next comes due, in milliseconds since the epoch. */
export function nextCronRun(expression: string, after: number): number {
  return new Cron(expression, { paused: true }).nextRun(new Date(after))?.getTime() ?? Infinity;
}

function isCron(expression: string): boolean {
  try {
    return Number.isFinite(nextCronRun(expression, Date.now()));
  } catch {
    return false;
  }
}
