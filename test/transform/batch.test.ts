import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { unpack } from 'msgpackr';
import { decodeRecord, recordIsSound } from '../../src/cache/record.js';
import { BatchBuilder, recordsOf, type Batch } from '../../src/transform/batch.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import type { SqlValue } from '../../src/values.js';
import { canonical, sqlValue } from '../support/arbitraries.js';
import { planOf } from '../support/plan.js';

const checksum = await loadChecksum();

function encode(rows: readonly (readonly SqlValue[])[], width = rows[0]?.length ?? 1): Batch {
  const builder = new BatchBuilder(planOf(width), checksum);
  for (const row of rows) assert.equal(builder.add(row), null);
  return builder.finish();
}

function records(batch: Batch): { key: Buffer; value: Buffer }[] {
  const arena = Buffer.from(batch.arena);
  const found: { key: Buffer; value: Buffer }[] = [];
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    found.push({
      key: Buffer.from(arena.subarray(keyStart, valueStart)),
      value: Buffer.from(arena.subarray(valueStart, end)),
    });
  }
  return found;
}

const rowOf = (width: number) =>
  fc.tuple(fc.integer(), fc.array(sqlValue, { minLength: width - 1, maxLength: width - 1 }));

describe('batch', () => {
  it('gives any row back equal, with a checksum that holds', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 20 })
          .chain((width) => fc.array(rowOf(width), { minLength: 1, maxLength: 8 })),
        (tuples) => {
          const rows = tuples.map(([key, rest]): SqlValue[] => [key, ...rest]);
          const found = records(encode(rows));
          assert.equal(found.length, rows.length);
          rows.forEach((row, i) => {
            const { key, value } = found[i]!;
            assert.ok(recordIsSound(checksum, key, value, value.length));
            const decoded = decodeRecord(value, value.length);
            assert.deepEqual(decoded, row.map(canonical));
            decoded.forEach((cell) => assert.ok(!Buffer.isBuffer(cell)));
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is msgpack that any reader of the format understands', () => {
    const [record] = records(encode([[1, 'text', null, 2.5, new Uint8Array([1, 2])]]));
    const row = unpack(record!.value.subarray(0, -8)) as unknown[];
    assert.deepEqual(row.slice(0, 4), [1, 'text', null, 2.5]);
    assert.deepEqual([...(row[4] as Uint8Array)], [1, 2]);
  });

  it('gives equal bytes to a whole number however it came', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (n) => {
        const [a] = records(encode([[1, n]]));
        const [b] = records(encode([[1, BigInt(n)]]));
        assert.deepEqual(a, b);
      }),
    );
    assert.deepEqual(records(encode([[1, -0]])), records(encode([[1, 0]])));
  });

  it('writes each integer in its shortest form', () => {
    const expected: [number | bigint, number][] = [
      [0, 1],
      [127, 1],
      [128, 2],
      [255, 2],
      [256, 3],
      [65535, 3],
      [65536, 5],
      [2 ** 32 - 1, 5],
      [2 ** 32, 9],
      [-1, 1],
      [-32, 1],
      [-33, 2],
      [-128, 2],
      [-129, 3],
      [-32768, 3],
      [-32769, 5],
      [-(2 ** 31), 5],
      [-(2 ** 31) - 1, 9],
      [2n ** 63n - 1n, 9],
      [-(2n ** 63n), 9],
    ];
    for (const [value, bytes] of expected) {
      const [record] = records(encode([[1, value]]));
      // One byte of array header, one for the key column's 1, eight of checksum.
      assert.equal(record!.value.length - 10, bytes, String(value));
    }
  });

  it('notices every damaged bit of a record', () => {
    const [record] = records(encode([[1, 'some text', 2.5]]));
    const { key, value } = record!;
    for (let bit = 0; bit < (key.length + value.length) * 8; bit++) {
      const damagedKey = Buffer.from(key);
      const damagedValue = Buffer.from(value);
      const at = bit >> 3;
      if (at < key.length) damagedKey[at]! ^= 1 << (bit & 7);
      else damagedValue[at - key.length]! ^= 1 << (bit & 7);
      assert.equal(
        recordIsSound(checksum, damagedKey, damagedValue, value.length),
        false,
        `bit ${bit}`,
      );
    }
  });

  it('refuses a key that LMDB could not hold and leaves the batch as it was', () => {
    const builder = new BatchBuilder(planOf(1), checksum);
    assert.equal(builder.add(['short']), null);
    assert.match(builder.add(['x'.repeat(1978)]) ?? '', /1979 bytes/);
    assert.equal(builder.add(['x'.repeat(1977)]), null);
    const found = records(builder.finish());
    assert.deepEqual(
      found.map(({ value }) => (decodeRecord(value, value.length)[0] as string).length),
      [5, 1977],
    );
  });

  it('uses the memory of an earlier batch again, whatever was in it', () => {
    const first = encode([[1, 'a'.repeat(100)]]);
    new Uint8Array(first.arena).fill(0xee);
    const builder = new BatchBuilder(planOf(2), checksum, first);
    builder.add([2, 'b']);
    const again = builder.finish();
    assert.equal(again.arena, first.arena);
    assert.deepEqual(records(again), records(encode([[2, 'b']])));
  });

  it('grows for rows and counts larger than its first memory', () => {
    const rows = Array.from({ length: 3000 }, (_, i): SqlValue[] => [i, 'y'.repeat(700)]);
    rows.push([3000, 'z'.repeat(3_000_000)]);
    const batch = encode(rows);
    assert.equal(batch.count, 3001);
    assert.ok(batch.ascending);
    const last = records(batch).at(-1)!;
    assert.equal((decodeRecord(last.value, last.value.length)[1] as string).length, 3_000_000);
  });

  it('tells whether keys ascend', () => {
    assert.equal(encode([[1], [2], [10]]).ascending, true);
    assert.equal(encode([[1], [3], [2]]).ascending, false);
    assert.equal(encode([[1], [1]]).ascending, false);
  });
});
