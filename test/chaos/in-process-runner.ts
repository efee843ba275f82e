import { StorageSync, StorageSyncError, WorkerPool } from '../../src/index.js';
import { Countdowns } from './flaky/countdowns.js';
import {
  endOf,
  type Failed,
  type SyncEnd,
  type SyncOrder,
  type SyncRunner,
  type VerifyEnd,
  type VerifyOrder,
} from './sync-order.js';
import type { StorageSyncOptions } from '../../src/index.js';

const HANG_MS = 60_000;
const URLS = {
  reader: new URL('./flaky/reader.js', import.meta.url).href,
  writer: new URL('./flaky/writer.js', import.meta.url).href,
};

/** Runs syncs in this process, all with the same threads: quickly, and without kills. */
export class InProcessRunner implements SyncRunner, AsyncDisposable {
  readonly isFast = true;
  readonly #countdowns = new Countdowns();
  readonly #pool = new WorkerPool({ urls: URLS, readerThreads: 2 });

  async run(options: StorageSyncOptions, order: SyncOrder): Promise<SyncEnd> {
    const stop = new AbortController();
    const abort = () => stop.abort();
    const { upset, mode, full, allowLoss } = order;
    let abortTimer: NodeJS.Timeout | undefined;
    if (upset?.kind === 'cut at statement') this.#countdowns.cutAtStatement(upset.statement);
    if (upset?.kind === 'fail at transaction') {
      this.#countdowns.failAtTransaction(upset.transaction);
    }
    if (upset?.kind === 'abort at statement') {
      this.#countdowns.abortAtStatement(upset.statement, abort);
    }
    if (upset?.kind === 'abort after') abortTimer = setTimeout(abort, upset.ms);
    await using storage = await StorageSync.open({
      ...options,
      ...order.options,
      pool: this.#pool,
    });
    try {
      const run = storage[mode]({ full, allowLoss, signal: stop.signal });
      return endOf(await soon(run));
    } catch (error) {
      return failed(error);
    } finally {
      clearTimeout(abortTimer);
      this.#countdowns.clear();
    }
  }

  async verify(options: StorageSyncOptions, order: VerifyOrder): Promise<VerifyEnd> {
    const { level, repair, upset } = order;
    const signal = upset?.kind === 'abort after' ? AbortSignal.timeout(upset.ms) : undefined;
    await using storage = await StorageSync.open({ ...options, pool: this.#pool });
    try {
      const run = storage.verify({ level, repair, signal, allowLoss: true });
      return { kind: 'verified', report: await soon(run) };
    } catch (error) {
      return failed(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
    this.#countdowns[Symbol.dispose]();
  }
}

function failed(error: unknown): Failed {
  if (!(error instanceof StorageSyncError)) throw error;
  return { kind: 'failed', code: error.code, message: error.message };
}

async function soon<T>(work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the sync hangs')), HANG_MS);
  });
  try {
    return await Promise.race([work, hang]);
  } finally {
    clearTimeout(timer);
  }
}
