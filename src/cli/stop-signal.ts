import { EXIT_SIGINT, EXIT_SIGTERM } from './exit-code.js';

const EXIT_CODE = { SIGINT: EXIT_SIGINT, SIGTERM: EXIT_SIGTERM } as const;

/** Turns the first Ctrl-C (or SIGTERM) into an abort; the second ends the process on the spot. */
export class StopSignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #onStop: () => void;
  #exitCode: number | null = null;

  constructor(onStop: () => void) {
    this.#onStop = onStop;
    process.on('SIGINT', this.#receive).on('SIGTERM', this.#receive);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What to exit with if the signal stopped the work, or null when none came. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    // A second signal while the process is ending by itself must not change what it ends with.
    if (this.#exitCode !== null) return;
    process.off('SIGINT', this.#receive).off('SIGTERM', this.#receive);
  }

  readonly #receive = (name: 'SIGINT' | 'SIGTERM'): void => {
    if (this.#exitCode !== null) process.exit(EXIT_CODE[name]);
    this.#exitCode = EXIT_CODE[name];
    this.#onStop();
    this.#controller.abort();
  };
}
