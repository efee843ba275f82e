import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { describeError, StorageSyncError } from '../errors.js';
import { writeFileAtomic } from './files.js';
import { statePath } from './layout.js';

/** The last failure of a sync, for `status`. */
export interface LastError {
  readonly at: string;
  readonly code: string;
  readonly message: string;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const schema = v.object({
  /** Since the last complete sync. */
  lastError: v.optional(v.object({ at: v.string(), code: v.string(), message: v.string() })),
  /** Syncs that failed since then. */
  failedSyncs: v.optional(count),
  /** Rows of each table after the last complete sync: what a later one is held against if the cache is lost. */
  rows: v.optional(v.custom<Readonly<Record<string, number>>>(areCounts)),
});

/** What is told about a cache beside it. */
type CacheNotes = v.InferOutput<typeof schema>;

function areCounts(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && Object.values(value).every((n) => v.is(count, n))
  );
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
): Promise<void> {
  await writeNotes(cacheDir, { rows });
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

async function writeNotes(cacheDir: string, notes: CacheNotes): Promise<void> {
  if (JSON.stringify(notes) === JSON.stringify(readNotes(cacheDir))) return;
  await writeFileAtomic(statePath(cacheDir), `${JSON.stringify(notes, null, 2)}\n`);
}

function readNotes(cacheDir: string): CacheNotes {
  try {
    return v.parse(schema, JSON.parse(readFileSync(statePath(cacheDir), 'utf8')));
  } catch {
    // They are remarks: missing or unreadable, there are none.
    return {};
  }
}
