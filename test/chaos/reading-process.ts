import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a reading process is to do. Crosses as JSON. */
export interface ReadingOrder {
  readonly cacheDir: string;
  readonly seed: number;
  /** Whether `pair_a` and `pair_b` must always be seen together. */
  readonly together: boolean;
  /** Between two reads. */
  readonly pauseMs: number;
}

/** What it tells when it is asked to end, or at its first complaint. */
export interface ReadingResult {
  readonly reads: number;
  readonly slowestMs: number;
  readonly complaint: string | null;
}

const CHILD = fileURLToPath(new URL('./reading-child.js', import.meta.url));
/** Far more than a read takes on a busy machine: a read that takes longer hangs. */
export const READ_HANGS_MS = 15_000;

/** A process that reads a cache flat out, whatever else goes on. */
export class ReadingProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #result: Promise<ReadingResult>;
  #complaint: string | null = null;

  constructor(order: ReadingOrder) {
    this.#child = fork(CHILD, [JSON.stringify(order)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let stderr = '';
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    this.#result = new Promise((resolve) => {
      let told: ReadingResult | null = null;
      this.#child.on('message', (message) => {
        told = message as ReadingResult;
        this.#complaint = told.complaint;
      });
      this.#child.on('close', (code, signal) => {
        const complaint = `the reader ended with ${signal ?? code}: ${stderr}`;
        this.#complaint ??= told ? null : complaint;
        resolve(told ?? { reads: 0, slowestMs: 0, complaint });
      });
    });
  }

  /** @throws what the process has complained of so far. */
  check(): void {
    assert.equal(this.#complaint, null, 'the reader has nothing to complain of');
  }

  /** Ends it, and tells how many reads it has done. */
  async end(): Promise<ReadingResult> {
    if (this.#child.connected) this.#child.send('end');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), READ_HANGS_MS);
    const result = await this.#result;
    clearTimeout(timer);
    this.check();
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#result;
  }
}
