import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { BroadcastChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { StorageSyncError, WorkerError } from '../errors.js';
import { DEFAULT_THREAD_NICENESS } from '../options.js';
import { decodeError } from './error-codec.js';
import { HeldCaches } from './held-caches.js';
import type { ReaderTasks, SessionEnded, TaskResult, WriterTasks } from './messages.js';
import { Semaphore } from './semaphore.js';
import { ThreadAffinity } from './thread-affinity.js';
import type { WorkerData } from './serve.js';
import { KERNEL_FILE, THREAD_FILE, WORKER_URLS, type WorkerUrls } from './worker-urls.js';

/** How many threads a {@link WorkerPool} has, and how much it lets them do at a time. */
export interface WorkerPoolOptions {
  /** Threads that read and encode. Default: one for each core, 2 to 4. */
  readonly readerThreads?: number | undefined;
  /** Threads that write. A cache is always written by the same one. Default: 1. */
  readonly writerThreads?: number | undefined;
  /** Outstanding operations at most. Default: {@link DEFAULT_CONCURRENCY}. */
  readonly concurrency?: number | undefined;
  /**
   * By how much less the threads ask for a processor than the rest of the process: 0 to 19 (`nice`). On Linux alone, where
   * each thread has its own. Default: 10.
   */
  readonly niceness?: number | undefined;
  /** @internal Other thread entries, for tests that put faults between. */
  readonly urls?: WorkerUrls | undefined;
}

/**
 * Of a thread's heap, for objects that are young. V8 would take some 50 MB for them; what is made here is either gone at
 * once or large, and measured no slower with less.
 */
const YOUNG_MB = 12;

/**
 * Of a writer's heap, for objects that are old, whatever the host is given (`--max-old-space-size`): it needs some 20 MB,
 * and must not run out within a transaction. lmdb-js then waits, as the thread ends, for a lock that this very thread holds
 * (`EnvWrap::cleanupStrayTxns`), so that nobody is told that it is lost.
 */
const WRITER_OLD_MB = 256;

/**
 * A sync begins with a task for one reader that all else waits for: on few processors it would take the longer, the more
 * threads load their modules at the same time. About what that takes.
 */
const HEAD_START_MS = 60;

/** Requests a reader thread may have under way: it mostly waits for a server. */
const REQUESTS_PER_READER = 8;

/**
 * The threads of one or many caches. Readers take any request; a generation's writes always go to the same writer,
 * which owns its transactions.
 *
 * No task is ever aborted from outside: ending a thread inside a write transaction would lock the cache for the whole
 * process. Whoever is impatient ends a session, and the readers give it up themselves.
 */
export class WorkerPool implements AsyncDisposable {
  /** The threads that read and encode. */
  readonly readerThreads: number;
  readonly #readers: Piscina;
  readonly #writers: readonly Piscina[];
  readonly #writerOf = new Map<string, Piscina>();
  readonly #outstanding = new Set<Promise<unknown>>();
  /** What the last thread that was lost between tasks ended with. */
  readonly #losses = new Map<Piscina, unknown>();
  readonly #operations: Semaphore;
  readonly #sessions: BroadcastChannel;
  readonly #held = new HeldCaches();
  #closed: Promise<void> | null = null;

  constructor(options: WorkerPoolOptions = {}) {
    const urls = options.urls ?? WORKER_URLS;
    const channel = `storage-sync:${randomUUID()}`;
    const startedBy = (entry: string, loadAfterMs: number): WorkerData => ({
      channel,
      entry,
      kernel: KERNEL_FILE,
      held: this.#held.memory,
      loadAfterMs,
      niceness: options.niceness ?? DEFAULT_THREAD_NICENESS,
    });
    this.readerThreads = options.readerThreads ?? Math.min(4, Math.max(2, availableParallelism()));
    this.#operations = new Semaphore(options.concurrency ?? 10);
    this.#sessions = new BroadcastChannel(channel);
    this.#sessions.unref();
    const common = {
      // A thread that blocks between tasks would never let LMDB's read transactions go, nor hear of ended sessions.
      atomics: 'async',
      filename: THREAD_FILE,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    } as const;
    this.#readers = this.#noteLosses(
      new Piscina({
        ...common,
        workerData: startedBy(urls.reader, HEAD_START_MS),
        minThreads: this.readerThreads,
        maxThreads: this.readerThreads,
        concurrentTasksPerWorker: REQUESTS_PER_READER,
        loadBalancer: new ThreadAffinity(REQUESTS_PER_READER).choose,
      }),
    );
    this.#writers = Array.from({ length: options.writerThreads ?? 1 }, () =>
      this.#noteLosses(
        new Piscina({
          ...common,
          workerData: startedBy(urls.writer, 0),
          resourceLimits: { ...common.resourceLimits, maxOldGenerationSizeMb: WRITER_OLD_MB },
          minThreads: 1,
          maxThreads: 1,
        }),
      ),
    );
  }

  /** A thread that is lost between tasks is replaced; without a listener, its error would end the process. */
  #noteLosses(pool: Piscina): Piscina {
    return pool.on('error', (error: unknown) => this.#losses.set(pool, error));
  }

  /**
   * @internal
   * @param affinity - what it has in common with tasks whose thread is the best for it too.
   */
  async read<Name extends keyof ReaderTasks>(
    task: Name,
    request: ReaderTasks[Name]['request'],
    transfer: readonly ArrayBuffer[] = [],
    affinity?: string,
  ): Promise<ReaderTasks[Name]['response']> {
    return await this.#run(this.#readers, task, request, transfer, affinity);
  }

  /** @internal */
  async write<Name extends keyof WriterTasks>(
    task: Name,
    request: WriterTasks[Name]['request'],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<WriterTasks[Name]['response']> {
    return await this.#run(this.#writer(request.generation.dir), task, request, transfer);
  }

  /** @internal Tells the readers that nobody waits for this session any more. */
  endSession(session: string): void {
    this.#sessions.postMessage({ session } satisfies SessionEnded);
  }

  /** Waits for what is under way, then ends the threads. */
  async close(): Promise<void> {
    this.#closed ??= this.#drain();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #drain(): Promise<void> {
    while (this.#outstanding.size > 0) await Promise.allSettled(this.#outstanding);
    await this.#held.allClosed();
    await Promise.all([this.#readers, ...this.#writers].map(async (pool) => await pool.destroy()));
    this.#sessions.close();
  }

  async #run<Response>(
    pool: Piscina,
    task: string,
    request: object,
    transfer: readonly ArrayBuffer[],
    affinity?: string,
  ): Promise<Response> {
    if (this.#closed) throw new StorageSyncError('CACHE_CLOSED', 'The worker pool is closed.');
    await this.#operations.acquire();
    const message = { task, request };
    const marked = affinity === undefined ? message : ThreadAffinity.mark(message, affinity);
    const running = pool.run(marked, { transferList: [...transfer] }) as Promise<
      TaskResult<Response>
    >;
    this.#outstanding.add(running);
    try {
      const result = await running;
      if (!result.ok) throw decodeError(result.error);
      return result.response;
    } catch (error) {
      // A thread in the place of one that was lost does not know what that had begun.
      const isLost = error instanceof StorageSyncError && error.code === 'WORKER_FAILED';
      if (error instanceof StorageSyncError && !isLost) throw error;
      throw new WorkerError(`The worker failed in ${JSON.stringify(task)}.`, {
        cause: isLost ? (this.#losses.get(pool) ?? error) : error,
        context: { task },
        hint: 'The cache is as it was, and the next sync goes on from what was committed.',
      });
    } finally {
      this.#outstanding.delete(running);
      this.#operations.release();
    }
  }

  #writer(generationDir: string): Piscina {
    let writer = this.#writerOf.get(generationDir);
    if (!writer) {
      const load = (pool: Piscina) =>
        [...this.#writerOf.values()].filter((used) => used === pool).length;
      writer = this.#writers.reduce((least, pool) => (load(pool) < load(least) ? pool : least));
      this.#writerOf.set(generationDir, writer);
    }
    return writer;
  }
}
