import { freeMemory } from '../../free-memory.js';
import { InvalidText, type Cell } from '../../values.js';
import { NUMBER_BYTES } from '../page.js';
import type { RowSink } from '../row-sink.js';
import { newCell, type StoredCell } from './btree-page.js';
import type { IndexBtree } from './index-btree.js';
import { freeGathered, gather, type ScatteredRecord } from './overflow.js';
import { RecordBound } from './record-bound.js';
import { StoredFormError } from './stored-form-error.js';
import { StoredRecord } from './stored-record.js';
import type { RowRef, StoredTable } from './stored-table.js';
import type { TableBtree } from './table-btree.js';
import type { Rowid } from './varint.js';

export interface StoredPageBounds {
  /** Bytes of records at which reading ends, unless there is but one row. */
  readonly maxBytes: number;
  /** A row that takes more is not read. */
  readonly maxRowBytes: number;
}

/** A row that was not taken. */
export interface Refusal {
  readonly ordinal: number;
  readonly row: RowRef;
  /** Why, or null for one that may be too large: that is for SQL to say. */
  readonly reason: string | null;
}

export interface StoredPage {
  /** Rows found, whether taken or refused. */
  readonly rows: number;
  /** Bytes of their records. */
  readonly bytes: number;
  /** False when reading ended before all rows that were asked for, because they were too many bytes. */
  readonly complete: boolean;
  readonly refused: readonly Refusal[];
  /** The position of the last row, or null where that is for SQL to say. */
  readonly last: readonly Cell[] | null;
}

/** Rows that can be read together. */
export const MAX_ROWS = 2 ** 20;

/**
 * Reads rows of a rowid table, {@link MAX_ROWS} at most, and gives them to a sink, leaf by leaf: rows of one leaf are
 * read together, however far apart they are in the page. When they are too many bytes, the page is no good but for its
 * size.
 *
 * @throws {StoredFormError} when the file is not as it should be.
 * @throws {UnknownDefault} when a record lacks a column whose default is not known yet.
 */
export async function readRowids(
  table: StoredTable,
  btree: TableBtree,
  rowids: readonly Rowid[],
  bounds: StoredPageBounds,
  sink: RowSink,
): Promise<StoredPage> {
  const byLeaf = sortByLeaf(await btree.leavesOf(rowids));
  const page = new RowidPage(table, btree, rowids, bounds, sink);
  for (let from = 0; from < byLeaf.length;) {
    const { leaves, end } = nextLeaves(byLeaf, from, table.pages.requestPages);
    const content = await table.pages.read(leaves);
    if (!page.take(byLeaf, from, end, content)) break;
    if (page.scattered.length > 0) await page.takeScattered();
    freeMemory(content);
    from = end;
  }
  return page.result();
}

// The loops over rows are in functions of their own: within an asynchronous one they would be compiled again and
// again, for longer than they run.

/** A page of a rowid table while it is read. */
class RowidPage {
  readonly #table: StoredTable;
  readonly #btree: TableBtree;
  readonly #rowids: readonly Rowid[];
  readonly #maxBytes: number;
  readonly #taker: Taker;
  readonly #cell = newCell();
  readonly #record = new StoredRecord();
  #found = 0;
  #bytes = 0;
  #complete = true;
  #last: readonly Cell[] | null = null;
  /** Rows of the leaves read last that go on in other pages. */
  scattered: (ScatteredRecord & { readonly row: number })[] = [];

  constructor(
    table: StoredTable,
    btree: TableBtree,
    rowids: readonly Rowid[],
    bounds: StoredPageBounds,
    sink: RowSink,
  ) {
    this.#table = table;
    this.#btree = btree;
    this.#rowids = rowids;
    this.#maxBytes = rowids.length > 1 ? bounds.maxBytes : Infinity;
    this.#taker = new Taker(table, this.#record, bounds.maxRowBytes, sink);
    sink.start(rowids.length);
  }

