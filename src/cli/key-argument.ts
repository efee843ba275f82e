import type { SqlValue } from '../values.js';

/**
 * The values that one argument of `get` may stand for, in the order in which to look: a BLOB for x'..', a number for
 * what looks like one, and the text itself.
 *
 * SQLite makes this unambiguous in nearly every key: a TEXT column cannot hold the number 7, nor an INTEGER column the
 * text `7`. Only a column without a type can hold both.
 */
export function keyCandidates(argument: string): SqlValue[] {
  return [parseBlob(argument), parseNumber(argument), argument].filter((value) => value !== null);
}

/** Every key that the arguments may stand for together, in the order in which to look. */
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
