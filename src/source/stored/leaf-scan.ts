import {
  cellAt,
  cellCount,
  describeCell,
  LEAF_TABLE_PAGE,
  newCell,
  type StoredCell,
} from './btree-page.js';
import { freeMemory } from '../../free-memory.js';
import type { RowSink } from '../row-sink.js';
import { freeGathered, gather, type ScatteredRecord } from './overflow.js';
import { StoredFormError } from './stored-form-error.js';
import { scatteredRecord, Taker, type Refusal, type StoredPageBounds } from './stored-page.js';
import { StoredRecord } from './stored-record.js';
import type { StoredTable } from './stored-table.js';
import type { TableBtree } from './table-btree.js';
import { readRowid, readSize, varintBytes, type Rowid } from './varint.js';

/** Rows of a rowid table behind one rowid and up to another; null stands for the table's end. */
export interface RowidRange {
  readonly after: Rowid | null;
  readonly upTo: Rowid | null;
}

export interface ScannedRows {
  /** Rows found, whether taken or refused. */
  readonly rows: number;
  /** Bytes of their records. */
  readonly bytes: number;
  readonly refused: readonly Refusal[];
  /** What is left of the range because it was too many bytes, or null. */
  readonly rest: RowidRange | null;
}

/** Leaf pages of a table, one behind the other. */
export interface Leaves {
  readonly table: StoredTable;
  readonly pages: Buffer;
  readonly count: number;
  /** The rows that are wanted. */
  readonly range: RowidRange;
  readonly maxRowBytes: number;
}

export interface LeafRows {
  readonly rows: number;
  /** Bytes of their records. */
  readonly bytes: number;
  /** The rowid that was looked at last, if one was. */
  readonly last: Rowid | null;
}

/** Takes rows by whole leaves, and one by one those that it does not take so. */
export interface LeafSink {
  readonly rows: RowSink;
  /** Forgets what was taken. */
  begin(): void;
  /**
   * Takes the rows of leaves that are in their range, in order, but for those of which it tells page and cell: they come
   * by {@link rows}, where they are in the range.
   *
   * @param leaves are leaf pages, with no more cells than a page can have.
   * @throws {StoredFormError} when they are not as they should be.
   */
  takeLeaves(leaves: Leaves, one: (page: number, cell: number) => void): LeafRows;
  /** Takes the record of a row of leaves taken before that goes on in other pages. False for one that it does not. */
  takeRecord(record: Buffer, rowid: Rowid): boolean;
}

/** Rows of one request that go on in other pages: they are held all together. */
const MAX_SCATTERED_BYTES = 64 * 1024 * 1024;

export function cellsOverlap(): StoredFormError {
  return new StoredFormError('the cells of a page are more than it has room for');
}

/** Takes no row by its leaf. */
export function takeNone(
  { table, pages, count }: Leaves,
  one: (page: number, cell: number) => void,
): LeafRows {
  const { pageBytes } = table.pages;
  for (let page = 0; page < count; page++) {
    const cells = cellCount(pages, page * pageBytes, pageBytes);
    for (let cell = 0; cell < cells; cell++) one(page, cell);
  }
  return { rows: 0, bytes: 0, last: null };
}

/**
 * Reads the rows of a range in the order of their rowids and gives them to a sink: each page once, and as many of them
 * at a time as make a good request.
 *
 * @throws {StoredFormError} when the file is not as it should be.
 * @throws {UnknownDefault} when a record lacks a column whose default is not known yet.
 */
export async function scanRows(
  table: StoredTable,
  btree: TableBtree,
  range: RowidRange,
  bounds: StoredPageBounds,
  sink: LeafSink,
): Promise<ScannedRows> {
  const { pages } = table;
  const leaves = await btree.leavesBetween(range.after, range.upTo);
  const scan = new LeafScan(table, range, bounds, sink);
  sink.begin();
  for (let from = 0; from < leaves.length; from += pages.requestPages) {
    const some = leaves.slice(from, from + pages.requestPages);
    const content = await pages.read(some);
    scan.take(content, some.length);
    if (scan.scattered.length > 0) await scan.takeScattered();
    freeMemory(content);
    const isLast = from + some.length >= leaves.length;
    if (scan.bytes > bounds.maxBytes && !isLast) return scan.result(range.upTo, false);
  }
  return scan.result(range.upTo, true);
}

