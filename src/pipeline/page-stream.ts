import type { LaneCheckpoint } from '../cache/catalog.js';
import { canSplit } from '../source/page-reader.js';
import type { PageBounds } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { LanePage, SourceRef, SpareMemory } from './messages.js';
import type { Semaphore } from './semaphore.js';
import type { WorkerPool } from './worker-pool.js';

/** What it takes to read a table's pages in the pool. */
export interface PageStreamContext {
  readonly pool: WorkerPool;
  readonly source: SourceRef;
  /**
   * True where looking ahead for where pages end costs nobody anything: in a file. There all threads read a table, elsewhere
   * one does.
   */
  readonly splits: boolean;
  readonly bounds: PageBounds;
  /** Bytes of batches that may exist at once. */
  readonly bytesInFlight: Semaphore;
  /** Memory of committed batches, for the next ones. */
  readonly spares: SpareMemory[];
  readonly onRetries: (retries: number) => void;
  readonly throwIfAborted: () => void;
}

/**
 * The pages behind a lane's checkpoint, in order, read ahead of the consumer. `done` is set on the last one only.
 *
 * Every page holds its share of `bytesInFlight` until the next one is asked for.
 *
 */
export function pageStream(
  context: PageStreamContext,
  plan: TablePlan,
  lane: LaneCheckpoint,
  hooks: PageStreamHooks = {},
): AsyncGenerator<LanePage, void, void> {
  if (lane.done) return nothing();
  return context.splits && canSplit(plan)
    ? pagesByRange(context, plan, lane)
    : pagesInSequence(context, plan, lane, hooks);
}

/** What the pages of a lane that is read in sequence are watched by. */
export interface PageStreamHooks {
  /** Told when the last page has come: that may be before the consumer has taken those before it. */
  readonly onLast?: () => void;
  /** Asked, as a page has come, whether it is the last one to be read for now. */
  readonly isEnough?: () => boolean;
}

// oxlint-disable-next-line require-yield -- a lane that is done has no pages
async function* nothing(): AsyncGenerator<LanePage, void, void> {}

interface Range {
  readonly from: Uint8Array | null;
  readonly upTo: Uint8Array | null;
}

interface FoundRange {
  readonly range: Range;
  /** Rows in it, about. */
  readonly rows: number;
}

/**
 * Reads several ranges of a table at a time, in as many threads as there are, and gives their pages in order.
 *
 * Ranges are found by looking ahead for the key of every so manieth row, so they are even whatever the keys are. A
 * range holds one share of the memory from its start to its last page: were it to ask again for each page, it could
 * wait for shares of ranges that wait for it.
 */
async function* pagesByRange(
  context: PageStreamContext,
  plan: TablePlan,
  lane: LaneCheckpoint,
): AsyncGenerator<LanePage, void, void> {
  const { pool, bounds } = context;
  const finder = new RangeFinder(context, plan, lane.position);
  const pending: HeldPage[] = [];
  let exhausted = false;

  const startNext = async () => {
    const found = await finder.next();
    if (found === null) exhausted = true;
    else pending.push(new HeldPage(context, plan, found.range, found.rows));
  };

  try {
    while (!exhausted || pending.length > 0) {
      while (!exhausted && pending.length <= pool.readerThreads) await startNext();
      const held = pending.shift();
      if (!held) break;
      try {
        for (;;) {
          const page = await held.page;
          const { upTo } = held.range;
          const rows = Math.min(bounds.maxRows, page.nextMaxRows);
          finder.rows = rows;
          yield { ...page, done: page.done && upTo === null };
          if (page.done) break;
          held.continue({ from: page.position, upTo }, rows);
        }
      } finally {
        await held.release();
      }
    }
  } finally {
    await finder.settled();
    await Promise.all(pending.map(async (held) => await held.release()));
  }
}

/** The first range is this much smaller than a page may be, so that there is soon something to write. */
const FIRST_RANGE_SHARE = 1 / 8;

/** Finds where the ranges of a table end, always one ahead of who asks. */
class RangeFinder {
  readonly #context: PageStreamContext;
  readonly #plan: TablePlan;
  #from: Uint8Array | null;
  #next: Promise<FoundRange | null>;
  /** Rows that a range may have: no more than seem to make a page. */
  rows: number;
  #ramp: number;

  constructor(context: PageStreamContext, plan: TablePlan, from: Uint8Array | null) {
    this.#context = context;
    this.#plan = plan;
    this.#from = from;
    this.rows = context.bounds.maxRows;
    this.#ramp = Math.ceil(this.rows * FIRST_RANGE_SHARE);
    this.#next = this.#find();
    this.#next.catch(() => undefined);
  }

