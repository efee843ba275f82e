import * as v from 'valibot';
import { ConfigError } from './errors.js';

/** An option that is on or off. */
export const flag = v.boolean('must be true or false');

/** Some text that is not empty. */
export const text = v.pipe(v.string('must be text'), v.minLength(1, 'must not be empty'));

/** A share of a whole. */
export const share = v.pipe(
  v.number('must be a number from 0 to 1'),
  v.minValue(0, 'must be a number from 0 to 1'),
  v.maxValue(1, 'must be a number from 0 to 1'),
);

export const verifyLevel = v.picklist(
  ['quick', 'sample', 'deep'],
  'must be "quick", "sample" or "deep"',
);

export function integerBetween(min: number, max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(
    v.number('must be a number'),
    v.integer('must be a whole number'),
    v.minValue(min, `must be at least ${min}`),
    v.maxValue(max, `must be at most ${max}`),
  );
}

/**
 * Options that are what their schema says.
 *
 * @param what they are, to begin the error with: `Invalid options of the watch`.
 * @throws {ConfigError} naming every wrong field.
 */
export function checkOptions<T>(
  what: string,
  schema: v.GenericSchema<unknown, T>,
  options: unknown,
): T {
  const parsed = v.safeParse(schema, options);
  if (parsed.success) return parsed.output;
  throw new ConfigError(`${what}: ${parsed.issues.map(describeIssue).join('; ')}.`);
}

/** One wrong field, for people: its path and what it should be. */
function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'options';
  if (issue.type === 'strict_object' && issue.expected === 'never')
    return `${path} is not a known option`;
  const missing = issue.received === 'undefined';
  // A URL may hold a token, and a token may be of the wrong type.
  const got = /^(source|url$|authToken$)/.test(path) ? '' : ` (got ${issue.received})`;
  return missing ? `${path} is missing` : `${path} ${issue.message}${got}`;
}
