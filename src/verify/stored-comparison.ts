import type { RowidRange, SizeRange } from '../source/stored/leaf-scan.js';
import type { VerifyContext } from './context.js';
import type { StoredRows, VerifyTarget } from './tasks.js';

/** A table with fewer rows is compared in the order of its keys: that is not slower then. */
const MIN_ROWS = 20_000;
/** Of the source, in each range: small enough for each thread to get several, and to notice early that rows change. */
const RANGE_BYTES = 512 * 1024;
/** A range that has more bytes than it seemed to is cut again behind these. */
const MAX_BYTES = 4 * RANGE_BYTES;
/** More rows that differ are found in the order of their keys. */
const MAX_DIFFERENT = 10_000;
/** Leaves from which the size of rows is told. */
const SAMPLES = { samples: 0, minSamples: 64, maxSamples: 64 };
/** No row is too long for anything here. */
const NO_ROW: SizeRange = { over: Infinity, upTo: Infinity };
/** A range without rows: what is read of it is the snapshot. */
const NO_ROWS: RowidRange = { after: 0, upTo: 0 };
/** So often each thread is asked once more whether the source is as it was. */
const LAST_LOOKS = 4;

/** What the comparison of all rows of a table came to. */
export interface ComparedRows {
  readonly compared: number;
  readonly rejected: number;
  /** Keys of rows that are another in the cache, or not there. */
  readonly different: readonly Uint8Array[];
}

/**
 * Compares all rows of a file's table in the order in which they are stored, which reads each of its pages once, by
 * WebAssembly. Finds what the source has and the cache has not so. What the cache has besides it only rules out: when
 * neither side changed meanwhile, as many rows were found in the cache as that has, so that there are no others.
 */
export class StoredComparison {
  readonly #context: VerifyContext;
  readonly #target: VerifyTarget;
  readonly #entries: number;
  readonly #snapshots = new Map<number, StoredRows['snapshot'][]>();
  readonly #counts = { compared: 0, rejected: 0, present: 0, bytes: 0 };
  readonly #different: Uint8Array[] = [];

  /** @param entries rows that the cache has. */
  constructor(context: VerifyContext, target: VerifyTarget, entries: number) {
    this.#context = context;
    this.#target = target;
    this.#entries = entries;
  }

  /** @returns null where it cannot tell, and the rows have to be compared in the order of their keys. */
  async run(): Promise<ComparedRows | null> {
    if (this.#entries < MIN_ROWS) return null;
    const { pool, source, meter } = this.#context;
    const { plan } = this.#target;
    const looking = { ...SAMPLES, rangeBytes: RANGE_BYTES, longBytes: NO_ROW };
    const { outline } = await pool.read('outline', { source, plan, looking });
    if (outline === null) return null;
    const before = await this.#lastTransaction();
    const told = (await this.#compareAll(outline.cuts)) && (await this.#stoodStill());
    if (
      told &&
      before === (await this.#lastTransaction()) &&
      this.#counts.present === this.#entries
    ) {
      const { compared, rejected } = this.#counts;
      return { compared, rejected, different: this.#different };
    }
    meter.batch(plan.name, -this.#counts.compared, -this.#counts.bytes);
    return null;
  }

  async #lastTransaction(): Promise<number> {
    const { pool, source, generation } = this.#context;
    const { tables, transaction } = await pool.read('inspectCache', { source, generation });
    const own = tables.find(({ table }) => table.id === this.#target.tableId);
    return own?.entries === this.#entries ? transaction : -1;
  }

  /** @returns false where the rows cannot be read so, change meanwhile, or differ too much. */
  async #compareAll(cuts: readonly RowidRange['upTo'][]): Promise<boolean> {
    const { lanes, throwIfAborted } = this.#context;
    const ranges = [...cuts, null].map((upTo, i): RowidRange => ({
      after: cuts[i - 1] ?? null,
      upTo,
    }));
    let isTold = true;
    const run = async () => {
      for (;;) {
        throwIfAborted();
        const range = ranges.shift();
        if (range === undefined || !isTold) return;
        const { rows } = await this.#compare(range);
        if (rows === null || !this.#take(rows)) isTold = false;
        else if (rows.rest !== null) ranges.unshift(rows.rest);
      }
    };
    const runs = await Promise.allSettled(Array.from({ length: lanes }, run));
    for (const each of runs) if (each.status === 'rejected') throw each.reason;
    return isTold;
  }

  /** A thread may have looked once only, or early only: then it looks again. */
  async #stoodStill(): Promise<boolean> {
    const { lanes } = this.#context;
    for (let looks = 0; looks < LAST_LOOKS && !stoodStill(this.#snapshots); looks++) {
      const all = Array.from({ length: lanes }, async () => await this.#compare(NO_ROWS));
      for (const { rows } of await Promise.all(all)) {
        if (rows === null || !this.#take(rows)) return false;
      }
    }
    return stoodStill(this.#snapshots);
  }

  async #compare(range: RowidRange): Promise<{ readonly rows: StoredRows | null }> {
    const { pool, bounds } = this.#context;
    const bounded = { ...bounds, maxBytes: MAX_BYTES };
    return await pool.read('compareStored', { ...this.#target, range, bounds: bounded });
  }

  #take(rows: StoredRows): boolean {
    const { budget, meter } = this.#context;
    budget.spend(rows.sourceRows);
    meter.batch(this.#target.plan.name, rows.compared, rows.bytes);
    this.#counts.compared += rows.compared;
    this.#counts.rejected += rows.rejected;
    this.#counts.present += rows.present;
    this.#counts.bytes += rows.bytes;
    this.#different.push(...(rows.different ?? []));
    const known = this.#snapshots.get(rows.thread) ?? [];
    known.push(rows.snapshot);
    this.#snapshots.set(rows.thread, known);
    const { version } = rows.snapshot;
    if (version === null || version !== known[0]!.version) return false;
    return rows.different !== null && this.#different.length <= MAX_DIFFERENT;
  }
}

/**
 * Whether snapshots of several connections are of one state of the source. Versions can only be compared on one
 * connection: where they are the same, nothing was committed between its first snapshot and its last one. When there is
 * an instant that is between these on all connections, all have the state of that instant.
 */
export function stoodStill(
  snapshots: ReadonlyMap<number, readonly StoredRows['snapshot'][]>,
): boolean {
  const all = [...snapshots.values()];
  for (const each of all) {
    if (each.some(({ version }) => version !== each[0]!.version)) return false;
  }
  if (all.length === 1 && all[0]!.length === 1) return true;
  const began = all.map((each) =>
    each.reduce((least, { after }) => (after < least ? after : least), each[0]!.after),
  );
  const ended = all.map((each) =>
    each.reduce((most, { before }) => (before > most ? before : most), each[0]!.before),
  );
  const latest = began.reduce((a, b) => (b > a ? b : a));
  return ended.every((end) => end >= latest);
}
