import { open, type FileHandle } from 'node:fs/promises';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { tryLock, unlock } from 'fs-native-extensions';
import { CacheError } from '../errors.js';
import {
  cacheIoError,
  FILE_MODE,
  isOutOfFiles,
  readSmallFile,
  refuseNoFile,
  SAFELY,
} from './files.js';
import { lockPath } from './layout.js';

/** Who holds the right to write a cache. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
  readonly mode: string;
}

const holderSchema = v.object({
  pid: v.number(),
  host: v.string(),
  startedAt: v.string(),
  mode: v.string(),
});

/** What a holder does that only adds rows which reads have fetched. */
export const READ_THROUGH_MODE = 'read-through';

/** A status check holds the lock for an instant; a sync that meets one tries again. */
const PATIENCE_MS = 500;
const PAUSE_MS = 20;

/**
 * The right to write one cache directory, held by at most one owner on this machine.
 *
 * An operating-system lock on an open file description, so it ends with the process that holds it, however that
 * ends: there is no stale lock to break.
 */
export class CacheLock implements AsyncDisposable {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws {CacheError} `CACHE_LOCKED`, telling who holds it. */
  static async acquire(cacheDir: string, mode: string): Promise<CacheLock> {
    const lock = await CacheLock.#within(cacheDir, mode, PATIENCE_MS);
    if (lock === null) throw lockedError(lockPath(cacheDir));
    return lock;
  }

  /** Does not wait: null where somebody holds it, be it for an instant. */
  static async tryAcquire(cacheDir: string, mode: string): Promise<CacheLock | null> {
    return await CacheLock.#within(cacheDir, mode, 0);
  }

  static async #within(
    cacheDir: string,
    mode: string,
    patienceMs: number,
  ): Promise<CacheLock | null> {
    const path = lockPath(cacheDir);
    let file: FileHandle;
    try {
      file = await open(path, constants.O_RDWR | constants.O_CREAT | SAFELY, FILE_MODE);
    } catch (error) {
      throw cacheIoError(error, path);
    }
    let isTaken = false;
    try {
      refuseNoFile(await file.stat(), path);
      // Not by the time of day, which may be set back meanwhile.
      const deadline = performance.now() + patienceMs;
      while (!(isTaken = tryLock(file.fd)) && performance.now() < deadline) await sleep(PAUSE_MS);
      if (!isTaken) return null;
      const holder: LockHolder = {
        pid: process.pid,
        host: hostname(),
        startedAt: new Date().toISOString(),
        mode,
      };
      await file.truncate(0);
      await file.write(JSON.stringify(holder), 0);
      return new CacheLock(file);
    } catch (error) {
      isTaken = false;
      throw cacheIoError(error, path);
    } finally {
      if (!isTaken) await file.close();
    }
  }

  async release(): Promise<void> {
    // The name of a holder that is gone misleads nobody: the lock itself says that nobody holds it.
    await this.#file.truncate(0).catch(() => undefined);
    unlock(this.#file.fd);
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Who writes the cache just now, or null when nobody does. */
export function currentHolder(cacheDir: string): LockHolder | null {
  const path = lockPath(cacheDir);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | SAFELY);
  } catch (error) {
    // No lock file, or no right to write it: nobody holds it, or nobody this process could meet.
    if (!isOutOfFiles(error)) return null;
    throw cacheIoError(error, path);
  }
  try {
    if (!fstatSync(fd).isFile()) return null;
    // Shared, so that two who look at the same time do not take each other for a writer.
    if (tryLock(fd, { shared: true })) {
      unlock(fd);
      return null;
    }
    return parseHolder(readFileSync(fd, 'utf8'));
  } finally {
    closeSync(fd);
  }
}

function parseHolder(text: string): LockHolder {
  try {
    return v.parse(holderSchema, JSON.parse(text));
  } catch {
    return { pid: 0, host: 'unknown', startedAt: 'unknown', mode: 'unknown' };
  }
}

function lockedError(path: string): CacheError {
  const holder = parseHolder(readSmallFile(path));
  return new CacheError(
    'CACHE_LOCKED',
    `The cache is being written by process ${holder.pid} on ${holder.host} since ${holder.startedAt} (${holder.mode}).`,
    {
      context: { path, pid: holder.pid, host: holder.host, startedAt: holder.startedAt },
      hint: 'Wait for it to end, or use another --cache directory.',
    },
  );
}
