import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { RowKernel, type Groups } from '../../src/load/kernel/row-kernel.js';
import { cutEvenly } from '../../src/load/key-ranges.js';
import { sameKey, sortRecords } from '../../src/load/sort-records.js';
import {
  fileOfRange,
  GroupReader,
  partsOfRange,
  readParts,
  writeGroups,
} from '../../src/load/spool.js';
import type { TablePlan } from '../../src/source/plan.js';
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

const kernel = await RowKernel.load(KERNEL_FILE);
const PLAN = { columns: [], key: [] } as unknown as TablePlan;

/** Records with these keys, and with values that tell them apart, grouped by ranges. */
function groupsOf(list: readonly Buffer[], bounds: readonly Buffer[]): Groups {
  kernel.begin(PLAN, bounds);
  for (const [i, each] of list.entries()) {
    kernel.append(Buffer.concat([each, Buffer.alloc(i % 40, i)]), each.length);
  }
  return kernel.group();
}

/** The range that a key is in. */
function rangeOf(each: Buffer, bounds: readonly Buffer[]): number {
  return bounds.filter((bound) => Buffer.compare(bound, each) <= 0).length;
}

void describe('ranges of keys', () => {
  void it('are cut evenly from a sample', () => {
    const sample = Array.from({ length: 1000 }, (_, i) => Buffer.from(`${(i * 7919) % 1000}`));
    const bounds = cutEvenly(sample, 10);
    const sizes = Array.from({ length: bounds.length + 1 }, () => 0);
    for (const each of sample) sizes[rangeOf(each, bounds)]!++;
    assert.deepEqual(
      sizes,
      Array.from({ length: 10 }, () => 100),
    );
  });

  void it('are fewer where the sample has fewer keys, and one without any', () => {
    assert.deepEqual(cutEvenly([], 10), []);
    const same = [Buffer.from('a'), Buffer.from('a'), Buffer.from('b')];
    assert.equal(cutEvenly(same, 10).length, 2);
  });
});

void describe('records in groups', () => {
  void it('are those of the batch, each in the group of its range', () => {
    fc.assert(
      fc.property(keys, keys, (some, others) => {
        const bounds = inOrder(others);
        // Bounds are keys themselves, as often as not.
        const all = [
          ...some,
          ...bounds.filter((bound) => !some.some((each) => each.equals(bound))),
        ];
        const { bytes, sizes } = groupsOf(all, bounds);
        assert.equal(sizes.length, bounds.length + 1);
        const records: string[] = [];
        let at = 0;
        for (const [range, size] of sizes.entries()) {
          const group = bytes.subarray(at, at + size);
          const { count, keyStarts, valueStarts, ends } = reader.read(group);
          for (let i = 0; i < count; i++) {
            const found = group.subarray(keyStarts[i], valueStarts[i]);
            assert.equal(rangeOf(found, bounds), range, found.toString('hex'));
            const record = [
              group.toString('hex', keyStarts[i], valueStarts[i]),
              group.toString('hex', valueStarts[i], ends[i]),
            ];
            records.push(record.join(':'));
          }
          at += size;
        }
        assert.equal(at, bytes.length);
        const given = all.map(
          (each, i) => `${each.toString('hex')}:${Buffer.alloc(i % 40, i).toString('hex')}`,
        );
        assert.deepEqual(records.toSorted(), given.toSorted());
      }),
    );
  });

  void it('are sorted by the bytes of their keys', () => {
    fc.assert(
      fc.property(keys, (all) => {
        const { bytes } = groupsOf(all, []);
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
    const { bytes } = groupsOf(list, []);
    const records = reader.read(Buffer.from(bytes));
    const [first, second, third, fourth] = sortRecords(Buffer.from(bytes), records);
    assert.equal(sameKey(bytes, records, first!, second!), false);
    assert.equal(sameKey(bytes, records, second!, third!), false);
    assert.equal(sameKey(bytes, records, third!, fourth!), true);
  });

  void it('that are damaged are refused', () => {
    const { bytes } = groupsOf([Buffer.from('key')], []);
    assert.throws(() => reader.read(bytes.subarray(0, bytes.length - 1)), RangeError);
    const longer = Buffer.from(bytes);
    longer[7] = 0xff;
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
          const bounds = inOrder(some);
          const ranges = bounds.length + 1;
          const files = Math.min(wanted, ranges);
          const path = dir.join(String(spools++));
          mkdirSync(path);
          const taken = new BigInt64Array(new SharedArrayBuffer(8 * files));
          const spool = { dir: path, taken };
          const spooled = lists.map((list) => writeGroups(spool, groupsOf(list, bounds)));
          for (let range = 0; range < ranges; range++) {
            const parts = partsOfRange(spooled, range, files);
            const group = Buffer.alloc(parts.reduce((sum, { bytes }) => sum + bytes, 0));
            if (parts.length > 0) readParts(spool, fileOfRange(range, ranges, files), parts, group);
            const { count, keyStarts, valueStarts } = reader.read(group);
            const found = Array.from({ length: count }, (_, i) =>
              group.toString('hex', keyStarts[i], valueStarts[i]),
            );
            const expected = lists
              .flat()
              .filter((each) => rangeOf(each, bounds) === range)
              .map((each) => each.toString('hex'));
            assert.deepEqual(found.toSorted(), expected.toSorted());
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
