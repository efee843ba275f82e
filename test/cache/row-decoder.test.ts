import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Unpackr } from 'msgpackr';
import { decodeRow } from '../../src/cache/row-decoder.js';
import { RowEncoder, rowBound } from '../../src/transform/row-encoder.js';
import type { SqlValue } from '../../src/values.js';
import { canonical, sqlValue } from '../support/arbitraries.js';
import fc from '../support/fast-check.js';
import { lentBuffer, STALE_TEXT } from '../support/lent-buffer.js';

const encoder = new RowEncoder();
const reference = new Unpackr({ useRecords: false, copyBuffers: true, int64AsType: 'bigint' });

function encode(row: readonly SqlValue[]): Buffer {
  const bytes = Buffer.alloc(rowBound(row));
  return bytes.subarray(0, encoder.write(bytes, 0, row, row.length));
}

const rows = fc.oneof(
  fc.array(sqlValue, { maxLength: 24 }),
  // Texts on both sides of what is shared, in rows of several shares.
  fc.array(
    fc.tuple(fc.integer({ min: 0, max: 600 }), fc.constantFrom('', 'é', '\0', '😀')).map((of) => {
      const [length, end] = of;
      return 'abcdefghij'.repeat(60).slice(0, length) + end;
    }),
    { maxLength: 24 },
  ),
);

void describe('the decoder of rows', () => {
  void it('gives what a general reader of the format gives, whatever the buffer', () => {
    fc.assert(
      fc.property(rows, (row) => {
        const bytes = encode(row);
        const expected = (reference.unpack(bytes) as SqlValue[]).map((cell) =>
          canonical(cell instanceof Uint8Array ? new Uint8Array(cell) : cell),
        );
        assert.deepEqual(expected, row.map(canonical));
        assert.deepStrictEqual(decodeRow(bytes, bytes.length), expected);
        assert.deepStrictEqual(decodeRow(lentBuffer(bytes), bytes.length), expected);
      }),
      { numRuns: 1000 },
    );
  });

  void it('passes over what is not wanted', () => {
    fc.assert(
      fc.property(rows, fc.uint8Array({ max: 1, maxLength: 24 }), (row, wanted) => {
        const bytes = encode(row);
        const all = decodeRow(bytes, bytes.length);
        const expected = all.map((cell, at) => (wanted[at] === 1 ? cell : null));
        assert.deepStrictEqual(decodeRow(bytes, bytes.length, wanted), expected);
        assert.deepStrictEqual(decodeRow(lentBuffer(bytes), bytes.length, wanted), expected);
      }),
      { numRuns: 1000 },
    );
  });

  void it('refuses the same rows whether it passes over values or not', () => {
    const nothing = new Uint8Array(0);
    fc.assert(
      fc.property(
        fc.oneof(rows.map(encode), fc.uint8Array({ maxLength: 60 })),
        fc.nat(),
        fc.nat(),
        (of, at, cut) => {
          const bytes = Buffer.from(of);
          if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << (at & 7);
          const end = cut % 3 === 0 ? bytes.length : cut % (bytes.length + 1);
          const isRow = (wanted: Uint8Array | null) => {
            try {
              decodeRow(lentBuffer(bytes), end, wanted);
              return true;
            } catch (error) {
              assert.ok(error instanceof RangeError, error as Error);
              return false;
            }
          };
          assert.equal(isRow(nothing), isRow(null), bytes.toString('hex'));
        },
      ),
      { numRuns: 3000 },
    );
  });

  void it('reads integers in whatever form they are', () => {
    const forms: [string, SqlValue][] = [
      ['91d3ffffffffffffffff', -1],
      ['91cf0000000000000000', 0],
      ['91cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
      ['91cf0020000000000000', 2n ** 53n],
      ['91cf8000000000000000', 2n ** 63n],
      ['91d3ffe0000000000001', Number.MIN_SAFE_INTEGER],
      ['91d3ffe0000000000000', -(2n ** 53n)],
      ['91d3ffdfffffffffffff', -(2n ** 53n) - 1n],
      ['91cb8000000000000000', -0],
      ['91cbfff0000000000000', -Infinity],
    ];
    for (const [hex, value] of forms) {
      const bytes = Buffer.from(hex, 'hex');
      assert.deepStrictEqual(decodeRow(bytes, bytes.length), [value], hex);
    }
  });

  void it('refuses a row that is cut or followed by more', () => {
    fc.assert(
      fc.property(
        rows.filter((row) => row.length > 0),
        fc.nat(),
        (row, at) => {
          const bytes = encode(row);
          const cut = at % bytes.length;
          const more = Buffer.concat([bytes, Buffer.from([0xc0])]);
          for (const end of [cut, bytes.length - 1]) {
            assert.throws(() => decodeRow(bytes, end), RangeError);
            assert.throws(() => decodeRow(lentBuffer(bytes), end), RangeError);
            assert.throws(() => decodeRow(bytes.subarray(0, end), end), RangeError);
          }
          assert.throws(() => decodeRow(more, more.length), RangeError);
          assert.throws(() => decodeRow(lentBuffer(more), more.length), RangeError);
        },
      ),
      { numRuns: 300 },
    );
  });

  void it('gives of damaged bytes nothing that lies behind them, and no other error', () => {
    fc.assert(
      fc.property(
        fc.oneof(rows.map(encode), fc.uint8Array({ maxLength: 60 })),
        fc.nat(),
        (of, at) => {
          const bytes = Buffer.from(of);
          if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << (at & 7);
          try {
            const cells = decodeRow(lentBuffer(bytes), bytes.length);
            for (const cell of cells) {
              assert.ok(typeof cell !== 'string' || !cell.includes(STALE_TEXT));
            }
          } catch (error) {
            assert.ok(error instanceof RangeError, error as Error);
          }
        },
      ),
      { numRuns: 3000 },
    );
    for (const hex of [
      '',
      '90',
      '81a16101',
      '91c1',
      '91ca00000000',
      '91c3',
      '9191c0',
      'dcffff01',
    ]) {
      const bytes = Buffer.from(hex, 'hex');
      if (hex === '90') assert.deepEqual(decodeRow(bytes, 1), []);
      else assert.throws(() => decodeRow(lentBuffer(bytes), bytes.length), RangeError, hex);
    }
  });

  void it('gives a BLOB memory of its own, which can be viewed as numbers', () => {
    const vector = Float64Array.from([1.5, -2, 3e300]);
    const bytes = encode(['x', new Uint8Array(vector.buffer), 'y']);
    for (const from of [bytes, lentBuffer(bytes)]) {
      const blob = decodeRow(from, bytes.length)[1] as Uint8Array;
      assert.equal(Object.getPrototypeOf(blob), Uint8Array.prototype);
      assert.deepEqual([blob.byteOffset, blob.buffer.byteLength], [0, 24]);
      from.fill(0);
      assert.deepEqual(new Float64Array(blob.buffer), vector);
      encode(['x', new Uint8Array(vector.buffer), 'y']).copy(bytes);
    }
  });

  void it('lets a short text that is kept hold little more than itself', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const row = [
      'a key of more than thirteen characters',
      ...Array<string>(40).fill('x'.repeat(250)),
    ];
    const bytes = encode(row);
    const kept: SqlValue[] = [];
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 10_000; i++) kept.push(decodeRow(bytes, bytes.length)[0]!);
    collect();
    const each = (process.memoryUsage().heapUsed - before) / kept.length;
    assert.ok(each < 1000, `${each} bytes`);
  });
});
