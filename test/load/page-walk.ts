import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/*
 * Reads a data file of lmdb-js (see `lmdb-format.ts`) by code that has nothing in common with the product's: whose each
 * page is, and what each tree has.
 */

const PAGE = 4096;
const HEADER = 24;
const EMPTY = 0xffff_ffff_ffff_ffffn;

/** What a tree has, by its pages. */
export interface WalkedTree {
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
}

export interface WalkedFile {
  /** Of the named databases. */
  readonly trees: ReadonlyMap<string, WalkedTree>;
  readonly freePages: number;
  readonly pages: number;
}

/**
 * Walks all trees of a file that nobody writes. Asserts that each page is that of one tree, or free, and never both or
 * neither, that overflow pages are what is said of them, and that the trees' descriptions are true.
 */
export function walkFile(path: string): WalkedFile {
  return new Walk(readFileSync(path)).run();
}

class Walk {
  readonly #file: Buffer;
  readonly #meta: Buffer;
  readonly #pages: number;
  readonly #transaction: bigint;
  readonly #owners: (string | undefined)[] = [];

  constructor(file: Buffer) {
    this.#file = file;
    const metas = [0, 1].map((page) => file.subarray(page * PAGE, (page + 1) * PAGE));
    const transactionOf = (meta: Buffer) => meta.readBigUInt64LE(152);
    this.#meta = metas.toSorted((a, b) => Number(transactionOf(b) - transactionOf(a)))[0]!;
    assert.equal(this.#meta.readUInt32LE(48), PAGE);
    this.#transaction = transactionOf(this.#meta);
    this.#pages = Number(this.#meta.readBigUInt64LE(144)) + 1;
    this.#own(0, 'a meta page');
    this.#own(1, 'a meta page');
  }

  run(): WalkedFile {
    const trees = new Map<string, WalkedTree>();
    const databases: [string, Buffer][] = [];
    this.#tree(this.#meta.subarray(96, 144), 'main', (key, flags, data) => {
      if (flags === 2) databases.push([key.toString('latin1').replace(/\0$/, ''), data]);
    });
    for (const [name, tree] of databases) trees.set(name, this.#tree(tree, name));
    const lists: Buffer[] = [];
    this.#tree(this.#meta.subarray(48, 96), 'the free list', (_key, _flags, data) => {
      lists.push(data);
    });
    let freePages = 0;
    for (const list of lists) {
      for (const page of freeIn(list)) {
        this.#own(page, 'free');
        freePages++;
      }
    }
    for (let page = 0; page < this.#pages; page++) {
      assert.ok(this.#owners[page] !== undefined, `page ${page} of ${this.#pages} is lost`);
    }
    return { trees, freePages, pages: this.#pages };
  }

  #own(page: number, owner: string): void {
    assert.ok(page < this.#pages, `page ${page} of ${owner} is behind the last one`);
    const other = this.#owners[page];
    assert.ok(other === undefined, `page ${page} is of ${other} and of ${owner}`);
    this.#owners[page] = owner;
  }

  /** @param tree its description: depth, numbers of pages and entries, and root. */
  #tree(
    tree: Buffer,
    name: string,
    onEntry?: (key: Buffer, flags: number, data: Buffer) => void,
  ): WalkedTree {
    const tally = { branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0 };
    const visit = (number: number, depth: number): void => {
      const page = this.#page(number, name);
      const isLeaf = depth === tree.readUInt16LE(6);
      assert.equal(page.readUInt16LE(18), isLeaf ? 2 : 1, `page ${number} of ${name}`);
      if (isLeaf) tally.leafPages++;
      else tally.branchPages++;
      for (let i = 0; i < page.readUInt16LE(20) / 2; i++) {
        const node = page.subarray(HEADER + page.readUInt16LE(HEADER + 2 * i));
        if (!isLeaf) {
          visit(node.readUInt32LE(0) + node.readUInt16LE(4) * 2 ** 32, depth + 1);
          continue;
        }
        tally.entries++;
        const flags = node.readUInt16LE(4);
        const key = node.subarray(8, 8 + node.readUInt16LE(6));
        const size = node.readUInt32LE(0);
        const data = node.subarray(8 + key.length);
        if (flags === 1) {
          const { value, count } = this.#overflow(data, size, name);
          tally.overflowPages += count;
          onEntry?.(key, flags, value);
        } else onEntry?.(key, flags, data.subarray(0, size));
      }
    };
    const root = tree.readBigUInt64LE(40);
    if (root !== EMPTY) visit(Number(root), 1);
    const described = [8, 16, 24, 32].map((at) => Number(tree.readBigUInt64LE(at)));
    assert.deepEqual(Object.values(tally), described, `what is told of ${name}`);
    return tally;
  }

  #overflow(reference: Buffer, size: number, name: string): { value: Buffer; count: number } {
    const first = Number(reference.readBigUInt64LE(0));
    const count = Number(reference.readBigUInt64LE(16));
    const page = this.#page(first, name);
    assert.equal(page.readUInt16LE(18), 4, `page ${first} of ${name}`);
    assert.equal(page.readUInt32LE(20), count, `pages of page ${first}`);
    assert.ok(HEADER + size <= count * PAGE);
    for (let i = 1; i < count; i++) this.#own(first + i, name);
    const start = first * PAGE + HEADER;
    return { value: this.#file.subarray(start, start + size), count };
  }

  #page(number: number, name: string): Buffer {
    this.#own(number, name);
    const page = this.#file.subarray(number * PAGE, (number + 1) * PAGE);
    assert.equal(Number(page.readBigUInt64LE(0)), number, `the number of a page of ${name}`);
    assert.ok(page.readBigUInt64LE(8) <= this.#transaction, 'a page of a later transaction');
    return page;
  }
}

function* freeIn(list: Buffer): Generator<number> {
  const count = Number(list.readBigInt64LE(0));
  for (let i = 1; i <= count; i++) {
    const entry = Number(list.readBigInt64LE(8 * i));
    if (entry === 0) continue;
    const first = entry < 0 ? Number(list.readBigInt64LE(8 * ++i)) : entry;
    for (let page = first; page < first + Math.max(1, -entry); page++) yield page;
  }
}
