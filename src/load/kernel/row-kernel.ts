import { largestNode } from '../../cache/lmdb-format.js';
import type { TablePlan } from '../../source/plan.js';
import { cellCount } from '../../source/stored/btree-page.js';
import { REQUEST_BYTES } from '../../source/stored/database-pages.js';
import { cellsOverlap, type Leaves } from '../../source/stored/leaf-scan.js';
import { ROWID_FIELD } from '../../source/stored/stored-table.js';
import type { Rowid } from '../../source/stored/varint.js';
import { MAX_KEY_BYTES } from '../../transform/key-codec.js';
import type { KeyBounds } from '../key-ranges.js';
import { Places, type Kernel, type KernelExports } from './kernel.js';

/** Of a record: two bytes of its key's size, two of its range, four of the size of key and value. */
const HEADER_BYTES = 8;
/** Pages of long values that wait. Those for which there is no room are spooled. */
const VALUE_PAGES_BYTES = 2 * 1024 * 1024;
/** Of a bound: eight that sort as it does, its address, its size. */
const BOUND_BYTES = 16;
/** What the records of rows take at most, beyond four times what the rows do. */
const RECORD_ROOM_BYTES = 32;
const KEY_FIELD_ROOM_BYTES = 11;
/** Larger rows would take memory of several times their size. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** Behind the limit of the records: a key that is too long, or that names a column several times, goes beyond it. */
const KEY_ROOM_BYTES = 2 * (MAX_KEY_BYTES + 1);
const LAST_ROWID = 2n ** 63n - 1n;

const AT_ODD_CELL = 1;
const OVERLAP = 2;

/** Where things are in the kernel's memory. */
interface Layout {
  readonly fields: number;
  readonly bounds: number;
  readonly sizes: number;
  readonly starts: number;
  readonly pages: number;
  readonly values: number;
  readonly records: number;
}

/** Records grouped by their ranges of keys. */
export interface Groups {
  /** The groups one behind the other, in memory that is soon used again. */
  readonly bytes: Buffer;
  /** Bytes of each range's group. */
  readonly sizes: readonly number[];
  /** Bytes of all keys and values, wherever they are. */
  readonly contentBytes: number;
}

/**
 * Turns rows as SQLite stores them into records of the cache, pages at a time, in WebAssembly: bytes move eight at a
 * time, and the first rows of a thread cost no more than its last ones.
 */
export class RowKernel {
  readonly #kernel: Kernel;
  readonly #wasm: KernelExports;
  #layout: Layout = { fields: 0, bounds: 0, sizes: 0, starts: 0, pages: 0, values: 0, records: 0 };
  #ranges = 0;
  #keyFields = 0;

  /** @param kernel nobody else's from {@link begin} on until its groups are not needed any more. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#wasm = kernel.wasm;
  }

  /** Records so far. */
  get count(): number {
    return this.#wasm.recordCount();
  }

  /** Bytes of their rows as they were stored, but for those that were {@link append appended}. */
  get payloadBytes(): number {
    return this.#wasm.payloadBytes();
  }

  /** Of the row that was looked at last. */
  get lastRowid(): Rowid {
    const rowid = this.#wasm.lastRowid();
    const number = Number(rowid);
    return Number.isSafeInteger(number) ? number : rowid;
  }

  /**
   * Begins with rows of a plan, without any.
   *
   * @param valuePageSize of the pages of LMDB of which values that need some of their own are made at once, if they are.
   */
  begin({ columns, key }: TablePlan, bounds: KeyBounds, valuePageSize: number | null): void {
    this.#ranges = bounds.ends.length + 1;
    this.#keyFields = key.length;
    const valueBytes = valuePageSize === null ? 0 : VALUE_PAGES_BYTES;
    this.#layOut(columns.length + key.length, bounds, valueBytes);
    this.#setBounds(bounds);
    const { values, records, sizes } = this.#layout;
    const pageSize = valuePageSize ?? 0;
    this.#wasm.setValues(values, values + valueBytes, pageSize, largestNode(pageSize));
    this.#wasm.begin(records, sizes, this.#ranges);
  }

  /** Bytes of pages of long values that wait for their place. */
  get valueBytes(): number {
    return this.#wasm.valueBytes();
  }

  /**
   * Gives the pages that wait numbers from `page` on, and their transaction.
   *
   * @returns them, in memory that is used again for the next ones.
   */
  placeValues(page: number, transaction: number): Buffer {
    const { values } = this.#layout;
    const pages = this.#kernel.bytes.subarray(values, values + this.valueBytes);
    this.#wasm.placeValues(BigInt(page), BigInt(transaction));
    return pages;
  }