export interface SampledRows {
  /** The rows in the leaves, and the bytes of their records. */
  readonly rows: number;
  readonly bytes: number;
  /** The same of the long ones among them. */
  readonly long: { readonly rows: number; readonly bytes: number };
}

/** More bytes than some, but no more than others. */
export interface SizeRange {
  readonly over: number;
  readonly upTo: number;
}

/**
 * Looks at a record.
 *
 * @param end of the part of it that is in its page, whose fields can be read.
 */
export type LookAt = (record: StoredRecord, table: StoredTable, end: number) => void;

/**
 * Looks at the first rows of leaves.
 *
 * @param longBytes of a row that is a long one.
 * @throws as {@link scanRows}.
 */
export async function sampleRows(
  table: StoredTable,
  leaves: Uint32Array,
  longBytes: SizeRange,
  look: LookAt,
): Promise<SampledRows> {
  const sampler = new LeafSampler(table, longBytes, look);
  for (let from = 0; from < leaves.length; from += table.pages.requestPages) {
    const some = leaves.subarray(from, from + table.pages.requestPages);
    const content = await table.pages.read(some);
    sampler.take(content, some.length);
    freeMemory(content);
  }
  const { rows, bytes, long } = sampler;
  return { rows, bytes, long };
}

class LeafSampler {
  readonly #table: StoredTable;
  readonly #longBytes: SizeRange;
  readonly #look: LookAt;
  readonly #record = new StoredRecord();
  readonly #cell = newCell();
  readonly long = { rows: 0, bytes: 0 };
  rows = 0;
  bytes = 0;

  constructor(table: StoredTable, longBytes: SizeRange, look: LookAt) {
    this.#table = table;
    this.#longBytes = longBytes;
    this.#look = look;
  }

  take(pages: Buffer, leaves: number): void {
    const { pageBytes, usableBytes } = this.#table.pages;
    const { over, upTo } = this.#longBytes;
    for (let i = 0; i < leaves; i++) {
      const start = i * pageBytes;
      const count = leafCells(pages, start, pageBytes);
      this.rows += count;
      for (let j = 0; j < count; j++) {
        const rowid = describeRow(pages, start, j, usableBytes, this.#cell);
        const { at, payloadBytes, localBytes } = this.#cell;
        this.bytes += payloadBytes;
        if (payloadBytes > over && payloadBytes <= upTo) {
          this.long.rows++;
          this.long.bytes += payloadBytes;
        }
        // What is in its record can only be told where all of its header is in the page.
        if (j > 0 || readSize(pages, at) > localBytes) continue;
        this.#record.parse(pages, at, payloadBytes, rowid);
        this.#look(this.#record, this.#table, at + localBytes);
      }
    }
  }
}

/** The cells of a leaf. */
function leafCells(pages: Buffer, start: number, pageBytes: number): number {
  if (pages[start] !== LEAF_TABLE_PAGE) throw new StoredFormError('a leaf page was expected');
  return cellCount(pages, start, pageBytes);
}

/** Tells where the record of a leaf's cell is, and its rowid. */
function describeRow(
  pages: Buffer,
  start: number,
  i: number,
  usableBytes: number,
  cell: StoredCell,
): Rowid {
  const at = cellAt(pages, start, i, usableBytes);
  const rowidAt = at + varintBytes(pages, at);
  const payload = rowidAt + varintBytes(pages, rowidAt);
  const bytes = readSize(pages, at);
  describeCell(pages, start, payload, bytes, usableBytes - 35, usableBytes, cell);
  return readRowid(pages, rowidAt);
}

/** A scan under way. Its loops are not in asynchronous functions: those would be compiled again and again. */
class LeafScan {
  readonly #table: StoredTable;
  readonly #range: RowidRange;
  readonly #bounds: StoredPageBounds;
  readonly #sink: LeafSink;
  readonly #taker: Taker;
  readonly #record = new StoredRecord();
  readonly #cell = newCell();
  /** Rows that did not come by their leaves. */
  #single = 0;
  #leafRows = 0;
  #last: Rowid | null = null;
  /** The page that was looked at last, and the bytes of its rows that are in it whole. */
  #page = -1;
  #wholeBytes = 0;
  /** Of the leaves read last. */
  #scatteredBytes = 0;
  bytes = 0;
  /** Rows of the leaves read last that go on in other pages. */
  scattered: (ScatteredRecord & { readonly rowid: Rowid })[] = [];

