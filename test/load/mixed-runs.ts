import assert from 'node:assert/strict';
import type { LeafRun } from '../../src/cache/bulk/leaf-run.js';
import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_OVERFLOW_PAGES,
  AT_PAGE_FLAGS,
  AT_UPPER,
  even,
  IS_BIG,
  IS_LEAF,
  IS_OVERFLOW,
  largestNode,
  NODE_HEADER_BYTES,
  overflowPagesOf,
  PAGE_HEADER_BYTES,
} from '../../src/cache/lmdb-format.js';
import { SEGMENT_BYTES } from '../../src/load/segments.js';
import type { SpooledRecord } from '../support/record-groups.js';

/**
 * Asserts that runs hold records of which some have their values on pages that were written before: those are referred
 * to byte by byte as the records say. Reads the pages by code of its own.
 *
 * @param sorted the records of all runs.
 */
export function assertRunsHold(
  runs: Iterable<LeafRun>,
  sorted: readonly SpooledRecord[],
  pageSize: number,
): void {
  let at = 0;
  for (const run of runs) {
    const size = run.pageCount * pageSize;
    assert.ok(size <= SEGMENT_BYTES || run.entries === 1, `a run of ${size} bytes`);
    assertRunHolds(run, sorted.slice(at, at + run.entries));
    at += run.entries;
    const next = sorted[at];
    if (!next) continue;
    const room = pageSize + (isMovedNow(next, pageSize) ? ownPages(next, pageSize) * pageSize : 0);
    assert.ok(size + room > SEGMENT_BYTES, 'a run that ends too early');
  }
  assert.equal(at, sorted.length);
}

function assertRunHolds(run: LeafRun, records: readonly SpooledRecord[]): void {
  const { pageSize } = run;
  const pages = Buffer.concat(run.chunks);
  assert.equal(pages.length, run.pageCount * pageSize);
  assert.ok(records.at(-1)!.key.equals(run.lastKey), 'the last key');
  const isOfLeaf = new Set(run.leafNumbers);
  const used = new Set<number>(isOfLeaf);
  let overflowPages = 0;
  let big = 0;
  let at = 0;
  for (const [i, number] of run.leafNumbers.entries()) {
    const leaf = pages.subarray(number * pageSize, (number + 1) * pageSize);
    assertSeparator(run, i, records[at]!, records[at - 1]);
    const nodes = nodesOf(leaf);
    const free = leaf.readUInt16LE(AT_UPPER) - leaf.readUInt16LE(AT_LOWER);
    for (const node of nodes) {
      const record = records[at++]!;
      assert.ok(nodeKey(leaf, node).equals(record.key), 'the key of a node');
      const data = node + NODE_HEADER_BYTES + record.key.length;
      const bytes = leaf.readUInt32LE(node);
      const isBig = leaf.readUInt16LE(node + AT_NODE_FLAGS) === IS_BIG;
      if (record.isElsewhere) {
        assert.ok(isBig);
        assert.equal(bytes, record.value.readUInt32LE(0));
        const reference = leaf.subarray(data, data + 24);
        assert.ok(reference.equals(record.value.subarray(8)), 'the reference of a record');
        overflowPages += reference.readUInt32LE(16);
      } else if (isBig) {
        assert.ok(isMovedNow(record, pageSize));
        assert.equal(bytes, record.value.length);
        const place = number * pageSize + data;
        assert.equal(run.references[3 * big], 0);
        assert.equal(run.references[3 * big + 1], place);
        const first = run.references[3 * big + 2]!;
        const count = ownPages(record, pageSize);
        assert.equal(Number(leaf.readBigUInt64LE(data + 16)), count);
        for (let page = first; page < first + count; page++) {
          assert.ok(!used.has(page), 'a page is used once');
          used.add(page);
        }
        const header = first * pageSize;
        assert.equal(pages.readUInt16LE(header + AT_PAGE_FLAGS), IS_OVERFLOW);
        assert.equal(pages.readUInt32LE(header + AT_OVERFLOW_PAGES), count);
        const value = pages.subarray(header + PAGE_HEADER_BYTES, header + count * pageSize);
        assert.ok(value.subarray(0, bytes).equals(record.value));
        assert.ok(value.subarray(bytes).every((byte) => byte === 0));
        overflowPages += count;
        big++;
      } else {
        assert.ok(!isMovedNow(record, pageSize));
        assert.ok(leaf.subarray(data, data + bytes).equals(record.value), 'the value of a node');
      }
    }
    const next = records[at];
    if (next) assert.ok(free < nodeBytes(next, pageSize) + 2, 'a leaf that is not full');
    const lower = PAGE_HEADER_BYTES + leaf.readUInt16LE(AT_LOWER);
    const gap = leaf.subarray(lower, lower + free);
    assert.ok(gap.every((byte) => byte === 0));
  }
  assert.equal(at, records.length);
  assert.equal(run.references.length, 3 * big);
  // A group that is damaged may tell of more than 32 bits of them.
  assert.equal(run.overflowPages | 0, overflowPages | 0);
  assert.equal(run.leafPages, isOfLeaf.size);
  assert.equal(used.size, run.pageCount, 'no page is nobody’s');
}

