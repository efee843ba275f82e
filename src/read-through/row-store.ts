import type { TablePlace } from '../cache/reader.js';
import { CacheLock, READ_THROUGH_MODE } from '../cache/lock.js';
import { generationPath } from '../cache/layout.js';
import { liveGeneration } from '../cache/manifest.js';
import type { GenerationRef } from '../pipeline/messages.js';
import type { WorkerPool } from '../pipeline/worker-pool.js';
import { packRecords } from '../transform/batch.js';

/** A row that the source gave, and where it belongs. */
export interface FetchedRow {
  readonly place: TablePlace;
  readonly key: Uint8Array;
  readonly value: Buffer;
  /** Called once it is in the cache. */
  readonly onStored: () => void;
}

export interface RowStoreTarget {
  readonly cacheDir: string;
  readonly pool: () => WorkerPool;
  /** Opens a generation to write, unless it is of another source. Gives warnings. */
  readonly openGeneration: (generation: GenerationRef) => Promise<readonly string[]>;
  /** Whether this process is about to write the cache otherwise. */
  readonly isSyncing: () => boolean;
  readonly onStored: (rows: number) => void;
  readonly onFailed: (error: unknown) => void;
  readonly onWarning: (warning: string) => void;
}

/** Rows are stored together so long after the first of them came: each transaction is forced to disk. */
const STORE_DELAY_MS = 100;
/** When to try again where somebody else writes the cache. */
const LOCKED_DELAY_MS = 1000;
/** Of rows that wait, at most. What is beyond stays in memory only. */
const MAX_ROWS = 1000;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Stores fetched rows in the cache, in the background. Never waits for the cache's lock, and holds it for one transaction:
 * where a sync is under way anywhere, rows wait, and are dropped when it has come further in their table.
 */
export class RowStore {
  readonly #target: RowStoreTarget;
  #waiting: FetchedRow[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #storing: Promise<void> | null = null;
  #closed = false;
  /** The sync since which the cache could not be written. Another one has to succeed before it is tried again. */
  #failedSince: string | null | undefined;

  constructor(target: RowStoreTarget) {
    this.#target = target;
  }

  add(row: FetchedRow): void {
    const { place, key, value } = row;
    if (this.#closed || place.stamp === null || this.#failedSince === place.sync) return;
    if (this.#waiting.length >= MAX_ROWS || this.#bytes >= MAX_BYTES) return;
    this.#waiting.push(row);
    this.#bytes += key.byteLength + value.byteLength;
    this.#schedule(STORE_DELAY_MS);
  }

  /** Resolves when nothing is being stored. */
  async idle(): Promise<void> {
    await this.#storing;
  }

  /** Waits for what is being stored. What waits to be is dropped: the source has it. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#drop();
    await this.#storing;
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== null || this.#storing !== null || this.#waiting.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#storing = this.#store().then((delay) => {
        this.#storing = null;
        if (!this.#closed) this.#schedule(delay);
      });
    }, delayMs).unref();
  }

  /** @returns when to go on with what waits then. */
  async #store(): Promise<number> {
    const { cacheDir, isSyncing, onFailed } = this.#target;
    try {
      if (isSyncing()) return LOCKED_DELAY_MS;
      await using lock = await CacheLock.tryAcquire(cacheDir, READ_THROUGH_MODE);
      if (lock === null) return LOCKED_DELAY_MS;
      const rows = this.#drop();
      try {
        await this.#write(rows);
        this.#failedSince = undefined;
      } catch (error) {
        this.#failedSince = rows[0]?.place.sync;
        throw error;
      }
    } catch (error) {
      this.#drop();
      onFailed(error);
    }
    return STORE_DELAY_MS;
  }

  async #write(rows: readonly FetchedRow[]): Promise<void> {
    const { cacheDir, pool, openGeneration, onStored, onWarning } = this.#target;
    const live = liveGeneration(cacheDir);
    const groups = new Map<TablePlace, FetchedRow[]>();
    for (const row of rows) {
      if (row.place.generation !== live) continue;
      const group = groups.get(row.place);
      if (group) group.push(row);
      else groups.set(row.place, [row]);
    }
    if (live === null || groups.size === 0) return;
    const dir = generationPath(cacheDir, live);
    const generation = { dir, unpublished: false, create: false };
    try {
      for (const warning of await openGeneration(generation)) onWarning(warning);
      const fetched = [...groups].map(([{ tableId, stamp }, group]) => {
        return { tableId, stamp: stamp!, batch: packRecords(group) };
      });
      const memory = fetched.flatMap(({ batch }) => [batch.arena, batch.spans]);
      const { added } = await pool().write('addFetched', { generation, fetched }, memory);
      onStored(added.reduce<number>((sum, count) => sum + (count ?? 0), 0));
      for (const [i, group] of [...groups.values()].entries()) {
        if (added[i] !== null) for (const { onStored: tell } of group) tell();
      }
    } finally {
      await pool()
        .write('close', { generation })
        .catch(() => undefined);
    }
  }

  #drop(): readonly FetchedRow[] {
    const rows = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    return rows;
  }
}
