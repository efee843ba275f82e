import { NEW_LANE, type LaneCheckpoint, type TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { RowRejectedError, SyncAbortedError } from '../errors.js';
import type { RowErrorPolicy } from '../options.js';
import type { PageBounds } from '../source/page-reader.js';
import type { TablePlan } from '../source/plan.js';
import type { EncodedPage, GenerationRef, SourceRef, SpareMemory } from './messages.js';
import type { Semaphore } from './semaphore.js';
import type { WorkerPool } from './worker-pool.js';

/** What the tables of one sync have in common. */
export interface SyncContext {
  readonly pool: WorkerPool;
  readonly source: SourceRef;
  readonly generation: GenerationRef;
  readonly bounds: PageBounds;
  readonly onRowError: RowErrorPolicy;
  readonly signal: AbortSignal;
  /** Bytes of batches that may exist at once. */
  readonly bytesInFlight: Semaphore;
  /** Memory of committed batches, for the next ones. */
  readonly spares: SpareMemory[];
  readonly onBatch: (table: string, rows: number, bytes: number) => void;
  readonly onRetries: (retries: number) => void;
}

/** Kept for reuse: one for each page that may be under way. */
const MAX_SPARES = 4;

/**
 * Brings one table from its checkpoint to the end: pages are read and encoded by a reader thread, committed by the
 * writer, and the next page is read while this one is committed. Then removes what the source no longer has.
 */
export async function syncTable(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
): Promise<TableCheckpoint> {
  let { checkpoint } = table;
  if (checkpoint.phase === 'reading') {
    let lane = checkpoint.lanes[0] ?? NEW_LANE;
    for await (const page of readAhead(context, plan, lane)) {
      refuseRejected(context, plan, page);
      checkpoint = await commit(context, table.id, lane, page);
      lane = checkpoint.lanes[0]!;
      context.onBatch(plan.name, page.batch.count + page.rejected.length, page.batch.bytes);
    }
  }
  if (checkpoint.phase === 'sweeping') {
    for (;;) {
      throwIfAborted(context.signal);
      const swept = await context.pool.write('sweep', {
        generation: context.generation,
        tableId: table.id,
      });
      checkpoint = { ...checkpoint, counters: swept.counters };
      if (swept.done) break;
    }
  }
  return { ...checkpoint, phase: 'complete' };
}

/** The pages behind a lane's checkpoint, one read ahead. A page holds its share of the memory until the next is taken. */
async function* readAhead(
  context: SyncContext,
  plan: TablePlan,
  lane: LaneCheckpoint,
): AsyncGenerator<EncodedPage, void, void> {
  const limit = plan.limit?.count ?? Infinity;
  let rowsSeen = lane.rowsSeen;
  let next: Promise<HeldPage> | null = lane.done
    ? null
    : readPage(context, plan, lane.position, Math.min(context.bounds.maxRows, limit - rowsSeen));
  try {
    while (next !== null) {
      const { page, release } = await next;
      next = null;
      rowsSeen += page.batch.count + page.rejected.length;
      const done = page.done || rowsSeen >= limit;
      const maxRows = Math.min(context.bounds.maxRows, page.nextMaxRows, limit - rowsSeen);
      if (!done) next = readPage(context, plan, page.position, maxRows);
      // A failure of the page ahead is found when it is awaited, not before.
      next?.catch(() => undefined);
      try {
        yield done && !page.done ? { ...page, done } : page;
      } finally {
        release();
      }
    }
  } finally {
    await next?.then(
      ({ release }) => release(),
      () => undefined,
    );
  }
}

interface HeldPage {
  readonly page: EncodedPage;
  readonly release: () => void;
}

async function readPage(
  context: SyncContext,
  plan: TablePlan,
  position: Uint8Array | null,
  maxRows: number,
): Promise<HeldPage> {
  const { pool, source, bytesInFlight } = context;
  let held = context.bounds.maxBytes;
  await bytesInFlight.acquire(held);
  try {
    throwIfAborted(context.signal);
    const spare = context.spares.pop() ?? null;
    const page = await pool.read(
      'page',
      { source, plan, position, bounds: { ...context.bounds, maxRows }, spare },
      spare ? [spare.arena, spare.lengths] : [],
    );
    if (page.batch.bytes > held) {
      bytesInFlight.overdraw(page.batch.bytes - held);
      held = page.batch.bytes;
    }
    context.onRetries(page.retries);
    return { page, release: () => bytesInFlight.release(held) };
  } catch (error) {
    bytesInFlight.release(held);
    throw error;
  }
}

async function commit(
  context: SyncContext,
  tableId: number,
  lane: LaneCheckpoint,
  page: EncodedPage,
): Promise<TableCheckpoint> {
  throwIfAborted(context.signal);
  const { batch, rejected, position, done } = page;
  const { checkpoint, spare } = await context.pool.write(
    'write',
    {
      generation: context.generation,
      write: { tableId, lane: 0, sequence: lane.sequence + 1, batch, rejected, position, done },
    },
    [batch.arena, batch.lengths],
  );
  const reusable = spare.arena.byteLength <= 2 * context.bounds.maxBytes;
  if (reusable && context.spares.length < MAX_SPARES) context.spares.push(spare);
  return checkpoint;
}

function refuseRejected(context: SyncContext, plan: TablePlan, page: EncodedPage): void {
  const [first] = page.rejected;
  if (!first || context.onRowError === 'quarantine') return;
  throw new RowRejectedError(
    `A row of ${JSON.stringify(plan.name)} cannot be cached: ${first.reason}. The row is the one with ${first.key}.`,
    {
      context: { table: plan.name, key: first.key, reason: first.reason },
      hint: 'Correct the row in the source, or set such rows aside with --on-row-error quarantine.',
    },
  );
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted)
    throw signal.reason instanceof Error && signal.reason.name !== 'AbortError'
      ? signal.reason
      : new SyncAbortedError();
}
