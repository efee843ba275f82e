import type { TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { SyncAbortedError } from '../errors.js';
import type { RowErrorPolicy } from '../options.js';
import type { ProgressMeter } from '../progress-meter.js';
import type { TableMode } from '../report.js';
import { foldName } from '../source/introspection.js';
import type { LogState } from '../source/log-state.js';
import type { PageBounds } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { RowTally } from '../source/row-tally.js';
import { loadTable } from '../load/load-table.js';
import { followChanges } from './change-rounds.js';
import { followCursors } from './cursor-rounds.js';
import { isSweepDue, sweepKeys } from './key-sweep.js';
import type { EncodedCursorLook, GenerationRef, SourceRef } from './messages.js';
import type { SchemaWatch } from './schema-watch.js';
import { Semaphore } from './semaphore.js';
import { syncTable, type SyncContext } from './table-sync.js';
import type { WorkerPool } from './worker-pool.js';

/** What the tables of a sync are read with. */
export interface ReadWork {
  readonly pool: WorkerPool;
  readonly plans: readonly TablePlan[];
  readonly prepared: readonly PreparedTable[];
  readonly logs: readonly LogState[];
  readonly looks: readonly EncodedCursorLook[];
  readonly source: SourceRef;
  readonly generation: GenerationRef;
  readonly bounds: PageBounds;
  readonly maxBytesInFlight: number;
  readonly onRowError: RowErrorPolicy;
  readonly maxLossShare: number;
  readonly maxLanes: number;
  readonly stop: AbortController;
  readonly meter: ProgressMeter;
  readonly startedAt: number;
  readonly watch: SchemaWatch;
  /** Counts what the source gives beside the rows of tables and their logs. */
  readonly tally: RowTally;
}

export interface ReadResult {
  /** As they were prepared, but for those that turned out to need a full read. */
  readonly tables: readonly PreparedTable[];
  readonly checkpoints: readonly TableCheckpoint[];
  readonly durations: readonly number[];
  readonly retries: number;
  /** When the reading of the oldest table began. */
  readonly asOf: number;
}

export function modeOf({ follows, cursor }: PreparedTable): TableMode {
  if (follows !== null) return 'change-log';
  return cursor !== null ? 'cursor' : 'full';
}

export function isReadInFull(table: PreparedTable): boolean {
  return modeOf(table) === 'full';
}

/** Reads the tables by a schema that holds all the while. What was read of a table that changed is given up. */
export async function readAsPlanned(work: ReadWork): Promise<ReadResult> {
  const { pool, plans, prepared, generation, watch } = work;
  try {
    const read = await new TableReads(work).run();
    await watch.check(plans.filter((_, i) => isRead(read.tables[i]!)));
    return read;
  } catch (error) {
    for (const [i, { id: tableId }] of prepared.entries()) {
      const isChanged = watch.changed.some((name) => foldName(name) === foldName(plans[i]!.name));
      if (isChanged) await pool.write('abandon', { generation, tableId });
    }
    throw error;
  }
}

/** Whether pages or changes of a table were to be read. */
function isRead({ follows }: PreparedTable): boolean {
  return follows === null || follows.upTo > follows.after;
}

/**
 * The tables of one sync, read each in its way: by the change logs and by cursors, all such tables together in rounds;
 * then in full, as many at a time as there are readers. The first failure stops them all.
 */
class TableReads {
  readonly #work: ReadWork;
  readonly #context: SyncContext;
  readonly #tables: PreparedTable[];
  readonly #checkpoints: TableCheckpoint[] = [];
  readonly #durations: number[] = [];
  /** Positions of tables whose rows, or keys, are all read. */
  readonly #toRead: number[];
  /** Names of those of them that may still be asked for. */
  readonly #unread = new Set<string>();
  readonly #failures: unknown[] = [];
  #retries = 0;

  constructor(work: ReadWork) {
    this.#work = work;
    this.#tables = [...work.prepared];
    this.#toRead = this.#where(isReadInFull);
    const { stop, meter, tally } = work;
    this.#context = {
      pool: work.pool,
      source: work.source,
      generation: work.generation,
      maxBytesInFlight: work.maxBytesInFlight,
      bounds: work.bounds,
      onRowError: work.onRowError,
      maxLossShare: work.maxLossShare,
      maxLanes: work.maxLanes,
      schema: work.watch,
      splits: isFile(work.source),
      throwIfAborted: () => {
        if (stop.signal.aborted) throw new SyncAbortedError();
      },
      bytesInFlight: new Semaphore(work.maxBytesInFlight),
      spares: [],
      onReadOut: (table) => this.#readOut(table),
      onFailure: async (plan, error) => await this.#failed(plan, error),
      onBatch: (table, rows, bytes) => meter.batch(table, rows, bytes),
      onRetries: (more) => {
        this.#retries += more;
      },
      onSourceRows: (rows) => tally.add(rows),
    };
  }

  async run(): Promise<ReadResult> {
    const { plans, meter, startedAt } = this.#work;
    const tables = this.#tables;
    const resumedRows = tables.reduce(
      (sum, { resumed, checkpoint }) => sum + (resumed ? checkpoint.counters.rowsRead : 0),
      0,
    );
    meter.begin(plans.length, resumedRows);
    const inFull = this.#where(isReadInFull);
    await this.#followLogs();
    await this.#followCursors();
    await this.#readAll(inFull.length === tables.length);
    if (this.#failures.length > 0) throw this.#failures[0];
    const begunAt = inFull.map((at) => this.#checkpoints[at]!.startedAt);
    return {
      tables,
      checkpoints: this.#checkpoints,
      durations: this.#durations,
      retries: this.#retries,
      asOf: Math.min(startedAt, ...begunAt),
    };
  }

  #where(is: (table: PreparedTable) => boolean): number[] {
    return [...this.#tables.keys()].filter((at) => is(this.#tables[at]!));
  }

  async #followLogs(): Promise<void> {
    const { pool, plans, generation, logs, watch } = this.#work;
    const followed = this.#where(({ follows }) => follows !== null);
    if (followed.length === 0) return;
    const begun = performance.now();
    const followedPlans = followed.map((at) => plans[at]!);
    const found = await followChanges(
      this.#context,
      followedPlans,
      followed.map((at) => this.#tables[at]!),
    ).catch(async (error: unknown) => {
      throw await watch.explain(error, followedPlans);
    });
    for (const [i, at] of followed.entries()) {
      const table = this.#tables[at]!;
      if (found[i]) {
        this.#done(at, found[i], begun);
      } else {
        const { checkpoint } = await pool.write('restart', { generation, tableId: table.id, logs });
        this.#tables[at] = { ...table, checkpoint, follows: null };
        this.#toRead.push(at);
      }
    }
  }

  async #followCursors(): Promise<void> {
    const { plans, looks } = this.#work;
    const byCursor = this.#where(({ cursor }) => cursor !== null);
    if (byCursor.length === 0) return;
    const begun = performance.now();
    const found = await followCursors(
      this.#context,
      byCursor.map((at) => ({
        plan: plans[at]!,
        table: this.#tables[at]!,
        look: looks.find(({ table }) => table === plans[at]!.name)!,
      })),
    );
    for (const [i, at] of byCursor.entries()) {
      if (isSweepDue(plans[at]!, found[i]!)) {
        this.#durations[at] = performance.now() - begun;
        this.#toRead.push(at);
      } else this.#done(at, found[i]!, begun);
    }
  }

  /** @param areAll whether no table is read in another way: then the source's rows can be counted for the progress. */
  async #readAll(areAll: boolean): Promise<void> {
    const { meter } = this.#work;
    const read = this.#readTables();
    // Totals are counted once somebody looks; and nothing may ask the source once the sync has ended.
    const counting = Promise.race([meter.watched.then(() => true), read.then(() => false)]).then(
      async (watched) => {
        if (watched && areAll) await this.#countRows();
      },
    );
    await Promise.all([read, counting]);
  }

  async #readTables(): Promise<void> {
    const { pool, plans } = this.#work;
    for (const at of this.#toRead) this.#unread.add(plans[at]!.name);
    await this.#loadTables();
    await Promise.all(
      Array.from({ length: pool.readerThreads }, async () => await this.#readNext()),
    );
  }

  /** Loads tables where that can be done: one after the other, for each takes all threads and the file. */
  async #loadTables(): Promise<void> {
    const inOrder: number[] = [];
    for (const at of this.#toRead) {
      if (this.#failures.length > 0) return;
      const isLoaded = await this.#read(at, loadTable);
      if (!isLoaded) inOrder.push(at);
    }
    this.#toRead.splice(0, Infinity, ...inOrder);
  }

  async #readNext(): Promise<void> {
    while (this.#toRead.length > 0 && this.#failures.length === 0) {
      const at = this.#toRead.shift()!;
      await this.#read(at, isReadInFull(this.#tables[at]!) ? syncTable : sweepKeys);
    }
  }

  /** @returns whether the table was brought to its end. A failure is kept, and stops the others. */
  async #read(
    at: number,
    read: (
      context: SyncContext,
      plan: TablePlan,
      table: PreparedTable,
    ) => Promise<TableCheckpoint | null>,
  ): Promise<boolean> {
    const plan = this.#work.plans[at]!;
    const begun = performance.now();
    try {
      const checkpoint = await read(this.#context, plan, this.#tables[at]!);
      if (checkpoint !== null) this.#done(at, checkpoint, begun);
      return checkpoint !== null;
    } catch (error) {
      await this.#failed(plan, error);
      return false;
    }
  }

  async #failed(plan: TablePlan, error: unknown): Promise<void> {
    const { pool, source, stop, watch } = this.#work;
    this.#failures.push(await watch.explain(error, [plan]));
    stop.abort(new SyncAbortedError());
    // All else may be waiting for a server that does not answer.
    pool.endSession(source.session);
  }

  #readOut(table: string): void {
    if (this.#unread.delete(table) && this.#unread.size === 0) this.#work.watch.lookBehindAll();
  }

  #done(at: number, checkpoint: TableCheckpoint, begun: number): void {
    this.#checkpoints[at] = checkpoint;
    this.#durations[at] = (this.#durations[at] ?? 0) + performance.now() - begun;
    this.#work.meter.tableDone(this.#work.plans[at]!.name);
  }

  /** Counts what there is to read where that costs little: a file's owner pays no server for it. */
  async #countRows(): Promise<void> {
    const { pool, plans, source, meter } = this.#work;
    if (!isFile(source)) return;
    await Promise.all(
      plans.map(async (plan) => {
        try {
          const { rows } = await pool.read('count', { source, plan });
          meter.total(plan.name, rows);
        } catch {
          // Without a total, progress is told without one.
        }
      }),
    );
  }
}

function isFile({ connection }: SourceRef): boolean {
  return /^file:/i.test(connection.url);
}