/** Of a leaf's first key as much as tells it from the key before; all of it where there is none in the run. */
function assertSeparator(
  run: LeafRun,
  leaf: number,
  { key }: SpooledRecord,
  before: SpooledRecord | undefined,
): void {
  const found = run.separators.subarray(run.separatorEnds[leaf - 1] ?? 0, run.separatorEnds[leaf]);
  let common = 0;
  if (before) while (before.key[common] === key[common]) common++;
  const expected = !before ? key : key.subarray(0, common + 1);
  assert.ok(expected.equals(found), 'a separator');
}

/** Where the nodes of a leaf are, which fill it from its end on. */
function nodesOf(leaf: Buffer): number[] {
  assert.equal(leaf.readUInt16LE(AT_PAGE_FLAGS), IS_LEAF);
  const lower = leaf.readUInt16LE(AT_LOWER);
  const nodes: number[] = [];
  for (let at = 0; at < lower; at += 2) {
    nodes.push(PAGE_HEADER_BYTES + leaf.readUInt16LE(PAGE_HEADER_BYTES + at));
  }
  let end = leaf.length;
  for (const node of nodes) {
    const isBig = leaf.readUInt16LE(node + AT_NODE_FLAGS) === IS_BIG;
    const inPage = isBig ? 24 : leaf.readUInt32LE(node);
    const bytes = NODE_HEADER_BYTES + leaf.readUInt16LE(node + AT_KEY_SIZE) + inPage;
    assert.equal(node + even(bytes), end, 'nodes follow on one another');
    if (bytes % 2 === 1) assert.equal(leaf[end - 1], 0);
    end = node;
  }
  assert.equal(end, PAGE_HEADER_BYTES + leaf.readUInt16LE(AT_UPPER));
  return nodes;
}

function nodeKey(leaf: Buffer, node: number): Buffer {
  const key = node + NODE_HEADER_BYTES;
  return leaf.subarray(key, key + leaf.readUInt16LE(node + AT_KEY_SIZE));
}

/** Whether the pages of a record's value are made with its leaf. */
function isMovedNow({ key, value, isElsewhere }: SpooledRecord, pageSize: number): boolean {
  return !isElsewhere && NODE_HEADER_BYTES + key.length + value.length > largestNode(pageSize);
}

function ownPages({ value }: SpooledRecord, pageSize: number): number {
  return overflowPagesOf(value.length, pageSize);
}

function nodeBytes(record: SpooledRecord, pageSize: number): number {
  const isBig = record.isElsewhere || isMovedNow(record, pageSize);
  return even(NODE_HEADER_BYTES + record.key.length + (isBig ? 24 : record.value.length));
}
