import type { TablePlan } from '../source/plan.js';
import type { SpareMemory } from '../pipeline/messages.js';
import { NUMBER_BYTES } from '../source/page.js';
import { takeNone, type LeafRows, type Leaves, type LeafSink } from '../source/stored/leaf-scan.js';
import type { Rowid } from '../source/stored/varint.js';
import { BatchBuilder, recordsOf } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import type { Groups, RowKernel } from './kernel/row-kernel.js';
import type { KeyBounds } from './key-ranges.js';
import type { ValueWriter } from './value-writer.js';

/** The records of rows: made by the kernel where it can, one by one where not. */
export class LeafRecords implements LeafSink {
  /** Takes the rows that the kernel does not. */
  readonly rows: BatchBuilder;
  readonly #kernel: RowKernel;
  readonly #plan: TablePlan;
  readonly #bounds: KeyBounds;
  readonly #values: ValueWriter | null;

  /**
   * @param kernel nobody else's until the groups of {@link finish} are not needed any more.
   * @param values takes the values that need pages of their own; null for records that are all whole.
   * @param spare memory of a batch that is not needed any more.
   */
  constructor(
    kernel: RowKernel,
    plan: TablePlan,
    bounds: KeyBounds,
    values: ValueWriter | null,
    checksum: Checksum,
    spare: SpareMemory | undefined,
  ) {
    this.#kernel = kernel;
    this.#plan = plan;
    this.#bounds = bounds;
    this.#values = values;
    this.rows = new BatchBuilder(plan, checksum, spare);
  }

  begin(): void {
    this.#values?.begin();
    this.#kernel.begin(this.#plan, this.#bounds, this.#values && this.#values.pageSize);
    this.rows.start(0);
  }

  takeLeaves(leaves: Leaves, one: (page: number, cell: number) => void): LeafRows {
    const plan = this.#plan;
    if (plan.encoding !== 'utf8') return takeNone(leaves, one);
    const kernel = this.#kernel;
    const { count, payloadBytes } = kernel;
    const maxPayload = leaves.maxRowBytes - NUMBER_BYTES * (plan.columns.length + 1);
    kernel.take(leaves, Math.max(0, maxPayload), one);
    this.#values?.take(kernel);
    return {
      rows: kernel.count - count,
      bytes: kernel.payloadBytes - payloadBytes,
      last: kernel.lastRowid,
    };
  }

  takeRecord(record: Buffer, rowid: Rowid): boolean {
    if (this.#plan.encoding !== 'utf8' || !this.#kernel.takeWhole(record, rowid)) return false;
    this.#values?.take(this.#kernel);
    return true;
  }

  /**
   * All records, grouped by ranges. None can be taken afterwards.
   *
   * @throws {CacheError} as the writer of values does.
   */
  finish(): FinishedRecords {
    const kernel = this.#kernel;
    const batch = this.rows.finish();
    const arena = new Uint8Array(batch.arena);
    for (const { keyStart, valueStart, end } of recordsOf(batch)) {
      kernel.append(arena.subarray(keyStart, end), valueStart - keyStart);
      this.#values?.take(kernel);
    }
    this.#values?.takeAll(kernel);
    return { groups: kernel.group(), count: kernel.count, spare: batch };
  }
}

export interface FinishedRecords {
  readonly groups: Groups;
  readonly count: number;
  readonly spare: SpareMemory;
}
