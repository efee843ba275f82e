import type { TablePlan } from '../source/plan.js';
import type { SpareMemory } from '../pipeline/messages.js';
import { NUMBER_BYTES } from '../source/page.js';
import { takeNone, type LeafRows, type Leaves, type LeafSink } from '../source/stored/leaf-scan.js';
import type { Rowid } from '../source/stored/varint.js';
import { BatchBuilder, recordsOf } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import type { Groups, RowKernel } from './kernel/row-kernel.js';

/** The records of rows: made by the kernel where it can, one by one where not. */
export class LeafRecords implements LeafSink {
  /** Takes the rows that the kernel does not. */
  readonly rows: BatchBuilder;
  readonly #kernel: RowKernel;
  readonly #plan: TablePlan;
  readonly #bounds: readonly Uint8Array[];

  /**
   * @param kernel nobody else's until the groups of {@link finish} are not needed any more.
   * @param bounds keys at which ranges begin, all but the first, in strictly ascending order.
   * @param spare memory of a batch that is not needed any more.
   */
  constructor(
    kernel: RowKernel,
    plan: TablePlan,
    bounds: readonly Uint8Array[],
    checksum: Checksum,
    spare: SpareMemory | undefined,
  ) {
    this.#kernel = kernel;
    this.#plan = plan;
    this.#bounds = bounds;
    this.rows = new BatchBuilder(plan, checksum, spare);
  }

  begin(): void {
    this.#kernel.begin(this.#plan, this.#bounds);
    this.rows.start(0);
  }

  takeLeaves(leaves: Leaves, one: (page: number, cell: number) => void): LeafRows {
    const plan = this.#plan;
    if (plan.encoding !== 'utf8') return takeNone(leaves, one);
    const kernel = this.#kernel;
    const { count, payloadBytes } = kernel;
    const maxPayload = leaves.maxRowBytes - NUMBER_BYTES * (plan.columns.length + 1);
    kernel.take(leaves, Math.max(0, maxPayload), one);
    return {
      rows: kernel.count - count,
      bytes: kernel.payloadBytes - payloadBytes,
      last: kernel.lastRowid,
    };
  }

  takeRecord(record: Buffer, rowid: Rowid): boolean {
    return this.#plan.encoding === 'utf8' && this.#kernel.takeWhole(record, rowid);
  }

  /** All records, grouped by ranges. None can be taken afterwards. */
  finish(): FinishedRecords {
    const kernel = this.#kernel;
    const batch = this.rows.finish();
    const arena = new Uint8Array(batch.arena);
    for (const { keyStart, valueStart, end } of recordsOf(batch)) {
      kernel.append(arena.subarray(keyStart, end), valueStart - keyStart);
    }
    return { groups: kernel.group(), count: kernel.count, spare: batch };
  }
}

export interface FinishedRecords {
  readonly groups: Groups;
  readonly count: number;
  readonly spare: SpareMemory;
}
