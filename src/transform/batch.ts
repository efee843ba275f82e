import { CHECKSUM_BYTES, type Checksum } from './checksum.js';
import { keyBound, MAX_KEY_BYTES, unkeyableReason, writeKey } from './key-codec.js';
import { RowEncoder, rowBound } from './row-encoder.js';
import { MISFIT, packedNumber, packedValue } from '../source/packed-row.js';
import type { PackedRows } from '../source/page-reader.js';
import type { TablePlan } from '../source/plan.js';
import type { PackedCell } from '../source/projection.js';
import type { Cell, SqlValue } from '../values.js';

/**
 * Encoded rows in memory that can be transferred between threads.
 *
 * The arena holds the records one after the other, each a key, then a value: the row as msgpack followed by the
 * xxHash64 of key and row, little-endian. `lengths` holds two 32-bit numbers for each record: the bytes of the key and
 * of the value.
 */
export interface Batch {
  readonly arena: ArrayBuffer;
  readonly lengths: ArrayBuffer;
  readonly count: number;
  /** Bytes used in the arena. */
  readonly bytes: number;
  /** True when the keys are in strictly ascending order. */
  readonly ascending: boolean;
}

const INITIAL_ARENA_BYTES = 1024 * 1024;
const INITIAL_RECORDS = 1024;

/** Encodes rows of one plan into batches. Pure: the same rows give the same bytes. */
export class BatchBuilder {
  readonly #plan: TablePlan;
  readonly #checksum: Checksum;
  readonly #width: number;
  #arena: Buffer;
  #lengths: Uint32Array<ArrayBuffer>;
  #count = 0;
  #bytes = 0;
  #lastKeyStart = -1;
  #lastKeyEnd = -1;
  #ascending = true;

  /** @param spare memory of an earlier batch to use again. */
  constructor(plan: TablePlan, checksum: Checksum, spare?: Pick<Batch, 'arena' | 'lengths'>) {
    this.#plan = plan;
    this.#checksum = checksum;
    this.#width = plan.columns.length;
    this.#arena = Buffer.from(spare?.arena ?? new ArrayBuffer(INITIAL_ARENA_BYTES));
    this.#lengths = new Uint32Array(spare?.lengths ?? new ArrayBuffer(INITIAL_RECORDS * 8));
  }

