import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { CacheError } from '../../errors.js';
import { cacheIoError } from '../files.js';
import { dataPath } from '../layout.js';
import { META_BYTES, parseMeta, type Meta } from '../lmdb-format.js';

/** The newest state of a data file. */
export interface FileState {
  readonly meta: Meta;
  /** Of the meta page that tells it. */
  readonly bytes: Buffer;
}

/** @throws {CacheError} `CACHE_CORRUPT`. */
export function readState(fd: number, path: string): FileState {
  const first = readMeta(fd, 0);
  const second = first && readMeta(fd, first.meta.pageSize);
  if (!first || !second || second.meta.pageSize !== first.meta.pageSize) {
    throw unusable(path, 'a meta page is damaged');
  }
  return second.meta.transaction > first.meta.transaction ? second : first;
}

function readMeta(fd: number, at: number): FileState | null {
  const bytes = Buffer.alloc(META_BYTES);
  const meta = parseMeta(bytes.subarray(0, readSync(fd, bytes, 0, META_BYTES, at)));
  return meta && { meta, bytes };
}

/** @throws {CacheError} `CACHE_CORRUPT` when the file ends within it. */
export function readPage(fd: number, path: string, pageSize: number, number: number): Buffer {
  const page = Buffer.alloc(pageSize);
  if (readSync(fd, page, 0, pageSize, number * pageSize) === pageSize) return page;
  throw unusable(path, `it ends within page ${number}`);
}

/** Linux writes less than 2 GiB at once. */
const LARGEST_WRITE = 2 ** 30;

/** @throws {CacheError} `CACHE_FULL` or `CACHE_IO`. */
export function writeFully(fd: number, path: string, bytes: Uint8Array, position: number): void {
  try {
    for (let written = 0; written < bytes.length;) {
      const length = Math.min(bytes.length - written, LARGEST_WRITE);
      written += writeSync(fd, bytes, written, length, position + written);
    }
  } catch (error) {
    throw cacheIoError(error, path);
  }
}

/** Opens the data file for reading and writing. */
export function withFile<T>(generationDir: string, use: (fd: number, path: string) => T): T {
  const path = dataPath(generationDir);
  try {
    const fd = openSync(path, 'r+');
    try {
      return use(fd, path);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw cacheIoError(error, path);
  }
}

/** For a file that records cannot be loaded into. */
export function unusable(path: string, why: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `Records cannot be loaded into ${JSON.stringify(path)}: ${why}.`,
    {
      context: { path },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
