import { CacheError } from '../errors.js';
import { Environment } from './environment.js';
import type { HeldSnapshot } from './held-snapshot.js';
import { dataPath, generationPath } from './layout.js';
import { liveGeneration } from './manifest.js';
import { pinnedBytes, readPageUse } from './pinned-pages.js';
import { isSealed, preflight } from './preflight.js';
import { noteSnapshots, readNotedSnapshots, type NotedSnapshot } from './state-file.js';

/** {@link HeldSnapshot}, oldest first, and what the data themselves take. */
export interface SnapshotsHeld {
  readonly snapshots: readonly HeldSnapshot[];
  readonly dataBytes: number | null;
}

/** Below this a file is not worth building anew. */
const SMALLEST_PINNED_BYTES = 16 * 1024 * 1024;

/**
 * The snapshots of older states that are held of an open environment, from LMDB's table of readers. Slots of processes
 * that are gone are freed first.
 */
export function heldSnapshots(
  environment: Environment,
  generationDir: string,
  noted: readonly NotedSnapshot[],
): SnapshotsHeld {
  environment.refresh();
  const readers = parseReaders(environment.readerTable());
  const use = readPageUse(dataPath(generationDir));
  const newest = use?.transaction ?? Math.max(0, ...readers.map(({ transaction }) => transaction));
  const snapshots = readers
    .filter(({ transaction }) => transaction < newest)
    .toSorted((a, b) => a.transaction - b.transaction)
    .map((reader) => ({
      ...reader,
      behind: newest - reader.transaction,
      since: noted.find((each) => isSame(each, reader))?.since ?? null,
      pinnedBytes: use && pinnedBytes(use, reader.transaction),
    }));
  return { snapshots, dataBytes: use?.dataBytes ?? null };
}

type Reader = Pick<HeldSnapshot, 'pid' | 'thread' | 'transaction'>;

function isSame(a: Reader, b: Reader): boolean {
  return a.pid === b.pid && a.thread === b.thread && a.transaction === b.transaction;
}

/** Lines of `mdb_reader_list`: process, thread in hexadecimal, and transaction, or `-` where none is read. */
function parseReaders(table: string): Reader[] {
  const lines = table.matchAll(/^ *(\d+) ([0-9a-f]+) (\d+)$/gm);
  return Array.from(lines, ([, pid, thread, transaction]) => ({
    pid: Number(pid),
    thread: thread!,
    transaction: Number(transaction),
  }));
}

/** For the holder of the cache's lock: which snapshots outlast a sync, and what they cost. */
export class SnapshotWatch {
  readonly #cacheDir: string;
  readonly #startedAt = new Date().toISOString();
  readonly #before: SnapshotsHeld;
  readonly #generation: number | null;

  private constructor(cacheDir: string, generation: number | null, before: SnapshotsHeld) {
    this.#cacheDir = cacheDir;
    this.#generation = generation;
    this.#before = before;
  }

  static async begin(cacheDir: string): Promise<SnapshotWatch> {
    const [generation, before] = await look(cacheDir);
    return new SnapshotWatch(cacheDir, generation, before);
  }

  /**
   * The snapshots that keep more of the file from being used again than is worth it: beyond `share` of what the data
   * take. Writing on would make the file grow without end.
   */
  outgrown(share: number): readonly HeldSnapshot[] {
    const { snapshots, dataBytes } = this.#before;
    const most = Math.max(SMALLEST_PINNED_BYTES, share * (dataBytes ?? Infinity));
    return snapshots.filter((each) => each.pinnedBytes !== null && each.pinnedBytes > most);
  }

  /** Warns of snapshots that an earlier sync left behind and that outlasted this one, and notes since when. */
  async warnings(): Promise<string[]> {
    const [generation, after] = await look(this.#cacheDir);
    // A snapshot of a generation that was replaced keeps nothing of the new one.
    const before = generation === this.#generation ? this.#before.snapshots : [];
    const outlasting = after.snapshots.flatMap((each) => {
      const isOld = before.some((other) => isSame(other, each));
      return isOld ? [{ ...each, since: each.since ?? this.#startedAt }] : [];
    });
    await noteSnapshots(
      this.#cacheDir,
      outlasting.map(({ pid, thread, transaction, since }) => ({
        pid,
        thread,
        transaction,
        since,
      })),
    );
    return outlasting.map(
      (each) =>
        `${describeSnapshot(each)} It should be closed: until then the cache file grows with every sync that changes something.`,
    );
  }
}

const NONE: SnapshotsHeld = { snapshots: [], dataBytes: null };

async function look(cacheDir: string): Promise<readonly [number | null, SnapshotsHeld]> {
  try {
    const generation = liveGeneration(cacheDir);
    if (generation === null) return [null, NONE];
    const dir = generationPath(cacheDir, generation);
    // Else every page would be looked at first, and by the thread that steers: the writer's does that.
    if (!isSealed(dir)) return [generation, NONE];
    preflight(dir);
    const environment = new Environment(dir);
    try {
      return [generation, heldSnapshots(environment, dir, readNotedSnapshots(cacheDir))];
    } finally {
      await environment.close();
    }
  } catch (error) {
    // The sync meets the damage itself, and mends it.
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
    return [null, NONE];
  }
}

/** One sentence about a snapshot, for people. */
export function describeSnapshot({
  pid,
  thread,
  behind,
  since,
  pinnedBytes: pinned,
}: HeldSnapshot) {
  const who = pid === process.pid ? `this process (${pid})` : `process ${pid}`;
  const when = since === null ? '' : `, since ${since}`;
  const cost =
    pinned === null ? '' : `; it keeps ${pinned} bytes of the cache file from being used again`;
  return `A snapshot is held by ${who}, thread ${thread}, ${behind} transactions behind${when}${cost}.`;
}

/** What a sync says that does not write on, because of the snapshots that are held. */
export function snapshotsHeldError(
  cacheDir: string,
  held: readonly HeldSnapshot[],
  cause?: unknown,
): CacheError {
  const [oldest] = held;
  return new CacheError(
    'CACHE_SNAPSHOT_HELD',
    `The cache file would grow without end. ${held.map(describeSnapshot).join(' ')}`,
    {
      ...(cause === undefined ? {} : { cause }),
      context: { path: cacheDir, pid: oldest?.pid, behind: oldest?.behind, since: oldest?.since },
      hint: 'Close the snapshot, or end the process. With room for it on the disk, `storage-sync rebuild` builds a cache beside.',
    },
  );
}