  /**
   * Adds a row as read by the plan: its columns, then the rowid where the plan reads it.
   *
   * @returns why the row cannot be stored, or null when it was added.
   */
  add(row: readonly Cell[]): string | null {
    const key = this.#plan.key.map((at) => row[at]!);
    const unkeyable = unkeyableReason(key);
    if (unkeyable !== null) return unkeyable;

    const start = this.#bytes;
    this.#reserve(start + keyBound(key) + rowBound(row) + CHECKSUM_BYTES);
    const rowid = this.#plan.readsRowid ? (row[this.#width] as number | bigint) : undefined;
    const keyEnd = writeKey(this.#arena, start, key as SqlValue[], rowid);
    if (keyEnd - start > MAX_KEY_BYTES) {
      return `the key takes ${keyEnd - start} bytes, more than the ${MAX_KEY_BYTES} that LMDB allows`;
    }
    const rowEnd = encoder.write(this.#arena, keyEnd, row as SqlValue[], this.#width);
    this.#endRecord(start, keyEnd, rowEnd);
    return null;
  }

  /**
   * Adds rows that are bytes already, without making values of them. The same rows give the same batch as {@link add}.
   *
   * @returns false when the bytes are not what they should be, or a key is too long: then the batch must be dropped,
   * and the rows be added one by one.
   */
  addPacked({ bytes, count }: PackedRows, cells: readonly PackedCell[]): boolean {
    const ends = new Uint32Array(cells.length);
    let at = 0;
    for (let row = 0; row < count; row++) {
      const rowStart = at;
      for (let i = 0; i < cells.length; i++) {
        const end = nextNul(bytes, at);
        if (end < 0) return false;
        ends[i] = end;
        at = end + 1;
      }
      if (!this.#addPackedRow(bytes, rowStart, at, cells, ends)) return false;
    }
    return at === bytes.length;
  }

  #addPackedRow(
    bytes: Buffer,
    rowStart: number,
    rowEnd: number,
    cells: readonly PackedCell[],
    ends: Uint32Array,
  ): boolean {
    const start = this.#bytes;
    const { key: keyAt, readsRowid } = this.#plan;
    // A cell takes at most five bytes more as msgpack than in its packed form, and a number nine in all.
    this.#reserve(start + 2 * (rowEnd - rowStart) + 16 * (cells.length + 1) + CHECKSUM_BYTES);
    const cellStart = (i: number) => (i === 0 ? rowStart : ends[i - 1]! + 1);

    const key: SqlValue[] = [];
    for (const i of keyAt) {
      const value = packedValue(bytes, cellStart(i), ends[i]!, cells[i]!);
      if (value === MISFIT) return false;
      key.push(value);
    }
    let rowid: number | bigint | undefined;
    if (readsRowid) {
      const value = packedNumber(bytes, cellStart(this.#width), ends[this.#width]!, 'integer');
      if (value === MISFIT || value === null) return false;
      rowid = value;
    }
    const keyEnd = writeKey(this.#arena, start, key, rowid);
    if (keyEnd - start > MAX_KEY_BYTES) return false;

    let at = encoder.writeHeader(this.#arena, keyEnd, this.#width);
    for (let i = 0; i < this.#width; i++) {
      const from = cellStart(i);
      const end = ends[i]!;
      const cell = cells[i]!;
      if (cell === 'text') at = encoder.writeTextBytes(this.#arena, at, bytes, from, end);
      else if (from === end) at = encoder.writeValue(this.#arena, at, null);
      else if (cell === 'text?') {
        at = encoder.writeTextBytes(this.#arena, at, bytes, from + 1, end);
      } else {
        const value = packedNumber(bytes, from, end, cell);
        if (value === MISFIT) return false;
        at = encoder.writeValue(this.#arena, at, value);
      }
    }
    this.#endRecord(start, keyEnd, at);
    return true;
  }

  /** The batch so far. The builder must not be used afterwards: its memory belongs to the batch. */
  finish(): Batch {
    return {
      arena: this.#arena.buffer as ArrayBuffer,
      lengths: this.#lengths.buffer,
      count: this.#count,
      bytes: this.#bytes,
      ascending: this.#ascending,
    };
  }

  #endRecord(start: number, keyEnd: number, rowEnd: number): void {
    const hash = this.#checksum(this.#arena.subarray(start, rowEnd));
    this.#arena.writeBigUInt64LE(hash, rowEnd);
    const end = rowEnd + CHECKSUM_BYTES;
    this.#noteOrder(start, keyEnd);
    this.#lengths[2 * this.#count] = keyEnd - start;
    this.#lengths[2 * this.#count + 1] = end - keyEnd;
    this.#count++;
    this.#bytes = end;
  }

  #noteOrder(start: number, end: number): void {
    if (this.#ascending && this.#lastKeyStart >= 0) {
      const order = this.#arena.compare(
        this.#arena,
        start,
        end,
        this.#lastKeyStart,
        this.#lastKeyEnd,
      );
      this.#ascending = order < 0;
    }
    this.#lastKeyStart = start;
    this.#lastKeyEnd = end;
  }

  #reserve(bytes: number): void {
    if (bytes > this.#arena.length) {
      const larger = Buffer.from(new ArrayBuffer(Math.max(bytes, this.#arena.length * 2)));
      this.#arena.copy(larger, 0, 0, this.#bytes);
      this.#arena = larger;
    }
    if (2 * this.#count + 2 > this.#lengths.length) {
      const larger = new Uint32Array(new ArrayBuffer(this.#lengths.byteLength * 2));
      larger.set(this.#lengths);
      this.#lengths = larger;
    }
  }
}

/** Where a cell ends, or -1. Most are short, and for those a loop beats the call into native code. */
function nextNul(bytes: Buffer, at: number): number {
  const near = Math.min(at + SHORT_CELL, bytes.length);
  for (; at < near; at++) if (bytes[at] === 0) return at;
  return bytes.indexOf(0, at);
}

const SHORT_CELL = 128;
const encoder = new RowEncoder();

/** One record of a batch, as offsets into its arena. */
export interface RecordSpan {
  readonly keyStart: number;
  readonly valueStart: number;
  readonly end: number;
}

/** The records of a batch in order. The object given is the same each time. */
export function* recordsOf(
  batch: Pick<Batch, 'lengths' | 'count'>,
): Generator<RecordSpan, void, void> {
  const lengths = new Uint32Array(batch.lengths);
  const span = { keyStart: 0, valueStart: 0, end: 0 };
  for (let i = 0; i < batch.count; i++) {
    span.keyStart = span.end;
    span.valueStart = span.keyStart + lengths[2 * i]!;
    span.end = span.valueStart + lengths[2 * i + 1]!;
    yield span;
  }
}
