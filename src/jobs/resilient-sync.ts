import { forgetDamage, readDamage } from '../cache/damage-notes.js';
import { isSpurious } from '../cache/environment.js';
import { makeDirectory, removeLeftovers } from '../cache/files.js';
import { describeSnapshot, snapshotsHeldError, SnapshotWatch } from '../cache/held-snapshots.js';
import { CacheLock } from '../cache/lock.js';
import { healManifest, liveGeneration } from '../cache/manifest.js';
import type { CacheReads } from '../cache/read-window.js';
import { noteFailure } from '../cache/state-file.js';
import { CacheError, SyncAbortedError, type SourceError } from '../errors.js';
import { isOutage, OutageBreaker, skippedReport } from '../outage.js';
import type { ProgressMeter } from '../progress-meter.js';
import type { SyncReport } from '../report.js';
import type { SyncOptions } from '../sync-options.js';
import { mendNoted, type Mended } from '../verify/mend.js';
import type { JobContext } from './context.js';
import { runSync } from './sync.js';
import { comparing } from './verify.js';

/** How a sync was come to. */
export interface Pace {
  /** Whether who asks leaves a source alone that is away. */
  readonly isPaced?: boolean;
}

/** A watch waits longer after each round that the source was away for. */
export const PACED: Pace = { isPaced: true };

/** Times that a sync is gone on with whose commit LMDB refused without need. */
const COMMIT_TRIES = 3;

/** Said of a manifest that its backup replaced. */
const HEALED = 'The manifest was damaged or missing, and was restored from its backup.';

/** Said of a cache whose file snapshots would have made grow. */
const BUILT_BESIDE =
  'The cache was built anew, because a snapshot kept too much of its file from being used again.';

/**
 * Syncs of one cache, whatever has become of it: mends damaged records, builds a damaged cache anew, keeps held snapshots
 * from making it grow, and leaves a source alone that is away.
 */
export class ResilientSync {
  readonly #context: JobContext;
  readonly #readsBefore: () => CacheReads | null;
  readonly #breaker = new OutageBreaker();

  /** @param readsBefore of the cache, between the last two syncs. */
  constructor(context: JobContext, readsBefore: () => CacheReads | null) {
    this.#context = context;
    this.#readsBefore = readsBefore;
  }

  /** Takes the lock, and syncs. An outage of the source is reported where a cache is served, else thrown. */
  async run(
    mode: 'full' | 'rebuild',
    asked: SyncOptions & Pace,
    signal: AbortSignal,
    meter: ProgressMeter,
  ): Promise<SyncReport> {
    const { cacheDir } = this.#context;
    const begun = performance.now();
    // Somebody may have removed it, to begin again.
    await makeDirectory(cacheDir);
    await using _lock = await CacheLock.acquire(cacheDir, mode === 'full' ? 'sync' : 'rebuild');
    try {
      await removeLeftovers(cacheDir);
      const isHealed = await healManifest(cacheDir);
      const report = await this.#breaker.run(
        async () => await this.#recovering(mode, asked, signal, meter),
        asked.isPaced,
      );
      const reads = this.#readsBefore();
      const told = reads ? { ...report, reads } : report;
      return isHealed ? { ...told, warnings: [...told.warnings, HEALED] } : told;
    } catch (error) {
      const reason =
        signal.aborted && !(error instanceof CacheError) ? new SyncAbortedError() : error;
      // The failure itself matters more than a note of it that could not be written.
      await this.#remember(reason).catch(() => undefined);
      const live = isOutage(reason) ? liveGeneration(cacheDir) : null;
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
        if (!this.#context.options.autoRebuild) throw error;
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
    const { cacheDir, autoRebuild, maxHeldShare } = this.#context.options;
    const watch = await SnapshotWatch.begin(cacheDir);
    const held = mode === 'rebuild' ? [] : watch.outgrown(maxHeldShare);
    if (held.length > 0 && !autoRebuild) throw snapshotsHeldError(cacheDir, held);
    try {
      const report = await runSync(
        this.#context,
        held.length > 0 ? 'rebuild' : mode,
        asked,
        signal,
        meter,
      );
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
    const report = await runSync(this.#context, 'rebuild', asked, signal, meter);
    const told = `The cache was damaged, and was built anew. ${error.message}`;
    return { ...report, warnings: [told, ...report.warnings] };
  }

  #hasNotedRecords(): boolean {
    const { cacheDir } = this.#context;
    const number = liveGeneration(cacheDir);
    return number !== null && readDamage(cacheDir, number).records.size > 0;
  }

  /** Repairs the records that reads found damaged since the last sync. */
  async #mend(signal: AbortSignal, meter: ProgressMeter): Promise<Mended | null> {
    const { cacheDir, tables: definitions } = this.#context.options;
    const number = liveGeneration(cacheDir);
    if (number === null) return null;
    // Of a file that others have filled with whatever else, too.
    forgetDamage(cacheDir, (note) => note.generation !== number);
    const { records, beyondRecords } = readDamage(cacheDir, number);
    if (records.size === 0 && !beyondRecords) return null;
    const repair = { removesUncacheable: false, maxLossShare: 0 };
    return await comparing(this.#context, number, signal, { meter, repair }, async (sides) => {
      return await mendNoted(sides, { cacheDir, number, definitions });
    });
  }

  #withMended(report: SyncReport, { repaired, absent }: Mended): SyncReport {
    const { cacheDir } = this.#context;
    // All rows were read: what the source does not have is gone, and so is the damage.
    if (Object.keys(absent).length > 0) forgetDamage(cacheDir, () => true);
    const warnings = [
      ...Object.entries(repaired).map(([table, rows]) => mendedWarning(table, rows)),
      ...Object.entries(absent).map(([table, rows]) => absentWarning(table, rows)),
    ];
    const isNews = warnings.length > 0;
    return isNews ? { ...report, repaired, warnings: [...warnings, ...report.warnings] } : report;
  }

  async #remember(error: unknown): Promise<void> {
    if (error instanceof SyncAbortedError) return;
    await noteFailure(this.#context.cacheDir, error);
  }
}

function isDamage(error: unknown): error is CacheError {
  return error instanceof CacheError && error.code === 'CACHE_CORRUPT';
}

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
