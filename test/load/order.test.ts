import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { describe, it } from 'node:test';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { dataPath } from '../../src/cache/layout.js';
import { Kernel } from '../../src/load/kernel/kernel.js';
import { PageKernel } from '../../src/load/kernel/page-kernel.js';
import { RowKernel, type Groups } from '../../src/load/kernel/row-kernel.js';
import { cutEvenly, packBounds } from '../../src/load/key-ranges.js';
import { SEGMENT_BYTES, Segments } from '../../src/load/segments.js';
import { bytesOf, fileOfRange, partsOfRange, Spool } from '../../src/load/spool.js';
import type { TablePlan } from '../../src/source/plan.js';
import fc from '../support/fast-check.js';
import { elsewhere, readGroup, writeGroup, type SpooledRecord } from '../support/record-groups.js';
import { TempDirectory } from '../support/temp.js';
import { assertRunsHold } from './mixed-runs.js';
import { assertRunsAlike, type Entry } from './runs-alike.js';

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

function inOrder(list: readonly Buffer[]): Buffer[] {
  return list.toSorted((a, b) => Buffer.compare(a, b));
}

const kernel = await Kernel.load(KERNEL_FILE);
const rowKernel = new RowKernel(kernel);
const pageKernel = new PageKernel(kernel);
const PLAN = { columns: [], key: [] } as unknown as TablePlan;

