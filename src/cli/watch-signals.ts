import type { Logger } from '../logger.js';
import type { Watch } from '../watch/watch.js';
import { EXIT_DONE, EXIT_FAILED, EXIT_SIGINT, EXIT_SIGTERM } from './exit-code.js';

const AT_ONCE = { SIGINT: EXIT_SIGINT, SIGTERM: EXIT_SIGTERM } as const;

/**
 * Hears the signals of a watch: SIGHUP asks for a sync; the first SIGTERM or SIGINT stops the watch, and the process
 * after `stopTimeoutMs` in any case; the second ends it on the spot.
 */
export class WatchSignals implements Disposable {
  readonly #watch: Watch;
  readonly #stopTimeoutMs: number;
  readonly #logger: Logger;
  #stoppedBy: keyof typeof AT_ONCE | null = null;

  constructor(watch: Watch, stopTimeoutMs: number, logger: Logger) {
    this.#watch = watch;
    this.#stopTimeoutMs = stopTimeoutMs;
    this.#logger = logger;
    process.on('SIGHUP', this.#sync).on('SIGINT', this.#stop).on('SIGTERM', this.#stop);
  }

  /** What to exit with: a service manager's SIGTERM is no failure. */
  get exitCode(): number {
    return this.#stoppedBy === 'SIGINT' ? EXIT_SIGINT : EXIT_DONE;
  }

  [Symbol.dispose](): void {
    process.off('SIGHUP', this.#sync);
    // A further signal while the process is ending by itself must not change what it ends with.
    if (this.#stoppedBy === null) process.off('SIGINT', this.#stop).off('SIGTERM', this.#stop);
  }

  readonly #sync = (): void => {
    this.#logger.info({ signal: 'SIGHUP' }, 'a sync is asked for');
    // Its failure is told where it is met.
    this.#watch.sync().catch(() => undefined);
  };

  readonly #stop = (signal: keyof typeof AT_ONCE): void => {
    if (this.#stoppedBy !== null) process.exit(AT_ONCE[signal]);
    this.#stoppedBy = signal;
    this.#logger.info({ signal }, 'stopping at the next batch');
    void this.#watch.stop();
    setTimeout(() => {
      const stopTimeoutMs = this.#stopTimeoutMs;
      this.#logger.error({ stopTimeoutMs }, 'not stopped in time: ended as it is');
      process.exit(EXIT_FAILED);
    }, this.#stopTimeoutMs).unref();
  };
}
