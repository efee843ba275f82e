import fc from './fast-check.js';
import type { SqlValue } from '../../src/values.js';

/** INTEGERs over the whole 64-bit range, dense where encodings change. */
const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc
    .tuple(
      fc.constantFrom(0n, 5n, 7n, 8n, 15n, 16n, 31n, 32n, 52n, 53n, 54n, 62n),
      fc.integer({ min: -2, max: 2 }),
      fc.boolean(),
    )
    .map(([bits, near, negative]) => (negative ? -1n : 1n) * 2n ** bits + BigInt(near)),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n),
);

/** REALs as SQLite holds them: no NaN. */
const real = fc.oneof(
  fc.double({ noNaN: true }),
  fc.constantFrom(0, -0, Infinity, -Infinity, 5e-324, 2 ** 53, -(2 ** 53), 2 ** 63, 1e300),
);

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: fc.constantFrom('\0', 'a', 'é', '€', '😀', '\uffff'), maxLength: 40 }),
  fc.constantFrom(0, 31, 32, 39, 40, 85, 86, 255, 256, 65535, 65536).map((n) => 'x'.repeat(n)),
  fc.constantFrom(10, 11, 31, 32, 85, 86, 21845, 21846).map((n) => '€'.repeat(n)),
);

const blob = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(0, 255, 256, 65535, 65536).map((n) => new Uint8Array(n).fill(7)),
);

/** Any value that a SQLite column can hold. */
export const sqlValue: fc.Arbitrary<SqlValue> = fc.oneof(
  fc.constant(null),
  integer,
  real,
  text,
  blob,
);

/** Any value that fits into a key, short ones. */
export const keyValue: fc.Arbitrary<SqlValue> = fc.oneof(
  fc.constant(null),
  integer,
  real,
  fc.string({ unit: fc.constantFrom('\0', '\x01', 'a', 'b', 'é', '\u{10ffff}'), maxLength: 5 }),
  fc
    .array(fc.constantFrom(0, 1, 0x7f, 0xff), { maxLength: 4 })
    .map((bytes) => new Uint8Array(bytes)),
);

/** The value as the library promises to give it back. */
export function canonical(value: SqlValue): SqlValue {
  if (typeof value === 'bigint') {
    const asNumber = Number(value);
    return Number.isSafeInteger(asNumber) ? asNumber : value;
  }
  if (value === 0) return 0;
  return value;
}
