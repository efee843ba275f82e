import type { LaneBoundary, LaneCheckpoint } from '../cache/catalog.js';
import { canSplit } from '../source/page-reader.js';
import type { TablePlan } from '../source/plan.js';
import type { LanePage } from './messages.js';
import type { SyncContext } from './table-sync.js';

/** A table that is read within this time is not divided, nor one that has no more than this left. */
const MIN_MS = 2000;
/** Nor one with no more rows than these: the server is asked for some hundred to divide it. */
const MIN_ROWS = 20_000;
/** From this share of waiting on, rows are said to come more slowly than they can be taken. */
const MIN_IDLE_SHARE = 0.5;

/**
 * Decides whether, and where, what is left of a table on a server is divided into lanes.
 *
 * One stream of rows is all that the processors here can take when the server is near; then more of them would be none the
 * faster, and their rows would come in no order. Far away, or from a server that gives each stream its share, it is not:
 * that is told by the threads, which mostly wait.
 */
export class LaneDivision {
  readonly #context: SyncContext;
  readonly #plan: TablePlan;
  readonly #begunAt = performance.now();
  #rows = 0;
  #waited = 0;
  #pages = 0;
  #isAsked = false;
  /** Where to divide, once that is known and worth it. */
  boundaries: readonly LaneBoundary[] | null = null;

  constructor(context: SyncContext, plan: TablePlan) {
    this.#context = context;
    this.#plan = plan;
    // In another order than the keys', it cannot be told whether a boundary has been passed.
    this.#isAsked = context.splits || !canSplit(plan) || !plan.inKeyOrder;
  }

  /** Whether the lane is to be divided now. */
  get isDue(): boolean {
    return this.boundaries !== null;
  }

  /** Takes notice of a page that was committed. */
  note(lane: LaneCheckpoint, page: LanePage): void {
    this.#rows += page.batch.count;
    this.#waited += page.idleShare;
    this.#pages++;
    const elapsed = performance.now() - this.#begunAt;
    const isSlow = elapsed >= MIN_MS && this.#waited / this.#pages >= MIN_IDLE_SHARE;
    if (!this.#isAsked && !lane.done && isSlow && lane.rowsSeen >= MIN_ROWS) {
      this.#isAsked = true;
      // The pages go on coming meanwhile. Whatever keeps the server from answering, they will meet too.
      void this.#ask(lane, elapsed).catch(() => undefined);
    }
  }

  async #ask({ position, rowsSeen }: LaneCheckpoint, elapsedMs: number): Promise<void> {
    const { pool, source, maxLanes, onSourceRows } = this.#context;
    const request = { source, plan: this.#plan, position, parts: maxLanes };
    const { boundaries, shareBehind, sourceRows } = await pool.read('divisions', request);
    onSourceRows(sourceRows);
    if (shareBehind >= 1 || boundaries.length === 0) return;
    const rowsLeft = (rowsSeen * shareBehind) / (1 - shareBehind);
    const msLeft = (rowsLeft / this.#rows) * elapsedMs;
    if (msLeft >= MIN_MS && rowsLeft >= MIN_ROWS) this.boundaries = boundaries;
  }
}
