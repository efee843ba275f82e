import { rm } from 'node:fs/promises';
import { PageCounter, type PlacedRun } from '../cache/bulk/bulk-file.js';
import type { TableCheckpoint } from '../cache/catalog.js';
import { makeDirectory } from '../cache/files.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { spoolPath } from '../cache/layout.js';
import { refuseRejected, type SyncContext } from '../pipeline/table-sync.js';
import type { RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { RowidRange } from '../source/stored/leaf-scan.js';
import { cutEvenly } from './key-ranges.js';
import { fileOfRange, partsOfRange, spoolFile } from './spool.js';
import type { LoadTasks, PagesRef, SpooledGroups, SpoolRef } from './tasks.js';

/** A table with fewer rows is read in its order: that is not slower then. */
const MIN_ROWS = 20_000;
/** Rows that are larger, on average, are mostly content that had better not be written twice. */
const MAX_ROW_BYTES = 8192;
/** A range of keys is as even as its sample is large. */
const SAMPLES_PER_RANGE = 32;
const MIN_SAMPLES = 1024;
const MAX_SAMPLES = 16_384;
/** What a thread holds of a range at most: its rows as they are read, then grouped; or a group, then its pages. */
const COPIES = 2;
/** A spool has so many files at most: each takes a write of every range of rows. */
const MAX_FILES = 64;
const MIN_RANGE_BYTES = 64 * 1024;
const MAX_RANGE_BYTES = 4 * 1024 * 1024;
/** A range of rows that turns out to be this much larger than it seemed is cut again. */
const MAX_GROWTH = 4;

/**
 * Fills an empty table of a generation that is not served yet, where its source is a file: rows are read in the order in
 * which they are stored, in as many threads as there are, wait in a spool by ranges of keys, and become pages of LMDB,
 * range by range, in the order of their keys. That reads and writes each page once, in sequence, wherever the keys are.
 *
 * Its result is visible only at the end, in one transaction. Before that a kill leaves the table as it was: empty.
 *
 * @returns null for a table that is better, or can only be, read in the order of its keys. It is empty then.
 */
export async function loadTable(
  context: SyncContext,
  plan: TablePlan,
  table: PreparedTable,
): Promise<TableCheckpoint | null> {
  if (!mayBeLoaded(context, plan, table)) return null;
  const load = new TableLoad(context, plan, table.id);
  try {
    return await load.run();
  } finally {
    await load.dispose();
  }
}

function mayBeLoaded(
  { generation, splits }: SyncContext,
  { limit, filter, indexes }: TablePlan,
  { checkpoint }: PreparedTable,
): boolean {
  const isNew = checkpoint.phase === 'reading' && checkpoint.fresh && checkpoint.keySweep === null;
  const isUnread = isNew && checkpoint.lanes.every(({ sequence }) => sequence === 0);
  const isWhole = limit === null && filter === null && indexes.length === 0;
  return generation.unpublished && splits && isUnread && isWhole;
}

class TableLoad {
  readonly #context: SyncContext;
  readonly #plan: TablePlan;
  readonly #tableId: number;
  #spool: SpoolRef;
  readonly #rangeBytes: number;
  readonly #rejected: RejectedRow[] = [];
  readonly #counts = { rows: 0, bytes: 0, sourceRows: 0 };

  constructor(context: SyncContext, plan: TablePlan, tableId: number) {
    this.#context = context;
    this.#plan = plan;
    this.#tableId = tableId;
    this.#spool = { dir: spoolPath(context.generation.dir), taken: counters(1) };
    const { pool, maxBytesInFlight } = context;
    const share = Math.floor(maxBytesInFlight / (COPIES * pool.readerThreads));
    this.#rangeBytes = Math.max(MIN_RANGE_BYTES, Math.min(MAX_RANGE_BYTES, share));
  }

  async run(): Promise<TableCheckpoint | null> {
    const outline = await this.#outline();
    if (outline === null) return null;
    const wanted = Math.ceil(outline.bytes / this.#rangeBytes);
    const keys = cutEvenly(
      outline.keys.map((key) => Buffer.from(key)),
      wanted,
    );
    const files = Math.min(MAX_FILES, keys.length + 1);
    this.#spool = { ...this.#spool, taken: counters(files) };
    await makeDirectory(this.#spool.dir);
    const spooled = await this.#spoolRows(outline.cuts, keys);
    return spooled && (await this.#pack(spooled, keys.length + 1));
  }

  async dispose(): Promise<void> {
    await rm(this.#spool.dir, { recursive: true, force: true });
  }

  async #outline(): Promise<LoadTasks['outline']['response']['outline']> {
    const { pool, source } = this.#context;
    const request = { source, plan: this.#plan, rangeBytes: this.#rangeBytes };
    const { outline: first } = await pool.read('outline', { ...request, samples: MIN_SAMPLES });
    if (first === null || first.rows < MIN_ROWS || first.keys.length === 0) return null;
    if (first.bytes > first.rows * MAX_ROW_BYTES) return null;
    const samples = Math.min(
      MAX_SAMPLES,
      SAMPLES_PER_RANGE * Math.ceil(first.bytes / this.#rangeBytes),
    );
    if (samples <= MIN_SAMPLES) return first;
    const { outline } = await pool.read('outline', { ...request, samples });
    return outline;
  }

  /** Reads all rows. Tells where they are, or null where they cannot be read so. */
  async #spoolRows(
    cuts: readonly RowidRange['upTo'][],
    keys: readonly Uint8Array[],
  ): Promise<SpooledGroups[] | null> {
    const { pool, source, bounds } = this.#context;
    const bounded = { ...bounds, maxBytes: MAX_GROWTH * this.#rangeBytes };
    const groups: SpooledGroups[] = [];
    const ranges: RowidRange[] = [...cuts, null].map((upTo, i) => ({
      after: cuts[i - 1] ?? null,
      upTo,
    }));
    let isWhole = true;
    await this.#inThreads(async () => {
      const range = ranges.shift();
      if (range === undefined || !isWhole) return false;
      const { spooled } = await pool.read('spool', {
        source,
        plan: this.#plan,
        range,
        bounds: bounded,
        keys,
        spool: this.#spool,
      });
      if (spooled === null) isWhole = false;
      else {
        if (spooled.rest !== null) ranges.unshift(spooled.rest);
        groups.push(spooled.groups);
        this.#count(spooled);
      }
      return true;
    });
    return isWhole ? groups : null;
  }

  #count({ rows, bytes, rejected, sourceRows }: Spooled): void {
    const context = this.#context;
    refuseRejected(context, this.#plan, rejected);
    this.#rejected.push(...rejected);
    this.#counts.rows += rows;
    this.#counts.bytes += bytes;
    this.#counts.sourceRows += sourceRows;
    context.onBatch(this.#plan.name, rows + rejected.length, bytes);
  }

  async #pack(spooled: readonly SpooledGroups[], ranges: number): Promise<TableCheckpoint | null> {
    const { pool, source, generation } = this.#context;
    const tableId = this.#tableId;
    const begun = await pool.write('beginLoad', { generation, tableId });
    const counter = new PageCounter(begun.target.nextPage);
    const pages: PagesRef = { dir: generation.dir, ...begun, taken: counter.memory };
    const packed: (readonly PlacedRun[])[] = [];
    const waiting = Array.from({ length: ranges }, (_, range) => range);
    const files = this.#spool.taken.length;
    const left = Array.from({ length: files }, () => 0);
    for (const at of waiting) left[fileOfRange(at, ranges, files)]!++;
    let isSettled = true;
    await this.#inThreads(async () => {
      const at = waiting.shift();
      if (at === undefined || !isSettled) return false;
      const file = fileOfRange(at, ranges, files);
      const request = {
        source,
        spool: this.#spool,
        file,
        parts: partsOfRange(spooled, at, files),
        pages,
      };
      const { runs } = await pool.read('pack', request);
      if (runs === null) isSettled = false;
      else packed[at] = runs;
      left[file]!--;
      // The memory of its pages is soon that of others.
      if (left[file] === 0) await rm(spoolFile(this.#spool.dir, file), { force: true });
      return true;
    });
    // A row was read twice, because it moved meanwhile: which of its states is the newer one is not known. Or a range has
    // far more bytes than its sample said.
    if (!isSettled) return null;
    const { checkpoint } = await pool.write('endLoad', {
      generation,
      tableId,
      target: begun.target,
      nextPage: counter.next,
      runs: packed.flat(),
      rejected: this.#rejected,
      ...this.#counts,
    });
    return checkpoint;
  }

  /** Repeats a step until it says that none is left: in each thread, and once more, so that none of them waits. */
  async #inThreads(step: () => Promise<boolean>): Promise<void> {
    const { pool, throwIfAborted } = this.#context;
    let failed = false;
    const run = async () => {
      try {
        do throwIfAborted();
        while (!failed && (await step()));
      } catch (error) {
        failed = true;
        throw error;
      }
    };
    const runs = await Promise.allSettled(Array.from({ length: pool.readerThreads + 1 }, run));
    for (const each of runs) if (each.status === 'rejected') throw each.reason;
  }
}

type Spooled = NonNullable<LoadTasks['spool']['response']['spooled']>;

function counters(count: number): BigInt64Array<SharedArrayBuffer> {
  return new BigInt64Array(new SharedArrayBuffer(8 * count));
}