/** Records with these keys, and with values that tell them apart, grouped by ranges. */
function groupsOf(list: readonly Buffer[], bounds: readonly Buffer[], valueBytes = 0): Groups {
  rowKernel.begin(PLAN, packBounds(bounds), null);
  for (const [i, each] of list.entries()) {
    rowKernel.append(Buffer.concat([each, Buffer.alloc(valueBytes + (i % 40), i)]), each.length);
  }
  return rowKernel.group();
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
          for (const { key: found, value } of readGroup(group)) {
            assert.equal(rangeOf(found, bounds), range, found.toString('hex'));
            records.push(`${found.toString('hex')}:${value.toString('hex')}`);
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

  void it('are packed in the order of their keys, into the pages that any builder makes of them', () => {
    const sizes = fc.infiniteStream(fc.oneof(fc.nat(60), fc.integer({ min: 1500, max: 20_000 })));
    fc.assert(
      fc.property(keys, sizes, fc.constantFrom(4096, 16_384), (list, size, pageSize) => {
        const all = list.filter(({ length }) => length > 0);
        const records = all.map(
          (each, i) => [each, Buffer.alloc(size.next().value!, i + 1)] as const,
        );
        assertPackedAlike(records, pageSize);
      }),
    );
  });

  void it('are packed so when they take several runs', () => {
    const records = Array.from({ length: 9000 }, (_, i) => {
      const each = Buffer.alloc(36, 0x20);
      each.writeUInt32BE(Math.imul(i, 2654435761) >>> 0, 32);
      return [each, Buffer.alloc(i % 500 === 7 ? 30_000 : 350, i)] as const;
    });
    assert.ok(assertPackedAlike(records, 4096) >= 3);
    // And when they come in order.
    assertPackedAlike(
      records.toSorted(([a], [b]) => Buffer.compare(a, b)),
      4096,
    );
  });

  void it('are packed so when a run could go on and on after it has its bytes', () => {
    const inTurn = (sizes: readonly number[], count: number) =>
      Array.from({ length: count }, (_, i) => {
        const each = Buffer.alloc(8);
        each.writeUInt32BE(i, 4);
        return [each, Buffer.alloc(sizes[i % sizes.length]!, i)] as const;
      });
    // A leaf has room for the references to many values that have pages of their own.
    assertPackedAlike(inTurn([10_000], 800), 4096);
    assertPackedAlike(inTurn([300_000], 100), 4096);
    // And the last record of a leaf may be a short one, and the next one too long for it.
    assertPackedAlike(inTurn([1300, 1300, 1300, 10], 3000), 4096);
    assertPackedAlike(inTurn([1300, 1300, 1300, 10, 3000], 3000), 4096);
  });

  void it('are packed with references to values that are on pages of their own already', () => {
    const place = fc.record({
      bytes: fc.integer({ min: 49, max: 2 ** 22 }),
      first: fc.bigInt({ min: 0n, max: 2n ** 50n }),
      transaction: fc.bigInt({ min: 1n, max: 2n ** 50n }),
      pages: fc.integer({ min: 1, max: 1024 }),
    });
    const moved = place.map(({ bytes, first, transaction, pages }) => {
      return { value: elsewhere(bytes, first, transaction, pages), isElsewhere: true };
    });
    const size = fc.oneof(fc.nat(60), fc.integer({ min: 1900, max: 9000 }));
    const whole = size.map((bytes) => ({ value: Buffer.alloc(bytes, 0xee), isElsewhere: false }));
    const values = fc.infiniteStream(fc.oneof(moved, whole));
    fc.assert(
      fc.property(keys, values, fc.constantFrom(4096, 16_384), (list, value, pageSize) => {
        const records = list
          .filter(({ length }) => length > 0)
          .map((each) => ({ key: each, ...value.next().value! }));
        assertPackedMixed(records, pageSize);
      }),
    );
    // The longest keys, of several runs.
    const long = Array.from({ length: 600 }, (_, i) => {
      const each = Buffer.alloc(i % 3 === 0 ? 1978 : 1977, 'k');
      each.writeUInt32BE(Math.imul(i, 2654435761) >>> 0, i % 2 === 0 ? 0 : 1970);
      return { key: each, value: elsewhere(50, BigInt(i), 9n, 1), isElsewhere: i % 7 > 0 };
    });
    assertPackedMixed(long, 4096);
  });

  void it('tell the last key of a run whole, and only that, where its value is elsewhere', () => {
    const [first, next] = [Buffer.from(' a'), Buffer.from(' a\0')];
    const value = elsewhere(5000, 70n, 3n, 2);
    assert.ok(sort(writeGroup([{ key: first, value, isElsewhere: true }])));
    const [run] = [...pageKernel.runs(4096)];
    assert.deepEqual(Buffer.from(run!.lastKey), first);
    assert.ok(Buffer.compare(run!.lastKey, next) < 0, 'the next run may begin with what goes on');
  });

  void it('that have one key are known', () => {
    for (const [texts, expected] of [
      [['b', 'ab', 'b', 'a'], false],
      [['b', 'ab', 'c', 'a'], true],
      [['', ''], false],
      [['', '\0'], true],
      [['same beginning, a', 'same beginning, a'], false],
      [['same beginning, a', 'same beginning, a\0'], true],
      [[], true],
    ] as const) {
      const { bytes } = groupsOf(
        texts.map((text) => Buffer.from(text)),
        [],
      );
      assert.equal(sort(Buffer.from(bytes)), expected, texts.join());
    }
  });

  void it('that are damaged are refused', () => {
    const group = Buffer.from(groupsOf([Buffer.from('key')], []).bytes);
    assert.throws(() => sort(group.subarray(0, group.length - 1)), RangeError);
    assert.throws(() => sort(group.subarray(0, 7)), RangeError);
    const longer = Buffer.from(group);
    longer[7] = 0xff;
    assert.throws(() => sort(longer), RangeError);
    const longerKey = Buffer.from(group);
    longerKey[1] = 1;
    assert.throws(() => sort(longerKey), RangeError);
  });
});

function sort(group: Buffer): boolean {
  pageKernel.groupMemory(group.length).set(group);
  return pageKernel.sort();
}

/** @returns how many runs there are. */
function assertPackedAlike(entries: readonly Entry[], pageSize: number): number {
  rowKernel.begin(PLAN, packBounds([]), null);
  for (const [each, value] of entries) rowKernel.append(Buffer.concat([each, value]), each.length);
  assert.ok(sort(Buffer.from(rowKernel.group().bytes)));
  const sorted = entries.toSorted(([a], [b]) => Buffer.compare(a, b));
  return assertRunsAlike(pageKernel.runs(pageSize), sorted, pageSize);
}

