import * as v from 'valibot';
import { describeError, StorageSyncError } from '../errors.js';
import { readSmallFile, writeFileAtomic } from './files.js';
import { statePath } from './layout.js';

/** The last failure of a sync, for `status`. */
export interface LastError {
  readonly at: string;
  readonly code: string;
  readonly message: string;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** What is told about a cache beside it. A part that is damaged is not there. */
const schema = v.object({
  /** Since the last complete sync. */
  lastError: v.fallback(
    v.optional(v.object({ at: v.string(), code: v.string(), message: v.string() })),
    undefined,
  ),
  /** Syncs that failed since then. */
  failedSyncs: v.fallback(v.optional(count), undefined),
  /** Rows of each table after the last complete sync: what a later one is held against if the cache is lost. */
  rows: v.fallback(v.optional(v.record(v.string(), count)), undefined),
  /** How far each change log, by its id, was told that this cache is. */
  acknowledged: v.fallback(v.optional(v.record(v.string(), count)), undefined),
  /** Snapshots that outlasted the last sync. */
  snapshots: v.fallback(
    v.optional(
      v.array(v.object({ pid: count, thread: v.string(), transaction: count, since: v.string() })),
    ),
    undefined,
  ),
});

type CacheNotes = Omit<v.InferOutput<typeof schema>, 'snapshots'> & {
  readonly snapshots?: readonly NotedSnapshot[] | undefined;
};

/** A snapshot of an older state, and when a sync first met it behind. */
export interface NotedSnapshot {
  readonly pid: number;
  readonly thread: string;
  readonly transaction: number;
  readonly since: string;
}

export async function noteFailure(cacheDir: string, error: unknown): Promise<void> {
  const lastError: LastError = {
    at: new Date().toISOString(),
    code: error instanceof StorageSyncError ? error.code : 'UNKNOWN',
    message: describeError(error),
  };
  const notes = readNotes(cacheDir);
  const failedSyncs = (notes.failedSyncs ?? 0) + 1;
  await writeNotes(cacheDir, { ...notes, lastError, failedSyncs });
}

export async function noteSuccess(
  cacheDir: string,
  rows: Readonly<Record<string, number>>,
  acknowledged: Readonly<Record<string, number>>,
): Promise<void> {
  const { snapshots } = readNotes(cacheDir);
  const told = Object.keys(acknowledged).length > 0 && { acknowledged };
  await writeNotes(cacheDir, { rows, ...told, ...(snapshots && { snapshots }) });
}

/** Keeps which snapshots outlasted the last sync. */
export async function noteSnapshots(
  cacheDir: string,
  snapshots: readonly NotedSnapshot[],
): Promise<void> {
  const { snapshots: _, ...notes } = readNotes(cacheDir);
  await writeNotes(cacheDir, snapshots.length > 0 ? { ...notes, snapshots } : notes);
}

export function readNotedSnapshots(cacheDir: string): readonly NotedSnapshot[] {
  return readNotes(cacheDir).snapshots ?? [];
}

/** The last failure since the last complete sync, or null. */
export function readLastError(cacheDir: string): LastError | null {
  return readNotes(cacheDir).lastError ?? null;
}

/** How many syncs have failed since the last complete one. */
export function readFailedSyncs(cacheDir: string): number {
  return readNotes(cacheDir).failedSyncs ?? 0;
}

/** Rows of each table after the last complete sync, where that is known. */
export function readRowCounts(cacheDir: string): Readonly<Record<string, number>> {
  return readNotes(cacheDir).rows ?? {};
}

/** How far each change log was told that this cache is, by its id. */
export function readAcknowledged(cacheDir: string): Readonly<Record<string, number>> {
  return readNotes(cacheDir).acknowledged ?? {};
}

async function writeNotes(cacheDir: string, notes: CacheNotes): Promise<void> {
  if (JSON.stringify(notes) === JSON.stringify(readNotes(cacheDir))) return;
  await writeFileAtomic(statePath(cacheDir), `${JSON.stringify(notes, null, 2)}\n`);
}

function readNotes(cacheDir: string): CacheNotes {
  try {
    return v.parse(schema, JSON.parse(readSmallFile(statePath(cacheDir))));
  } catch {
    // They are remarks: missing or unreadable, there are none.
    return {};
  }
}
