import { CacheError } from '../errors.js';
import { DEFAULT_STALE_AFTER_FAILURES, DEFAULT_STALE_AFTER_MS } from '../options.js';
import { bootId } from './boot.js';
import type { TableMode } from '../report.js';
import type { TablePlan } from '../source/plan.js';
import type { SyncRecord, TableCheckpoint, TablePhase, TableState } from './catalog.js';
import { MAX_DAMAGED_RECORDS, readDamage, type NotedDamage } from './damage-notes.js';
import { Environment } from './environment.js';
import type { HeldSnapshot } from './held-snapshot.js';
import { heldSnapshots } from './held-snapshots.js';
import { generationPath } from './layout.js';
import { currentHolder, READ_THROUGH_MODE, type LockHolder } from './lock.js';
import type { CacheReads } from './read-window.js';
import { liveGeneration, type Manifest, readManifest } from './manifest.js';
import { preflight } from './preflight.js';
import { refuseOpenToAll } from './safe-directory.js';
import {
  readFailedSyncs,
  readLastError,
  readNotedSnapshots,
  type LastError,
  type NotedSnapshot,
} from './state-file.js';

/** The states that a cache may be in: see {@link CacheState}. */
export const CACHE_STATES = [
  'empty',
  'fresh',
  'stale',
  'syncing',
  'rebuilding',
  'corrupt',
] as const;

/**
 * How a cache stands:
 *
 * | state        |                                                                                         |
 * |--------------|-----------------------------------------------------------------------------------------|
 * | `empty`      | no sync was completed yet                                                               |
 * | `fresh`      | the last sync succeeded, and is not older than `staleAfterMs`                           |
 * | `stale`      | it is older, or as many syncs as `staleAfterFailures` have failed since; reads go on    |
 * | `syncing`    | a process is syncing it just now                                                        |
 * | `rebuilding` | a process is building it anew beside what is served                                     |
 * | `corrupt`    | it cannot be opened; the next sync builds it anew                                       |
 */
export type CacheState = (typeof CACHE_STATES)[number];

/** How far the newest sync of a table has come. */
export interface CheckpointStatus {
  readonly phase: TablePhase;
  /** Rows that it has read so far. */
  readonly rowsRead: number;
  /** When its newest batch was committed, as ISO 8601. */
  readonly updatedAt: string;
}

/** How a table of the cache stands. */
export interface TableStatus {
  /** Rows in the cache. */
  readonly rows: number;
  /** How the next sync is meant to bring the table up to date: see {@link TableMode}. */
  readonly mode: TableMode;
  /** How far an unfinished sync of the table has come, or how the last one ended; null before any. */
  readonly checkpoint: CheckpointStatus | null;
  /** Records that reads found damaged, and no sync has repaired yet. */
  readonly damagedRecords: number;
}

/** How a cache stands: see {@link readStatus}. */
export interface CacheStatus {
  readonly state: CacheState;
  /** Whether what is served is fresh, whatever is done to it just now. */
  readonly isFresh: boolean;
  /** The generation that is served, or null. */
  readonly generation: number | null;
  /** When the last sync was completed, as ISO 8601; null before the first. */
  readonly lastSyncAt: string | null;
  /** How old the oldest data may be: the time since its reading began. Null where the clock was set back since. */
  readonly ageMs: number | null;
  /** The served tables; before the first complete sync, those of the one that was interrupted. */
  readonly tables: Readonly<Record<string, TableStatus>>;
  /** What the newest sync failed with; null when it succeeded. */
  readonly lastError: LastError | null;
  /** Syncs that failed since the last complete one. */
  readonly failedSyncs: number;
  /** Whether reads met damage that is not of single records, or of too many: the next sync builds the cache anew. */
  readonly rebuildDue: boolean;
  /** Who writes the cache just now. */
  readonly holder: LockHolder | null;
  /** Snapshots of older states that are held of the served generation, oldest first: see {@link HeldSnapshot}. */
  readonly snapshots: readonly HeldSnapshot[];
  /**
   * What this process asked of `storage.cache` since the last completed sync, and how much of it the cache had: see
   * {@link CacheReads}. Only of a `StorageSync` whose cache was read.
   */
  readonly reads?: CacheReads;
}

/** From when on a cache counts as stale. */
export interface StatusOptions {
  /** Older than this it is stale. Default: {@link DEFAULT_STALE_AFTER_MS}. */
  readonly staleAfterMs?: number | undefined;
  /** Failed syncs in a row after which it is stale. Default: 1. */
  readonly staleAfterFailures?: number | undefined;
}

/**
 * Tells how a cache stands. Never contacts the source, never waits for a sync, and reports damage as a state.
 *
 * @example
 * ```ts
 * const { state, ageMs, tables } = await readStatus('./cache');
 * ```
 */
export async function readStatus(
  cacheDir: string,
  options: StatusOptions = {},
): Promise<CacheStatus> {
  return await lookAtStatus(cacheDir, options, preflight);
}

/**
 * {@link readStatus} with another look at a generation before LMDB opens it.
 *
 * @param look throws where it must not be opened.
 */
