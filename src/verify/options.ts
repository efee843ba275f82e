import * as v from 'valibot';
import { ConfigError } from '../errors.js';
import { describeIssue } from '../options.js';
import type { VerifyLevel, VerifyOptions } from './report.js';

/** How closely a verify looks where it is not told. */
export const DEFAULT_VERIFY_LEVEL: VerifyLevel = 'sample';

const schema = v.object({
  level: v.optional(v.picklist(['quick', 'sample', 'deep'], 'must be "quick", "sample" or "deep"')),
  tables: v.optional(v.array(v.string('must be a name'), 'must be a list of names')),
  repair: v.optional(v.boolean('must be true or false')),
  maxSourceRows: v.optional(
    v.pipe(
      v.number('must be a number'),
      v.integer('must be a whole number'),
      v.minValue(1, 'must be at least 1'),
    ),
  ),
  allowLoss: v.optional(v.boolean('must be true or false')),
  seed: v.optional(
    v.pipe(
      v.number('must be a number'),
      v.integer('must be a whole number'),
      v.minValue(0, 'must be at least 0'),
      v.maxValue(2 ** 32 - 1, 'must be less than 2^32'),
    ),
  ),
});

/** @throws {ConfigError} naming every wrong field. */
export function checkVerifyOptions(options: VerifyOptions): void {
  const parsed = v.safeParse(schema, options);
  if (parsed.success) return;
  throw new ConfigError(`Invalid verify: ${parsed.issues.map(describeIssue).join('; ')}.`);
}
