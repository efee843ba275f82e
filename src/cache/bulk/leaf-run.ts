import { CacheError } from '../../errors.js';
import { MAX_KEY_BYTES } from '../../transform/key-codec.js';
import {
  AT_LOWER,
  AT_OVERFLOW_PAGES,
  AT_PAGE_FLAGS,
  AT_UPPER,
  even,
  IS_BIG,
  IS_LEAF,
  IS_OVERFLOW,
  largestNode,
  NODE_HEADER_BYTES,
  OVERFLOW_REFERENCE_BYTES,
  overflowPagesOf,
  PAGE_HEADER_BYTES,
  TREE_BYTES,
} from '../lmdb-format.js';

/** What is known of a run of leaves without its pages. All memory in it is its own, and can be transferred. */
export interface RunOutline {
  readonly pageSize: number;
  readonly pageCount: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** The number of each leaf within the run, whose first page is 0. */
  readonly leafNumbers: Uint32Array<ArrayBuffer>;
  /**
   * Packed: for the first leaf its first key, for each other one the shortest beginning of its first key that is greater
   * than the last key of the leaf before.
   */
  readonly separators: Uint8Array<ArrayBuffer>;
  /** Where each separator ends. */
  readonly separatorEnds: Uint32Array<ArrayBuffer>;
  /** Empty in a run without entries. */
  readonly lastKey: Uint8Array<ArrayBuffer>;
}

/** Leaf pages and overflow pages that hold consecutive records of a table, and have no place in a file yet. */
export interface LeafRun extends RunOutline {
  /** The pages in their order. */
  readonly chunks: readonly Uint8Array<ArrayBuffer>[];
  /**
   * For each value on overflow pages: the chunk that has the reference to it, where in it, and the number within the run
   * of the first overflow page.
   */
  readonly references: Uint32Array<ArrayBuffer>;
}

/** The memory of a run, for the transfer list of a message. */
export function memoryOf(run: LeafRun): ArrayBuffer[] {
  return [
    run.leafNumbers,
    run.separators,
    run.separatorEnds,
    run.lastKey,
    run.references,
    ...run.chunks,
  ].map(({ buffer }) => buffer);
}

const CHUNK_BYTES = 1024 * 1024;
/** Up to here a loop beats the calls into native code. */
const SHORT = 32;
const INITIAL_LEAVES = 1024;
const INITIAL_SEPARATOR_BYTES = 16 * INITIAL_LEAVES;

/** Memory for pages, as bytes and as the 16-bit words of which headers are made; LMDB writes them as its machine does. */
class Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint16Array;
  readonly view: DataView;

  constructor(memory: ArrayBuffer) {
    this.bytes = new Uint8Array(memory);
    this.words = new Uint16Array(memory);
    this.view = new DataView(memory);
  }
}

/**
 * Packs records that come in strictly ascending order of their keys into pages, as LMDB does with `MDB_APPEND`: leaves
 * are filled to the last record that fits, and a value too large for a leaf lies on overflow pages of its own.
 *
 * Can be used again after {@link finish}, for a run that need not follow on the last one.
 */
export class LeafRunBuilder {
  readonly #pageSize: number;
  readonly #room: number;
  readonly #largestNode: number;
  readonly #largestKey: number;

  #chunks: Uint8Array<ArrayBuffer>[] = [];
  #references: number[] = [];
  #leafNumbers = new Uint32Array(INITIAL_LEAVES);
  #separators = new Uint8Array(INITIAL_SEPARATOR_BYTES);
  #separatorEnds = new Uint32Array(INITIAL_LEAVES);
  #separatorBytes = 0;
  #pages = 0;
  #leaves = 0;
  #overflowPages = 0;
  #entries = 0;

  /** Where pages are taken from, and how many of its bytes are taken. */
  #chunk: Chunk;
  #chunkUsed = 0;

  // The leaf that is being filled: its chunk may be an older one.
  #leaf: Chunk;
  #leafChunk = 0;
  #leafAt = 0;
  #lower = 0;
  #upper = 0;

