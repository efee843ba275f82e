import { freeMemory } from '../../free-memory.js';
import {
  cellAt,
  cellCount,
  describeCell,
  INTERIOR_TABLE_PAGE,
  lastChild,
  LEAF_TABLE_PAGE,
  MAX_HEIGHT,
  type StoredCell,
} from './btree-page.js';
import type { DatabasePages } from './database-pages.js';
import { StoredFormError } from './stored-form-error.js';
import { readRowid, readSize, varintBytes, type Rowid } from './varint.js';

/** Interior pages are kept while there are fewer children than this in them: some 12 bytes each. */
const MAX_KEPT_CHILDREN = 1_000_000;

/** An interior page: child `i` holds the rowids up to `keys[i]`, and the last child those behind. */
interface Interior {
  readonly keys: Float64Array | readonly Rowid[];
  readonly children: Uint32Array;
}

/**
 * The b-tree of a rowid table. Interior pages are kept, so an instance is of one state of the file; but for those above
 * leaves that are read in order, which are wanted once.
 */
export class TableBtree {
  readonly #pages: DatabasePages;
  readonly #root: number;
  readonly #interiors = new Map<number, Interior>();
  #keptChildren = 0;
  /** Levels of interior pages above the leaves. */
  #height: number | null = null;

  constructor(pages: DatabasePages, root: number) {
    this.#pages = pages;
    this.#root = root;
  }

  /** The numbers of the leaf pages in which rows are. */
  async leavesOf(rowids: readonly Rowid[]): Promise<Uint32Array> {
    const height = await this.#findHeight();
    const at = new Uint32Array(rowids.length).fill(this.#root);
    for (let level = 0; level < height; level++) {
      const missing = this.#missing(at);
      if (missing.size > 0) await this.#load(missing, at);
      this.#descend(at, rowids);
    }
    return at;
  }

  /** Which of these interior pages are not kept. */
  #missing(numbers: Uint32Array): Set<number> {
    const missing = new Set<number>();
    let last = -1;
    for (const number of numbers) {
      if (number !== last && !this.#interiors.has(number)) missing.add(number);
      last = number;
    }
    return missing;
  }

  /** Goes on from each row's interior page to its child. */
  #descend(at: Uint32Array, rowids: readonly Rowid[]): void {
    let number = -1;
    let interior: Interior | undefined;
    for (let i = 0; i < at.length; i++) {
      if (at[i] !== number) {
        number = at[i]!;
        interior = this.#interiors.get(number);
      }
      at[i] = childFor(interior!, rowids[i]!);
    }
  }

  /**
   * The numbers of the leaves that hold rows behind one rowid and up to another, in order. A bound of null is the
   * table's end.
   */
  async leavesBetween(after: Rowid | null, upTo: Rowid | null): Promise<Uint32Array> {
    return await this.#levelBetween(await this.#findHeight(), after, upTo);
  }

