import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { cutEvenly, KeyRanges } from '../../src/load/key-ranges.js';
import { sameKey, sortRecords } from '../../src/load/sort-records.js';
import {
  fileOfRange,
  Grouping,
  GroupReader,
  partsOfRange,
  readParts,
  writeGroups,
} from '../../src/load/spool.js';
import { packRecords, type Batch } from '../../src/transform/batch.js';
import fc from '../support/fast-check.js';
import { TempDirectory } from '../support/temp.js';

/** Keys that share beginnings, end in zeros, and are each other's beginnings. */
const key = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc
    .array(fc.constantFrom(0, 1, 0x20, 0xff), { maxLength: 10 })
    .map((bytes) => Uint8Array.from(bytes)),
  fc.nat(50_000).map((n) => Buffer.from(` customer-${String(n).padStart(8, '0')}`)),
);
const keys = fc
  .uniqueArray(key, { maxLength: 300, selector: (bytes) => Buffer.from(bytes).toString('hex') })
  .map((list) => list.map((bytes) => Buffer.from(bytes)));

const reader = new GroupReader();

function inOrder(list: readonly Buffer[]): Buffer[] {
  return list.toSorted((a, b) => Buffer.compare(a, b));
}

function batchOf(list: readonly Buffer[]): Batch {
  return packRecords(list.map((each, i) => ({ key: each, value: Buffer.alloc(i % 40, i) })));
}

void describe('ranges of keys', () => {
  void it('hold each key behind their bound and before the next', () => {
    fc.assert(
      fc.property(keys, keys, (all, some) => {
        const bounds = inOrder(some);
        const ranges = new KeyRanges(bounds);
        assert.equal(ranges.count, bounds.length + 1);
        for (const each of [...all, ...bounds]) {
          const padded = Buffer.concat([Buffer.from('before'), each, Buffer.from('behind')]);
          const range = ranges.rangeOf(padded, 6, 6 + each.length);
          const expected = bounds.filter((bound) => Buffer.compare(bound, each) <= 0).length;
          assert.equal(range, expected, each.toString('hex'));
        }
      }),
    );
  });

  void it('are cut evenly from a sample', () => {
    const sample = Array.from({ length: 1000 }, (_, i) => Buffer.from(`${(i * 7919) % 1000}`));
    const ranges = new KeyRanges(cutEvenly(sample, 10));
    const sizes = Array.from({ length: ranges.count }, () => 0);
    for (const each of sample) sizes[ranges.rangeOf(each, 0, each.length)]!++;
    assert.deepEqual(
      sizes,
      Array.from({ length: 10 }, () => 100),
    );
  });

  void it('are fewer where the sample has fewer keys, and one without any', () => {
    assert.deepEqual(cutEvenly([], 10), []);
    const same = [Buffer.from('a'), Buffer.from('a'), Buffer.from('b')];
    assert.equal(new KeyRanges(cutEvenly(same, 10)).count, 2 + 1);
  });
});

void describe('records in groups', () => {
  void it('are those of the batch, each in the group of its range', () => {
    const grouping = new Grouping();
    fc.assert(
      fc.property(keys, keys, (all, some) => {
        const ranges = new KeyRanges(inOrder(some));
        const { bytes, sizes } = grouping.group(batchOf(all), ranges);
        assert.equal(sizes.length, ranges.count);
        const found: string[] = [];
        let at = 0;
        for (const [range, size] of sizes.entries()) {
          const group = bytes.subarray(at, at + size);
          const { count, keyStarts, valueStarts, ends } = reader.read(group);
          for (let i = 0; i < count; i++) {
            assert.equal(ranges.rangeOf(group, keyStarts[i]!, valueStarts[i]!), range);
            const record = [
              group.toString('hex', keyStarts[i], valueStarts[i]),
              group.toString('hex', valueStarts[i], ends[i]),
            ];
            found.push(record.join(':'));
          }
          at += size;
        }
        assert.equal(at, bytes.length);
        const given = all.map(
          (each, i) => `${each.toString('hex')}:${Buffer.alloc(i % 40, i).toString('hex')}`,
        );
        assert.deepEqual(found.toSorted(), given.toSorted());
      }),
    );
  });

  void it('are sorted by the bytes of their keys', () => {
    fc.assert(
      fc.property(keys, (all) => {
        const { bytes } = new Grouping().group(batchOf(all), new KeyRanges([]));
        const group = Buffer.from(bytes);
        const records = reader.read(group);
        const sorted = [...sortRecords(group, records)].map((place) =>
          group.toString('hex', records.keyStarts[place], records.valueStarts[place]),
        );
        assert.deepEqual(
          sorted,
          inOrder(all).map((each) => each.toString('hex')),
        );
      }),
    );
  });

  void it('that have one key are known', () => {
    const list = ['b', 'ab', 'b', 'a'].map((text) => Buffer.from(text));
    const { bytes } = new Grouping().group(batchOf(list), new KeyRanges([]));
    const records = reader.read(Buffer.from(bytes));
    const [first, second, third, fourth] = sortRecords(Buffer.from(bytes), records);
    assert.equal(sameKey(bytes, records, first!, second!), false);
    assert.equal(sameKey(bytes, records, second!, third!), false);
    assert.equal(sameKey(bytes, records, third!, fourth!), true);
  });

  void it('that are damaged are refused', () => {
    const { bytes } = new Grouping().group(batchOf([Buffer.from('key')]), new KeyRanges([]));
    assert.throws(() => reader.read(bytes.subarray(0, bytes.length - 1)), RangeError);
    const longer = Buffer.from(bytes);
    longer[3] = 0xff;
    assert.throws(() => reader.read(longer), RangeError);
  });
});

void describe('a spool', () => {
  void it('gives back the records of each range, of several tasks and in any number of files', async () => {
    await using dir = await TempDirectory.make();
    let spools = 0;
    fc.assert(
      fc.property(
        fc.array(keys, { maxLength: 4 }),
        keys,
        fc.integer({ min: 1, max: 8 }),
        (lists, some, wanted) => {
          const ranges = new KeyRanges(inOrder(some));
          const files = Math.min(wanted, ranges.count);
          const path = dir.join(String(spools++));
          mkdirSync(path);
          const taken = new BigInt64Array(new SharedArrayBuffer(8 * files));
          const spool = { dir: path, taken };
          const grouping = new Grouping();
          const spooled = lists.map((list) =>
            writeGroups(spool, grouping.group(batchOf(list), ranges)),
          );
          for (let range = 0; range < ranges.count; range++) {
            const parts = partsOfRange(spooled, range, files);
            const group = Buffer.alloc(parts.reduce((sum, { bytes }) => sum + bytes, 0));
            if (parts.length > 0)
              readParts(spool, fileOfRange(range, ranges.count, files), parts, group);
            const { count, keyStarts, valueStarts } = reader.read(group);
            const found = Array.from({ length: count }, (_, i) =>
              group.toString('hex', keyStarts[i], valueStarts[i]),
            );
            const expected = lists
              .flat()
              .filter((each) => ranges.rangeOf(each, 0, each.length) === range)
              .map((each) => each.toString('hex'));
            assert.deepEqual(found.toSorted(), expected.toSorted());
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
