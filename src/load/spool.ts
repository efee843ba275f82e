import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { writeFully } from '../cache/bulk/data-file.js';
import { cacheIoError, FILE_MODE } from '../cache/files.js';
import type { Groups } from './kernel/row-kernel.js';
import type { SpooledGroups, SpoolPart, SpoolRef } from './tasks.js';

/**
 * Records on their way from the order of the source to the order of their keys, grouped by ranges of keys. Before a
 * record's key and value there are, little-endian, 16 bits of the key's size, 16 of its range, and 32 of the size of key
 * and value.
 */

export const HEADER_BYTES = 8;

export function spoolFile(dir: string, file: number): string {
  return join(dir, String(file));
}

/** The file of a spool in which a range's records are. */
export function fileOfRange(range: number, ranges: number, files: number): number {
  return Math.floor((range * files) / ranges);
}

/** The first range in a file of a spool. */
function firstOfFile(file: number, ranges: number, files: number): number {
  return Math.ceil((file * ranges) / files);
}

/** Writes groups behind what a spool has, whoever else does so, and tells where they are. */
export function writeGroups({ dir, taken }: SpoolRef, { bytes, sizes }: Groups): SpooledGroups {
  const files = taken.length;
  const starts = new Float64Array(files);
  let from = 0;
  for (let file = 0; file < files; file++) {
    let to = from;
    const end = firstOfFile(file + 1, sizes.length, files);
    for (let range = firstOfFile(file, sizes.length, files); range < end; range++) {
      to += sizes[range]!;
    }
    if (to === from) continue;
    const offset = Number(Atomics.add(taken, file, BigInt(to - from)));
    starts[file] = offset;
    withSpoolFile(dir, file, constants.O_WRONLY | constants.O_CREAT, (fd) => {
      writeFully(fd, spoolFile(dir, file), bytes.subarray(from, to), offset);
    });
    from = to;
  }
  return { starts, sizes: Uint32Array.from(sizes) };
}

/** Where the records of one range are that some tasks have spooled. */
export function partsOfRange(
  spooled: readonly SpooledGroups[],
  range: number,
  files: number,
): SpoolPart[] {
  const parts: SpoolPart[] = [];
  for (const { starts, sizes } of spooled) {
    const file = fileOfRange(range, sizes.length, files);
    let offset = starts[file]!;
    for (let i = firstOfFile(file, sizes.length, files); i < range; i++) offset += sizes[i]!;
    if (sizes[range]! > 0) parts.push({ offset, bytes: sizes[range]! });
  }
  return parts;
}

/** Reads parts into memory that has room for them, one behind the other. */
export function readParts(
  { dir }: SpoolRef,
  file: number,
  parts: readonly SpoolPart[],
  target: Buffer,
): void {
  withSpoolFile(dir, file, constants.O_RDONLY, (fd) => {
    let at = 0;
    for (const { offset, bytes } of parts) {
      for (let read = 0; read < bytes;) {
        const more = readSync(fd, target, at + read, bytes - read, offset + read);
        if (more === 0) throw new RangeError('the spool ends too early');
        read += more;
      }
      at += bytes;
    }
  });
}

function withSpoolFile(dir: string, file: number, flags: number, work: (fd: number) => void): void {
  const path = spoolFile(dir, file);
  try {
    const fd = openSync(path, flags, FILE_MODE);
    try {
      work(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw cacheIoError(error, path);
  }
}