function assertPackedMixed(records: readonly SpooledRecord[], pageSize: number): void {
  assert.ok(sort(writeGroup(records)));
  const sorted = records.toSorted((a, b) => Buffer.compare(a.key, b.key));
  assertRunsHold(pageKernel.runs(pageSize), sorted, pageSize);
}

void describe('a spool', () => {
  const target = { pageSize: 4096, nextPage: 3, transaction: 1 };

  void it('gives back the records of each range, of several tasks and in any number of files, while pages take the place of others', async () => {
    await using dir = await TempDirectory.make();
    let spools = 0;
    fc.assert(
      fc.property(
        fc.array(keys, { maxLength: 4 }),
        keys,
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 3000 }),
        (lists, some, wanted, valueBytes) => {
          const bounds = inOrder(some);
          const ranges = bounds.length + 1;
          const files = Math.min(wanted, ranges);
          const path = dir.join(String(spools++));
          mkdirSync(path);
          writeFileSync(dataPath(path), '');
          const bytes = lists.flat().length * (valueBytes + 40);
          const ref = Spool.begin({ dir: path, target }, files, bytes);
          // Each of them in a thread of its own, as it were.
          const spooled = lists.map((list) => {
            return new Spool(ref).write(groupsOf(list, bounds, valueBytes));
          });
          assert.ok(spooled.every((each) => each !== null));
          const spool = new Spool(ref);
          const segments = new Segments(target, ref.segments);
          const end = segments.nextPage;
          let taken = 0;
          for (let range = 0; range < ranges; range++) {
            const parts = partsOfRange(spooled, range, files);
            const group = Buffer.alloc(bytesOf(parts));
            const file = fileOfRange(range, ranges, files);
            spool.read(file, parts, group);
            const found = readGroup(group).map((record) => record.key.toString('hex'));
            const expected = lists
              .flat()
              .filter((each) => rangeOf(each, bounds) === range)
              .map((each) => each.toString('hex'));
            assert.deepEqual(found.toSorted(), expected.toSorted());
            if (fileOfRange(range + 1, ranges, files) === file) continue;
            spool.release(file);
            // Whoever takes its place writes over it, and over no other's.
            const place = segments.takePages(1);
            const fd = openSync(dataPath(path), 'r+');
            writeSync(fd, Buffer.alloc(SEGMENT_BYTES, 0xee), 0, SEGMENT_BYTES, place * 4096);
            closeSync(fd);
            taken++;
          }
          const reused = Math.min(taken, (end - target.nextPage) / (SEGMENT_BYTES / 4096));
          assert.ok(segments.nextPage <= end + (taken - reused) * (SEGMENT_BYTES / 4096) + 64 * 8);
        },
      ),
      { numRuns: 60 },
    );
  });

  void it('tells when a file would become longer than it has places for', async () => {
    await using dir = await TempDirectory.make();
    writeFileSync(dataPath(dir.path), '');
    const ref = Spool.begin({ dir: dir.path, target }, 1, 0);
    const list = Array.from({ length: 100 }, (_, i) => Buffer.from(`key ${i}`));
    const written = Array.from({ length: 60 }, () => {
      return new Spool(ref).write(groupsOf(list, [], 1000));
    });
    assert.notEqual(written[0], null);
    assert.equal(written.at(-1), null);
  });
});

void describe('segments of a data file', () => {
  const target = { pageSize: 4096, nextPage: 10, transaction: 1 };

  void it('are given to one each, again when they were given back, and together for many pages', () => {
    const segments = new Segments(target, Segments.memoryFor(10));
    assert.deepEqual([segments.take(), segments.take(), segments.take()], [10, 74, 138]);
    assert.equal(segments.takePages(64), 202);
    segments.give([74, 10]);
    const others = new Segments(target, segments.memory);
    assert.equal(others.takePages(1), 74);
    // What follows on one another is never of those that were given back.
    assert.equal(others.takePages(65), 266);
    assert.equal(segments.take(), 10);
    assert.equal(segments.take(), 331);
    // As many as are needed, where none was given back.
    assert.equal(segments.takePages(3), 395);
    assert.equal(others.takePages(1), 398);
    assert.equal(segments.nextPage, 399);
  });
});
