import * as v from 'valibot';
import type { ConfigFile } from '../config.js';
import { parseDuration } from '../duration.js';
import { ConfigError } from '../errors.js';
import { memoryPreset } from '../memory/preset.js';
import { resolveOptions } from '../options.js';
import { checkOptions, flag, integerBetween, text } from '../check-options.js';
import { resolveWatchOptions } from '../watch/watch-options.js';
import { LOG_LEVELS } from './log-level.js';

const duration = v.pipe(
  v.custom<string | number>(isDuration, 'must be a duration such as "30s", or milliseconds'),
);

/** The fields of `watch`. Those that are the library's too are checked there. */
const watchFields = v.strictObject({
  jitter: v.optional(v.unknown()),
  verifyCron: v.optional(v.unknown()),
  verifyLevel: v.optional(v.unknown()),
  rebuildCron: v.optional(v.unknown()),
  interval: v.optional(duration),
  server: v.optional(flag),
  host: v.optional(text),
  port: v.optional(integerBetween(0, 65_535)),
  token: v.optional(text),
  logLevel: v.optional(
    v.picklist(LOG_LEVELS, `must be one of ${LOG_LEVELS.map((each) => `"${each}"`).join(', ')}`),
  ),
  stopTimeout: v.optional(duration),
});

/**
 * Checks the fields of a configuration.
 *
 * @param place where it stands, for people.
 * @throws {ConfigError} naming the place and each wrong field.
 */
export function checkConfig(place: string, { memory, watch, ...config }: ConfigFile): void {
  if (memory !== undefined && config.preset !== 'memory') {
    throw new ConfigError(`${place}: memory needs "preset": "memory" beside it.`);
  }
  const required = { cacheDir: '-', ...config, source: { url: 'file:-', ...config.source } };
  try {
    resolveOptions(required);
    if (memory !== undefined) memoryPreset(memory);
    if (watch !== undefined) checkWatch(watch);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${place}: ${error.message}`, {
      context: error.context,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

/** The milliseconds of a duration as a configuration has it. */
export function milliseconds(value: string | number): number {
  return typeof value === 'number' ? value : parseDuration(value);
}

function checkWatch(watch: NonNullable<ConfigFile['watch']>): void {
  checkOptions('Invalid options', v.strictObject({ watch: watchFields }), { watch });
  const { jitter, verifyCron, verifyLevel, rebuildCron } = watch;
  resolveWatchOptions({ jitter, verifyCron, verifyLevel, rebuildCron });
}

function isDuration(value: unknown): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 1;
  if (typeof value !== 'string') return false;
  try {
    return parseDuration(value) > 0;
  } catch {
    return false;
  }
}
