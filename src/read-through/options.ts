import * as v from 'valibot';
import { checkOptions, flag, integerBetween } from '../check-options.js';

/** Keys that the source had no row for, remembered at most. */
export const DEFAULT_MAX_NEGATIVES = 10_000;
/** How long it is remembered that the source had no row for a key. */
export const DEFAULT_NEGATIVE_TTL_MS = 5_000;
/** Bytes of fetched rows that are held in memory at most. */
export const DEFAULT_MAX_KEPT_BYTES = 8 * 1024 * 1024;
/** How long a fetched row is held in memory. */
export const DEFAULT_KEPT_TTL_MS = 60_000;

/** How a table is read through: see `StorageSync.readThrough`. */
export interface ReadThroughOptions {
  /** Keys that the source had no row for, remembered at most. Default: {@link DEFAULT_MAX_NEGATIVES}; 0 for none. */
  readonly maxNegatives?: number | undefined;
  /** How long each is. Default: {@link DEFAULT_NEGATIVE_TTL_MS}; 0 for not at all. */
  readonly negativeTtlMs?: number | undefined;
  /** Bytes of fetched rows held in memory at most. Default: {@link DEFAULT_MAX_KEPT_BYTES}; 0 for none. */
  readonly maxKeptBytes?: number | undefined;
  /** How long each is. Default: {@link DEFAULT_KEPT_TTL_MS}; 0 for not at all. */
  readonly keptTtlMs?: number | undefined;
  /** Whether fetched rows are stored in the cache, where the table takes them. Default: true. */
  readonly store?: boolean | undefined;
}

export interface ResolvedReadThroughOptions {
  readonly maxNegatives: number;
  readonly negativeTtlMs: number;
  readonly maxKeptBytes: number;
  readonly keptTtlMs: number;
  readonly store: boolean;
}

const count = (max: number) => v.optional(integerBetween(0, max));

const schema = v.strictObject({
  maxNegatives: count(10_000_000),
  negativeTtlMs: count(24 * 3600_000),
  maxKeptBytes: count(64 * 1024 ** 3),
  keptTtlMs: count(24 * 3600_000),
  store: v.optional(flag),
});

/** @throws {ConfigError} naming every wrong field. */
export function resolveReadThroughOptions(options: ReadThroughOptions): ResolvedReadThroughOptions {
  checkOptions('Invalid options of the read-through', schema, options);
  return {
    maxNegatives: options.maxNegatives ?? DEFAULT_MAX_NEGATIVES,
    negativeTtlMs: options.negativeTtlMs ?? DEFAULT_NEGATIVE_TTL_MS,
    maxKeptBytes: options.maxKeptBytes ?? DEFAULT_MAX_KEPT_BYTES,
    keptTtlMs: options.keptTtlMs ?? DEFAULT_KEPT_TTL_MS,
    store: options.store ?? true,
  };
}
