import assert from 'node:assert/strict';
import { SEGMENT_BYTES } from '../../src/load/segments.js';
import { LeafRunBuilder, type LeafRun } from '../../src/cache/bulk/leaf-run.js';

export type Entry = readonly [key: Buffer, value: Buffer];

/**
 * Asserts that runs are what `LeafRunBuilder` makes of their records.
 *
 * @param sorted the records of all runs.
 * @returns how many runs there are.
 */
export function assertRunsAlike(
  found: Iterable<LeafRun>,
  sorted: readonly Entry[],
  pageSize: number,
): number {
  const builder = new LeafRunBuilder(pageSize);
  let at = 0;
  let runs = 0;
  for (const run of found) {
    const { chunks, references, ...outline } = run;
    runs++;
    // Where a run ends is for each to say; not what is in it.
    const bytes = run.pageCount * pageSize;
    assert.ok(bytes <= SEGMENT_BYTES || run.entries === 1, `a run of ${bytes} bytes`);
    const next = sorted[at + run.entries];
    const room = 2 * pageSize + (next ? next[0].length + next[1].length : 0);
    assert.ok(!next || bytes + room > SEGMENT_BYTES, 'a run that ends too early');
    for (const [each, value] of sorted.slice(at, at + run.entries)) {
      builder.add(Buffer.concat([each, value]), 0, each.length, each.length + value.length);
    }
    at += run.entries;
    const expected = builder.finish();
    const { chunks: otherChunks, references: otherReferences, ...other } = expected;
    assert.deepEqual(outline, other);
    // Another builder may begin new memory within a run.
    if (otherChunks.length === 1) assert.deepEqual(references, otherReferences);
    assert.equal(references.length, otherReferences.length);
    const pages = Buffer.concat(chunks);
    const otherPages = Buffer.concat(otherChunks);
    assert.equal(pages.length, otherPages.length);
    for (let page = 0; page < run.pageCount; page++) {
      // Numbers and transactions come later, in pages and in what refers to them.
      pages.fill(0, page * pageSize, page * pageSize + 16);
      otherPages.fill(0, page * pageSize, page * pageSize + 16);
    }
    const starts = otherChunks.map((_, i) =>
      otherChunks.slice(0, i).reduce((sum, { length }) => sum + length, 0),
    );
    for (let i = 0; i < references.length; i += 3) {
      const place = starts[otherReferences[i]!]! + otherReferences[i + 1]!;
      assert.equal(references[i + 1], place);
      assert.equal(references[i + 2], otherReferences[i + 2]);
      pages.fill(0, place, place + 16);
      otherPages.fill(0, place, place + 16);
    }
    assert.ok(pages.equals(otherPages), 'the same pages');
  }
  assert.equal(at, sorted.length);
  return runs;
}
