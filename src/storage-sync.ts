import { randomInt, randomUUID } from 'node:crypto';
import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import type { TableCheckpoint } from './cache/catalog.js';
import { isSpurious } from './cache/environment.js';
import { makeDirectory, removeLeftovers } from './cache/files.js';
import { forgetDamage, readDamage } from './cache/damage-notes.js';
import type { Preparation, PreparedTable } from './cache/generation-writer.js';
import { describeSnapshot, snapshotsHeldError, SnapshotWatch } from './cache/held-snapshots.js';
import { generationPath } from './cache/layout.js';
import { CacheLock } from './cache/lock.js';
import { healManifest, readManifest } from './cache/manifest.js';
import type { CacheReads } from './cache/read-window.js';
import { openCache, type CacheReader } from './cache/reader.js';
import { refuseOpenToAll } from './cache/safe-directory.js';
import { schemaChange } from './cache/schema-change.js';
import { noteFailure, noteSuccess, readAcknowledged, readRowCounts } from './cache/state-file.js';
import { readStatus, servedTables, type CacheStatus } from './cache/status.js';
import { CacheError, describeError, LossError, SourceError, SyncAbortedError } from './errors.js';
import { chooseGeneration, dropBuilding, publish, type Target } from './generations.js';
import { refuseLoss, refuseLosses, type TableRename } from './loss-guard.js';
import { cursorWarnings, modeWarnings, restoredWarnings } from './mode-warnings.js';
import { resolveOptions, type ResolvedOptions, type StorageSyncOptions } from './options.js';
import { SILENT_LOGGER, type Logger } from './logger.js';
import { isOutage, OutageBreaker, skippedReport } from './outage.js';
import { buildIndexes } from './pipeline/index-build.js';
import type { EncodedCursorLook, GenerationRef, SourceRef } from './pipeline/messages.js';
import { SchemaWatch } from './pipeline/schema-watch.js';
import { isReadInFull, readAsPlanned, type ReadResult } from './pipeline/table-reads.js';
import { WorkerPool } from './pipeline/worker-pool.js';
import { ProgressMeter } from './progress-meter.js';
import type { SyncProgress } from './progress.js';
import { resolveReadThroughOptions, type ReadThroughOptions } from './read-through/options.js';
import { ReadThrough, type ReadThroughShared } from './read-through/read-through.js';
import { RowStore } from './read-through/row-store.js';
import { SourceLookUp } from './read-through/source-look-up.js';
import type { SyncMode, SyncReport, ValidationCheck } from './report.js';
import { foldName } from './source/introspection.js';
import { markRestored, type LogState } from './source/log-state.js';
import type { PageBounds } from './source/page.js';
import { plainTransportWarning } from './source/plain-transport.js';
import { planTables, type TablePlan } from './source/plan.js';
import { RowTally } from './source/row-tally.js';
import { serverAddress } from './source/hrana/server-url.js';
import { sourceFingerprint } from './source/source-fingerprint.js';
import {
  countCheck,
  extendedWarning,
  refuseDamaged,
  syncReport,
  uniqueCheck,
  type StoredCount,
} from './sync-report.js';
import { SyncRun } from './sync-run.js';
import type { RowOf, TableDefinition } from './table-definition.js';
import { Telemetry, type Job } from './telemetry/telemetry.js';
import type { VerifyContext } from './verify/context.js';
import { mendNoted, type Mended } from './verify/mend.js';
import { checkVerifyOptions, DEFAULT_VERIFY_LEVEL } from './verify/options.js';
import type { VerifyOptions, VerifyReport } from './verify/report.js';
import { SourceBudget } from './verify/source-budget.js';
import { verifyCache } from './verify/verification.js';
import type { SourceRow } from './values.js';
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

