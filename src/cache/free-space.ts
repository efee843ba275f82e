import { stat, statfs } from 'node:fs/promises';
import { CacheError } from '../errors.js';
import { cacheIoError } from './files.js';
import { dataPath } from './layout.js';

/**
 * Refuses to build a generation anew where the disk has no room for another of its size. That a disk fills up later is
 * met when it happens; this spares the reading of a whole source for nothing.
 *
 * @throws {CacheError} `CACHE_FULL` telling what is needed and what there is.
 */
export async function refuseTooFull(cacheDir: string, generationDir: string): Promise<void> {
  const needed = await sizeOf(dataPath(generationDir));
  let free: number;
  try {
    const { bavail, bsize } = await statfs(cacheDir);
    free = bavail * bsize;
  } catch (error) {
    throw cacheIoError(error, cacheDir);
  }
  if (free >= needed) return;
  throw new CacheError(
    'CACHE_FULL',
    `Building the cache beside the served one needs about ${needed} bytes, and the disk has ${free}.`,
    {
      context: { path: cacheDir, needed, free },
      hint: 'Free some space. The served cache is left as it is.',
    },
  );
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    // A generation that is lost says nothing.
    return 0;
  }
}
