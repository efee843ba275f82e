import { readSync } from 'node:fs';
import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_OVERFLOW_PAGES,
  AT_PAGE_FLAGS,
  AT_UPPER,
  even,
  IS_BIG,
  IS_BRANCH,
  IS_DATABASE,
  IS_LEAF,
  IS_OVERFLOW,
  META_PAGES,
  NODE_HEADER_BYTES,
  OVERFLOW_REFERENCE_BYTES,
  overflowPagesOf,
  PAGE_HEADER_BYTES,
  parseTree,
  TREE_BYTES,
  type Meta,
  type Tree,
} from './lmdb-format.js';

/** Read at once of leaves that lie near each other. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Leaves farther apart than this are not worth the pages between them. */
const MAX_GAP_PAGES = 16;
/** No tree is deeper: LMDB's cursors have so many levels. */
const MAX_DEPTH = 32;

/**
 * Looks at every page of a state of an LMDB file that its trees reach, and says what is wrong with the first bad one,
 * or null. What passes can be read and written by LMDB without leaving the file: each page is what it should be, names
 * itself, belongs to one tree only, and its nodes lie within it, in the order of their keys: a range would else end where
 * a key is damaged. What the nodes hold is left to checksums.
 */
export function findDamage(fd: number, meta: Meta): string | null {
  try {
    new Check(fd, meta).run();
    return null;
  } catch (error) {
    if (error instanceof Damage) return error.message;
    throw error;
  }
}

class Damage extends Error {}

/** What a tree was found to have. */
interface Tally {
  branchPages: number;
  leafPages: number;
  overflowPages: number;
  entries: number;
}

type LeafVisitor = (bytes: Buffer, flags: number, dataAt: number, dataSize: number) => void;

/** Memory for pages, also as the 16-bit words of which their headers are made; LMDB writes them as its machine does. */
interface Pages {
  readonly bytes: Buffer;
  readonly words: Uint16Array;
}

function memoryFor(size: number): Pages {
  const memory = new ArrayBuffer(size);
  return { bytes: Buffer.from(memory), words: new Uint16Array(memory) };
}

class Check {
  readonly #fd: number;
  readonly #meta: Meta;
  /** One bit for each page that a tree has. */
  readonly #used: Uint8Array;
  readonly #page: Pages;
  readonly #chunk: Pages;
  /** Whether the keys are in the order of their bytes: all but the numbers of the list of free pages are. */
  #isByBytes = true;

  constructor(fd: number, meta: Meta) {
    this.#fd = fd;
    this.#meta = meta;
    this.#used = new Uint8Array((meta.lastPage >> 3) + 1);
    this.#page = memoryFor(meta.pageSize);
    this.#chunk = memoryFor(Math.max(CHUNK_BYTES, meta.pageSize));
  }

