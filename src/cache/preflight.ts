import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { CacheError } from '../errors.js';
import { cacheIoError, refuseNoFile, SAFELY } from './files.js';
import { dataPath } from './layout.js';
import { findDamage } from './lmdb-check.js';
import { META_BODY, META_BYTES, parseMeta, type Meta } from './lmdb-format.js';
import { currentHolder } from './lock.js';
import { refuseLinks, statsOf } from './safe-directory.js';
import { fileState, readSeal, sameState, sealPages } from './seal.js';

/**
 * Looks at an LMDB file before LMDB maps it: one that is empty, cut short, no LMDB file at all, or has garbage among
 * its pages would otherwise be taken for a new database, or bring the process down.
 *
 * The meta pages are always looked at, and all pages unless the file is sealed: known to be as it was
 * left when it was sound, or written just now by a process that looked.
 *
 * @throws {CacheError} `CACHE_CORRUPT` saying what is wrong.
 */
export function preflight(generationDir: string): void {
  refuseOthersInPlace(generationDir);
  withFile(generationDir, constants.O_RDONLY, (fd, path) => {
    const newest = readNewest(fd, path);
    if (isSealed(generationDir)) return;
    const before = fileState(generationDir);
    if (arePagesSound(fd, path, newest)) sealPages(generationDir, before);
  });
}

/**
 * {@link preflight} that looks at every page, whatever is known of the file, and leaves no note that it did.
 *
 * @returns false where the file was written meanwhile, so that nothing can be said of its pages.
 * @throws {CacheError} `CACHE_CORRUPT` saying what is wrong.
 */
export function inspectPages(generationDir: string): boolean {
  refuseOthersInPlace(generationDir);
  return withFile(generationDir, constants.O_RDONLY, (fd, path) =>
    arePagesSound(fd, path, readNewest(fd, path)),
  );
}

/** False where they cannot be told to be damaged, because the file was written meanwhile. */
function arePagesSound(fd: number, path: string, newest: Meta): boolean {
  const damage = findDamage(fd, newest);
  if (damage === null) return true;
  // Pages of a state that is not the newest any more are used again.
  if (readNewest(fd, path).transaction === newest.transaction) throw corrupt(path, damage);
  return false;
}

/**
 * The same for who is about to write the file, and alone may: where its newest state is damaged and the one before it
 * is sound, the file is set back to that. LMDB leaves the pages of that state alone.
 *
 * @returns whether the file was set back by one transaction.
 */
export function preflightForWriter(generationDir: string): boolean {
  refuseOthersInPlace(generationDir);
  try {
    preflight(generationDir);
    return false;
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'CACHE_CORRUPT') throw error;
    if (!restoreOlder(generationDir)) throw error;
    sealPages(generationDir);
    return true;
  }
}

/** The newest state of the file, as its meta pages tell. Pages at its end that are free may not be there. */
function readNewest(fd: number, path: string): Meta {
  const first = readMeta(fd, 0);
  if (first === null) {
    throw corrupt(path, `its ${fstatSync(fd).size} bytes do not begin with an LMDB meta page`);
  }
  const second = readMeta(fd, first.pageSize);
  if (second === null) throw corrupt(path, 'its second meta page is damaged');
  const newest = second.transaction > first.transaction ? second : first;
  return newest;
}

function readMeta(fd: number, at: number): Meta | null {
  return parseMeta(readMetaBytes(fd, at));
}

function readMetaBytes(fd: number, at: number): Buffer {
  const bytes = Buffer.alloc(META_BYTES);
  return bytes.subarray(0, readSync(fd, bytes, 0, META_BYTES, at));
}

/** Whether the pages of a file are known to be sound, so that {@link preflight} need not look at each. */
export function isSealed(generationDir: string): boolean {
  const seal = readSeal(generationDir);
  if (seal === null) return false;
  if ('writer' in seal) {
    const cacheDir = dirname(dirname(generationDir));
    const holder = currentHolder(cacheDir);
    return holder?.pid === seal.writer && holder.startedAt === seal.since;
  }
  return existsSync(dataPath(generationDir)) && sameState(seal, fileState(generationDir));
}

/** Sizes that a page may have. The first meta page tells which; where it is damaged, the other is looked for. */
const PAGE_SIZES = [4096, 8192, 16384, 32768, 65536, 2048, 1024, 512];

/** Sets a file back to the older of its states, where only that is sound. */
function restoreOlder(generationDir: string): boolean {
  return withFile(generationDir, constants.O_RDWR, (fd) => {
    const first = readMeta(fd, 0);
    const pageSize =
      first?.pageSize ?? PAGE_SIZES.find((size) => readMeta(fd, size)?.pageSize === size);
    if (pageSize === undefined) return false;
    const pages = [0, pageSize];
    const found = pages.flatMap((at) => {
      const bytes = readMetaBytes(fd, at);
      const meta = parseMeta(bytes);
      return meta ? [{ at, bytes, meta }] : [];
    });
    const sound = found
      .toSorted((a, b) => Number(b.meta.transaction - a.meta.transaction))
      .find(({ meta }) => isSound(fd, meta));
    if (!sound) return false;
    // A meta page is written in whole here, with its own number: a damaged one may have lost its mark as well.
    for (const at of pages.filter((each) => each !== sound.at)) {
      const page = Buffer.from(sound.bytes);
      page.writeBigUInt64LE(BigInt(at / pageSize), 0);
      writeSync(fd, page, 0, page.length, at);
    }
    // Where lmdb-js keeps which state was flushed last.
    const body = sound.bytes.subarray(META_BODY);
    writeSync(fd, body, 0, body.length, pageSize / 2 + META_BODY);
    fsyncSync(fd);
    return true;
  });
}

function isSound(fd: number, meta: Meta): boolean {
  return findDamage(fd, meta) === null;
}

function withFile<T>(generationDir: string, mode: number, use: (fd: number, path: string) => T): T {
  const path = dataPath(generationDir);
  let fd: number;
  try {
    fd = openSync(path, mode | SAFELY);
  } catch (error) {
    if (isMissing(error)) throw corrupt(path, 'it is missing');
    throw cacheIoError(error, path);
  }
  try {
    return use(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** A link, a directory or a pipe in the place of a file of ours: no state of the file can be what to go back to. */
function refuseOthersInPlace(generationDir: string): void {
  refuseLinks(generationDir);
  for (const path of ['data.mdb', 'lock.mdb', 'commit.lock'].map((name) =>
    join(generationDir, name),
  )) {
    const stats = statsOf(path, lstatSync);
    if (stats) refuseNoFile(stats, path);
  }
}

/** Also where a file is in the place of a directory above it. */
function isMissing(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code))
  );
}

function corrupt(path: string, why: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `The cache file ${JSON.stringify(path)} is damaged: ${why}.`,
    {
      context: { path },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
