import { ConfigError } from './errors.js';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * The milliseconds that `500ms`, `30s`, `1.5m` or `2h` stand for. A number must have a unit.
 *
 * @throws {ConfigError} when the text is none of these, or less than a millisecond.
 */
export function parseDuration(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text.trim()) ?? [];
  const ms = Math.round(Number(amount) * (UNIT_MS[unit ?? ''] ?? NaN));
  if (!Number.isSafeInteger(ms) || ms < 1) {
    throw new ConfigError(`${JSON.stringify(text)} is not a duration.`, {
      hint: 'Write a number and a unit: 500ms, 30s, 5m or 1h.',
    });
  }
  return ms;
}