  /**
   * Takes rows of some leaves.
   *
   * @returns false when the page would be too many bytes.
   */
  take(byLeaf: Float64Array, from: number, end: number, leaves: Buffer): boolean {
    const cell = this.#cell;
    const { pageBytes } = this.#table.pages;
    let start = 0;
    for (let i = from; i < end; i++) {
      const row = rowOf(byLeaf[i]!);
      if (i > from && leafOf(byLeaf[i]!) !== leafOf(byLeaf[i - 1]!)) start += pageBytes;
      const rowid = this.#rowids[row]!;
      this.#btree.findCell(leaves, start, rowid, cell);
      this.#found++;
      this.#bytes += cell.payloadBytes;
      if (this.#bytes > this.#maxBytes) {
        this.#complete = false;
        return false;
      }
      if (cell.overflowPage === 0) {
        this.#record.parse(leaves, cell.at, cell.payloadBytes, rowid);
        this.#takeRecord(row);
      } else if (cell.payloadBytes > this.#taker.maxPayloadBytes) {
        this.#taker.refused.push({ ordinal: row, row: { rowid }, reason: null });
      } else this.scattered.push({ ...scatteredRecord(leaves, cell), row });
    }
    return true;
  }

  async takeScattered(): Promise<void> {
    const { scattered } = this;
    this.scattered = [];
    const gathered = await gather(this.#table.pages, scattered);
    for (const [i, { row, payloadBytes }] of scattered.entries()) {
      this.#record.parse(gathered[i]!, 0, payloadBytes, this.#rowids[row]!);
      this.#takeRecord(row);
    }
    freeGathered(gathered);
  }

  result(): StoredPage {
    return {
      rows: this.#found,
      bytes: this.#bytes,
      complete: this.#complete,
      refused: this.#taker.refused,
      last: this.#last,
    };
  }

  #takeRecord(row: number): void {
    this.#taker.take(row);
    if (row === this.#rowids.length - 1) this.#last = this.#table.positionOf(this.#record);
  }
}

/** Rows in the order of their leaves: a leaf's number times {@link MAX_ROWS}, and the row's. */
function sortByLeaf(leaves: Uint32Array): Float64Array {
  const sorted = new Float64Array(leaves.length);
  for (let row = 0; row < leaves.length; row++) sorted[row] = leaves[row]! * MAX_ROWS + row;
  return sorted.sort();
}

function leafOf(sorted: number): number {
  return Math.floor(sorted / MAX_ROWS);
}

function rowOf(sorted: number): number {
  return sorted % MAX_ROWS;
}

/** The next leaves, `most` at most, and the end of their rows. */
function nextLeaves(
  byLeaf: Float64Array,
  from: number,
  most: number,
): { readonly leaves: number[]; readonly end: number } {
  const leaves: number[] = [];
  let last = -1;
  let end = from;
  for (; end < byLeaf.length; end++) {
    const leaf = leafOf(byLeaf[end]!);
    if (leaf === last) continue;
    if (leaves.length === most) break;
    leaves.push(leaf);
    last = leaf;
  }
  return { leaves, end };
}

/**
 * Reads the rows of a `WITHOUT ROWID` table between two positions, in order, and gives them to a sink. When they are
 * too many bytes, the page ends before.
 *
 * @throws {StoredFormError} when the file is not as it should be.
 * @throws {UnknownDefault} when a record lacks a column whose default is not known yet.
 */
export async function readInOrder(
  table: StoredTable,
  btree: IndexBtree,
  range: { readonly after: readonly Cell[] | null; readonly upTo: readonly Cell[] | null },
  maxRows: number,
  bounds: StoredPageBounds,
  sink: RowSink,
): Promise<StoredPage> {
  const { encoding } = table.plan;
  const after = range.after && new RecordBound(range.after, encoding);
  const upTo = range.upTo && new RecordBound(range.upTo, encoding);
  const record = new StoredRecord();
  const taker = new Taker(table, record, bounds.maxRowBytes, sink);
  const cell = newCell();
  const page = { rows: 0, bytes: 0, refused: taker.refused };
  const last = () => (page.rows > 0 ? table.positionOf(record) : null);

  sink.start(maxRows);
  for await (const run of btree.runsBehind(after, maxRows)) {
    for (const place of run.cells) {
      btree.describe(run, place, cell);
      const { payloadBytes } = cell;
      if (page.rows > 0 && page.bytes + payloadBytes > bounds.maxBytes) {
        return { ...page, complete: false, last: last() };
      }
      const isLarge = payloadBytes > taker.maxPayloadBytes;
      if (cell.overflowPage === 0) record.parse(run.pages, cell.at, payloadBytes, 0);
      else if (isLarge) parseKey(record, run.pages, cell, table.plan.order.length);
      else {
        const [bytes] = await gather(table.pages, [scatteredRecord(run.pages, cell)]);
        record.parse(bytes!, 0, payloadBytes, 0);
      }
      // The position is then that of the end.
      if (upTo !== null && upTo.compare(record) > 0) {
        return { ...page, complete: true, last: null };
      }
      if (isLarge) {
        taker.refused.push({ ordinal: page.rows, row: table.rowOf(record), reason: null });
      } else taker.take(page.rows);
      page.rows++;
      page.bytes += payloadBytes;
      if (page.rows === maxRows) return { ...page, complete: true, last: last() };
    }
  }
  return { ...page, complete: true, last: last() };
}

/** Gives a record to a sink, unless its row is too large. */
export class Taker {
  readonly refused: Refusal[] = [];
  /** A larger record may be one of a row that is too large only by columns that are not wanted. */
  readonly maxPayloadBytes: number;
  readonly #table: StoredTable;
  readonly #record: StoredRecord;
  readonly #maxRowBytes: number;
  readonly #sink: RowSink;

