import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { makeDirectory } from './cache/files.js';
import { readManifest } from './cache/manifest.js';
import type { CacheReads } from './cache/read-window.js';
import { openCache, type CacheReader } from './cache/reader.js';
import { refuseOpenToAll } from './cache/safe-directory.js';
import { readStatus, type CacheStatus } from './cache/status.js';
import { CacheError, describeError, SyncAbortedError } from './errors.js';
import { JobContext } from './jobs/context.js';
import { PACED, ResilientSync, type Pace } from './jobs/resilient-sync.js';
import { runVerify } from './jobs/verify.js';
import { SILENT_LOGGER, type Logger } from './logger.js';
import { resolveOptions, type ResolvedOptions, type StorageSyncOptions } from './options.js';
import type { SourceRef } from './pipeline/messages.js';
import { WorkerPool } from './pipeline/worker-pool.js';
import { ProgressMeter } from './progress-meter.js';
import { resolveReadThroughOptions, type ReadThroughOptions } from './read-through/options.js';
import { ReadThrough, type ReadThroughShared } from './read-through/read-through.js';
import { RowStore } from './read-through/row-store.js';
import { SourceLookUp } from './read-through/source-look-up.js';
import type { SyncReport } from './report.js';
import { serverAddress } from './source/hrana/server-url.js';
import type { SyncOptions } from './sync-options.js';
import { SyncRun } from './sync-run.js';
import type { RowOf, TableDefinition } from './table-definition.js';
import { Telemetry, type Job } from './telemetry/telemetry.js';
import type { SourceRow } from './values.js';
import { checkVerifyOptions } from './verify/options.js';
import type { VerifyOptions, VerifyReport } from './verify/report.js';
import { resolveWatchOptions, type WatchOptions } from './watch/watch-options.js';
import { Watch, type Watched } from './watch/watch.js';

/** What {@link StorageSync.open} takes. */
export interface OpenOptions extends StorageSyncOptions {
  /** Threads to share with other caches. Without it, this cache has its own, and `close` ends them. */
  readonly pool?: WorkerPool | undefined;
  /** Where to tell what is done. Default: nowhere. */
  readonly logger?: Logger | undefined;
  /** Where measurements go. Default: the global provider of the OpenTelemetry API. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Where spans go. Default: the global provider of the OpenTelemetry API. */
  readonly tracerProvider?: TracerProvider | undefined;
}

/** What a `StorageSync` shares with the program around it. */
type Surroundings = Omit<OpenOptions, keyof StorageSyncOptions>;

/**
 * Keeps one cache directory true to one source.
 *
 * ```ts
 * await using storage = await StorageSync.open({ source: { url: 'file:app.db' }, cacheDir: './cache' });
 * const report = await storage.sync();
 * storage.cache.table('patterns').get('p1');
 * ```
 *
 * Invariant: readers see only generations that were once complete; a sync that fails leaves them as they were.
 */
export class StorageSync implements AsyncDisposable {
  readonly #options: ResolvedOptions;
  readonly #context: JobContext;
  readonly #syncs: ResilientSync;
  readonly #sharedPool: WorkerPool | null;
  #ownPool: WorkerPool | null = null;
  #cache: CacheReader | null = null;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #watches = new Set<Watch>();
  readonly #logger: Logger;
  readonly #telemetry: Telemetry;
  #readThrough: ReadThroughShared | null = null;