  /** The next range, or null behind the last, which has no end. */
  async next(): Promise<FoundRange | null> {
    const found = await this.#next;
    this.#next = found === null || found.range.upTo === null ? NO_RANGE : this.#find();
    // A failure is found by who asks for the range.
    this.#next.catch(() => undefined);
    return found;
  }

  /** Waits for what is under way. */
  async settled(): Promise<void> {
    await this.#next.catch(() => undefined);
  }

  async #find(): Promise<FoundRange> {
    const { pool, source } = this.#context;
    const from = this.#from;
    const rows = Math.min(this.rows, this.#ramp);
    this.#ramp *= 2;
    const request = { source, plan: this.#plan, position: from, rows };
    const { position: upTo } = await pool.read('boundary', request);
    this.#from = upTo;
    return { range: { from, upTo }, rows };
  }
}

const NO_RANGE = Promise.resolve(null);

/** Reads one page after the other, the next while the last is being committed. */
async function* pagesInSequence(
  context: PageStreamContext,
  plan: TablePlan,
  lane: LaneCheckpoint,
  { onLast, isEnough }: PageStreamHooks,
): AsyncGenerator<LanePage, void, void> {
  const limit = plan.limit?.count ?? Infinity;
  let rowsSeen = lane.rowsSeen;
  const rowsLeft = (hint: number) => Math.min(context.bounds.maxRows, hint, limit - rowsSeen);
  const start = (from: Uint8Array | null, hint: number) => {
    const held = new HeldPage(context, plan, { from, upTo: lane.upTo ?? null }, rowsLeft(hint));
    const notice = ({ done }: LanePage) => {
      if (done) onLast?.();
    };
    held.page.then(notice, () => undefined);
    return held;
  };

  let next: HeldPage | null = start(lane.position, Infinity);
  while (next !== null) {
    const held: HeldPage = next;
    next = null;
    try {
      const page = await held.page;
      rowsSeen += page.batch.count + page.rejected.length;
      const done = page.done || rowsSeen >= limit;
      if (!done && !isEnough?.()) next = start(page.position, page.nextMaxRows);
      yield { ...page, done };
    } catch (error) {
      await next?.release();
      throw error;
    } finally {
      await held.release();
    }
  }
}

/** A page under way or there, with the share of the memory that it holds. */
class HeldPage {
  readonly #context: PageStreamContext;
  readonly #plan: TablePlan;
  range: Range;
  page: Promise<LanePage>;
  #heldBytes = 0;

  constructor(context: PageStreamContext, plan: TablePlan, range: Range, maxRows: number) {
    this.#context = context;
    this.#plan = plan;
    this.range = range;
    this.page = this.#begin(maxRows);
    // A failure of a page ahead is found when it is its turn, not before.
    this.page.catch(() => undefined);
  }

  /** Goes on with the next page of the range, with the memory of the one before. */
  continue(range: Range, maxRows: number): void {
    this.range = range;
    this.page = this.#read(maxRows);
  }

  /** Waits for the page if it is under way, and gives its share back. */
  async release(): Promise<void> {
    await this.page.catch(() => undefined);
    this.#context.bytesInFlight.release(this.#heldBytes);
    this.#heldBytes = 0;
  }

  async #begin(maxRows: number): Promise<LanePage> {
    const { bytesInFlight, bounds } = this.#context;
    await bytesInFlight.acquire(bounds.maxBytes);
    this.#heldBytes = bounds.maxBytes;
    return await this.#read(maxRows);
  }

  async #read(maxRows: number): Promise<LanePage> {
    const { pool, source, splits, bounds, bytesInFlight, spares, throwIfAborted, onRetries } =
      this.#context;
    throwIfAborted();
    const spare = spares.pop() ?? null;
    const page = await pool.read(
      'page',
      {
        source,
        plan: this.#plan,
        position: this.range.from,
        upTo: this.range.upTo,
        bounds: { ...bounds, maxRows },
        spare,
      },
      spare ? [spare.arena, spare.spans] : [],
      // A thread may have a cursor of the server open that gives the next page.
      splits ? undefined : affinity(source, this.#plan, this.range.upTo),
    );
    if (page.batch.bytes > this.#heldBytes) {
      bytesInFlight.overdraw(page.batch.bytes - this.#heldBytes);
      this.#heldBytes = page.batch.bytes;
    }
    onRetries(page.retries);
    return page;
  }
}

/** Names a lane that is read over a cursor of the server: by its end, which it keeps. */
function affinity({ session }: SourceRef, { name }: TablePlan, upTo: Uint8Array | null): string {
  const end = upTo === null ? '' : Buffer.from(upTo).toString('base64');
  return JSON.stringify([session, name, end]);
}
