import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Each is two or three descriptors. */
const MAX_CLOSED = 8;

/**
 * Counts the connections to files that this thread has closed. The driver lets go of a file only when the statements of its
 * connection are collected, and a thread whose rounds are small collects hardly ever: over days it would run out of
 * descriptors. So now and then this collects garbage.
 */
export class ClosedFiles {
  readonly #collect: () => void;
  #count = 0;

  constructor(collect: () => void = collectGarbage) {
    this.#collect = collect;
  }

  /** A connection was closed. */
  note(): void {
    if (++this.#count < MAX_CLOSED) return;
    this.#count = 0;
    // Whoever closed it is still holding it.
    setImmediate(this.#collect).unref();
  }
}

let collector: (() => void) | null = null;

/** Node gives no other way to a thread that was not started with `--expose-gc`. */
function collectGarbage(): void {
  if (collector === null) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  collector();
}
