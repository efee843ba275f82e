import { setImmediate } from 'node:timers/promises';
import type { BytesDatabase } from '../cache/environment.js';
import type { Checksum } from '../transform/checksum.js';
import type { KeySums } from './tasks.js';

/** Rows of a table for one sum, until there are {@link MAX_SUMS}. */
const ROWS_PER_SUM = 16;
const MIN_SUMS = 64;
const MAX_SUMS = 65_536;
/** Keys walked between two turns of the thread's other work. */
const KEYS_PER_TURN = 2_000;

/** Sums for a table of about so many rows. */
export function newSums(rows: number): KeySums {
  let count = MIN_SUMS;
  while (count < MAX_SUMS && count * ROWS_PER_SUM < rows) count *= 2;
  return new BigUint64Array(count);
}

/**
 * Which keys a scan has seen that comes in another order than the keys, in memory that does not grow with them: a key's
 * hash is added to the one of many sums that the hash itself chooses. A sum that the cache's own keys do not make up
 * has a key that only one side has (or that was seen twice); all the cache's keys of that sum are then looked up.
 */
export class SeenKeys {
  readonly #sums: KeySums;
  readonly #mask: bigint;
  readonly #checksum: Checksum;

  constructor(sums: KeySums, checksum: Checksum) {
    this.#sums = sums;
    this.#mask = BigInt(sums.length - 1);
    this.#checksum = checksum;
  }

  add(key: Uint8Array): void {
    const hash = this.#checksum(key);
    const at = Number(hash & this.#mask);
    this.#sums[at] = this.#sums[at]! + hash;
  }

  /** Takes off the keys of the cache. What is not zero then is suspect. */
  async reduce(rows: BytesDatabase, signal: AbortSignal): Promise<void> {
    await walkKeys(rows, null, signal, (keys) => {
      for (const key of keys) this.#take(key);
      return true;
    });
  }

  /** The next keys of the cache whose sums are suspect, about `count` at a time. */
  async suspects(
    rows: BytesDatabase,
    after: Uint8Array | null,
    count: number,
    signal: AbortSignal,
  ): Promise<SuspectKeys> {
    if (this.#sums.every((sum) => sum === 0n)) return { keys: [], after, done: true };
    const found: Uint8Array[] = [];
    const end = await walkKeys(rows, after, signal, (keys) => {
      for (const key of keys) if (this.#isSuspect(key)) found.push(new Uint8Array(key));
      return found.length < count;
    });
    return { keys: found, ...end };
  }

  #take(key: Uint8Array): void {
    const hash = this.#checksum(key);
    const at = Number(hash & this.#mask);
    this.#sums[at] = this.#sums[at]! - hash;
  }

  #isSuspect(key: Uint8Array): boolean {
    return this.#sums[Number(this.#checksum(key) & this.#mask)] !== 0n;
  }
}

export interface SuspectKeys {
  readonly keys: readonly Uint8Array[];
  readonly after: Uint8Array | null;
  readonly done: boolean;
}

/** Visits the keys behind one in runs, with a turn for other work between them, until `visit` says false. */
async function walkKeys(
  rows: BytesDatabase,
  after: Uint8Array | null,
  signal: AbortSignal,
  visit: (keys: readonly Buffer[]) => boolean,
): Promise<{ readonly after: Uint8Array | null; readonly done: boolean }> {
  let last = after;
  for (;;) {
    signal.throwIfAborted();
    const start = last === null ? {} : { start: Buffer.from(last), exclusiveStart: true };
    const keys = [...rows.getKeys({ ...start, limit: KEYS_PER_TURN })];
    const goesOn = visit(keys);
    last = keys.length > 0 ? new Uint8Array(keys.at(-1)!) : last;
    if (keys.length < KEYS_PER_TURN) return { after: last, done: true };
    if (!goesOn) return { after: last, done: false };
    await setImmediate();
  }
}
