import { endianness } from 'node:os';
import type { BulkTarget, PlacedRun } from '../cache/bulk/bulk-file.js';
import type { PageRange } from '../cache/bulk/bulk-tree.js';
import type { TableCheckpoint } from '../cache/catalog.js';
import type { PreparedTable } from '../cache/generation-writer.js';
import { refuseRejected, type SyncContext } from '../pipeline/table-sync.js';
import type { RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { RowidRange, SizeRange } from '../source/stored/leaf-scan.js';
import { cutEvenly, packBounds, unpackKeys, type KeyBounds } from './key-ranges.js';
import { fileOfRange, partsOfRange, Spool } from './spool.js';
import type { LoadTasks, SpooledGroups, SpoolRef } from './tasks.js';

/** A table with fewer rows and bytes is read in its order: that is not slower then. */
const MIN_ROWS = 4000;
const MIN_BYTES = 1024 * 1024;
/** Rows that are larger, on average, are too many for the memory of a thread. */
const MAX_ROW_BYTES = 256 * 1024;
/** What the record of a row takes more than the row: key, checksum and sizes. The same again is what a long one leaves. */
const RECORD_OVERHEAD_BYTES = 32;
/**
 * The record of a longer row takes more than half a page of LMDB: its value is on pages of its own. Not that of one so
 * long that there may be no room for its pages where rows are read: it is spooled. To take a row for a long one whose
 * record is spooled makes the spool too small.
 */
const LONG_ROW_BYTES: SizeRange = { over: 2026, upTo: 1024 * 1024 };
/** A range of keys is as even as its sample is large. */
const SAMPLES = { samples: 32, minSamples: 256, maxSamples: 16_384 };
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
  // WebAssembly writes numbers with their lowest byte first, LMDB as its machine does.
  const isLittle = endianness() === 'LE';
  return generation.unpublished && splits && isUnread && isWhole && isLittle;
}

class TableLoad {
  readonly #context: SyncContext;
  readonly #plan: TablePlan;
  readonly #tableId: number;
  #target: BulkTarget | null = null;
  readonly #rangeBytes: number;
  readonly #rejected: RejectedRow[] = [];
  /** Pages of values that are too long for a leaf. */
  readonly #values: PageRange[] = [];
  readonly #counts = { rows: 0, bytes: 0, sourceRows: 0 };

  constructor(context: SyncContext, plan: TablePlan, tableId: number) {
    this.#context = context;
    this.#plan = plan;
    this.#tableId = tableId;
    const { pool, maxBytesInFlight } = context;
    const share = Math.floor(maxBytesInFlight / (COPIES * pool.readerThreads));
    this.#rangeBytes = Math.max(MIN_RANGE_BYTES, Math.min(MAX_RANGE_BYTES, share));
  }