/** How one sync or rebuild runs. */
export interface SyncOptions {
  /** Stops the sync at the next batch. What was committed stays, and the next sync goes on from there. */
  readonly signal?: AbortSignal | undefined;
  /** Called as the sync comes on, in this thread, some times a second at most. */
  readonly onProgress?: ((progress: SyncProgress) => void) | undefined;
  /** Read every table in full, also where the source's change log would tell what changed. */
  readonly full?: boolean | undefined;
  /** Believe the source even when a table loses more rows than `maxLossShare`. */
  readonly allowLoss?: boolean | undefined;
}

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
  readonly #sharedPool: WorkerPool | null;
  #ownPool: WorkerPool | null = null;
  #cache: CacheReader | null = null;
  readonly #breaker = new OutageBreaker();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #watches = new Set<Watch>();
  readonly #logger: Logger;
  readonly #telemetry: Telemetry;
  #readThrough: ReadThroughShared | null = null;

  private constructor(options: ResolvedOptions, surroundings: Surroundings) {
    this.#options = options;
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
    return this.#launch('verify', options, (signal, meter) => this.#verify(options, signal, meter));
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
        bounds: this.#bounds(),
      }),
      store: new RowStore({
        cacheDir: options.cacheDir,
        pool: () => this.#pool(),
        openGeneration: async (generation) =>
          await this.#openGeneration(generation, sourceFingerprint(options.source.url)),
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
    const { connection } = this.#sourceRef(session);
    const retries = Math.min(this.#options.retries, LOOK_UP_RETRIES);
    const isServer = serverAddress(connection.url) !== null && connection.transport !== 'client';
    // A cursor is worth nothing for some rows, and to ask whether there is one costs a round trip.
    const transport = isServer ? 'http-pipeline' : connection.transport;
    return { session, connection: { ...connection, retries, transport } };
  }

  #start(mode: 'full' | 'rebuild', options: SyncOptions, pace: Pace = {}): SyncRun {
    const job = mode === 'full' ? 'sync' : 'rebuild';
    return this.#launch(job, options, (signal, meter) =>
      this.#run(mode, { ...options, ...pace }, signal, meter),
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

  async #run(
    mode: 'full' | 'rebuild',
    asked: SyncOptions & Pace,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    const { cacheDir } = this.#options;
    const begun = performance.now();
    // Somebody may have removed it, to begin again.
    await makeDirectory(cacheDir);
    await this.#readThrough?.store.idle();
    await using _lock = await CacheLock.acquire(cacheDir, mode === 'full' ? 'sync' : 'rebuild');
    try {
      await removeLeftovers(cacheDir);
      const isHealed = await healManifest(cacheDir);
      const report = await this.#breaker.run(
        async () => await this.#recovering(mode, asked, signal, meter),
        asked.isPaced,
      );
      const reads = this.#readsOf((cache) => cache.readsBeforeSync());
      const told = reads ? { ...report, reads } : report;
      return isHealed ? { ...told, warnings: [...told.warnings, HEALED] } : told;
    } catch (error) {
      const reason =
        signal.aborted && !(error instanceof CacheError) ? new SyncAbortedError() : error;
      // The failure itself matters more than a note of it that could not be written.
      await this.#remember(reason).catch(() => undefined);
      const live = isOutage(reason) ? (readManifest(cacheDir)?.live ?? null) : null;
      if (live === null) throw reason;
      return skippedReport(reason as SourceError, live, Math.round(performance.now() - begun));
    }
  }

  /** A sync that finds the cache damaged leaves it for readers as it is, and builds it anew beside that. */
  async #recovering(
    mode: 'full' | 'rebuild',
    asked: SyncOptions,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    let mended: Mended | null = null;
    for (let tries = 1; ; tries++) {
      let mends = mode !== 'rebuild';
      try {
        if (mends) mended = together(mended, await this.#mend(signal, meter));
        mends = false;
        const full = asked.full || hasAbsent(mended);
        const report = await this.#besideSnapshots(mode, { ...asked, full }, signal, meter);
        return mended === null ? report : this.#withMended(report, mended);
      } catch (error) {
        // The environment was closed with the sync: the next one has another view of its free pages.
        if (isSpurious(error) && tries < COMMIT_TRIES) continue;
        if (!isDamage(error) || mode === 'rebuild') throw error;
        // Damaged records that the sync itself came upon are noted, as those are that reads meet.
        if (!mends && this.#hasNotedRecords() && tries < COMMIT_TRIES) continue;
        if (!this.#options.autoRebuild) throw error;
        return await this.#rebuildDamaged(error, asked, signal, meter);
      }
    }
  }

  /** Writes the served generation, unless snapshots of it that are held would make it grow without end. */
  async #besideSnapshots(
    mode: 'full' | 'rebuild',
    asked: SyncOptions,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    const { cacheDir, autoRebuild, maxHeldShare } = this.#options;
    const watch = await SnapshotWatch.begin(cacheDir);
    const held = mode === 'rebuild' ? [] : watch.outgrown(maxHeldShare);
    if (held.length > 0 && !autoRebuild) throw snapshotsHeldError(cacheDir, held);
    try {
      const report = await this.#locked(held.length > 0 ? 'rebuild' : mode, asked, signal, meter);
      const replaced = held.map((each) => `${BUILT_BESIDE} ${describeSnapshot(each)}`);
      return {
        ...report,
        warnings: [...replaced, ...report.warnings, ...(await watch.warnings())],
      };
    } catch (error) {
      const isFull = error instanceof CacheError && error.code === 'CACHE_FULL';
      throw isFull && held.length > 0 ? snapshotsHeldError(cacheDir, held, error) : error;
    }
  }

  async #rebuildDamaged(
    error: CacheError,
    asked: SyncOptions,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    const report = await this.#locked('rebuild', asked, signal, meter);
    const told = `The cache was damaged, and was built anew. ${error.message}`;
    return { ...report, warnings: [told, ...report.warnings] };
  }

  #hasNotedRecords(): boolean {
    const { cacheDir } = this.#options;
    const number = readManifest(cacheDir)?.live ?? null;
    return number !== null && readDamage(cacheDir, number).records.size > 0;
  }

  /** Repairs the records that reads found damaged since the last sync. */
  async #mend(signal: AbortSignal, meter: ProgressMeter): Promise<Mended | null> {
    const { cacheDir, tables: definitions } = this.#options;
    const number = readManifest(cacheDir)?.live ?? null;
    if (number === null) return null;
    // Of a file that others have filled with whatever else, too.
    forgetDamage(cacheDir, (note) => note.generation !== number);
    const { records, beyondRecords } = readDamage(cacheDir, number);
    if (records.size === 0 && !beyondRecords) return null;
    const repair = { removesUncacheable: false, maxLossShare: 0 };
    return await this.#comparing(number, signal, { meter, repair }, async (context) => {
      return await mendNoted(context, { cacheDir, number, definitions });
    });
  }

  #withMended(report: SyncReport, { repaired, absent }: Mended): SyncReport {
    const { cacheDir } = this.#options;
    // All rows were read: what the source does not have is gone, and so is the damage.
    if (Object.keys(absent).length > 0) forgetDamage(cacheDir, () => true);
    const warnings = [
      ...Object.entries(repaired).map(([table, rows]) => mendedWarning(table, rows)),
      ...Object.entries(absent).map(([table, rows]) => absentWarning(table, rows)),
    ];
    const isNews = warnings.length > 0;
    return isNews ? { ...report, repaired, warnings: [...warnings, ...report.warnings] } : report;
  }

  async #verify(
    asked: VerifyOptions,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<VerifyReport> {
    const startedAt = Date.now();
    const options = this.#options;
    const { cacheDir } = options;
    await this.#readThrough?.store.idle();
    await using _lock = await CacheLock.acquire(cacheDir, 'verify');
    await removeLeftovers(cacheDir);
    const number = readManifest(cacheDir)?.live ?? null;
    if (number === null) throw emptyCache(cacheDir);
    const level = asked.level ?? DEFAULT_VERIFY_LEVEL;
    const maxLossShare = asked.allowLoss ? 1 : options.maxLossShare;
    const removesUncacheable = options.onRowError === 'quarantine';
    const repair = asked.repair ? { removesUncacheable, maxLossShare } : null;
    let retries = 0;
    const onRetries = (more: number) => {
      retries += more;
    };
    const wanted = { meter, repair, maxSourceRows: asked.maxSourceRows, onRetries };
    try {
      const verified = await this.#comparing(number, signal, wanted, async (context) => {
        return await verifyCache(context, {
          cacheDir,
          number,
          level,
          seed: asked.seed ?? randomInt(2 ** 32),
          definitions: options.tables,
          tables: asked.tables,
        });
      });
      const isSound = level === 'deep' && asked.tables === undefined && verified.complete;
      if (isSound && verified.left === 0) forgetDamage(cacheDir, () => true);
      const durationMs = Date.now() - startedAt;
      return { level, generation: number, durationMs, retries, ...verified };
    } catch (error) {
      if (!signal.aborted || error instanceof CacheError) throw error;
      throw new SyncAbortedError(
        'The verify was aborted; a deep one goes on from where it stopped the next time.',
      );
    }
  }

  /** Opens both sides for `work` that holds them against each other. */
  async #comparing<T>(
    number: number,
    signal: AbortSignal,
    wanted: Pick<VerifyContext, 'meter' | 'repair'> & {
      readonly maxSourceRows?: number | undefined;
      readonly onRetries?: (retries: number) => void;
    },
    work: (context: VerifyContext) => Promise<T>,
  ): Promise<T> {
    const options = this.#options;
    const dir = generationPath(options.cacheDir, number);
    const generation = { dir, unpublished: false, create: false };
    const pool = this.#pool();
    const source = this.#sourceRef(randomUUID());
    const onAbort = () => pool.endSession(source.session);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) throw new SyncAbortedError();
      await this.#openGeneration(generation, sourceFingerprint(options.source.url));
      return await work({
        pool,
        source,
        generation,
        bounds: this.#bounds(),
        lanes: this.#verifyLanes(),
        repair: wanted.repair,
        budget: new SourceBudget(wanted.maxSourceRows),
        meter: wanted.meter,
        throwIfAborted: () => {
          if (signal.aborted) throw new SyncAbortedError();
        },
        onRetries: wanted.onRetries ?? (() => undefined),
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
      pool.endSession(source.session);
      await pool.write('close', { generation }).catch(() => undefined);
    }
  }

  /** Pages that a verify compares at a time: a reader of a file has one under way and one waiting. */
  #verifyLanes(): number {
    const { maxBytesInFlight, maxPageBytes, source, concurrency } = this.#options;
    const { readerThreads } = this.#pool();
    const wanted = /^file:/i.test(source.url) ? readerThreads + 1 : 2 * readerThreads;
    const fitting = Math.floor(maxBytesInFlight / maxPageBytes);
    return Math.max(1, Math.min(wanted, fitting, concurrency));
  }

  #bounds(): PageBounds {
    const { batchSize, maxPageBytes, maxRowBytes } = this.#options;
    return { maxRows: batchSize, maxBytes: maxPageBytes, maxRowBytes };
  }

  #sourceRef(session: string): SourceRef {
    const options = this.#options;
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

  async #remember(error: unknown): Promise<void> {
    if (error instanceof SyncAbortedError) return;
    await noteFailure(this.#options.cacheDir, error);
  }

  /** The story of a sync: look at the source, prepare, read and write, complete, publish. */
  async #locked(
    mode: 'full' | 'rebuild',
    asked: SyncOptions,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    const startedAt = Date.now();
    const options = this.#options;
    const sync = randomUUID();
    const pool = this.#pool();
    const stop = new AbortController();
    const onAbort = () => {
      stop.abort(new SyncAbortedError());
      pool.endSession(sync);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    let generation: GenerationRef | null = null;
    try {
      if (signal.aborted) throw new SyncAbortedError();
      const unknown = this.#sourceRef(sync);
      const found = await pool.read('schema', { source: unknown });
      const { schema, transport, logs } = found;
      // The other threads need not find out as well.
      const source = { ...unknown, connection: { ...unknown.connection, transport } };
      const tally = new RowTally();
      tally.add(found.sourceRows);
      const { plans, warnings: planned } = planTables(schema, options.tables);
      const warnings = [...planned];
      const watch = new SchemaWatch({
        pool,
        source,
        version: schema.version,
        tally,
        planTables: (now) => planTables(now, options.tables).plans,
      });

      // Before any row is read: what is read later holds all that these stand for.
      const looks = await this.#lookAtCursors(source, plans, tally);
      warnings.push(...this.#securityWarnings());
      warnings.push(...cursorWarnings(plans, looks), ...modeWarnings(plans, logs));

      const fingerprint = sourceFingerprint(options.source.url);
      const preparation = {
        plans,
        sync,
        source: fingerprint,
        reuseSince: Date.now() - options.staleAfterMs,
        logs,
        cursors: looks,
        schemaVersion: schema.version,
        full: asked.full === true || mode === 'rebuild',
      };
      const target = await this.#prepare(mode, preparation, (opened) => {
        generation = opened;
      });
      generation = target.generation;
      warnings.push(...target.warnings);

      await buildIndexes(pool, generation, target.tables, stop.signal);
      const maxLossShare = asked.allowLoss ? 1 : options.maxLossShare;
      const read = await readAsPlanned({
        pool,
        plans,
        prepared: target.tables,
        logs,
        looks,
        source,
        generation,
        stop,
        meter,
        startedAt,
        bounds: this.#bounds(),
        maxBytesInFlight: options.maxBytesInFlight,
        onRowError: options.onRowError,
        maxLossShare,
        maxLanes: options.lanes,
        watch,
        tally,
      });
      const { tables } = read;
      const renames = await this.#refuseLosses(
        { ...target, tables },
        plans,
        read.checkpoints,
        maxLossShare,
      );

      meter.enter('validating');
      const { counts, violations } = await pool.write('complete', {
        generation,
        record: {
          sync,
          mode,
          startedAt,
          completedAt: Date.now(),
          asOf: read.asOf,
          source: fingerprint,
        },
        // An unpublished generation may hold parts of tables that an interrupted sync was asked for, and this one not.
        dropOthers: options.tables === undefined || generation.unpublished,
        tableIds: tables.map((table) => table.id),
      });
      const checks = plans.map((plan, i) =>
        countCheck(plan, counts[i]!, isReadInFull(tables[i]!) ? read.checkpoints[i]! : null),
      );
      refuseDamaged(checks);
      checks.push(...violations.map(uniqueCheck));

      meter.enter('publishing');
      await pool.write('close', { generation });
      await publish(options.cacheDir, target);
      const published = { ...generation, unpublished: false, create: false };
      generation = null;
      const validated = await this.#validate(source, published, plans, tables, read, tally);
      checks.push(...validated.checks);
      warnings.push(...validated.warnings);
      const told = await this.#acknowledge(source, target.manifest.cacheId, logs, read);
      warnings.push(...told.warnings);
      await this.#noteSuccess(plans, counts, told.acknowledged);
      meter.enter('done');
      const onlyChanges = tables.length > 0 && !tables.some(isReadInFull);
      const result = {
        mode: mode === 'full' && onlyChanges ? ('incremental' as const) : mode,
        startedAt,
        transport,
        plans,
        checks,
        sourceRows: tally.rows,
        number: target.number,
        ...read,
        retries: read.retries + found.retries,
        counts,
        warnings: [...warnings, ...watch.extended.map(extendedWarning)],
        renames,
      };
      return syncReport(result, options);
    } finally {
      signal.removeEventListener('abort', onAbort);
      pool.endSession(sync);
      // A generation that was not completed stays as its checkpoints say.
      if (generation) await pool.write('close', { generation }).catch(() => undefined);
    }
  }

  #securityWarnings(): string[] {
    const { source, cacheDir } = this.#options;
    return [plainTransportWarning(source), refuseOpenToAll(cacheDir)].filter(
      (warning) => warning !== null,
    );
  }

  async #lookAtCursors(
    source: SourceRef,
    plans: readonly TablePlan[],
    tally: RowTally,
  ): Promise<readonly EncodedCursorLook[]> {
    const followed = plans.filter(
      ({ cursor, mode }) => cursor !== null && (mode === 'auto' || mode === 'cursor'),
    );
    if (followed.length === 0) return [];
    const { looks, sourceRows } = await this.#pool().read('cursors', { source, plans: followed });
    tally.add(sourceRows);
    return looks;
  }

  /**
   * Holds what was filled beside the served tables against them, and a table that the source no longer has against what
   * it had.
   */
  async #refuseLosses(
    { manifest, generation, tables }: PreparedTarget,
    plans: readonly TablePlan[],
    checkpoints: readonly TableCheckpoint[],
    maxShare: number,
  ): Promise<readonly TableRename[]> {
    const served = await servedTables(this.#options.cacheDir);
    const read = plans.map((plan, i) => {
      const { rowsRead, rowsQuarantined } = checkpoints[i]!.counters;
      const replaces = generation.unpublished || tables[i]!.pending;
      return { plan, rows: rowsRead - rowsQuarantined, replaces };
    });
    const discovered = this.#options.tables === undefined;
    try {
      // Where the cache is lost, how many rows it had is still known.
      const counts = served.length > 0 ? {} : readRowCounts(this.#options.cacheDir);
      for (const [table, before] of Object.entries(counts)) {
        const after =
          read.find(({ plan }) => plan.name === table)?.rows ?? (discovered ? 0 : before);
        refuseLoss({ table, before, after }, maxShare);
      }
      return refuseLosses(served, read, { discovered, maxShare });
    } catch (error) {
      // Else the next sync would go on from what is not believed.
      if (generation.unpublished) {
        await this.#pool().write('close', { generation });
        await dropBuilding(this.#options.cacheDir, manifest);
      } else if (error instanceof LossError) {
        const lost = served.find(({ plan }) => plan.name === error.context['table'])!;
        for (const [i, { id, pending }] of tables.entries()) {
          const plan = plans[i]!;
          const isSuspect =
            foldName(plan.name) === foldName(lost.plan.name) ||
            schemaChange(lost.plan, plan) === null;
          if (pending && isSuspect)
            await this.#pool().write('abandon', { generation, tableId: id });
        }
      }
      throw error;
    }
  }

  /** Looks at what is served now. The sync is done: what cannot be looked at is a warning. */
  async #validate(
    source: SourceRef,
    generation: GenerationRef,
    plans: readonly TablePlan[],
    tables: readonly PreparedTable[],
    { checkpoints }: ReadResult,
    tally: RowTally,
  ): Promise<{ readonly checks: readonly ValidationCheck[]; readonly warnings: string[] }> {
    const { preset } = this.#options;
    const hasChanged = checkpoints.some(
      ({ counters }, i) =>
        tables[i]!.follows === null || counters.rowsWritten + counters.rowsDeleted > 0,
    );
    const isWanted = preset !== undefined || plans.some(({ limit }) => limit !== null);
    if (!hasChanged || !isWanted) return { checks: [], warnings: [] };
    try {
      const { checks, sourceRows } = await this.#pool().read('validate', {
        source,
        generation,
        preset,
        bounds: this.#bounds(),
        tables: plans.map((plan, i) => ({
          tableId: tables[i]!.id,
          plan,
          inFull: tables[i]!.follows === null,
        })),
      });
      tally.add(sourceRows);
      return { checks, warnings: [] };
    } catch (error) {
      if (error instanceof SyncAbortedError) throw error;
      return {
        checks: [],
        warnings: [`What was synced could not be validated: ${describeError(error)}`],
      };
    }
  }

  /**
   * Tells the change logs how far this cache has come, so that they can drop what nobody needs any more.
   *
   * @returns by the id of each log, how far it knows that this cache is.
   */
  async #acknowledge(
    source: SourceRef,
    reader: string,
    logs: readonly LogState[],
    { checkpoints }: ReadResult,
  ): Promise<{ readonly acknowledged: Record<string, number>; readonly warnings: string[] }> {
    const before = readAcknowledged(this.#options.cacheDir);
    const acknowledged = Object.fromEntries(
      Object.entries(before).filter(([id]) => logs.some(({ logId }) => logId === id)),
    );
    const news = checkpoints.flatMap(({ log: position }) => {
      const log = logs.find(({ logId }) => logId === position?.id);
      if (log === undefined) return [];
      acknowledged[log.logId] = position!.version;
      const isNews = log.readers[reader] !== position!.version;
      return isNews ? [{ log, version: position!.version }] : [];
    });
    if (news.length === 0) return { acknowledged, warnings: [] };
    const positions = news.map(({ log, version }) => ({ log: log.number, version }));
    try {
      await this.#pool().read('acknowledge', { source, reader, positions });
      return { acknowledged, warnings: [] };
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      for (const { log } of news) delete acknowledged[log.logId];
      return {
        acknowledged,
        warnings: [
          `The change log could not be told how far this cache is: a compaction will not wait for it. ${error.message}`,
        ],
      };
    }
  }

  /** Keeps how many rows each table has, for a time when the cache is lost, and what the change logs were told. */
  async #noteSuccess(
    plans: readonly TablePlan[],
    counts: readonly StoredCount[],
    acknowledged: Readonly<Record<string, number>>,
  ): Promise<void> {
    const { cacheDir, tables } = this.#options;
    const rows = Object.fromEntries(plans.map(({ name }, i) => [name, counts[i]!.stored]));
    const others = tables === undefined ? {} : readRowCounts(cacheDir);
    await noteSuccess(cacheDir, { ...others, ...rows }, acknowledged);
  }

  /**
   * Opens the generation to write and enters the tables. What an interrupted sync left of a generation that is not
   * served is dropped when it is damaged, of another source, or of other definitions.
   */
  async #prepare(
    mode: SyncMode,
    preparation: Omit<Preparation, 'unpublished'>,
    onOpen: (generation: GenerationRef) => void,
  ): Promise<PreparedTarget> {
    for (;;) {
      const target = await chooseGeneration(mode, this.#options.cacheDir);
      const { generation } = target;
      onOpen(generation);
      try {
        const warnings = await this.#openGeneration(generation, preparation.source);
        // Discovered tables have no definitions that could say which indexes to keep.
        const keepIndexes = this.#options.tables === undefined;
        const logs = markRestored(
          preparation.logs,
          target.manifest.cacheId,
          readAcknowledged(this.#options.cacheDir),
        );
        warnings.push(...restoredWarnings(preparation.plans, logs));
        const request = { generation, ...preparation, logs, keepIndexes };
        return { ...target, ...(await this.#pool().write('prepare', request)), warnings };
      } catch (error) {
        const unusable =
          error instanceof CacheError &&
          (error.code === 'CACHE_DEFINITION_MISMATCH' || error.code === 'CACHE_CORRUPT');
        if (!unusable || !generation.unpublished || generation.create) throw error;
        await this.#pool().write('close', { generation });
        await dropBuilding(this.#options.cacheDir, target.manifest);
      }
    }
  }

  /** Opens a generation for writing. */
  async #openGeneration(generation: GenerationRef, fingerprint: string): Promise<string[]> {
    if (generation.create) return [];
    const { source, setBack } = await this.#pool().write('open', { generation });
    const isOther = source !== null && source !== fingerprint;
    if (!isOther) return setBack ? [SET_BACK] : [];
    throw new CacheError(
      'CACHE_DEFINITION_MISMATCH',
      `The cache ${JSON.stringify(this.#options.cacheDir)} is a copy of another source.`,
      {
        context: { path: this.#options.cacheDir },
        hint: 'Use another --cache directory, or remove this one to start over.',
      },
    );
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

function emptyCache(cacheDir: string): CacheError {
  return new CacheError(
    'CACHE_EMPTY',
    `The cache ${JSON.stringify(cacheDir)} has not been filled yet.`,
    {
      context: { path: cacheDir },
      hint: 'Run `storage-sync sync` first.',
    },
  );
}

/** Further tries of a request for a row that somebody waits for, at most. */
const LOOK_UP_RETRIES = 1;

/** How a sync was come to. */
interface Pace {
  /** Whether who asks leaves a source alone that is away. */
  readonly isPaced?: boolean;
}

/** A watch waits longer after each round that the source was away for. */
const PACED: Pace = { isPaced: true };

/** Times that a sync is gone on with whose commit LMDB refused without need. */
const COMMIT_TRIES = 3;

function isDamage(error: unknown): error is CacheError {
  return error instanceof CacheError && error.code === 'CACHE_CORRUPT';
}

/** Said of a manifest that its backup replaced. */
const HEALED = 'The manifest was damaged or missing, and was restored from its backup.';

/** Said of a cache whose file snapshots would have made grow. */
const BUILT_BESIDE =
  'The cache was built anew, because a snapshot kept too much of its file from being used again.';

/** Said of a file whose newest state was damaged. */
const SET_BACK = 'The cache file was damaged, and was set back to the transaction before its last.';

/** What was mended before and again. */
function together(before: Mended | null, again: Mended | null): Mended | null {
  if (before === null || again === null) return before ?? again;
  const repaired = { ...before.repaired };
  for (const [table, rows] of Object.entries(again.repaired)) {
    repaired[table] = (repaired[table] ?? 0) + rows;
  }
  return { repaired, absent: again.absent };
}

function hasAbsent(mended: Mended | null): boolean {
  return mended !== null && Object.keys(mended.absent).length > 0;
}

function mendedWarning(table: string, rows: number): string {
  return `${rows} damaged records of ${JSON.stringify(table)}, which reads had met, were fetched again.`;
}

function absentWarning(table: string, rows: number): string {
  return `${rows} damaged records of ${JSON.stringify(table)}, which reads had met, are of keys that the source does not have: all tables were read in full.`;
}

interface PreparedTarget extends Target {
  readonly tables: readonly PreparedTable[];
  readonly warnings: readonly string[];
}

/** Whether a directory can be this cache's. One that is damaged is mended by a sync. */
function refuseForeign(cacheDir: string): void {
  try {
    readManifest(cacheDir);
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
  }
}
