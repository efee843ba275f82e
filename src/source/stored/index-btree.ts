import {
  cellAt,
  cellCount,
  describeCell,
  INTERIOR_INDEX_PAGE,
  lastChild,
  LEAF_INDEX_PAGE,
  MAX_HEIGHT,
  newCell,
  type StoredCell,
} from './btree-page.js';
import type { DatabasePages } from './database-pages.js';
import { gather } from './overflow.js';
import type { RecordBound } from './record-bound.js';
import { StoredFormError } from './stored-form-error.js';
import { StoredRecord } from './stored-record.js';
import { readSize, varintBytes } from './varint.js';

/** Records that lie in one page, in order. */
export interface Run {
  readonly pages: Buffer;
  /** Where the page begins. */
  readonly start: number;
  /** Where its cells are. */
  readonly cells: readonly number[];
}

/** A part of the tree that is still to be walked. */
interface Subtree {
  readonly number: number;
  readonly depth: number;
  /** True where part of it lies before the bound. */
  readonly seek: boolean;
  pages: Buffer | null;
  start: number;
}

/** The b-tree of a `WITHOUT ROWID` table, which is an index that holds whole rows, in interior pages too. */
export class IndexBtree {
  readonly #pages: DatabasePages;
  readonly #root: number;
  readonly #maxLocal: number;
  readonly #record = new StoredRecord();
  readonly #cell = newCell();

  constructor(pages: DatabasePages, root: number) {
    this.#pages = pages;
    this.#root = root;
    this.#maxLocal = Math.floor(((pages.usableBytes - 12) * 64) / 255) - 23;
  }

  /**
   * The records behind a bound, in order.
   *
   * @param rows how many will be wanted: not many more pages are read than those are in.
   */
  async *runsBehind(bound: RecordBound | null, rows: number): AsyncGenerator<Run, void, void> {
    let given = 0;
    const ahead: (Subtree | Run)[] = [
      { number: this.#root, depth: 0, seek: bound !== null, pages: null, start: 0 },
    ];
    for (;;) {
      const next = ahead.pop();
      if (!next) return;
      if ('cells' in next) {
        given += next.cells.length;
        yield next;
        continue;
      }
      if (next.pages === null) await this.#load(next, ahead, rows - given);
      const parts = await this.#partsOf(next, next.seek ? bound : null);
      for (let i = parts.length - 1; i >= 0; i--) ahead.push(parts[i]!);
    }
  }

  /** Tells where the record of a run's cell is. */
  describe({ pages, start }: Run, cell: number, found: StoredCell): void {
    const interior = pages[start] === INTERIOR_INDEX_PAGE;
    const sizeAt = interior ? cell + 4 : cell;
    const payload = sizeAt + varintBytes(pages, sizeAt);
    const bytes = readSize(pages, sizeAt);
    const { usableBytes } = this.#pages;
    describeCell(pages, start, payload, bytes, this.#maxLocal, usableBytes, found);
  }

  /** Reads a subtree's first page, and with it those of the next ones that are wanted too. */
  async #load(
    subtree: Subtree,
    ahead: readonly (Subtree | Run)[],
    rowsLeft: number,
  ): Promise<void> {
    if (subtree.depth > MAX_HEIGHT) throw new StoredFormError('the tree is too high');
    const wanted = [subtree];
    const most = Math.min(this.#pages.requestPages, Math.max(1, rowsLeft));
    for (let i = ahead.length - 1; i >= 0 && wanted.length < most; i--) {
      const other = ahead[i]!;
      if ('number' in other && other.pages === null) wanted.push(other);
    }
    const pages = await this.#pages.read(wanted.map(({ number }) => number));
    wanted.forEach((each, i) => {
      each.pages = pages;
      each.start = i * this.#pages.pageBytes;
    });
  }

  /** What a page holds behind a bound, in order. */
  async #partsOf(
    { pages, start, depth }: Subtree,
    bound: RecordBound | null,
  ): Promise<(Subtree | Run)[]> {
    const { pageBytes, usableBytes } = this.#pages;
    const bytes = pages!;
    const count = cellCount(bytes, start, pageBytes);
    const cells: number[] = [];
    for (let i = 0; i < count; i++) cells.push(cellAt(bytes, start, i, usableBytes));
    const run = (some: number[]): Run => ({ pages: bytes, start, cells: some });
    const first = bound === null ? 0 : await this.#firstBehind(run(cells), bound);
    if (bytes[start] === LEAF_INDEX_PAGE) return [run(cells.slice(first))];
    if (bytes[start] !== INTERIOR_INDEX_PAGE) throw new StoredFormError('no page of an index');

    const parts: (Subtree | Run)[] = [];
    for (let i = first; i <= count; i++) {
      const number = i < count ? bytes.readUInt32BE(cells[i]!) : lastChild(bytes, start);
      const seek = bound !== null && i === first;
      parts.push({ number, depth: depth + 1, seek, pages: null, start: 0 });
      if (i < count) parts.push(run([cells[i]!]));
    }
    return parts;
  }

  /** The number of the first of the cells that lies behind the bound. */
  async #firstBehind(run: Run, bound: RecordBound): Promise<number> {
    let low = 0;
    let high = run.cells.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bound.compare(await this.#recordOf(run, run.cells[middle]!)) > 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  async #recordOf(run: Run, cell: number): Promise<StoredRecord> {
    this.describe(run, cell, this.#cell);
    const { at, payloadBytes, localBytes, overflowPage } = this.#cell;
    let bytes = run.pages;
    let start = at;
    if (overflowPage !== 0) {
      const local = bytes.subarray(at, at + localBytes);
      [bytes = local] = await gather(this.#pages, [{ local, payloadBytes, overflowPage }]);
      start = 0;
    }
    this.#record.parse(bytes, start, payloadBytes, 0);
    return this.#record;
  }
}
