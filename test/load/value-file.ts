import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import type { PageRange } from '../../src/cache/bulk/bulk-tree.js';
import { dataPath } from '../../src/cache/layout.js';
import type { Groups } from '../../src/load/kernel/row-kernel.js';
import { Segments } from '../../src/load/segments.js';
import { ValueWriter } from '../../src/load/value-writer.js';
import { readGroup } from '../support/record-groups.js';

const PAGE = 4096;
/** A node of more bytes has its value on pages of its own: 4096 without a page's header, halved, even, less two. */
const LARGEST_NODE = 2034;
/** Numbers that take more than 32 bits, and a page that is not the first. */
const TARGET = { pageSize: PAGE, nextPage: 1234, transaction: 2 ** 40 + 7 };

/** Records of a group, those whose values are elsewhere with them. */
export interface Resolved {
  readonly records: readonly { readonly key: Buffer; readonly value: Buffer }[];
  /** How many had their values elsewhere. */
  readonly moved: number;
  /** How many would have to, and stayed whole. */
  readonly stayed: number;
}

/** A data file to which long values are written, read by code of its own. */
export class ValueFile {
  readonly #dir: string;
  readonly #segments: Segments;

  /** @param dir where it is made, or was. */
  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    // What is there already is overwritten.
    writeFileSync(dataPath(dir), '', { flag: 'a' });
    this.#segments = new Segments(TARGET, Segments.memoryFor(0));
  }

  /** Pages that were taken of it. */
  get taken(): number {
    return this.#segments.nextPage - TARGET.nextPage;
  }

  writer(): ValueWriter {
    return new ValueWriter({ dir: this.#dir, target: TARGET, segments: this.#segments.memory });
  }

  /**
   * The records of groups. Asserts that each value that is elsewhere lies on sound pages, that these are those of the
   * ranges without one too many, and that the groups tell how many bytes they have.
   */
  resolve({ bytes, contentBytes }: Groups, ranges: readonly PageRange[]): Resolved {
    const fd = openSync(dataPath(this.#dir), 'r');
    try {
      const runs = new Map<number, number>();
      let moved = 0;
      let stayed = 0;
      const records = readGroup(bytes).map(({ key, value, isElsewhere }) => {
        if (!isElsewhere) {
          if (8 + key.length + value.length > LARGEST_NODE) stayed++;
          return { key, value };
        }
        moved++;
        assert.equal(value.length, 32);
        const size = value.readUInt32LE(0);
        assert.ok(8 + key.length + size > LARGEST_NODE, 'a value that a leaf has room for');
        assert.equal(value.readUInt32LE(4), 0);
        const first = Number(value.readBigUInt64LE(8));
        const pages = Number(value.readBigUInt64LE(24));
        assert.equal(Number(value.readBigUInt64LE(16)), TARGET.transaction);
        assert.equal(pages, Math.ceil((24 + size) / PAGE));
        assert.ok(!runs.has(first), 'two values on one page');
        runs.set(first, pages);
        return { key, value: readValue(fd, first, pages, size) };
      });
      assertTiled(ranges, runs);
      const last = Math.max(0, ...ranges.map(({ first, pages }) => first + pages));
      assert.ok(fstatSync(fd).size >= last * PAGE);
      assert.ok(last <= this.#segments.nextPage, 'pages that were not taken');
      const sum = records.reduce((all, { key, value }) => all + key.length + value.length, 0);
      assert.equal(contentBytes, sum);
      return { records, moved, stayed };
    } finally {
      closeSync(fd);
    }
  }
}

function readValue(fd: number, first: number, pages: number, size: number): Buffer {
  const bytes = Buffer.alloc(pages * PAGE);
  assert.equal(readSync(fd, bytes, 0, bytes.length, first * PAGE), bytes.length);
  assert.equal(Number(bytes.readBigUInt64LE(0)), first);
  assert.equal(Number(bytes.readBigUInt64LE(8)), TARGET.transaction);
  assert.equal(bytes.readUInt16LE(16), 0);
  assert.equal(bytes.readUInt16LE(18), 0x04, 'an overflow page, and nothing else');
  assert.equal(bytes.readUInt32LE(20), pages);
  assert.ok(bytes.subarray(24 + size).equals(Buffer.alloc(pages * PAGE - 24 - size)));
  return bytes.subarray(24, 24 + size);
}

/** Asserts that runs of pages are all that ranges have. */
function assertTiled(ranges: readonly PageRange[], runs: ReadonlyMap<number, number>): void {
  let found = 0;
  const seen = new Set<number>();
  for (const { first, pages } of ranges) {
    assert.ok(pages > 0);
    for (let page = first; page < first + pages;) {
      const count = runs.get(page);
      assert.ok(count !== undefined && !seen.has(page), `page ${page} is no value’s`);
      seen.add(page);
      found++;
      page += count;
      assert.ok(page <= first + pages, 'a value that goes beyond its range');
    }
  }
  assert.equal(found, runs.size, 'values outside of the ranges');
}