  run(): void {
    for (let page = 0; page < META_PAGES; page++) this.#use(page);
    const databases: Tree[] = [];
    this.#walk(this.#meta.main, 'the list of databases', (bytes, flags, dataAt, dataSize) => {
      if (flags !== IS_DATABASE) return;
      if (dataSize !== TREE_BYTES) throw new Damage('a database has no description');
      databases.push(parseTree(bytes, dataAt));
    });
    const free: Buffer[] = [];
    this.#isByBytes = false;
    this.#walk(this.#meta.free, 'the list of free pages', (bytes, flags, dataAt, dataSize) => {
      free.push(
        flags === IS_BIG
          ? this.#readOverflow(bytes, dataAt, dataSize)
          : Buffer.from(bytes.subarray(dataAt, dataAt + dataSize)),
      );
    });
    this.#isByBytes = true;
    for (const [i, tree] of databases.entries()) this.#walk(tree, `database ${i}`);
    for (const list of free) this.#checkFree(list);
  }

  /** Visits a tree: branches from the root down, then all leaves in the order in which they lie in the file. */
  #walk(tree: Tree, name: string, onLeafNode?: LeafVisitor): void {
    const tally: Tally = { branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0 };
    if (tree.root !== null) {
      if (tree.depth < 1 || tree.depth > MAX_DEPTH) throw new Damage(`${name} has no depth`);
      let level = [tree.root];
      for (let depth = tree.depth; depth > 1; depth--) level = this.#branches(level, tally);
      this.#leaves(Float64Array.from(level).sort(), tally, onLeafNode);
    }
    for (const field of ['branchPages', 'leafPages', 'overflowPages', 'entries'] as const) {
      if (tally[field] === tree[field]) continue;
      throw new Damage(`${name} has ${tally[field]} ${NAMES[field]}, not ${tree[field]}`);
    }
  }

  #branches(level: readonly number[], tally: Tally): number[] {
    const children: number[] = [];
    for (const number of level) {
      this.#use(number);
      this.#read(this.#page, number, 1);
      const { bytes, words } = this.#page;
      const nodes = this.#nodes(words, 0, number, IS_BRANCH);
      if (nodes < 2) throw new Damage(`page ${number} is a branch to nowhere`);
      let before = 0;
      let beforeEnd = 0;
      let used = 0;
      for (let i = 0; i < nodes; i++) {
        const node = this.#node(words, 0, number, i);
        const end = this.#keyEnd(words, 0, number, node);
        used += even(end - node);
        // The first child is for all keys before the second's, and has none of its own.
        if (i > 1) this.#refuseDisorder(bytes, before, beforeEnd, node, end, number);
        before = node;
        beforeEnd = end;
        const low = words[node >> 1]! + words[(node >> 1) + 1]! * 2 ** 16;
        children.push(low + words[(node + AT_NODE_FLAGS) >> 1]! * 2 ** 32);
      }
      this.#refuseOverlap(words, 0, number, used);
      tally.branchPages++;
    }
    return children;
  }

  #leaves(numbers: Float64Array, tally: Tally, onNode: LeafVisitor | undefined): void {
    const { pageSize } = this.#meta;
    const chunkPages = this.#chunk.bytes.length / pageSize;
    const overflows: number[] = [];
    for (let from = 0; from < numbers.length;) {
      const first = numbers[from]!;
      let to = from + 1;
      while (
        to < numbers.length &&
        numbers[to]! - first < chunkPages &&
        numbers[to]! - numbers[to - 1]! <= MAX_GAP_PAGES
      ) {
        to++;
      }
      const pages = numbers[to - 1]! - first + 1;
      for (let i = from; i < to; i++) this.#use(numbers[i]!);
      this.#read(this.#chunk, first, pages);
      for (let i = from; i < to; i++) {
        const number = numbers[i]!;
        this.#leaf((number - first) * pageSize, number, tally, overflows, onNode);
      }
      from = to;
    }
    this.#overflows(overflows);
  }

  #leaf(
    at: number,
    number: number,
    tally: Tally,
    overflows: number[],
    onNode: LeafVisitor | undefined,
  ): void {
    const { bytes, words } = this.#chunk;
    const nodes = this.#nodes(words, at, number, IS_LEAF);
    let before = 0;
    let beforeEnd = 0;
    let used = 0;
    for (let i = 0; i < nodes; i++) {
      const node = this.#node(words, at, number, i);
      const dataAt = this.#keyEnd(words, at, number, node);
      if (i > 0) this.#refuseDisorder(bytes, before, beforeEnd, node, dataAt, number);
      before = node;
      beforeEnd = dataAt;
      const dataSize = words[node >> 1]! + words[(node >> 1) + 1]! * 2 ** 16;
      const flags = words[(node + AT_NODE_FLAGS) >> 1]!;
      if (flags !== 0 && flags !== IS_BIG && flags !== IS_DATABASE) {
        throw new Damage(`page ${number} has an entry of an unknown kind`);
      }
      const inPage = flags === IS_BIG ? OVERFLOW_REFERENCE_BYTES : dataSize;
      if (dataAt + inPage > at + this.#meta.pageSize) {
        throw new Damage(`an entry of page ${number} reaches beyond it`);
      }
      used += even(dataAt + inPage - node);
      if (flags === IS_BIG) {
        const first = Number(bytes.readBigUInt64LE(dataAt));
        const pages = Number(bytes.readBigUInt64LE(dataAt + 16));
        // More than it needs where it was replaced by a smaller value in the transaction that put it.
        if (pages < overflowPagesOf(dataSize, this.#meta.pageSize)) {
          throw new Damage(`an entry of page ${number} has ${pages} pages for ${dataSize} bytes`);
        }
        for (let page = 0; page < pages; page++) this.#use(first + page);
        overflows.push(first, pages);
        tally.overflowPages += pages;
      }
      onNode?.(bytes, flags, dataAt, dataSize);
    }
    this.#refuseOverlap(words, at, number, used);
    tally.entries += nodes;
    tally.leafPages++;
  }

  /** Looks at the headers of overflow pages, given as first page and number of pages. */
  #overflows(runs: readonly number[]): void {
    const header = this.#page.bytes.subarray(0, PAGE_HEADER_BYTES);
    for (let i = 0; i < runs.length; i += 2) {
      const number = runs[i]!;
      readExactly(this.#fd, header, number * this.#meta.pageSize);
      const isRun =
        Number(header.readBigUInt64LE(0)) === number &&
        (header.readUInt16LE(AT_PAGE_FLAGS) & IS_OVERFLOW) !== 0 &&
        header.readUInt32LE(AT_OVERFLOW_PAGES) === runs[i + 1]!;
      if (!isRun) throw new Damage(`page ${number} does not begin a run of ${runs[i + 1]} pages`);
    }
  }

  #readOverflow(bytes: Buffer, dataAt: number, dataSize: number): Buffer {
    const data = Buffer.allocUnsafe(dataSize);
    const first = Number(bytes.readBigUInt64LE(dataAt));
    readExactly(this.#fd, data, first * this.#meta.pageSize + PAGE_HEADER_BYTES);
    return data;
  }

  /**
   * Looks at a list of free pages: their number of elements, then page numbers, of which -n says that the next one
   * begins a block of n pages, and 0 is nothing.
   */
  #checkFree(list: Buffer): void {
    const words = Math.floor(list.length / 8);
    const count = words > 0 ? Number(list.readBigInt64LE(0)) : -1;
    if (count < 0 || count >= words) throw new Damage('a list of free pages has no length');
    for (let i = 1; i <= count; i++) {
      const entry = Number(list.readBigInt64LE(8 * i));
      if (entry === 0) continue;
      if (entry < 0 && i === count) throw new Damage('a list of free pages ends within a block');
      const first = entry < 0 ? Number(list.readBigInt64LE(8 * ++i)) : entry;
      const pages = entry < 0 ? -entry : 1;
      for (let page = 0; page < pages; page++) this.#use(first + page);
    }
  }

  /** How many nodes a page has that must be of a kind. */
  #nodes(words: Uint16Array, at: number, number: number, kind: number): number {
    const start = at >> 1;
    const flags = words[start + AT_PAGE_FLAGS / 2]!;
    const lower = words[start + AT_LOWER / 2]!;
    const upper = words[start + AT_UPPER / 2]!;
    const named =
      words[start]! +
      words[start + 1]! * 2 ** 16 +
      words[start + 2]! * 2 ** 32 +
      words[start + 3]! * 2 ** 48;
    if (named !== number) throw new Damage(`page ${number} is not there`);
    if ((flags & (IS_BRANCH | IS_LEAF | IS_OVERFLOW)) !== kind) {
      throw new Damage(`page ${number} is not of its kind`);
    }
    if (lower % 2 !== 0 || lower > upper || upper + PAGE_HEADER_BYTES > this.#meta.pageSize) {
      throw new Damage(`page ${number} has no sound bounds`);
    }
    return lower / 2;
  }

  /** Where a page's node begins. */
  #node(words: Uint16Array, at: number, number: number, i: number): number {
    const start = at >> 1;
    const offset = words[start + PAGE_HEADER_BYTES / 2 + i]!;
    const isWithin =
      offset % 2 === 0 &&
      offset >= words[start + AT_UPPER / 2]! &&
      offset + PAGE_HEADER_BYTES + NODE_HEADER_BYTES <= this.#meta.pageSize;
    if (!isWithin) throw new Damage(`an entry of page ${number} lies outside of it`);
    return at + offset + PAGE_HEADER_BYTES;
  }

  #keyEnd(words: Uint16Array, at: number, number: number, node: number): number {
    const end = node + NODE_HEADER_BYTES + words[(node + AT_KEY_SIZE) >> 1]!;
    if (end > at + this.#meta.pageSize)
      throw new Damage(`a key of page ${number} reaches beyond it`);
    return end;
  }

  /** Of two nodes that follow each other, each with where its key ends. */
  #refuseDisorder(
    bytes: Buffer,
    before: number,
    beforeEnd: number,
    node: number,
    end: number,
    number: number,
  ): void {
    if (!this.#isByBytes) return;
    const key = node + NODE_HEADER_BYTES;
    if (bytes.compare(bytes, key, end, before + NODE_HEADER_BYTES, beforeEnd) < 0) return;
    throw new Damage(`the keys of page ${number} are out of order`);
  }

  /**
   * LMDB keeps a page's nodes close together, from `upper` to its end: where their sizes say something else, they
   * overlap, and to remove one would write beyond the page.
   */
  #refuseOverlap(words: Uint16Array, at: number, number: number, used: number): void {
    const upper = words[(at + AT_UPPER) >> 1]!;
    if (used === this.#meta.pageSize - PAGE_HEADER_BYTES - upper) return;
    throw new Damage(`the entries of page ${number} do not fill their place`);
  }

  #use(number: number): void {
    if (!(number >= 0 && number <= this.#meta.lastPage)) {
      throw new Damage(`page ${number} lies behind the last one`);
    }
    const at = Math.floor(number / 8);
    const bit = 1 << (number % 8);
    if ((this.#used[at]! & bit) !== 0) throw new Damage(`page ${number} has two places`);
    this.#used[at]! |= bit;
  }

  #read({ bytes }: Pages, first: number, pages: number): void {
    const { pageSize } = this.#meta;
    readExactly(this.#fd, bytes.subarray(0, pages * pageSize), first * pageSize);
  }
}

const NAMES = {
  branchPages: 'branches',
  leafPages: 'leaves',
  overflowPages: 'overflow pages',
  entries: 'entries',
} as const;

function readExactly(fd: number, into: Buffer, position: number): void {
  for (let read = 0; read < into.length;) {
    const more = readSync(fd, into, read, into.length - read, position + read);
    if (more === 0) throw new Damage(`the file ends at byte ${position + read}`);
    read += more;
  }
}
