import { CacheError } from '../errors.js';
import type { ResolvedOptions } from '../options.js';
import type { GenerationRef, SourceRef } from '../pipeline/messages.js';
import type { WorkerPool } from '../pipeline/worker-pool.js';
import type { PageBounds } from '../source/page.js';
import { sourceFingerprint } from '../source/source-fingerprint.js';

/** Said of a file whose newest state was damaged. */
const SET_BACK = 'The cache file was damaged, and was set back to the transaction before its last.';

/** What every job of a cache works with: its options, its threads, and how both sides are opened. */
export class JobContext {
  readonly options: ResolvedOptions;
  readonly #getPool: () => WorkerPool;

  constructor(options: ResolvedOptions, getPool: () => WorkerPool) {
    this.options = options;
    this.#getPool = getPool;
  }

  get cacheDir(): string {
    return this.options.cacheDir;
  }

  /** The threads. The first use starts them. */
  get pool(): WorkerPool {
    return this.#getPool();
  }

  /** Of the source, for a cache to know it by. A file must be there: it is known by its real path. */
  get fingerprint(): string {
    return sourceFingerprint(this.options.source.url);
  }

  get bounds(): PageBounds {
    const { batchSize, maxPageBytes, maxRowBytes } = this.options;
    return { maxRows: batchSize, maxBytes: maxPageBytes, maxRowBytes };
  }

  sourceRef(session: string): SourceRef {
    const { options } = this;
    return {
      session,
      connection: {
        ...options.source,
        requestTimeoutMs: options.requestTimeoutMs,
        retries: options.retries,
        retryInitialMs: options.retryInitialMs,
        retryMaxMs: options.retryMaxMs,
        transport: options.transport,
      },
    };
  }

  /**
   * Opens a generation for writing.
   *
   * @returns warnings.
   * @throws {CacheError} `CACHE_DEFINITION_MISMATCH` when it is a copy of another source.
   */
  async openGeneration(generation: GenerationRef): Promise<string[]> {
    if (generation.create) return [];
    const { source, setBack } = await this.pool.write('open', { generation });
    const isOther = source !== null && source !== this.fingerprint;
    if (!isOther) return setBack ? [SET_BACK] : [];
    throw new CacheError(
      'CACHE_DEFINITION_MISMATCH',
      `The cache ${JSON.stringify(this.cacheDir)} is a copy of another source.`,
      {
        context: { path: this.cacheDir },
        hint: 'Use another --cache directory, or remove this one to start over.',
      },
    );
  }
}
