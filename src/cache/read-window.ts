/** Keys asked of a cache. */
export interface ReadCounts {
  hits: number;
  misses: number;
}

/**
 * How many of the keys that one reader was asked for, by `get`, `getMany` and `has`, the cache had. Of this reader alone:
 * what other readers, threads and processes ask is not known to it.
 */
export interface CacheReads {
  readonly hits: number;
  readonly misses: number;
  /** Hits among all of them, 0 to 1; null where nothing was asked. */
  readonly hitRate: number | null;
  /** When the counting began, as ISO 8601: as a sync was completed, or as the reader was opened. */
  readonly since: string;
}

/** Counts reads from one completed sync to the next. */
export class ReadWindow {
  /** Of the window. The object stays the same, so that counting takes no more than an addition. */
  readonly counts: ReadCounts = { hits: 0, misses: 0 };
  readonly #before: ReadCounts = { hits: 0, misses: 0 };
  #sync: string | null = null;
  #since = Date.now();
  /** The window before, once there was one. */
  ended: CacheReads | null = null;

  get sofar(): CacheReads {
    const { hits, misses } = this.counts;
    const hitRate = hits + misses > 0 ? hits / (hits + misses) : null;
    return { hits, misses, hitRate, since: new Date(this.#since).toISOString() };
  }

  /** Of all windows. */
  get total(): Readonly<ReadCounts> {
    const { hits, misses } = this.counts;
    return { hits: this.#before.hits + hits, misses: this.#before.misses + misses };
  }

  /** @param sync the last completed sync. */
  note(sync: string | null): void {
    if (sync === this.#sync) return;
    const isFirst = this.#sync === null;
    this.#sync = sync;
    const { counts } = this;
    if (!isFirst) this.ended = this.sofar;
    this.#before.hits += counts.hits;
    this.#before.misses += counts.misses;
    counts.hits = 0;
    counts.misses = 0;
    this.#since = Date.now();
  }
}
