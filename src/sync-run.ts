import { SyncAbortedError } from './errors.js';
import type { SyncProgress } from './progress.js';
import type { SyncReport } from './report.js';

/**
 * A sync, or a verify, under way. Await it for the report; iterate it for progress, as often as the consumer asks and never slowing
 * the sync down.
 *
 * ```ts
 * const run = storage.sync();
 * for await (const { rowsRead, rowsPerSecond } of run) console.error(rowsRead, rowsPerSecond);
 * const report = await run;
 * ```
 */
export class SyncRun<Report = SyncReport>
  implements PromiseLike<Report>, AsyncIterable<SyncProgress>
{
  readonly #report: Promise<Report>;
  #latest: SyncProgress | null = null;
  #wake: (() => void)[] = [];
  #watch: () => void = () => undefined;
  #ended = false;
  #observed = false;

  /**
   * @param start - is given where to report progress, and a promise of the first one who iterates it: until then totals
   * need not be counted.
   */
  constructor(
    start: (
      onProgress: (progress: SyncProgress) => void,
      watched: Promise<void>,
    ) => Promise<Report>,
  ) {
    const watched = new Promise<void>((watch) => {
      this.#watch = watch;
    });
    this.#report = start((progress) => {
      this.#latest = progress;
      this.#notify();
    }, watched).finally(() => {
      this.#ended = true;
      this.#notify();
    });
    // A failure that nobody asks for is left unhandled, to be noticed. An abort is the owner's own doing.
    this.#report.catch((error: unknown) => {
      if (!this.#observed && !(error instanceof SyncAbortedError)) throw error;
    });
  }

  /** What `await` calls: gives the report, or rejects with what the work failed with. */
  // oxlint-disable-next-line unicorn/no-thenable -- awaiting a run for its report is its interface
  then<Result = Report, Failure = never>(
    onFulfilled?: ((report: Report) => Result | PromiseLike<Result>) | null,
    onRejected?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Result | Failure> {
    this.#observed = true;
    return this.#report.then(onFulfilled, onRejected);
  }

  /** The newest progress, or null before any. Unlike iterating, a look at it does not make totals be counted. */
  get latest(): SyncProgress | null {
    return this.#latest;
  }

  /** Progress as it changes; ends with the sync, and throws what the sync failed with. */
  async *[Symbol.asyncIterator](): AsyncIterator<SyncProgress, void, void> {
    this.#observed = true;
    this.#watch();
    let seen: SyncProgress | null = null;
    for (;;) {
      if (this.#latest !== null && this.#latest !== seen) {
        seen = this.#latest;
        yield seen;
      } else if (this.#ended) {
        await this.#report;
        return;
      } else {
        await new Promise<void>((wake) => this.#wake.push(wake));
      }
    }
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }
}