  constructor(table: StoredTable, range: RowidRange, bounds: StoredPageBounds, sink: LeafSink) {
    this.#table = table;
    this.#range = range;
    this.#bounds = bounds;
    this.#sink = sink;
    this.#taker = new Taker(table, this.#record, bounds.maxRowBytes, sink.rows);
  }

  take(pages: Buffer, count: number): void {
    const { maxRowBytes } = this.#bounds;
    const { pageBytes } = this.#table.pages;
    for (let i = 0; i < count; i++) leafCells(pages, i * pageBytes, pageBytes);
    this.#page = -1;
    this.#scatteredBytes = 0;
    const leaves = { table: this.#table, pages, count, range: this.#range, maxRowBytes };
    const { rows, bytes, last } = this.#sink.takeLeaves(leaves, (page, cell) => {
      this.#takeCell(pages, page * pageBytes, cell);
    });
    this.#leafRows += rows;
    this.bytes += bytes;
    this.#last = last ?? this.#last;
  }

  #takeCell(pages: Buffer, start: number, i: number): void {
    const { after, upTo } = this.#range;
    const { usableBytes } = this.#table.pages;
    const rowid = describeRow(pages, start, i, usableBytes, this.#cell);
    if ((after !== null && rowid <= after) || (upTo !== null && rowid > upTo)) return;
    const { at, payloadBytes, overflowPage } = this.#cell;
    this.bytes += payloadBytes;
    this.#last = rowid;
    if (overflowPage === 0) {
      this.#countWhole(start, payloadBytes, usableBytes);
      this.#takeRecord(pages, at, payloadBytes, rowid);
    } else if (payloadBytes > this.#taker.maxPayloadBytes) {
      this.#taker.refused.push({ ordinal: this.#nextOrdinal(), row: { rowid }, reason: null });
    } else {
      this.#scatteredBytes += payloadBytes;
      if (this.#scatteredBytes > MAX_SCATTERED_BYTES) {
        throw new StoredFormError('some leaves have rows that are too large together');
      }
      this.scattered.push({ ...scatteredRecord(pages, this.#cell), rowid });
    }
  }

  /** Refuses cells that share bytes: a page could have gigabytes of them. */
  #countWhole(start: number, bytes: number, usableBytes: number): void {
    if (start !== this.#page) this.#wholeBytes = 0;
    this.#page = start;
    this.#wholeBytes += bytes;
    if (this.#wholeBytes > usableBytes) throw cellsOverlap();
  }

  async takeScattered(): Promise<void> {
    const { scattered } = this;
    this.scattered = [];
    const gathered = await gather(this.#table.pages, scattered);
    this.#takeGathered(gathered, scattered);
    freeGathered(gathered);
  }

  #takeGathered(records: readonly Buffer[], rows: LeafScan['scattered']): void {
    for (const [i, record] of records.entries()) {
      const { payloadBytes, rowid } = rows[i]!;
      if (this.#sink.takeRecord(record, rowid)) this.#leafRows++;
      else this.#takeRecord(record, 0, payloadBytes, rowid);
    }
  }

  #takeRecord(bytes: Buffer, at: number, payloadBytes: number, rowid: Rowid): void {
    const ordinal = this.#nextOrdinal();
    this.#record.parse(bytes, at, payloadBytes, rowid);
    this.#taker.take(ordinal);
  }

  /** Of a row that does not come by its leaf. */
  #nextOrdinal(): number {
    this.#sink.rows.grow(this.#single + 1);
    return this.#single++;
  }

  result(upTo: Rowid | null, isWhole: boolean): ScannedRows {
    const rest = isWhole ? null : { after: this.#last, upTo };
    const rows = this.#leafRows + this.#single;
    return { rows, bytes: this.bytes, refused: this.#taker.refused, rest };
  }
}
