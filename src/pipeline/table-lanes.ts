import { NEW_LANE, type TableCheckpoint } from '../cache/catalog.js';
import type { TablePlan } from '../source/plan.js';
import { LaneDivision } from './lane-division.js';
import { pageStream } from './page-stream.js';
import { commit, refuseRejected, type SyncContext } from './table-sync.js';

/**
 * The lanes of a table that is being read: ranges of its keys, each with a position of its own in the checkpoint. A table
 * begins with one. What is left of it is divided where that seems to save time: see {@link LaneDivision}.
 */
export class TableLanes {
  readonly #context: SyncContext;
  readonly #plan: TablePlan;
  readonly #tableId: number;
  #checkpoint: TableCheckpoint;
  /** Lanes whose last page has not come. */
  #unread = new Set<number>();
  #failures: unknown[] = [];

  constructor(context: SyncContext, plan: TablePlan, tableId: number, checkpoint: TableCheckpoint) {
    this.#context = context;
    this.#plan = plan;
    this.#tableId = tableId;
    this.#checkpoint = checkpoint;
  }

  /** Reads all lanes to their ends. */
  async read(): Promise<TableCheckpoint> {
    const { pool, generation, maxLanes } = this.#context;
    this.#unread = new Set(this.#undone());
    if (this.#checkpoint.lanes.length === 1 && maxLanes > 1) {
      const division = new LaneDivision(this.#context, this.#plan);
      await this.#readLane(0, division);
      if (this.#undone().length === 0) return this.#checkpoint;
      const boundaries = division.boundaries ?? [];
      const request = { generation, tableId: this.#tableId, boundaries };
      this.#checkpoint = (await pool.write('divide', request)).checkpoint;
      this.#unread = new Set(this.#undone());
    }
    const waiting = this.#undone();
    const width = Math.min(maxLanes, waiting.length);
    await Promise.all(Array.from({ length: width }, async () => await this.#readNext(waiting)));
    if (this.#failures.length > 0) throw this.#failures[0];
    return this.#checkpoint;
  }

  #undone(): number[] {
    const { lanes } = this.#checkpoint;
    return [...lanes.keys()].filter((at) => !lanes[at]!.done);
  }

  /** Nothing of the table may be under way any more when its reading fails: so a failure ends the other lanes first. */
  async #readNext(waiting: number[]): Promise<void> {
    while (waiting.length > 0 && this.#failures.length === 0) {
      try {
        await this.#readLane(waiting.shift()!, null);
      } catch (error) {
        const isFirst = this.#failures.push(error) === 1;
        if (isFirst) await this.#context.onFailure(this.#plan, error);
      }
    }
  }

  /** @param division told of each page; it says when the lane is to be left, so that it can be divided. */
  async #readLane(number: number, division: LaneDivision | null): Promise<void> {
    const { onBatch } = this.#context;
    let checkpoint = this.#checkpoint.lanes[number] ?? NEW_LANE;
    const onLast = () => this.#readOut(number);
    const hooks = { onLast, isEnough: () => division?.isDue ?? false };
    for await (const page of pageStream(this.#context, this.#plan, checkpoint, hooks)) {
      refuseRejected(this.#context, this.#plan, page.rejected);
      // A limit is reached when the consumer has counted.
      if (page.done) onLast();
      const lane = { number, checkpoint };
      const committed = await commit(this.#context, this.#tableId, lane, page);
      if (batchesIn(committed) > batchesIn(this.#checkpoint)) this.#checkpoint = committed;
      checkpoint = committed.lanes[number]!;
      onBatch(this.#plan.name, page.batch.count + page.rejected.length, page.batch.bytes);
      division?.note(checkpoint, page);
    }
  }

  #readOut(number: number): void {
    this.#unread.delete(number);
    if (this.#unread.size === 0) this.#context.onReadOut(this.#plan.name);
  }
}

/** Tells which of two checkpoints of one reading is the newer one. */
function batchesIn({ lanes }: TableCheckpoint): number {
  return lanes.reduce((sum, { sequence }) => sum + sequence, 0);
}
