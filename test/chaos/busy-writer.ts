import { Worker } from 'node:worker_threads';

/** Transactions for a thread that goes on writing, over and over, until it is stopped. */
export interface WriterOrder {
  readonly file: string;
  readonly transactions: readonly (readonly string[])[];
  readonly pauseMs: number;
  readonly committed: SharedArrayBuffer;
  readonly stop: SharedArrayBuffer;
}

/** A thread that writes to a source while other things go on. */
export class BusyWriter {
  readonly #thread: Worker;
  readonly #ended: Promise<void>;
  readonly #committed = new Int32Array(new SharedArrayBuffer(4));
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));

  constructor(order: Pick<WriterOrder, 'file' | 'transactions' | 'pauseMs'>) {
    const workerData: WriterOrder = {
      ...order,
      committed: this.#committed.buffer,
      stop: this.#stop.buffer,
    };
    this.#thread = new Worker(new URL('./busy-writer-thread.js', import.meta.url), { workerData });
    this.#ended = new Promise((resolve, reject) => {
      this.#thread.on('error', reject);
      this.#thread.on('exit', () => resolve());
    });
    this.#ended.catch(() => undefined);
  }

  /** Waits for its first transaction, so that whatever comes then comes while it writes. */
  async started(): Promise<void> {
    const begun = new Promise<void>((resolve) => this.#thread.once('message', () => resolve()));
    await Promise.race([begun, this.#ended]);
  }

  /** Ends it after the transaction under way, and tells how many it has committed. */
  async stop(): Promise<number> {
    Atomics.store(this.#stop, 0, 1);
    Atomics.notify(this.#stop, 0);
    await this.#ended;
    return Atomics.load(this.#committed, 0);
  }
}
