import {
  IS_BIG,
  IS_LEAF,
  NODE_HEADER_BYTES,
  OVERFLOW_REFERENCE_BYTES,
  PAGE_HEADER_BYTES,
} from '../lmdb-format.js';
import {
  maxNodeBytes,
  NodePage,
  overflowPagesFor,
  writeOverflowHeader,
  writePageNumber,
} from './page-build.js';

/** Leaf pages of a table, and the overflow pages of their records, as they are in the file. */
export interface LeafRun {
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** The number of each leaf, in the order of the keys. */
  readonly leaves: Float64Array<ArrayBuffer>;
  /** The first key of each leaf and then the last key of the run, one behind the other. */
  readonly keys: Uint8Array<ArrayBuffer>;
  /** Where each key begins, and where the last one ends. */
  readonly keyStarts: Uint32Array<ArrayBuffer>;
}

const INITIAL_PAGES = 256;
const GROWTH = 1.5;

/**
 * Packs records that come in ascending order of their keys into pages, filled as LMDB fills them when records are
 * appended. The pages are numbered from 0 until they are placed. Its memory is used again by the next run.
 */
export class LeafRunBuilder {
  readonly #pageSize: number;
  readonly #maxNode: number;
  readonly #leaf: NodePage;
  #pages: Buffer;
  /** Pages begun. */
  #count = 0;
  #leaves: number[] = [];
  #overflows: number[] = [];
  /** Where the references to overflow pages are. */
  #references: number[] = [];
  #overflowPages = 0;
  #entries = 0;
  #keys = Buffer.allocUnsafeSlow(64 * 1024);
  #keyStarts: number[] = [0];

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
    this.#maxNode = maxNodeBytes(pageSize);
    this.#leaf = new NodePage(IS_LEAF, pageSize);
    this.#pages = Buffer.allocUnsafeSlow(INITIAL_PAGES * pageSize);
  }

  /** Begins a run. */
  start(): void {
    this.#count = 0;
    this.#leaves = [];
    this.#overflows = [];
    this.#references = [];
    this.#overflowPages = 0;
    this.#entries = 0;
    this.#keyStarts = [0];
  }

  /** Adds a record whose key is greater than that of the one before: its key, then its value, as bytes of `source`. */
  add(source: Buffer, keyStart: number, valueStart: number, end: number): void {
    const keyBytes = valueStart - keyStart;
    const valueBytes = end - valueStart;
    const whole = NODE_HEADER_BYTES + keyBytes + valueBytes;
    const isBig = whole > this.#maxNode;
    const nodeBytes = isBig ? NODE_HEADER_BYTES + keyBytes + OVERFLOW_REFERENCE_BYTES : whole;
    if (this.#leaves.length === 0 || !this.#leaf.fits(nodeBytes)) {
      this.#nextLeaf(source, keyStart, valueStart);
    }
    const at = this.#leaf.add(nodeBytes, valueBytes, isBig ? IS_BIG : 0, keyBytes);
    if (isBig) {
      source.copy(this.#pages, at, keyStart, valueStart);
      this.#addOverflow(at + keyBytes, source, valueStart, end);
    } else source.copy(this.#pages, at, keyStart, end);
    this.#entries++;
  }

  /**
   * Ends the run.
   *
   * @param lastKey of the record added last, as bytes of `source`.
   */
  end(source: Buffer, lastKey: { readonly start: number; readonly end: number } | null): void {
    if (this.#leaves.length > 0) this.#leaf.end();
    if (lastKey) this.#noteKey(source, lastKey.start, lastKey.end);
  }

  get pageCount(): number {
    return this.#count;
  }

  /** The run's pages, numbered from `first` on. Their memory is the builder's. */
  place(first: number, transaction: bigint): { readonly pages: Buffer; readonly run: LeafRun } {
    const pages = this.#pages;
    for (const page of [this.#leaves, this.#overflows].flat()) {
      writePageNumber(pages, page * this.#pageSize, first + page, transaction);
    }
    for (const [i, at] of this.#references.entries()) {
      pages.writeBigUInt64LE(BigInt(first + this.#overflows[i]!), at);
      pages.writeBigUInt64LE(transaction, at + 8);
    }
    const keyBytes = this.#keyStarts.at(-1)!;
    const run: LeafRun = {
      leafPages: this.#leaves.length,
      overflowPages: this.#overflowPages,
      entries: this.#entries,
      leaves: Float64Array.from(this.#leaves, (page) => first + page),
      keys: new Uint8Array(this.#keys.subarray(0, keyBytes)),
      keyStarts: Uint32Array.from(this.#keyStarts),
    };
    return { pages: pages.subarray(0, this.#count * this.#pageSize), run };
  }

  #nextLeaf(source: Buffer, keyStart: number, keyEnd: number): void {
    if (this.#leaves.length > 0) this.#leaf.end();
    const page = this.#take(1);
    this.#leaf.begin(this.#pages, page * this.#pageSize);
    this.#leaves.push(page);
    this.#noteKey(source, keyStart, keyEnd);
  }

  #addOverflow(referenceAt: number, source: Buffer, start: number, end: number): void {
    const count = overflowPagesFor(end - start, this.#pageSize);
    const page = this.#take(count);
    const pageStart = page * this.#pageSize;
    const contentEnd = pageStart + PAGE_HEADER_BYTES + end - start;
    writeOverflowHeader(this.#pages, pageStart, count);
    source.copy(this.#pages, pageStart + PAGE_HEADER_BYTES, start, end);
    this.#pages.fill(0, contentEnd, pageStart + count * this.#pageSize);
    this.#pages.writeBigUInt64LE(BigInt(count), referenceAt + 16);
    this.#overflows.push(page);
    this.#references.push(referenceAt);
    this.#overflowPages += count;
  }

  #noteKey(source: Buffer, start: number, end: number): void {
    const at = this.#keyStarts.at(-1)!;
    const keyEnd = at + end - start;
    if (keyEnd > this.#keys.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(keyEnd, 2 * this.#keys.length));
      this.#keys.copy(larger, 0, 0, at);
      this.#keys = larger;
    }
    source.copy(this.#keys, at, start, end);
    this.#keyStarts.push(keyEnd);
  }

  /** Takes the next pages and gives the number of the first. */
  #take(count: number): number {
    const page = this.#count;
    this.#count += count;
    const needed = this.#count * this.#pageSize;
    if (needed > this.#pages.length) {
      const larger = Buffer.allocUnsafeSlow(
        Math.max(needed, Math.floor(this.#pages.length * GROWTH)),
      );
      this.#pages.copy(larger, 0, 0, page * this.#pageSize);
      this.#pages = larger;
      this.#leaf.move(larger);
    }
    return page;
  }
}
