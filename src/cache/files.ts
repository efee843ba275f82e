import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CacheError } from '../errors.js';

/** Cache files are for their owner alone: they hold the source's data. */
export const FILE_MODE = 0o600;
export const DIRECTORY_MODE = 0o700;

const TEMPORARY = '.tmp';

/**
 * Opens no link in the place of a file, and waits for nobody where it is a pipe, which would hold up the thread for
 * ever. Windows has neither.
 */
export const SAFELY = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** How a file is opened that is written from its beginning. */
export const WRITTEN_ANEW = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | SAFELY;

/** Far more than any of the small files beside the data holds. */
const MAX_SMALL_FILE_BYTES = 64 * 1024 * 1024;

/**
 * Reads one of the small files beside the data.
 *
 * @throws {CacheError} `CACHE_CORRUPT` where something else is in its place, or it is far too large.
 */
export function readSmallFile(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | SAFELY);
  try {
    const stats = fstatSync(fd);
    refuseNoFile(stats, path);
    if (stats.size > MAX_SMALL_FILE_BYTES) throw notOurs(path, `is of ${stats.size} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** @throws {CacheError} `CACHE_CORRUPT` for a directory, a pipe or a device. */
export function refuseNoFile(stats: Stats, path: string): void {
  if (!stats.isFile()) throw notOurs(path, 'is not a file');
}

function notOurs(path: string, what: string): CacheError {
  return new CacheError('CACHE_CORRUPT', `${JSON.stringify(path)} ${what}.`, {
    context: { path },
    hint: 'Remove it, or use another --cache directory: the source has everything.',
  });
}

/**
 * Replaces a file's content so that after a crash it has either the old content or the new one, whole: written beside
 * it, forced to disk, renamed over it, and the directory forced to disk. Only one process may do so at a time.
 */
export async function writeFileAtomic(path: string, content: string): Promise<void> {
  const temporary = `${path}${TEMPORARY}`;
  try {
    const file = await open(temporary, WRITTEN_ANEW, FILE_MODE);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw cacheIoError(error, path);
  }
}

/** Removes what a killed process was about to rename. For the holder of the directory's lock. */
export async function removeLeftovers(directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    throw cacheIoError(error, directory);
  });
  await Promise.all(
    entries
      .filter((entry) => entry.name.endsWith(TEMPORARY) && !entry.isDirectory())
      .map(({ name }) => rm(join(directory, name), { force: true })),
  );
}

export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  } catch (error) {
    throw cacheIoError(error, path);
  }
}

/** Forces a directory's entries to disk, where the system can. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Whether a file could not be opened because too many are. */
export function isOutOfFiles(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EMFILE' || code === 'ENFILE';
}

/** The error for a process, or a machine, that may not open another file. */
export function tooManyFiles(path: string, cause: unknown): CacheError {
  return new CacheError(
    'CACHE_IO',
    `${JSON.stringify(path)} cannot be opened: too many files are open.`,
    {
      cause,
      context: { path, systemCode: 'EMFILE' },
      hint: 'Raise the limit of open files (`ulimit -n`), or close readers and snapshots. The cache is as it was.',
    },
  );
}

/** Gives a failure of the file system its code, path and advice. */
export function cacheIoError(error: unknown, path: string): CacheError {
  if (error instanceof CacheError) return error;
  const systemCode =
    error instanceof Error && 'code' in error && typeof error.code === 'string'
      ? error.code
      : undefined;
  const context = { path, systemCode };
  const shown = JSON.stringify(path);
  switch (systemCode) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new CacheError('CACHE_FULL', `There is no room to write ${shown}.`, {
        cause: error,
        context,
        hint: 'Free some space, or move the cache to another disk. What was committed is kept.',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new CacheError('CACHE_IO', `${shown} cannot be written by this user.`, {
        cause: error,
        context,
        hint: 'Choose another --cache directory, or change its owner.',
      });
    case 'EMFILE':
    case 'ENFILE':
      return tooManyFiles(path, error);
    case 'EEXIST':
    case 'ENOTDIR':
      return new CacheError('CACHE_IO', `${shown} cannot be a directory: a file is in the way.`, {
        cause: error,
        context,
        hint: 'Choose another --cache directory.',
      });
    case 'EISDIR':
      return new CacheError('CACHE_IO', `${shown} cannot be a file: a directory is in the way.`, {
        cause: error,
        context,
        hint: 'Remove the directory, or choose another --cache directory.',
      });
    case 'ELOOP':
      return new CacheError('CACHE_UNSAFE', `${shown} is a link to somewhere else.`, {
        cause: error,
        context,
        hint: 'Remove the link. The cache directory itself may be one; nothing in it may.',
      });
    default:
      return new CacheError(
        'CACHE_IO',
        `${shown} cannot be used${systemCode ? ` (${systemCode})` : ''}.`,
        {
          cause: error,
          context,
        },
      );
  }
}
