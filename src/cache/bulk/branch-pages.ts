import {
  AT_KEY_SIZE,
  AT_LOWER,
  AT_NODE_FLAGS,
  AT_PAGE_FLAGS,
  AT_UPPER,
  even,
  IS_BRANCH,
  NODE_HEADER_BYTES,
  PAGE_HEADER_BYTES,
} from '../lmdb-format.js';

/** Takes a page behind those taken before, and returns its number. */
export type PutPage = (page: Buffer) => number;

/** A page of the level below, and a key that is not greater than any in it but greater than all before it. */
interface Child {
  readonly number: number;
  readonly separator: Uint8Array;
}

export interface Branches {
  /** The leaf where there is but one. */
  readonly root: number;
  readonly depth: number;
  readonly branchPages: number;
}

/**
 * Builds the branch pages of a tree over its leaves, which come in the order of their keys. Each page is filled to the
 * last child that fits, and has two at least. Holds two pages of each level.
 */
export class BranchBuilder {
  readonly #pageSize: number;
  readonly #put: PutPage;
  readonly #levels: Level[] = [];
  #branchPages = 0;

  constructor(pageSize: number, put: PutPage) {
    this.#pageSize = pageSize;
    this.#put = put;
  }

  /** @param separator must not change until its page is written. */
  add(number: number, separator: Uint8Array): void {
    this.#add(0, { number, separator });
  }

  /** Of one leaf at least. */
  finish(): Branches {
    for (let depth = 0; ; depth++) {
      const level = this.#levels[depth]!;
      const { before, current } = level;
      if (before === null) {
        if (current.length === 1) {
          return { root: current[0]!.number, depth: depth + 1, branchPages: this.#branchPages };
        }
        return { root: this.#write(current), depth: depth + 2, branchPages: this.#branchPages };
      }
      if (current.length === 1) current.unshift(before.pop()!);
      this.#close(depth, before);
      this.#close(depth, current);
    }
  }

  #add(depth: number, child: Child): void {
    const level = (this.#levels[depth] ??= { before: null, current: [], bytes: 0 });
    const bytes = nodeBytes(level.current.length === 0 ? NO_KEY : child.separator);
    if (level.bytes + bytes <= this.#pageSize - PAGE_HEADER_BYTES) {
      level.current.push(child);
      level.bytes += bytes;
      return;
    }
    // The page before is kept until it is known that the last page needs none of its children.
    if (level.before !== null) this.#close(depth, level.before);
    level.before = level.current;
    level.current = [child];
    level.bytes = nodeBytes(NO_KEY);
  }

  #close(depth: number, children: readonly Child[]): void {
    // A copy: it may be part of much memory, which would be held for as long as this level has no page to write.
    const separator = new Uint8Array(children[0]!.separator);
    this.#add(depth + 1, { number: this.#write(children), separator });
  }

  #write(children: readonly Child[]): number {
    this.#branchPages++;
    const page = Buffer.alloc(this.#pageSize);
    let upper = page.length;
    for (const [i, { number, separator }] of children.entries()) {
      const key = i === 0 ? NO_KEY : separator;
      upper -= even(NODE_HEADER_BYTES + key.length);
      page.writeUInt16LE(upper - PAGE_HEADER_BYTES, PAGE_HEADER_BYTES + 2 * i);
      page.writeUInt32LE(number % 2 ** 32, upper);
      page.writeUInt16LE(Math.floor(number / 2 ** 32), upper + AT_NODE_FLAGS);
      page.writeUInt16LE(key.length, upper + AT_KEY_SIZE);
      page.set(key, upper + NODE_HEADER_BYTES);
    }
    page.writeUInt16LE(IS_BRANCH, AT_PAGE_FLAGS);
    page.writeUInt16LE(2 * children.length, AT_LOWER);
    page.writeUInt16LE(upper - PAGE_HEADER_BYTES, AT_UPPER);
    return this.#put(page);
  }
}

/** The pages of one height that are not written yet. */
interface Level {
  before: Child[] | null;
  current: Child[];
  /** Of the nodes of `current`, and what says where they are. */
  bytes: number;
}

/** The first child of a page is for all keys before the second's. */
const NO_KEY = new Uint8Array(0);

function nodeBytes(key: Uint8Array): number {
  return even(NODE_HEADER_BYTES + key.length) + 2;
}
