import { closeSync, openSync, readSync } from 'node:fs';
import { writeFully } from '../cache/bulk/data-file.js';
import { cacheIoError } from '../cache/files.js';
import { dataPath } from '../cache/layout.js';
import type { Groups } from './kernel/row-kernel.js';
import { SEGMENT_BYTES, Segments } from './segments.js';
import type { SpooledGroups, SpoolRef } from './tasks.js';

/**
 * Records on their way from the order of the source to the order of their keys, grouped by ranges of keys. Before a
 * record's key and value there are, little-endian, 16 bits of the key's size, 16 of its range, and 32 of the size of key
 * and value.
 *
 * They lie in some logical files, each for ranges of keys that follow one another, whose segments are those of the data
 * file: when all of a file has become pages, its segments are there for other pages.
 */

const HEADER_BYTES = 8;

/** Visits records as they are spooled, all of them whole. */
export function eachSpooled(
  bytes: Buffer,
  visit: (keyStart: number, valueStart: number, end: number) => void,
): void {
  for (let at = 0; at < bytes.length;) {
    const keyStart = at + HEADER_BYTES;
    const end = keyStart + bytes.readUInt32LE(at + 4);
    visit(keyStart, keyStart + bytes.readUInt16LE(at), end);
    at = end;
  }
}

/** The file of a spool in which a range's records are. */
export function fileOfRange(range: number, ranges: number, files: number): number {
  return Math.floor((range * files) / ranges);
}

/** The first range in a file of a spool. */
function firstOfFile(file: number, ranges: number, files: number): number {
  return Math.ceil((file * ranges) / files);
}

/**
 * Where the records of one range are that some tasks have spooled.
 *
 * @returns of each part its offset in the file, and its bytes.
 */
export function partsOfRange(
  spooled: readonly SpooledGroups[],
  range: number,
  files: number,
): Float64Array<ArrayBuffer> {
  const parts = new Float64Array(2 * spooled.length);
  let count = 0;
  for (const { starts, sizes } of spooled) {
    const bytes = sizes[range]!;
    if (bytes === 0) continue;
    const file = fileOfRange(range, sizes.length, files);
    let offset = starts[file]!;
    for (let i = firstOfFile(file, sizes.length, files); i < range; i++) offset += sizes[i]!;
    parts[count++] = offset;
    parts[count++] = bytes;
  }
  return parts.slice(0, count);
}

/** The bytes of parts, all together. */
export function bytesOf(parts: Float64Array): number {
  let sum = 0;
  for (let i = 1; i < parts.length; i += 2) sum += parts[i]!;
  return sum;
}

/** Of the logical files of a spool, what each thread that uses it knows. */
export class Spool {
  readonly #ref: SpoolRef;
  readonly #segments: Segments;
  readonly #perFile: number;

  constructor(ref: SpoolRef) {
    this.#ref = ref;
    this.#segments = new Segments(ref.target, ref.segments);
    this.#perFile = ref.places.length / ref.taken.length;
  }

  /**
   * Makes a spool, empty.
   *
   * @param bytes that will be written, by an estimate.
   */
  static begin(
    { dir, target }: Pick<SpoolRef, 'dir' | 'target'>,
    files: number,
    bytes: number,
  ): SpoolRef {
    const perFile = LEAST_SEGMENTS + Math.ceil((MAX_GROWTH * bytes) / files / SEGMENT_BYTES);
    return {
      dir,
      target,
      taken: new BigInt64Array(new SharedArrayBuffer(8 * files)),
      places: new Int32Array(new SharedArrayBuffer(4 * files * perFile)),
      segments: Segments.memoryFor(files * perFile),
    };
  }

  get files(): number {
    return this.#ref.taken.length;
  }

  /**
   * Writes groups behind what the files have, whoever else does so.
   *
   * @returns where they are, or null where a file would become too long.
   */
  write({ bytes, sizes }: Groups): SpooledGroups | null {
    const { files } = this;
    const starts = new Float64Array(files);
    const isWhole = this.#withFile((fd, path) => {
      let from = 0;
      for (let file = 0; file < files; file++) {
        let to = from;
        const end = firstOfFile(file + 1, sizes.length, files);
        for (let range = firstOfFile(file, sizes.length, files); range < end; range++) {
          to += sizes[range]!;
        }
        const offset = Number(Atomics.add(this.#ref.taken, file, BigInt(to - from)));
        if (offset + to - from > this.#perFile * SEGMENT_BYTES) return false;
        starts[file] = offset;
        this.#eachPiece(file, offset, to - from, (position, done, size) => {
          writeFully(fd, path, bytes.subarray(from + done, from + done + size), position);
        });
        from = to;
      }
      return true;
    });
    return isWhole ? { starts, sizes: Uint32Array.from(sizes) } : null;
  }

  /**
   * Reads parts of a file into memory that has room for them, one behind the other.
   *
   * @param parts as {@link partsOfRange} tells them.
   */
  read(file: number, parts: Float64Array, target: Buffer): void {
    this.#withFile((fd) => {
      let at = 0;
      for (let i = 0; i < parts.length; i += 2) {
        const offset = parts[i]!;
        const bytes = parts[i + 1]!;
        this.#eachPiece(file, offset, bytes, (position, done, size) => {
          readPiece(fd, target.subarray(at + done, at + done + size), position);
        });
        at += bytes;
      }
    });
  }

  /** Gives up a file: its segments are those of others then. */
  release(file: number): void {
    const { places } = this.#ref;
    const own = places.subarray(file * this.#perFile, (file + 1) * this.#perFile);
    this.#segments.give([...own].filter((page) => page > 0));
  }

  /** Tells where the pieces of a part are in the data file: in each segment there is one. */
  #eachPiece(
    file: number,
    offset: number,
    bytes: number,
    take: (position: number, done: number, size: number) => void,
  ): void {
    for (let done = 0; done < bytes;) {
      const at = offset + done;
      const inSegment = at % SEGMENT_BYTES;
      const size = Math.min(bytes - done, SEGMENT_BYTES - inSegment);
      const page = this.#segmentOf(file, Math.floor(at / SEGMENT_BYTES));
      take(page * this.#ref.target.pageSize + inSegment, done, size);
      done += size;
    }
  }

  /** The first page of a file's segment. Whoever comes to it first takes one for it. */
  #segmentOf(file: number, nth: number): number {
    const { places } = this.#ref;
    const at = file * this.#perFile + nth;
    const known = Atomics.load(places, at);
    if (known !== 0) return known;
    const page = this.#segments.take();
    // Where another thread was faster, the segment stays empty, and its pages are free in the end.
    return Atomics.compareExchange(places, at, 0, page) || page;
  }

  #withFile<T>(work: (fd: number, path: string) => T): T {
    const path = dataPath(this.#ref.dir);
    try {
      const fd = openSync(path, 'r+');
      try {
        return work(fd, path);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw cacheIoError(error, path);
    }
  }
}

/** A file of a spool has segments for so many times what it should get, and these besides. */
const MAX_GROWTH = 4;
const LEAST_SEGMENTS = 16;

function readPiece(fd: number, target: Buffer, position: number): void {
  for (let done = 0; done < target.length;) {
    const read = readSync(fd, target, done, target.length - done, position + done);
    if (read === 0) throw new RangeError('the spool ends too early');
    done += read;
  }
}
