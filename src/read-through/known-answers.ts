import { LRUCache } from 'lru-cache';
import type { TablePlace } from '../cache/reader.js';
import type { ResolvedReadThroughOptions } from './options.js';

/** What the source said of a key: the value of its record, or null where it has no row. */
export interface Answer {
  readonly value: Buffer | null;
  /** Where the table stood before the source was asked. */
  readonly place: TablePlace;
}

/** What an entry takes besides its bytes, about. */
const ENTRY_BYTES = 200;

/**
 * What the source said lately, in bounded memory. Each answer ends after its time, and is no longer to be believed once
 * a sync was completed: whoever takes one looks at its place.
 */
export class KnownAnswers {
  readonly #rows: LRUCache<string, Answer> | null;
  readonly #absent: LRUCache<string, Answer> | null;

  constructor(options: ResolvedReadThroughOptions) {
    const { maxNegatives, negativeTtlMs, maxKeptBytes, keptTtlMs } = options;
    this.#rows =
      maxKeptBytes > 0 && keptTtlMs > 0
        ? new LRUCache({
            maxSize: maxKeptBytes,
            sizeCalculation: ({ value }, key) => ENTRY_BYTES + key.length + (value?.length ?? 0),
            ttl: keptTtlMs,
          })
        : null;
    this.#absent =
      maxNegatives > 0 && negativeTtlMs > 0
        ? new LRUCache({ max: maxNegatives, ttl: negativeTtlMs })
        : null;
  }

  /** Rows held. */
  get rows(): number {
    return this.#rows?.size ?? 0;
  }

  /** Keys that are known to have no row. */
  get negatives(): number {
    return this.#absent?.size ?? 0;
  }

  get(key: string): Answer | undefined {
    return this.#rows?.get(key) ?? this.#absent?.get(key);
  }

  set(key: string, answer: Answer): void {
    this.delete(key);
    (answer.value === null ? this.#absent : this.#rows)?.set(key, answer);
  }

  delete(key: string): void {
    this.#rows?.delete(key);
    this.#absent?.delete(key);
  }
}