  async countLeaves(): Promise<number> {
    let count = 0;
    await this.#visitParents(({ children }) => {
      count += children.length;
    });
    return Math.max(1, count);
  }

  /** Every so many-th leaf, from the first one on. */
  async chooseLeaves(step: number): Promise<Uint32Array> {
    if ((await this.#findHeight()) === 0) return Uint32Array.of(this.#root);
    const chosen: number[] = [];
    let count = 0;
    await this.#visitParents(({ children }) => {
      for (const leaf of children) {
        if (count++ >= Math.floor(chosen.length * step)) chosen.push(leaf);
      }
    });
    return Uint32Array.from(chosen);
  }

  /** Rowids that cut the table into ranges of so many leaves each: the last row of each range but the last one. */
  async cuts(leaves: number): Promise<Rowid[]> {
    const cuts: Rowid[] = [];
    let count = 0;
    await this.#visitParents(({ keys, children }) => {
      for (let i = 0; i < children.length; i++) {
        count++;
        // The last child of a page has no key there: its range goes on to the next.
        if (i < keys.length && count >= (cuts.length + 1) * leaves) cuts.push(keys[i]!);
      }
    });
    return cuts;
  }

  /** Visits the pages whose children are the leaves, in order. There is none where the root is a leaf. */
  async #visitParents(visit: (interior: Interior) => void): Promise<void> {
    const height = await this.#findHeight();
    if (height === 0) return;
    const level = await this.#levelBetween(height - 1, null, null);
    await this.#visit(level, false, visit);
  }

  async #levelBetween(
    depth: number,
    after: Rowid | null,
    upTo: Rowid | null,
  ): Promise<Uint32Array> {
    const height = await this.#findHeight();
    let level = Uint32Array.of(this.#root);
    for (let i = 0; i < depth; i++) {
      level = await this.#childrenBetween(level, i < height - 1, after, upTo);
    }
    return level;
  }

  async #childrenBetween(
    level: Uint32Array,
    keeps: boolean,
    after: Rowid | null,
    upTo: Rowid | null,
  ): Promise<Uint32Array<ArrayBuffer>> {
    const parts: Uint32Array[] = [];
    let count = 0;
    await this.#visit(level, keeps, (interior) => {
      const first = after === null ? 0 : childBehind(interior, after);
      const last = upTo === null ? interior.keys.length : childAt(interior, upTo);
      const part = interior.children.subarray(first, last + 1);
      count += part.length;
      // Pages that are each other's children many times over would be more than memory has room for.
      if (count > this.#pages.pageCount) throw new StoredFormError('the tree has too many pages');
      parts.push(part);
    });
    return joined(parts, count);
  }

  async #visit(
    level: Uint32Array,
    keeps: boolean,
    visit: (interior: Interior) => void,
  ): Promise<void> {
    const { requestPages } = this.#pages;
    for (let from = 0; from < level.length; from += requestPages) {
      const some = level.subarray(from, from + requestPages);
      const missing = this.#missing(some);
      await this.#load(missing, some);
      this.#visitKept(some, visit);
      if (!keeps) this.#forget(missing);
    }
  }

  #visitKept(numbers: Uint32Array, visit: (interior: Interior) => void): void {
    for (const number of numbers) visit(this.#interiors.get(number)!);
  }

  /**
   * Finds a row in a leaf.
   *
   * @param pages holds the leaf at `start`.
   * @throws {StoredFormError} when the row is not there.
   */
  findCell(pages: Buffer, start: number, rowid: Rowid, found: StoredCell): void {
    if (pages[start] !== LEAF_TABLE_PAGE) throw new StoredFormError('a leaf page was expected');
    const { pageBytes, usableBytes } = this.#pages;
    let low = 0;
    let high = cellCount(pages, start, pageBytes) - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const cell = cellAt(pages, start, middle, usableBytes);
      const rowidAt = cell + varintBytes(pages, cell);
      const there = readRowid(pages, rowidAt);
      if (there === rowid) {
        const payload = rowidAt + varintBytes(pages, rowidAt);
        const bytes = readSize(pages, cell);
        describeCell(pages, start, payload, bytes, usableBytes - 35, usableBytes, found);
        return;
      }
      if (there < rowid) low = middle + 1;
      else high = middle - 1;
    }
    throw new StoredFormError(`row ${rowid} is not in its leaf`);
  }

  async #findHeight(): Promise<number> {
    if (this.#height !== null) return this.#height;
    let number = this.#root;
    for (let height = 0; height < MAX_HEIGHT; height++) {
      const page = await this.#pages.read([number]);
      if (page[0] === LEAF_TABLE_PAGE) {
        this.#height = height;
        return height;
      }
      this.#keep(number, page, 0);
      number = this.#interiors.get(number)!.children[0]!;
    }
    throw new StoredFormError('the tree is too high');
  }

  /** Reads interior pages that are not kept; those of `needed` stay. */
  async #load(missing: ReadonlySet<number>, needed: Uint32Array): Promise<void> {
    if (this.#keptChildren > MAX_KEPT_CHILDREN) this.#keepOnly(new Set(needed));
    const wanted = [...missing].sort((a, b) => a - b);
    const { pageBytes, requestPages } = this.#pages;
    for (let i = 0; i < wanted.length; i += requestPages) {
      const some = wanted.slice(i, i + requestPages);
      const pages = await this.#pages.read(some);
      some.forEach((number, j) => this.#keep(number, pages, j * pageBytes));
      freeMemory(pages);
    }
  }

  #forget(numbers: ReadonlySet<number>): void {
    for (const number of numbers) {
      this.#keptChildren -= this.#interiors.get(number)!.children.length;
      this.#interiors.delete(number);
    }
  }

  #keepOnly(needed: ReadonlySet<number>): void {
    this.#keptChildren = 0;
    for (const [number, { children }] of this.#interiors) {
      if (needed.has(number)) this.#keptChildren += children.length;
      else this.#interiors.delete(number);
    }
  }

  #keep(number: number, pages: Buffer, start: number): void {
    if (pages[start] !== INTERIOR_TABLE_PAGE) {
      throw new StoredFormError(`page ${number} is no interior page`);
    }
    const { pageBytes, usableBytes } = this.#pages;
    const count = cellCount(pages, start, pageBytes);
    const children = new Uint32Array(count + 1);
    const numbers = new Float64Array(count);
    /** Of a page with one that no number is exact for. */
    let exact: Rowid[] | null = null;
    for (let i = 0; i < count; i++) {
      const cell = cellAt(pages, start, i, usableBytes);
      children[i] = pages.readUInt32BE(cell);
      const key = readRowid(pages, cell + 4);
      if (exact === null && typeof key === 'number') numbers[i] = key;
      else (exact ??= Array.from(numbers.subarray(0, i))).push(key);
    }
    children[count] = lastChild(pages, start);
    this.#interiors.set(number, { keys: exact ?? numbers, children });
    this.#keptChildren += children.length;
  }
}

function joined(parts: readonly Uint32Array[], count: number): Uint32Array<ArrayBuffer> {
  const all = new Uint32Array(count);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function childFor(interior: Interior, rowid: Rowid): number {
  return interior.children[childAt(interior, rowid)]!;
}

/** Which child holds a rowid. */
function childAt({ keys }: Interior, rowid: Rowid): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < rowid) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Which child holds the first rowid behind another; the last one where that is behind the page. */
function childBehind(interior: Interior, rowid: Rowid): number {
  const at = childAt(interior, rowid);
  return interior.keys[at] === rowid ? at + 1 : at;
}
