import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CacheError } from '../errors.js';
import { cacheIoError } from './files.js';
import { dataPath } from './layout.js';

/** lmdb-js's data format, which is its own. */
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_PAGES = 2;

// Offsets in a meta page, from lmdb-js's `MDB_page` (24 bytes of header) and `MDB_meta`.
const AT_MAGIC = 24;
const AT_VERSION = 28;
const AT_PAGE_SIZE = 48;
const AT_LAST_PAGE = 144;
const AT_TRANSACTION = 152;
const META_BYTES = 160;

/**
 * Looks at an LMDB file before LMDB maps it. A file that is empty, cut short or no LMDB file at all would otherwise
 * be taken for a new database, or bring the process down.
 *
 * @throws {CacheError} `CACHE_CORRUPT` saying what is wrong.
 */
export function preflight(generationDir: string): void {
  const path = dataPath(generationDir);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw corrupt(path, 'it is missing');
    throw cacheIoError(error, path);
  }
  try {
    const first = readMeta(fd, 0);
    if (first === null) {
      const { size } = fstatSync(fd);
      throw corrupt(path, `its ${size} bytes do not begin with an LMDB meta page`);
    }
    const second = readMeta(fd, first.pageSize);
    if (second === null) throw corrupt(path, 'its second meta page is damaged');
    // After the meta pages: a commit in between makes the file longer, and then writes a meta page that says so.
    const { size } = fstatSync(fd);
    const newest = second.transaction > first.transaction ? second : first;
    const needed = (newest.lastPage + 1n) * BigInt(first.pageSize);
    if (BigInt(size) < needed && newest.lastPage >= BigInt(META_PAGES)) {
      throw corrupt(path, `it has ${size} bytes, but its data need ${needed}`);
    }
  } finally {
    closeSync(fd);
  }
}

interface Meta {
  readonly pageSize: number;
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

function readMeta(fd: number, at: number): Meta | null {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(fd, bytes, 0, META_BYTES, at) < META_BYTES) return null;
  if (bytes.readUInt32LE(AT_MAGIC) !== MAGIC || bytes.readUInt32LE(AT_VERSION) !== DATA_VERSION)
    return null;
  const pageSize = bytes.readUInt32LE(AT_PAGE_SIZE);
  const isPowerOfTwo = (pageSize & (pageSize - 1)) === 0;
  if (!isPowerOfTwo || pageSize < 512 || pageSize > 65536) return null;
  return {
    pageSize,
    lastPage: bytes.readBigUInt64LE(AT_LAST_PAGE),
    transaction: bytes.readBigUInt64LE(AT_TRANSACTION),
  };
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