  // The record added last, in the leaf.
  #keyAt = 0;
  #keyBytes = 0;

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
    this.#room = pageSize - PAGE_HEADER_BYTES;
    this.#largestNode = largestNode(pageSize);
    // LMDB wants that a key has room for the description of a tree beside it.
    this.#largestKey = Math.min(MAX_KEY_BYTES, this.#largestNode - NODE_HEADER_BYTES - TREE_BYTES);
    this.#chunk = new Chunk(new ArrayBuffer(CHUNK_BYTES));
    this.#leaf = this.#chunk;
  }

  /** Bytes of the pages of the run so far. */
  get bytes(): number {
    return this.#pages * this.#pageSize;
  }

  get entries(): number {
    return this.#entries;
  }

  /**
   * Adds the record whose key and value follow each other in `source`.
   *
   * @throws {CacheError} `KEY_INVALID` when the key is empty, too long, or not greater than the last one; the run is as
   *   it was.
   */
  add(source: Uint8Array, keyStart: number, valueStart: number, end: number): void {
    const keyBytes = valueStart - keyStart;
    if (keyBytes <= 0 || keyBytes > this.#largestKey) throw unfitKey(keyBytes, this.#largestKey);
    const common = this.#entries === 0 ? keyBytes : this.#commonBytes(source, keyStart, keyBytes);
    const wholeNode = NODE_HEADER_BYTES + end - keyStart;
    const isBig = wholeNode > this.#largestNode;
    const nodeBytes = even(
      isBig ? NODE_HEADER_BYTES + keyBytes + OVERFLOW_REFERENCE_BYTES : wholeNode,
    );
    if (this.#upper - this.#lower < nodeBytes + 2) {
      this.#beginLeaf(source, keyStart, Math.min(common + 1, keyBytes));
    }
    const { bytes, words } = this.#leaf;
    const upper = this.#upper - nodeBytes;
    const node = this.#leafAt + PAGE_HEADER_BYTES + upper;
    words[(this.#leafAt + PAGE_HEADER_BYTES + this.#lower) >> 1] = upper;
    this.#lower += 2;
    this.#upper = upper;

    const valueBytes = end - valueStart;
    const header = node >> 1;
    words[header] = valueBytes & 0xffff;
    words[header + 1] = valueBytes >>> 16;
    words[header + 2] = isBig ? IS_BIG : 0;
    words[header + 3] = keyBytes;
    const key = node + NODE_HEADER_BYTES;
    // What follows overwrites it but for the byte that makes the node's size even.
    bytes[node + nodeBytes - 1] = 0;
    if (isBig) {
      copy(bytes, key, source, keyStart, valueStart);
      this.#addBig(key + keyBytes, source, valueStart, end);
    } else {
      copy(bytes, key, source, keyStart, end);
    }
    this.#keyAt = key;
    this.#keyBytes = keyBytes;
    this.#entries++;
  }

  /** The run so far. The builder forgets it. */
  finish(): LeafRun {
    let lastKey = new Uint8Array(0);
    if (this.#entries > 0) {
      this.#sealLeaf();
      this.#closeChunk();
      lastKey = this.#leaf.bytes.slice(this.#keyAt, this.#keyAt + this.#keyBytes);
    }
    const run: LeafRun = {
      pageSize: this.#pageSize,
      pageCount: this.#pages,
      leafPages: this.#leaves,
      overflowPages: this.#overflowPages,
      entries: this.#entries,
      leafNumbers: this.#leafNumbers.slice(0, this.#leaves),
      separators: this.#separators.slice(0, this.#separatorBytes),
      separatorEnds: this.#separatorEnds.slice(0, this.#leaves),
      lastKey,
      chunks: this.#chunks,
      references: Uint32Array.from(this.#references),
    };
    this.#forget();
    return run;
  }

  #forget(): void {
    if (this.#pages > 0) {
      this.#chunk = this.#newChunk(1);
      this.#leaf = this.#chunk;
    }
    this.#chunks = [];
    this.#references = [];
    this.#chunkUsed = 0;
    this.#separatorBytes = 0;
    this.#pages = 0;
    this.#leaves = 0;
    this.#overflowPages = 0;
    this.#entries = 0;
    this.#lower = 0;
    this.#upper = 0;
  }

  /** How many bytes a key has in common with the one before, which it must be greater than. */
  #commonBytes(source: Uint8Array, keyStart: number, keyBytes: number): number {
    const { bytes } = this.#leaf;
    const at = this.#keyAt;
    const length = Math.min(keyBytes, this.#keyBytes);
    for (let i = 0; i < length; i++) {
      const difference = source[keyStart + i]! - bytes[at + i]!;
      if (difference > 0) return i;
      if (difference < 0) throw disorder(this.#entries);
    }
    if (keyBytes <= this.#keyBytes) throw disorder(this.#entries);
    return length;
  }

  /** @param separatorBytes of the key that tell it from the key before. */
  #beginLeaf(source: Uint8Array, keyStart: number, separatorBytes: number): void {
    if (this.#leaves > 0) this.#sealLeaf();
    this.#reserveLeaf(separatorBytes);
    this.#leafNumbers[this.#leaves] = this.#pages;
    for (let i = 0; i < separatorBytes; i++) {
      this.#separators[this.#separatorBytes + i] = source[keyStart + i]!;
    }
    this.#separatorBytes += separatorBytes;
    this.#separatorEnds[this.#leaves] = this.#separatorBytes;
    this.#leaves++;

    this.#leafAt = this.#takePages(1);
    this.#leaf = this.#chunk;
    this.#leafChunk = this.#chunks.length;
    this.#lower = 0;
    this.#upper = this.#room;
  }

  #sealLeaf(): void {
    const { bytes, words } = this.#leaf;
    const start = this.#leafAt;
    words[(start + AT_PAGE_FLAGS) >> 1] = IS_LEAF;
    words[(start + AT_PAGE_FLAGS - 2) >> 1] = 0;
    words[(start + AT_LOWER) >> 1] = this.#lower;
    words[(start + AT_UPPER) >> 1] = this.#upper;
    // The memory may be that of other records.
    bytes.fill(0, start + PAGE_HEADER_BYTES + this.#lower, start + PAGE_HEADER_BYTES + this.#upper);
  }

  /** Puts a value on pages of its own, and what refers to it into the leaf. */
  #addBig(referenceAt: number, source: Uint8Array, valueStart: number, end: number): void {
    const leaf = this.#leaf;
    const first = this.#pages;
    const pages = overflowPagesOf(end - valueStart, this.#pageSize);
    const at = this.#takePages(pages);
    this.#overflowPages += pages;
    const { bytes, view, words } = this.#chunk;
    words[(at + AT_PAGE_FLAGS - 2) >> 1] = 0;
    words[(at + AT_PAGE_FLAGS) >> 1] = IS_OVERFLOW;
    view.setUint32(at + AT_OVERFLOW_PAGES, pages, true);
    copy(bytes, at + PAGE_HEADER_BYTES, source, valueStart, end);
    bytes.fill(0, at + PAGE_HEADER_BYTES + end - valueStart, at + pages * this.#pageSize);

    this.#references.push(this.#leafChunk, referenceAt, first);
    leaf.view.setUint32(referenceAt + 16, pages, true);
    leaf.view.setUint32(referenceAt + 20, 0, true);
  }

  /** @returns where in the chunk the pages begin, which follow on one another. */
  #takePages(pages: number): number {
    const bytes = pages * this.#pageSize;
    if (this.#chunkUsed + bytes > this.#chunk.bytes.length) {
      this.#closeChunk();
      this.#chunk = this.#newChunk(bytes);
    }
    const at = this.#chunkUsed;
    this.#chunkUsed += bytes;
    this.#pages += pages;
    return at;
  }

  #closeChunk(): void {
    // One without pages is not part of the run; a leaf that is open has one.
    if (this.#chunkUsed > 0) this.#chunks.push(this.#chunk.bytes.subarray(0, this.#chunkUsed));
    this.#chunkUsed = 0;
  }

  #newChunk(bytes: number): Chunk {
    return new Chunk(new ArrayBuffer(Math.max(bytes, CHUNK_BYTES)));
  }

  #reserveLeaf(separatorBytes: number): void {
    if (this.#leaves === this.#leafNumbers.length) {
      this.#leafNumbers = grown(this.#leafNumbers, 2 * this.#leaves);
      this.#separatorEnds = grown(this.#separatorEnds, 2 * this.#leaves);
    }
    const needed = this.#separatorBytes + separatorBytes;
    if (needed <= this.#separators.length) return;
    const larger = new Uint8Array(2 * needed);
    larger.set(this.#separators.subarray(0, this.#separatorBytes));
    this.#separators = larger;
  }
}

function grown(numbers: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(numbers);
  return larger;
}

function copy(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  if (end - start > SHORT) {
    // Cheaper than `subarray`, which looks for the class to make.
    target.set(new Uint8Array(source.buffer, source.byteOffset + start, end - start), at);
    return;
  }
  while (start < end) target[at++] = source[start++]!;
}

function unfitKey(bytes: number, limit: number): CacheError {
  return new CacheError('KEY_INVALID', `A key of ${bytes} bytes cannot be stored.`, {
    context: { bytes, limit },
    hint: `LMDB takes keys of 1 to ${limit} bytes.`,
  });
}

function disorder(entry: number): CacheError {
  return new CacheError(
    'KEY_INVALID',
    `Record ${entry} of a run does not follow on the one before in the order of their keys.`,
    {
      context: { entry },
      hint: 'Records are loaded in strictly ascending order; put others one by one.',
    },
  );
}