export async function lookAtStatus(
  cacheDir: string,
  options: StatusOptions,
  look: (generationDir: string) => void,
): Promise<CacheStatus> {
  refuseOpenToAll(cacheDir);
  const holder = currentHolder(cacheDir);
  const base = {
    isFresh: false,
    holder,
    lastError: readLastError(cacheDir),
    failedSyncs: readFailedSyncs(cacheDir),
    lastSyncAt: null,
    ageMs: null,
    tables: {},
    rebuildDue: false,
    snapshots: [],
  };
  let manifest: Manifest | null | undefined;
  try {
    manifest = readManifest(cacheDir);
    const shown = shownGeneration(manifest, holder);
    if (shown === null) {
      return { ...base, state: holder ? 'syncing' : 'empty', generation: manifest?.live ?? null };
    }
    const dir = generationPath(cacheDir, shown);
    if (manifest?.live == null) {
      // What is being built may be anything, from nothing on; the next sync drops it if it is unusable.
      const { tables } = await inspect(dir, look, NO_DAMAGE).catch(() => ({ tables: {} }));
      return { ...base, state: 'empty', generation: null, tables };
    }
    const damage = readDamage(cacheDir, manifest.live);
    const { tables, record, snapshots } = await inspect(
      dir,
      look,
      damage,
      readNotedSnapshots(cacheDir),
    );
    const isWide = Object.values(tables).some(
      ({ damagedRecords }) => damagedRecords > MAX_DAMAGED_RECORDS,
    );
    const age = record ? ageOf(record.asOf, Date.now()) : null;
    const isFresh =
      age !== null &&
      age <= (options.staleAfterMs ?? DEFAULT_STALE_AFTER_MS) &&
      base.failedSyncs < (options.staleAfterFailures ?? DEFAULT_STALE_AFTER_FAILURES);
    return {
      ...base,
      state: stateOf(holder, isFresh),
      isFresh,
      generation: manifest.live,
      lastSyncAt: record ? new Date(record.completedAt).toISOString() : null,
      ageMs: age,
      tables,
      rebuildDue: damage.beyondRecords || isWide,
      snapshots,
    };
  } catch (error) {
    // Another generation may have been published between the look at the manifest and at this one, which is gone then.
    if (manifest !== undefined && readManifest(cacheDir)?.live !== manifest?.live) {
      return await lookAtStatus(cacheDir, options, look);
    }
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
    const lastError = { at: new Date().toISOString(), code: error.code, message: error.message };
    return { ...base, lastError, state: 'corrupt', generation: null };
  }
}

/** A table as it is served. */
export interface ServedTable {
  readonly plan: TablePlan;
  readonly rows: number;
}

/** The tables that are served: none where nothing is, or where it is damaged. */
export async function servedTables(cacheDir: string): Promise<readonly ServedTable[]> {
  try {
    const live = liveGeneration(cacheDir);
    if (live === null) return [];
    return await withGeneration(generationPath(cacheDir, live), preflight, (environment) =>
      environment.catalog().tables.map(({ id, plan }) => {
        return { plan, rows: environment.tableState(id).rows };
      }),
    );
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
    return [];
  }
}

/** A cache from further ahead than this is of a clock that was set back since: how old it is cannot be told. */
const CLOCK_TOLERANCE_MS = 5000;

function ageOf(then: number, now: number): number | null {
  return then - now > CLOCK_TOLERANCE_MS ? null : Math.max(0, now - then);
}

function stateOf(holder: LockHolder | null, isFresh: boolean): CacheState {
  // A verify changes nothing about how old the data are, nor does a row that was read through.
  const isSyncing = holder && holder.mode !== 'verify' && holder.mode !== READ_THROUGH_MODE;
  if (isSyncing) return holder.mode === 'rebuild' ? 'rebuilding' : 'syncing';
  return isFresh ? 'fresh' : 'stale';
}

/**
 * The generation to tell about. One that is being built is opened only while nobody builds it: its writer leaves
 * commits to the operating system, and that would hold for everybody in its process.
 */
function shownGeneration(manifest: Manifest | null, holder: LockHolder | null): number | null {
  if (!manifest) return null;
  if (manifest.live !== null) return manifest.live;
  const { building } = manifest;
  return building && !holder && building.boot === bootId() ? building.generation : null;
}

const NO_DAMAGE: NotedDamage = { records: new Map(), beyondRecords: false };

interface Inspection {
  readonly tables: Record<string, TableStatus>;
  readonly record: SyncRecord | null;
  readonly snapshots: readonly HeldSnapshot[];
}

async function inspect(
  generationDir: string,
  look: (generationDir: string) => void,
  { records }: NotedDamage,
  noted: readonly NotedSnapshot[] = [],
): Promise<Inspection> {
  return await withGeneration(generationDir, look, (environment) => {
    const tables = environment.catalog().tables.map(
      ({ id, plan }) =>
        [
          plan.name,
          {
            ...tableStatus(plan, environment.tableState(id)),
            damagedRecords: records.get(id)?.length ?? 0,
          },
        ] as const,
    );
    const record = environment.syncRecord();
    const { snapshots } = heldSnapshots(environment, generationDir, noted);
    return { tables: Object.fromEntries(tables), record, snapshots };
  });
}

async function withGeneration<T>(
  generationDir: string,
  look: (generationDir: string) => void,
  use: (environment: Environment) => T,
): Promise<T> {
  look(generationDir);
  const environment = new Environment(generationDir);
  try {
    return use(environment);
  } finally {
    await environment.close();
  }
}

function tableStatus(
  plan: TablePlan,
  { rows, checkpoint }: TableState,
): Omit<TableStatus, 'damagedRecords'> {
  if (!checkpoint) return { rows, mode: 'full', checkpoint: null };
  const { phase, counters, updatedAt } = checkpoint;
  return {
    rows,
    mode: nextMode(plan, checkpoint),
    checkpoint: {
      phase,
      rowsRead: counters.rowsRead,
      updatedAt: new Date(updatedAt).toISOString(),
    },
  };
}

function nextMode(plan: TablePlan, { log, cursor }: TableCheckpoint): TableMode {
  if (log) return 'change-log';
  return plan.cursor && cursor && cursor.problem === null && plan.mode !== 'full'
    ? 'cursor'
    : 'full';
}