  constructor(table: StoredTable, record: StoredRecord, maxRowBytes: number, sink: RowSink) {
    this.#table = table;
    this.#record = record;
    this.#maxRowBytes = maxRowBytes;
    this.#sink = sink;
    this.maxPayloadBytes = maxRowBytes + NUMBER_BYTES * (table.plan.columns.length + 1);
  }

  /** Takes the record as row `ordinal`. */
  take(ordinal: number): void {
    const record = this.#record;
    const oversized = this.#isOversized();
    const reason = oversized ? null : this.#sink.takeStored(ordinal, record, this.#table);
    if (oversized || reason !== null) {
      this.refused.push({ ordinal, row: this.#table.rowOf(record), reason });
    }
  }

  #isOversized(): boolean {
    const record = this.#record;
    const { fields } = this.#table;
    const total = record.starts[record.fieldCount]! - record.starts[0]!;
    const isWhole = record.fieldCount >= this.#table.fieldCount;
    if (isWhole && total + NUMBER_BYTES * fields.length <= this.#maxRowBytes) return false;
    let bytes = 0;
    for (let column = 0; column < fields.length; column++) {
      const field = fields[column]!;
      if (field >= record.fieldCount) bytes += sizeOf(this.#table.defaultOf(column, record));
      else bytes += field >= 0 && record.hasBytes(field) ? record.fieldBytes(field) : NUMBER_BYTES;
    }
    return bytes > this.#maxRowBytes;
  }
}

/** A value's part in the size of its row. */
function sizeOf(value: Cell): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (value instanceof InvalidText) return value.bytes.byteLength;
  return value instanceof Uint8Array ? value.byteLength : NUMBER_BYTES;
}

export function scatteredRecord(pages: Buffer, cell: StoredCell): ScatteredRecord {
  const { at, localBytes, payloadBytes, overflowPage } = cell;
  return { local: pages.subarray(at, at + localBytes), payloadBytes, overflowPage };
}

/** Looks at the part of a record that is in its page, for its key. */
function parseKey(
  record: StoredRecord,
  pages: Buffer,
  { at, localBytes, payloadBytes }: StoredCell,
  keyFields: number,
): void {
  record.parse(pages, at, payloadBytes, 0);
  if (record.starts[keyFields]! > at + localBytes) {
    throw new StoredFormError('a key goes beyond its page');
  }
}