  async run(): Promise<TableCheckpoint | null> {
    const outline = await this.#outline();
    if (outline === null) return null;
    const recordBytes = spooledBytes(outline);
    const wanted = Math.ceil(recordBytes / this.#rangeBytes);
    const keys = cutEvenly(unpackKeys(outline.keys), wanted);
    const files = Math.min(MAX_FILES, keys.length + 1);
    const { pool, generation } = this.#context;
    const { target } = await pool.write('beginLoad', { generation, tableId: this.#tableId });
    this.#target = target;
    const spool = Spool.begin({ dir: generation.dir, target }, files, recordBytes);
    const spooled = await this.#spoolRows(spool, outline.cuts, packBounds(keys));
    return spooled && (await this.#pack(spool, spooled, keys.length + 1));
  }

  /** Lets the file be as it was, unless the load was brought to its end. */
  async dispose(): Promise<void> {
    const { pool, generation } = this.#context;
    const target = this.#target;
    if (target === null) return;
    // Where this fails too, the next one to open the file does it.
    await pool.write('abandonLoad', { generation, target }).catch(() => undefined);
  }

  /** Null for a table that is not loaded. */
  async #outline(): Promise<SampledOutline | null> {
    const { pool, source } = this.#context;
    const looking = { ...SAMPLES, rangeBytes: this.#rangeBytes, longBytes: LONG_ROW_BYTES };
    const { outline } = await pool.read('outline', { source, plan: this.#plan, looking });
    if (outline === null || outline.keys.ends.length === 0) return null;
    const { rows, bytes } = outline;
    if (rows < MIN_ROWS && bytes < MIN_BYTES) return null;
    return bytes > rows * MAX_ROW_BYTES ? null : outline;
  }

  /** Reads all rows. Tells where they are, or null where they cannot be read so. */
  async #spoolRows(
    spool: SpoolRef,
    cuts: readonly RowidRange['upTo'][],
    keys: KeyBounds,
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
        spool,
      });
      if (spooled === null) isWhole = false;
      else {
        if (spooled.rest !== null) ranges.unshift(spooled.rest);
        groups.push(spooled.groups);
        this.#values.push(...spooled.values);
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

  async #pack(
    ref: SpoolRef,
    spooled: readonly SpooledGroups[],
    ranges: number,
  ): Promise<TableCheckpoint | null> {
    const { pool, source, generation } = this.#context;
    const { target, segments } = ref;
    const load = { generation, target, segments, tableId: this.#tableId };
    const spool = new Spool(ref);
    const { files } = spool;
    const packed = new InOrder<readonly PlacedRun[]>(
      async (runs) => await pool.write('addRuns', { ...load, runs }),
    );
    const waiting = Array.from({ length: ranges }, (_, range) => range);
    const left = Array.from({ length: files }, () => 0);
    for (const at of waiting) left[fileOfRange(at, ranges, files)]!++;
    let isSettled = true;
    await this.#inThreads(async () => {
      const at = waiting.shift();
      if (at === undefined || !isSettled) return false;
      const file = fileOfRange(at, ranges, files);
      const parts = partsOfRange(spooled, at, files);
      const { runs } = await pool.read('pack', { source, spool: ref, file, parts }, [parts.buffer]);
      left[file]!--;
      if (left[file] === 0) spool.release(file);
      if (runs === null) isSettled = false;
      else await packed.take(at, runs);
      return true;
    });
    // A row was read twice, because it moved meanwhile: which of its states is the newer one is not known. Or a range has
    // far more bytes than its sample said.
    if (!isSettled) return null;
    const loaded = { rejected: this.#rejected, values: this.#values, ...this.#counts };
    const { checkpoint } = await pool.write('endLoad', { ...load, ...loaded });
    this.#target = null;
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

/** What the records of a table take in a spool: of long ones there are the keys in it, not the values. */
function spooledBytes({ rows, bytes, long, keys }: SampledOutline): number {
  const keyBytes = keys.bytes.length / Math.max(1, keys.ends.length);
  return bytes - long.bytes + RECORD_OVERHEAD_BYTES * (rows + long.rows) + keyBytes * long.rows;
}

/** Hands things on in the order of their numbers, one at a time, whatever order they come in. */
class InOrder<T> {
  readonly #handOn: (thing: T) => Promise<unknown>;
  readonly #waiting = new Map<number, T>();
  #next = 0;
  #isBusy = false;

  constructor(handOn: (thing: T) => Promise<unknown>) {
    this.#handOn = handOn;
  }

  /** Hands on what has its turn, unless that is done already. */
  async take(number: number, thing: T): Promise<void> {
    this.#waiting.set(number, thing);
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (;;) {
        const next = this.#waiting.get(this.#next);
        if (next === undefined) return;
        this.#waiting.delete(this.#next++);
        await this.#handOn(next);
      }
    } finally {
      this.#isBusy = false;
    }
  }
}

type Spooled = NonNullable<LoadTasks['spool']['response']['spooled']>;
/** With some keys. */
type SampledOutline = NonNullable<LoadTasks['outline']['response']['outline']>;
