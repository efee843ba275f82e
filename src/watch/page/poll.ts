import type { ServerClock } from './clock.js';
import type { StatusDocument } from '../status-document.js';

const IDLE_MS = 2000;
const RUNNING_MS = 500;
const MAX_BACKOFF_MS = 30_000;
const TIMEOUT_MS = 10_000;

/** What a poll found: how the watch stands, or since when and how often it gave no answer. */
export type Found =
  | { readonly status: StatusDocument; readonly at: number }
  | { readonly failures: number; readonly why: string; readonly retryAt: number };

/** Asks for the status again and again while the page is seen, less often while there is no answer. */
export class Poll {
  readonly #clock: ServerClock;
  readonly #onFound: (found: Found) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #askAgain = false;
  #failures = 0;

  constructor(clock: ServerClock, onFound: (found: Found) => void) {
    this.#clock = clock;
    this.#onFound = onFound;
    document.addEventListener('visibilitychange', () => this.askNow());
  }

  /** Asks at once, and goes on from there. Nothing while the page is hidden. */
  askNow(): void {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    if (this.#asking) this.#askAgain = true;
    else void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    let waitMs: number;
    try {
      const status = await this.#fetchStatus();
      this.#failures = 0;
      waitMs = status.running ? RUNNING_MS : IDLE_MS;
      this.#onFound({ status, at: performance.now() });
    } catch (error) {
      waitMs = Math.min(MAX_BACKOFF_MS, IDLE_MS * 2 ** this.#failures++);
      const retryAt = performance.now() + waitMs;
      this.#onFound({ failures: this.#failures, why: reasonOf(error), retryAt });
    } finally {
      this.#asking = false;
    }
    if (this.#askAgain) waitMs = 0;
    this.#askAgain = false;
    if (!document.hidden) this.#timer = setTimeout(() => void this.#ask(), waitMs);
  }

  async #fetchStatus(): Promise<StatusDocument> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch('status.json', { signal, cache: 'no-store' }).catch(unreachable);
    if (!response.ok) throw new Error(`It answered with status ${response.status}.`);
    this.#clock.observe(response.headers.get('Date'));
    const answer: unknown = await response.json();
    if (!isStatus(answer)) throw new SyntaxError('There is no state of a cache in it.');
    return answer;
  }
}

/** Whether it is of the watch at all; what is in it the watch is trusted with. */
function isStatus(answer: unknown): answer is StatusDocument {
  const { cache, history } = (answer ?? {}) as Partial<StatusDocument>;
  return typeof cache?.state === 'string' && Array.isArray(history);
}

/** What browsers say of a connection that failed differs, and tells nothing. */
function unreachable(error: unknown): never {
  throw error instanceof TypeError ? new Error('It cannot be reached.') : error;
}

function reasonOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'It answered with something that is no status.';
  if (error instanceof DOMException) return `It took longer than ${TIMEOUT_MS / 1000} s.`;
  return error instanceof Error ? error.message : String(error);
}
