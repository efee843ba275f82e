import { lstatSync, statSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { CacheError } from '../errors.js';
import { cacheIoError } from './files.js';
import { dataPath, generationPath } from './layout.js';

const WRITABLE_BY_ALL = 0o002;
const WRITABLE_BY_GROUP = 0o020;

/**
 * Looks at who else may change what is in a cache directory, as `ssh` does at its own: what is read from there is mapped
 * into memory, and what lies there is removed. A link to a directory is taken for the directory.
 *
 * @returns a warning where another user owns it, or a group may write it; or null.
 * @throws {CacheError} `CACHE_UNSAFE` where every user of the machine may write it.
 */
export function refuseOpenToAll(cacheDir: string): string | null {
  if (process.platform === 'win32') return null;
  const stats = statsOf(cacheDir, statSync);
  if (stats === null) return null;
  const shown = JSON.stringify(cacheDir);
  if ((stats.mode & WRITABLE_BY_ALL) !== 0) {
    throw new CacheError('CACHE_UNSAFE', `Every user of this machine may write ${shown}.`, {
      context: { path: cacheDir, mode: (stats.mode & 0o7777).toString(8) },
      hint: 'Take that right away (`chmod go-w`), or use another --cache directory.',
    });
  }
  const user = process.geteuid!();
  if (stats.uid !== user && stats.uid !== 0) {
    return `The cache directory ${shown} belongs to another user (${stats.uid}), who can change what is in it.`;
  }
  const isShared = (stats.mode & WRITABLE_BY_GROUP) !== 0;
  return isShared ? `The group of the cache directory ${shown} can change what is in it.` : null;
}

/**
 * Refuses a generation that lies elsewhere: where a link is in the place of a directory or file of ours, what would be
 * read, written or removed is somebody else's.
 *
 * @throws {CacheError} `CACHE_UNSAFE`.
 */
export function refuseLinks(generationDir: string): void {
  const paths = [dirname(generationDir), generationDir, dataPath(generationDir)];
  for (const path of [...paths, `${generationDir}/lock.mdb`, `${generationDir}/commit.lock`]) {
    if (!statsOf(path, lstatSync)?.isSymbolicLink()) continue;
    throw new CacheError('CACHE_UNSAFE', `${JSON.stringify(path)} is a link to somewhere else.`, {
      context: { path },
      hint: 'Remove the link. The cache directory itself may be one; nothing in it may.',
    });
  }
}

/** {@link refuseLinks} for the directory of all generations, before any of them is removed. */
export function refuseLinkedGenerations(cacheDir: string): void {
  refuseLinks(generationPath(cacheDir, 1));
}

/** Null where there is nothing. */
export function statsOf(path: string, look: (path: string) => Stats): Stats | null {
  try {
    return look(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw cacheIoError(error, path);
  }
}
