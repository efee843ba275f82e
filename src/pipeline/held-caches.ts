import { setTimeout } from 'node:timers/promises';

/** How long is waited for threads that may have been lost with what they held. */
const PATIENCE_MS = 5000;
const PAUSE_MS = 2;

/**
 * How many caches the reader threads of a pool have open, together.
 *
 * A thread closes them some time after their session has ended. lmdb-js ends the whole process where a thread that is
 * being ended closes one, because an error can no longer be thrown there; so threads are not ended before all are closed.
 */
export class HeldCaches {
  readonly #count: Int32Array;

  constructor(memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.#count = new Int32Array(memory);
  }

  /** To be given to other threads. */
  get memory(): SharedArrayBuffer {
    return this.#count.buffer as SharedArrayBuffer;
  }

  opened(): void {
    Atomics.add(this.#count, 0, 1);
  }

  closed(): void {
    Atomics.sub(this.#count, 0, 1);
  }

  /** Resolves when all are closed, or after a while where some are not. */
  async allClosed(): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (Atomics.load(this.#count, 0) > 0 && performance.now() < deadline) {
      await setTimeout(PAUSE_MS);
    }
  }
}
