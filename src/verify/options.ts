import * as v from 'valibot';
import { checkOptions, flag, integerBetween, verifyLevel } from '../check-options.js';
import type { VerifyLevel, VerifyOptions } from './report.js';

/** How closely a verify looks where it is not told. */
export const DEFAULT_VERIFY_LEVEL: VerifyLevel = 'sample';

const schema = v.object({
  level: v.optional(verifyLevel),
  tables: v.optional(v.array(v.string('must be a name'), 'must be a list of names')),
  repair: v.optional(flag),
  maxSourceRows: v.optional(integerBetween(1)),
  allowLoss: v.optional(flag),
  seed: v.optional(integerBetween(0, 2 ** 32 - 1)),
});

/** @throws {ConfigError} naming every wrong field. */
export function checkVerifyOptions(options: VerifyOptions): void {
  checkOptions('Invalid verify', schema, options);
}