  /**
   * Takes the rows of leaf pages that are in a range, but for those that are out of the ordinary: of these it tells page
   * and cell. Rows of more than `maxPayload` bytes are among them, and may be out of the range.
   *
   * @throws {StoredFormError} when the rows of a page take more than the page.
   */
  take(
    { table, pages, count, range: { after, upTo } }: Leaves,
    maxPayload: number,
    odd: (page: number, cell: number) => void,
  ): void {
    const wasm = this.#wasm;
    const { plan, fields } = table;
    const { pageBytes, usableBytes } = table.pages;
    this.#makeRoom(pages, count, pageBytes);
    const at = this.#layout.pages;
    this.#kernel.bytes.set(pages, at);
    const keyFields = plan.key.map((column) => fields[column] ?? ROWID_FIELD);
    for (const [i, field] of [...fields, ...keyFields].entries()) {
      this.#kernel.bytes.writeInt32LE(field, this.#layout.fields + 4 * i);
    }
    const { length } = fields;
    const most = Math.min(maxPayload, MAX_PAYLOAD_BYTES);
    wasm.setTable(this.#layout.fields, length, keyFields.length, pageBytes, usableBytes, most);
    wasm.setRowids(after === null ? 0 : 1, BigInt(after ?? 0), BigInt(upTo ?? LAST_ROWID));
    let state = wasm.scan(at, at + count * pageBytes);
    while (state === AT_ODD_CELL) {
      odd((wasm.stoppedPage() - at) / pageBytes, wasm.stoppedCell());
      state = wasm.resume();
    }
    if (state === OVERLAP) throw cellsOverlap();
  }

  /**
   * Takes the record of a row that was not in its page whole, of the table whose pages were taken last.
   *
   * @returns false for one that is out of the ordinary, or large.
   */
  takeWhole(record: Buffer, rowid: Rowid): boolean {
    if (record.length > MAX_PAYLOAD_BYTES) return false;
    const end = this.#wasm.recordsEnd() + this.#mostBytes(record.length, 1);
    const at = end + KEY_ROOM_BYTES;
    this.#kernel.reserve(at + record.length);
    this.#kernel.bytes.set(record, at);
    this.#wasm.setLimit(end);
    return this.#wasm.takeWhole(at, record.length, BigInt(rowid)) !== 0;
  }

  /** Adds the record of a row that was out of the ordinary: its key, and behind it its value. */
  append(record: Uint8Array, keyBytes: number): void {
    const at = this.#wasm.recordsEnd() + HEADER_BYTES;
    this.#kernel.reserve(at + record.length);
    this.#kernel.bytes.set(record, at);
    this.#wasm.place(keyBytes, record.length);
  }

  /** All records. None must be added afterwards; no values must wait. */
  group(): Groups {
    const { records, sizes, starts } = this.#layout;
    const to = this.#wasm.recordsEnd();
    const total = to - records;
    this.#kernel.reserve(to + total);
    this.#wasm.group(to, starts);
    return {
      bytes: this.#kernel.bytes.subarray(to, to + total),
      contentBytes: total - HEADER_BYTES * this.count + this.#wasm.movedBytes(),
      sizes: Array.from({ length: this.#ranges }, (_, range) =>
        this.#kernel.bytes.readUInt32LE(sizes + 4 * range),
      ),
    };
  }

  #setBounds({ bytes, ends }: KeyBounds): void {
    const table = this.#layout.bounds;
    const keys = table + BOUND_BYTES * ends.length;
    const memory = this.#kernel.bytes;
    memory.set(bytes, keys);
    let start = 0;
    for (const [i, end] of ends.entries()) {
      memory.writeUInt32LE(keys + start, table + BOUND_BYTES * i + 8);
      memory.writeUInt32LE(end - start, table + BOUND_BYTES * i + 12);
      start = end;
    }
    this.#wasm.setBounds(table, ends.length);
  }

  #layOut(fieldCount: number, { bytes, ends }: KeyBounds, valueBytes: number): void {
    const places = new Places(this.#wasm.heapBase());
    this.#layout = {
      fields: places.take(4 * fieldCount),
      bounds: places.take(BOUND_BYTES * ends.length + bytes.length),
      sizes: places.take(4 * this.#ranges),
      starts: places.take(4 * this.#ranges),
      pages: places.take(REQUEST_BYTES),
      values: places.take(valueBytes),
      records: places.end,
    };
    this.#kernel.reserve(places.end);
  }

  #makeRoom(pages: Buffer, count: number, pageBytes: number): void {
    let cells = 0;
    for (let i = 0; i < count; i++) cells += cellCount(pages, i * pageBytes, pageBytes);
    const end = this.#wasm.recordsEnd() + this.#mostBytes(pages.length, cells);
    this.#kernel.reserve(end + KEY_ROOM_BYTES);
    this.#wasm.setLimit(end);
  }

  /** What the records of so many rows take at most. */
  #mostBytes(payload: number, rows: number): number {
    return 4 * payload + (RECORD_ROOM_BYTES + KEY_FIELD_ROOM_BYTES * this.#keyFields) * rows;
  }
}
