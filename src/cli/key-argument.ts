import type { SqlValue } from '../values.js';

/**
 * The values that one argument of `get` may stand for, the likeliest first: a BLOB for x'..', a number for what looks
 * like one, and the text itself. A column's type, where known, comes before the look: `7` is text in a TEXT column.
 */
export function keyCandidates(argument: string, affinity: string | undefined): SqlValue[] {
  const blob = parseBlob(argument);
  const number = parseNumber(argument);
  const candidates: SqlValue[] = [];
  if (affinity === 'text') candidates.push(argument);
  if (blob !== null) candidates.push(blob);
  if (number !== null) candidates.push(number);
  if (affinity !== 'text') candidates.push(argument);
  return candidates;
}

/** Every key that the arguments may stand for, the likeliest first. */
export function* keysFrom(candidates: readonly (readonly SqlValue[])[]): Generator<SqlValue[]> {
  const [first, ...rest] = candidates;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const value of first) for (const tail of keysFrom(rest)) yield [value, ...tail];
}

function parseBlob(argument: string): Uint8Array | null {
  const [, hex] = /^x'((?:[0-9a-f]{2})*)'$/i.exec(argument) ?? [];
  return hex === undefined ? null : new Uint8Array(Buffer.from(hex, 'hex'));
}

function parseNumber(argument: string): number | bigint | null {
  if (/^[+-]?\d+$/.test(argument)) {
    const integer = BigInt(argument.replace(/^\+/, ''));
    const number = Number(integer);
    if (Number.isSafeInteger(number)) return number;
    return BigInt.asIntN(64, integer) === integer ? integer : number;
  }
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(argument)) return Number(argument);
  return null;
}
