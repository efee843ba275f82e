import {
  AT_LOWER,
  AT_OVERFLOW_PAGES,
  AT_PAGE_FLAGS,
  AT_UPPER,
  IS_OVERFLOW,
  NODE_HEADER_BYTES,
  PAGE_HEADER_BYTES,
} from '../lmdb-format.js';

/*
 * Pages as LMDB lays them out (`mdb_node_add`, `mdb_page_new` in `mdb.c` of lmdb-js's fork): behind the header the
 * offsets of the nodes in order, from the page's end down the nodes themselves. Offsets count from the header's end.
 */

/** Bytes of a node's offset. */
export const POINTER_BYTES = 2;
const AT_NODES = PAGE_HEADER_BYTES;

/** The bytes that a page has for nodes and their offsets. */
export function roomOf(pageSize: number): number {
  return pageSize - PAGE_HEADER_BYTES;
}

/** What a node may take at most; the data of a larger one lie on overflow pages. LMDB's `me_nodemax`. */
export function maxNodeBytes(pageSize: number): number {
  return ((roomOf(pageSize) >> 1) & ~1) - POINTER_BYTES;
}

/** The pages that data of this size take by themselves. LMDB's `OVPAGES`. */
export function overflowPagesFor(bytes: number, pageSize: number): number {
  return Math.floor((PAGE_HEADER_BYTES - 1 + bytes) / pageSize) + 1;
}

export function even(bytes: number): number {
  return bytes + (bytes & 1);
}

export function writePageNumber(
  target: Buffer,
  start: number,
  page: number,
  transaction: bigint,
): void {
  target.writeBigUInt64LE(BigInt(page), start);
  target.writeBigUInt64LE(transaction, start + 8);
}

export function writeOverflowHeader(target: Buffer, start: number, pages: number): void {
  target.writeUInt16LE(0, start + AT_PAGE_FLAGS - 2);
  target.writeUInt16LE(IS_OVERFLOW, start + AT_PAGE_FLAGS);
  target.writeUInt32LE(pages, start + AT_OVERFLOW_PAGES);
}

/** A page that nodes are added to, in the order of their keys. */
export class NodePage {
  readonly #flags: number;
  readonly #room: number;
  #target: Buffer = Buffer.alloc(0);
  #start = 0;
  #upper = 0;
  /** Nodes that it has. */
  count = 0;

  constructor(flags: number, pageSize: number) {
    this.#flags = flags;
    this.#room = roomOf(pageSize);
  }

  /** Begins a page anew at `start`. Its memory is taken to be anything, and is given as zeros where nothing is. */
  begin(target: Buffer, start: number): void {
    this.#target = target;
    this.#start = start;
    this.#upper = this.#room;
    this.count = 0;
  }

  /** The page's memory was moved. */
  move(target: Buffer): void {
    this.#target = target;
  }

  fits(nodeBytes: number): boolean {
    return even(nodeBytes) + POINTER_BYTES <= this.#upper - POINTER_BYTES * this.count;
  }

  /**
   * Adds a node that fits.
   *
   * @param low the first four bytes of its header: the size of its data, or the low bits of a child's number.
   * @param flags the two bytes behind: flags, or the high bits of a child's number.
   * @returns where its key begins.
   */
  add(nodeBytes: number, low: number, flags: number, keyBytes: number): number {
    const target = this.#target;
    this.#upper -= even(nodeBytes);
    const pointer = this.#start + AT_NODES + POINTER_BYTES * this.count++;
    target[pointer] = this.#upper;
    target[pointer + 1] = this.#upper >>> 8;
    const node = this.#start + AT_NODES + this.#upper;
    target[node] = low;
    target[node + 1] = low >>> 8;
    target[node + 2] = low >>> 16;
    target[node + 3] = low >>> 24;
    target[node + 4] = flags;
    target[node + 5] = flags >>> 8;
    target[node + 6] = keyBytes;
    target[node + 7] = keyBytes >>> 8;
    if ((nodeBytes & 1) === 1) target[node + nodeBytes] = 0;
    return node + NODE_HEADER_BYTES;
  }

  /** Writes the header, without the page's number. */
  end(): void {
    const lower = POINTER_BYTES * this.count;
    const target = this.#target;
    const start = this.#start;
    target.fill(0, start + AT_NODES + lower, start + AT_NODES + this.#upper);
    target.writeUInt16LE(0, start + AT_PAGE_FLAGS - 2);
    target.writeUInt16LE(this.#flags, start + AT_PAGE_FLAGS);
    target.writeUInt16LE(lower, start + AT_LOWER);
    target.writeUInt16LE(this.#upper, start + AT_UPPER);
  }
}
