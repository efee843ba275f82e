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
  #count = 0;

  /** A connection was closed. */
  note(): void {
    if (++this.#count < MAX_CLOSED) return;
    this.#count = 0;
    // Whoever closed it is still holding it.
    setImmediate(collectGarbage).unref();
  }
}

type Collector = () => void;

let collector: Collector | null = null;

function collectGarbage(): void {
  collector ??= (globalThis as { readonly gc?: Collector }).gc ?? exposeCollector();
  collector?.();
}

/**
 * Node gives no other way to a process that was not started with `--expose-gc`. The flag is the whole process's: another
 * thread may have taken it back at the same time, and then there is none for now.
 */
function exposeCollector(): Collector | null {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext("typeof gc === 'function' ? gc : null");
  setFlagsFromString('--no-expose-gc');
  return found as Collector | null;
}
