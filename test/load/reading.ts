import assert from 'node:assert/strict';
import { Kernel } from '../../src/load/kernel/kernel.js';
import { RowKernel } from '../../src/load/kernel/row-kernel.js';
import { packBounds } from '../../src/load/key-ranges.js';
import { LeafRecords } from '../../src/load/leaf-records.js';
import type { ValueWriter } from '../../src/load/value-writer.js';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { readRange, type RangePage } from '../../src/source/file-scan.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import type { TablePlan } from '../../src/source/plan.js';
import { type LeafSink, type RowidRange } from '../../src/source/stored/leaf-scan.js';
import type { StoredPageBounds } from '../../src/source/stored/stored-page.js';
import type { TableDefinition } from '../../src/table-definition.js';
import { BatchBuilder, recordsOf } from '../../src/transform/batch.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { plansOf, ROOMY } from '../source/stored-reading.js';
import { oneByOne } from '../support/one-by-one.js';
import { readGroup } from '../support/record-groups.js';
import { ValueFile } from './value-file.js';

export const checksum = await loadChecksum();
/** One for all tables, as in a thread: nothing of one must get into another. */
export const kernel = new RowKernel(await Kernel.load(KERNEL_FILE));
export const ALL: RowidRange = { after: null, upTo: null };

export interface ByLeaves {
  readonly page: RangePage;
  readonly records: readonly string[];
  /** Rows that came by their leaves, and those that came one by one. */
  readonly whole: number;
  readonly single: number;
  /** Values that got pages of their own at once, and those that should have but for want of room. */
  readonly moved: number;
  readonly stayed: number;
  /** Pages that were taken for values, and given up. */
  readonly wasted: number;
}

export interface Reading {
  readonly range?: RowidRange;
  readonly bounds?: StoredPageBounds;
  readonly definitions?: readonly TableDefinition[];
  /** The keys at which ranges begin. */
  readonly keys?: readonly Uint8Array[];
}

/**
 * Reads the first table of a file one by one, by leaves, and by leaves with pages for long values. Asserts that all
 * give the same, and tells what came how.
 */
export async function readBothWays(
  file: string,
  { range = ALL, bounds = ROOMY, definitions, keys = [] }: Reading = {},
): Promise<ByLeaves> {
  // Each with a connection of its own: what one learns of a table another does not know.
  const on = async <T>(read: (connection: NativeConnection, plan: TablePlan) => Promise<T>) => {
    const connection = new NativeConnection(`file:${file}`);
    try {
      const [plan] = await plansOf(connection, definitions);
      return await read(connection, plan!);
    } finally {
      await connection.close();
    }
  };
  const { expected, records } = await on(async (connection, plan) => {
    const builder = new BatchBuilder(plan, checksum);
    const page = await readRange(connection, plan, range, bounds, oneByOne(builder));
    return { expected: page, records: showBatch(builder).toSorted() };
  });
  const byLeaves = async (values: ValueWriter | null) => {
    return await on(async (connection, plan) => {
      const found = await readLeaves(connection, plan, range, bounds, keys, values);
      assert.deepEqual(found.page, expected);
      return found;
    });
  };
  const { groups } = await byLeaves(null);
  assert.deepEqual(readGroup(groups.bytes).map(showRecord).toSorted(), records);
  const values = new ValueFile(`${file}.values`);
  const writer = values.writer();
  try {
    const { groups: short, ...found } = await byLeaves(writer);
    const { ranges } = writer;
    const { records: resolved, moved, stayed } = values.resolve(short, ranges);
    const shown = resolved.map(showRecord);
    assert.deepEqual(shown.toSorted(), records);
    const wasted = values.taken - ranges.reduce((sum, { pages }) => sum + pages, 0);
    return { ...found, records: shown, moved, stayed, wasted };
  } finally {
    writer.close();
  }
}

async function readLeaves(
  connection: NativeConnection,
  plan: TablePlan,
  range: RowidRange,
  bounds: StoredPageBounds,
  keys: readonly Uint8Array[],
  values: ValueWriter | null,
) {
  const leaves = new LeafRecords(kernel, plan, packBounds(keys), values, checksum, undefined);
  let whole = 0;
  let single = 0;
  const counting: LeafSink = {
    rows: leaves.rows,
    begin: () => {
      whole = 0;
      single = 0;
      leaves.begin();
    },
    takeLeaves: (pages, odd) => {
      const taken = leaves.takeLeaves(pages, (page, cell) => {
        single++;
        odd(page, cell);
      });
      whole += taken.rows;
      return taken;
    },
    takeRecord: (record, rowid) => leaves.takeRecord(record, rowid),
  };
  const page = await readRange(connection, plan, range, bounds, counting);
  assert.ok(page !== null, 'read by leaves');
  const { groups, count } = leaves.finish();
  assert.equal(count, page.taken);
  assert.equal(groups.sizes.length, keys.length + 1);
  assert.equal(
    groups.sizes.reduce((sum, size) => sum + size, 0),
    groups.bytes.length,
  );
  return { page, groups, whole, single };
}

function showRecord({ key, value }: { readonly key: Buffer; readonly value: Buffer }): string {
  return `${key.toString('hex')} ${value.toString('hex')}`;
}

function showBatch(builder: BatchBuilder): string[] {
  const batch = builder.finish();
  const arena = Buffer.from(batch.arena);
  return Array.from(
    recordsOf(batch),
    ({ keyStart, valueStart, end }) =>
      `${arena.toString('hex', keyStart, valueStart)} ${arena.toString('hex', valueStart, end)}`,
  );
}