  private constructor(options: ResolvedOptions, surroundings: Surroundings) {
    this.#options = options;
    this.#context = new JobContext(options, () => this.#pool());
    this.#syncs = new ResilientSync(this.#context, () =>
      this.#readsOf((cache) => cache.readsBeforeSync()),
    );
    const { pool, logger = SILENT_LOGGER, ...providers } = surroundings;
    this.#sharedPool = pool ?? null;
    this.#logger = logger;
    const { cacheDir } = options;
    const observed = {
      cacheDir,
      status: () => this.status(),
      reads: () => this.#cache?.allReads ?? null,
    };
    this.#telemetry = new Telemetry(observed, { ...providers, logger });
  }

  /**
   * Checks the options and makes the directory. Contacts no source and starts no thread.
   *
   * @throws {ConfigError} when an option is wrong.
   * @throws {CacheError} when the directory cannot be used.
   */
  static async open(options: OpenOptions): Promise<StorageSync> {
    const { pool, logger, meterProvider, tracerProvider, ...rest } = options;
    const resolved = resolveOptions(rest);
    await makeDirectory(resolved.cacheDir);
    refuseOpenToAll(resolved.cacheDir);
    refuseForeign(resolved.cacheDir);
    return new StorageSync(resolved, { pool, logger, meterProvider, tracerProvider });
  }

  /** Reads the cache; see {@link openCache}. Opened by the first use. */
  get cache(): CacheReader {
    this.#cache ??= openCache(this.#options.cacheDir, {
      validateChecksums: this.#options.validateChecksums,
    });
    return this.#cache;
  }

  /**
   * Brings the cache up to date: goes on from an interrupted sync, or reads all tables and writes what differs. The
   * first sync builds the cache aside and publishes it when it is complete. Where the source is away and a cache is
   * served, the report says `skipped`.
   *
   * @example
   * ```ts
   * const { mode, tables, warnings } = await storage.sync({ signal: AbortSignal.timeout(60_000) });
   * ```
   */
  sync(options: SyncOptions = {}): SyncRun {
    return this.#start('full', options);
  }

  /** Builds the cache anew beside the one that is served, then publishes it. */
  rebuild(options: SyncOptions = {}): SyncRun {
    return this.#start('rebuild', options);
  }

  /**
   * Holds the cache against the source, and with `repair` rewrites what differs. Reads go on meanwhile; a sync does not.
   *
   * ```ts
   * const report = await storage.verify({ level: 'deep', repair: true });
   * if (report.left > 0) console.error(report.tables);
   * ```
   *
   * @throws {ConfigError} when an option is wrong.
   */
  verify(options: VerifyOptions = {}): SyncRun<VerifyReport> {
    checkVerifyOptions(options);
    return this.#launch('verify', options, (signal, meter) =>
      runVerify(this.#context, options, signal, meter),
    );
  }

  /**
   * Keeps the cache true from now on: syncs at once, then on an interval, before it is stale, after an outage, and on
   * request, until the watch or this is closed. Syncs of one's own are better asked of the watch, which waits for turns.
   *
   * @throws {ConfigError} when an option is wrong.
   */
  watch(options: WatchOptions = {}): Watch {
    const resolved = resolveWatchOptions(options);
    this.#refuseClosed();
    const { cacheDir, staleAfterMs, source } = this.#options;
    const watched: Watched = {
      cacheDir,
      staleAfterMs,
      sourceUrl: source.url,
      sync: (asked) => this.#start('full', asked, PACED),
      rebuild: (asked) => this.#start('rebuild', asked, PACED),
      verify: (asked) => this.verify(asked),
      status: () => this.status(),
    };
    const watch = new Watch(watched, resolved, this.#logger);
    this.#watches.add(watch);
    void watch.stopped.then(() => this.#watches.delete(watch));
    const { signal } = options;
    const onAbort = () => void watch.stop();
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    void watch.stopped.then(() => signal?.removeEventListener('abort', onAbort));
    return watch;
  }

  /**
   * Reads a table from the cache, and what that does not have from the source: see {@link ReadThrough}. Make one for a
   * table and keep it: it holds what is remembered, and lets its callers share what they wait for.
   *
   * @example
   * ```ts
   * const users = storage.readThrough('users');
   * const user = await users.get(42);
   * ```
   *
   * @throws {ConfigError} when an option is wrong.
   */
  readThrough<Definition extends TableDefinition>(
    table: Definition,
    options?: ReadThroughOptions,
  ): ReadThrough<RowOf<Definition>>;
  readThrough(name: string, options?: ReadThroughOptions): ReadThrough<SourceRow>;
  readThrough(
    table: TableDefinition | string,
    options: ReadThroughOptions = {},
  ): ReadThrough<SourceRow> {
    const resolved = resolveReadThroughOptions(options);
    this.#refuseClosed();
    const definition = typeof table === 'string' ? { name: table } : table;
    return ReadThrough.over(definition, resolved, this.#shareReadThrough());
  }

  /** Tells how the cache stands, without contacting the source. */
  async status(): Promise<CacheStatus> {
    const { cacheDir, staleAfterMs, staleAfterFailures } = this.#options;
    const status = await readStatus(cacheDir, { staleAfterMs, staleAfterFailures });
    const reads = this.#readsOf((cache) => cache.reads);
    return reads ? { ...status, reads } : status;
  }

  /** Stops syncs at their next batch, waits for them, and ends the threads. */
  async close(): Promise<void> {
    this.#closing.abort(new SyncAbortedError());
    await Promise.all([...this.#watches].map((watch) => watch.stop()));
    await Promise.allSettled(this.#running);
    this.#readThrough?.lookUp.close();
    await this.#readThrough?.store.close();
    await this.#ownPool?.close();
    await this.#cache?.close();
    this.#cache = null;
    this.#telemetry.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Of a cache that was read. One that cannot be read just now says so to whoever reads it. */
  #readsOf(look: (cache: CacheReader) => CacheReads | null): CacheReads | null {
    if (this.#cache === null) return null;
    try {
      return look(this.#cache);
    } catch {
      return null;
    }
  }

  #shareReadThrough(): ReadThroughShared {
    const options = this.#options;
    const logger = this.#logger;
    this.#readThrough ??= {
      cache: () => this.cache,
      lookUp: new SourceLookUp({
        pool: () => this.#pool(),
        sourceRef: (session) => this.#lookUpRef(session),
        bounds: this.#context.bounds,
      }),
      store: new RowStore({
        cacheDir: options.cacheDir,
        pool: () => this.#pool(),
        openGeneration: async (generation) => await this.#context.openGeneration(generation),
        isSyncing: () => this.#running.size > 0,
        onStored: (rows) => this.#telemetry.rowsStored(rows),
        onFailed: (error) =>
          logger.warn(
            { err: error },
            `Rows that were read through could not be stored. ${describeError(error)}`,
          ),
        onWarning: (warning) => logger.warn({}, warning),
      }),
      onRowError: options.onRowError,
      logger,
      closing: this.#closing.signal,
      onLookedUp: (note) => this.#telemetry.lookedUp(note),
    };
    return this.#readThrough;
  }

  /** The source for somebody who waits for a row: tried again less often than by a sync. */
  #lookUpRef(session: string): SourceRef {
    const { connection } = this.#context.sourceRef(session);
    const retries = Math.min(this.#options.retries, LOOK_UP_RETRIES);
    const isServer = serverAddress(connection.url) !== null && connection.transport !== 'client';
    // A cursor is worth nothing for some rows, and to ask whether there is one costs a round trip.
    const transport = isServer ? 'http-pipeline' : connection.transport;
    return { session, connection: { ...connection, retries, transport } };
  }

  #start(mode: 'full' | 'rebuild', options: SyncOptions, pace: Pace = {}): SyncRun {
    const job = mode === 'full' ? 'sync' : 'rebuild';
    return this.#launch(job, options, (signal, meter) =>
      this.#syncs.run(mode, { ...options, ...pace }, signal, meter),
    );
  }

  #launch<Report extends SyncReport | VerifyReport>(
    job: Job,
    { signal, onProgress }: Pick<SyncOptions, 'signal' | 'onProgress'>,
    work: (signal: AbortSignal, meter: ProgressMeter) => Promise<Report>,
  ): SyncRun<Report> {
    this.#refuseClosed();
    const signals = signal ? [signal, this.#closing.signal] : [this.#closing.signal];
    return new SyncRun((report, iterated) => {
      const run = this.#telemetry.job(job, async (observe) => {
        const meter = new ProgressMeter(
          (progress) => {
            report(progress);
            observe(progress);
            onProgress?.(progress);
          },
          onProgress ? Promise.resolve() : iterated,
        );
        await this.#readThrough?.store.idle();
        return await work(AbortSignal.any(signals), meter);
      });
      const settled = run.then(
        () => undefined,
        () => undefined,
      );
      this.#running.add(settled);
      void settled.then(() => this.#running.delete(settled));
      return run;
    });
  }

  #refuseClosed(): void {
    if (!this.#closing.signal.aborted) return;
    throw new CacheError('CACHE_CLOSED', 'This StorageSync is closed.', { hint: 'Open it again.' });
  }

  #pool(): WorkerPool {
    if (this.#sharedPool) return this.#sharedPool;
    this.#ownPool ??= new WorkerPool({
      readerThreads: this.#options.readerThreads,
      niceness: this.#options.threadNiceness,
      concurrency: this.#options.concurrency,
    });
    return this.#ownPool;
  }
}

/** Further tries of a request for a row that somebody waits for, at most. */
const LOOK_UP_RETRIES = 1;

/** Whether a directory can be this cache's. One that is damaged is mended by a sync. */
function refuseForeign(cacheDir: string): void {
  try {
    readManifest(cacheDir);
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
  }
}
