import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import Database from 'libsql';
import {
  encodeKey,
  encodeKeyPrefix,
  lendKey,
  MAX_KEY_BYTES,
} from '../../src/transform/key-codec.js';
import type { SqlValue } from '../../src/values.js';
import { keyValue } from '../support/arbitraries.js';

/** SQLite's own opinion on how two values compare: -1, 0 or 1. */
class SqliteOrder {
  readonly #database = new Database(':memory:');
  readonly #compare = this.#database
    .prepare(
      'SELECT CASE WHEN a IS b THEN 0 WHEN a IS NULL THEN -1 WHEN b IS NULL THEN 1 WHEN a < b THEN -1 ELSE 1 END FROM (SELECT ? AS a, ? AS b)',
    )
    .raw();

  compare(a: SqlValue, b: SqlValue): number {
    const [row] = this.#compare.all([bind(a), bind(b)]) as unknown as number[][];
    return row![0]!;
  }
}

function bind(value: SqlValue): SqlValue {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}

const sqlite = new SqliteOrder();

describe('key codec', () => {
  it('orders single values as SQLite does', () => {
    fc.assert(
      fc.property(keyValue, keyValue, (a, b) => {
        const order = Math.sign(Buffer.compare(encodeKey([a]), encodeKey([b])));
        assert.equal(order, sqlite.compare(a, b));
      }),
      { numRuns: 3000 },
    );
  });

  it('orders composite keys column by column', () => {
    const tuple = fc.array(keyValue, { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(tuple, tuple, fc.integer({ min: 0, max: 3 }), (a, other, shared) => {
        const b = [...a.slice(0, shared), ...other.slice(shared)];
        let expected = 0;
        for (let i = 0; i < 3 && expected === 0; i++) expected = sqlite.compare(a[i]!, b[i]!);
        const order = Math.sign(Buffer.compare(encodeKey(a), encodeKey(b)));
        assert.equal(order, expected);
      }),
      { numRuns: 3000 },
    );
  });

  it('lets the rowid decide between keys with the same NULLs, in order', () => {
    fc.assert(
      fc.property(
        keyValue,
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (value, a, b) => {
          const order = Buffer.compare(encodeKey([null, value], a), encodeKey([null, value], b));
          assert.equal(Math.sign(order), a < b ? -1 : a > b ? 1 : 0);
        },
      ),
    );
  });

  it('finds by a prefix every key that begins with the values, and no other', () => {
    fc.assert(
      fc.property(fc.tuple(keyValue, keyValue), keyValue, ([first, second], other) => {
        const key = encodeKey([first, second]);
        for (const value of [first, other]) {
          const prefix = encodeKeyPrefix([value]);
          const end = Buffer.concat([prefix, Buffer.from([0xff])]);
          const found = Buffer.compare(key, prefix) >= 0 && Buffer.compare(key, end) < 0;
          assert.equal(found, sqlite.compare(first, value) === 0);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses what cannot be a key', () => {
    assert.throws(() => encodeKey(['x'.repeat(MAX_KEY_BYTES)]), { code: 'KEY_INVALID' });
    assert.throws(() => encodeKey([NaN]), { code: 'KEY_INVALID' });
    assert.throws(() => encodeKey([2n ** 63n]), { code: 'KEY_INVALID' });
    assert.throws(() => encodeKey([undefined as unknown as SqlValue]), { code: 'KEY_INVALID' });
    assert.throws(() => encodeKey([true as unknown as SqlValue]), { code: 'KEY_INVALID' });
  });

  void it('are the same in memory that is lent, of whatever size', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'z', '\0', '\x7f', 'é', '😀'), maxLength: 130 }),
      fc.constantFrom(63, 64, 65, 600, 1900).map((length) => 'x'.repeat(length)),
    );
    const values = fc.array(fc.oneof(text, keyValue), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(values, (key) => {
        const expected = attempt(() => encodeKey(key).toString('hex'));
        assert.deepEqual(
          attempt(() => lendKey(key).toString('hex')),
          expected,
        );
      }),
      { numRuns: 2000 },
    );
    for (const bad of [undefined, NaN, {}, 2n ** 64n]) {
      assert.throws(() => lendKey([bad as never]), { code: 'KEY_INVALID' });
    }
  });
});

function attempt<T>(work: () => T): T | string {
  try {
    return work();
  } catch (error) {
    return String(error);
  }
}
