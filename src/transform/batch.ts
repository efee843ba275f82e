import { CHECKSUM_BYTES, type Checksum } from './checksum.js';
import { keyBound, KeyWriter, MAX_KEY_BYTES, unkeyableReason, writeKey } from './key-codec.js';
import { RowEncoder, rowBound } from './row-encoder.js';
import type { TablePlan } from '../source/plan.js';
import type { EntryBounds, EntryTaker, TakenEntries } from '../source/entry-taker.js';
import { invalidTextReason, type RowSink } from '../source/row-sink.js';
import type { WireRow } from '../source/hrana/wire-row.js';
import type { StoredRecord } from '../source/stored/stored-record.js';
import type { StoredTable } from '../source/stored/stored-table.js';
import type { Cell, SqlValue } from '../values.js';

/**
 * Encoded rows in memory that can be transferred between threads.
 *
 * The arena holds the records, each a key, then a value: the row as msgpack followed by the xxHash64 of key and row,
 * little-endian. `spans` holds three 32-bit numbers for each record, in the order of the rows: where in the arena it
 * begins, where its value begins, and where it ends. In the arena itself the records are in any order.
 */
export interface Batch {
  readonly arena: ArrayBuffer;
  readonly spans: ArrayBuffer;
  readonly count: number;
  /** Bytes used in the arena. */
  readonly bytes: number;
  /** True when the keys are in strictly ascending order. */
  readonly ascending: boolean;
}

const INITIAL_ARENA_BYTES = 1024 * 1024;
const ARENA_GROWTH = 1.5;
const INITIAL_RECORDS = 1024;
/** Bytes of a record's numbers in `spans`. */
export const SPAN_BYTES = 12;

/** Encodes rows of one plan into batches. Pure: the same rows give the same records. */
export class BatchBuilder implements RowSink {
  readonly #plan: TablePlan;
  readonly #checksum: Checksum;
  readonly #width: number;
  /** How often a field's bytes are copied at most: into the row, and as often as the key names it, escaped. */
  readonly #copies: number;
  #arena: Buffer;
  #view: DataView;
  #spans: Uint32Array<ArrayBuffer>;
  /** Rows that were taken or refused; the spans of those refused are empty. */
  #rows = 0;
  #bytes = 0;

  readonly #entries: EntryTaker | null;

  /**
   * @param spare memory of an earlier batch to use again.
   * @param entries takes the rows of a server's cursor, many at a time.
   */
  constructor(
    plan: TablePlan,
    checksum: Checksum,
    spare?: Pick<Batch, 'arena' | 'spans'>,
    entries: EntryTaker | null = null,
  ) {
    this.#entries = entries;
    this.#plan = plan;
    this.#checksum = checksum;
    this.#width = plan.columns.length;
    this.#copies = 1 + 2 * mostRepeated(plan.key);
    this.#arena = Buffer.from(spare?.arena ?? new ArrayBuffer(INITIAL_ARENA_BYTES));
    this.#view = new DataView(this.#arena.buffer);
    this.#spans = new Uint32Array(spare?.spans ?? new ArrayBuffer(INITIAL_RECORDS * SPAN_BYTES));
  }

  start(rows: number): void {
    this.#rows = 0;
    this.#bytes = 0;
    this.#reserveSpans(rows);
    this.#spans.fill(0);
    this.#rows = rows;
  }

  grow(rows: number): void {
    this.#reserveSpans(rows);
    this.#spans.fill(0, 3 * this.#rows, 3 * rows);
    this.#rows = rows;
  }

  /**
   * Adds a row behind those added before: the plan's columns, then the rowid where the plan reads it.
   *
   * @returns why the row cannot be stored, or null when it was added.
   */
  add(row: readonly Cell[]): string | null {
    const ordinal = this.#rows;
    this.#reserveSpans(ordinal + 1);
    this.#spans.fill(0, 3 * ordinal, 3 * ordinal + 3);
    this.#rows = ordinal + 1;
    return this.take(ordinal, row);
  }

  take(ordinal: number, row: readonly Cell[]): string | null {
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
    this.#endRecord(ordinal, start, keyEnd, rowEnd);
    return null;
  }

  /** Takes a row without making values of its fields, where that can be. */
  takeStored(ordinal: number, record: StoredRecord, table: StoredTable): string | null {
    if (this.#copyStored(ordinal, record, table)) return null;
    const cells = table.cells(record);
    return invalidTextReason(this.#plan, cells) ?? this.take(ordinal, cells);
  }

  #copyStored(ordinal: number, record: StoredRecord, table: StoredTable): boolean {
    if (this.#plan.encoding !== 'utf8') return false;
    const { fields } = table;
    const { key, readsRowid } = this.#plan;
    const start = this.#bytes;
    const payloadBytes = record.starts[record.fieldCount]! - record.starts[0]!;
    // Each value has a header of nine bytes at most.
    this.#reserve(start + this.#copies * payloadBytes + 16 * (fields.length + key.length + 2));

    keyWriter.begin(this.#arena, start, key.length);
    for (const column of key) {
      const field = column < fields.length ? fields[column]! : -1;
      if (field < 0) keyWriter.number(record.rowid);
      else if (field >= record.fieldCount || !keyWriter.stored(record, field)) return false;
    }
    const keyEnd = keyWriter.end;
    if (keyEnd - start > MAX_KEY_BYTES || (readsRowid && keyWriter.hasNull)) return false;

    let at = encoder.writeHeader(this.#arena, keyEnd, this.#width);
    for (let column = 0; column < fields.length; column++) {
      const field = fields[column]!;
      if (field < 0) at = encoder.writeValue(this.#arena, at, record.rowid);
      else if (field < record.fieldCount) {
        at = encoder.writeStored(this.#arena, at, record, field);
        if (at < 0) return false;
      } else {
        const value = table.defaultOf(column, record);
        // Bytes may be more than there is room for.
        if (typeof value === 'object' && value !== null) return false;
        if (typeof value === 'string' && value.length > 4) return false;
        at = encoder.writeValue(this.#arena, at, value);
      }
    }
    this.#endRecord(ordinal, start, keyEnd, at);
    return true;
  }

  /** Takes a row without making values of its TEXT and BLOB, where that can be. */
  takeWire(ordinal: number, row: WireRow): string | null {
    if (row.cells === null && this.#copyWire(ordinal, row)) return null;
    return this.take(ordinal, row.values(this.#width + (this.#plan.readsRowid ? 1 : 0)));
  }

  takeEntries(
    ordinal: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    bounds: EntryBounds,
  ): TakenEntries | null {
    if (this.#entries === null) return null;
    const base = this.#bytes;
    const taken = this.#entries.take(this.#plan, bytes, at, end, base, bounds);
    this.#reserve(base + taken.records.length);
    this.#arena.set(taken.records, base);
    this.#bytes = base + taken.records.length;
    this.#spans.set(taken.spans, 3 * ordinal);
    return taken;
  }

  #copyWire(ordinal: number, row: WireRow): boolean {
    const { key } = this.#plan;
    const width = this.#width;
    const start = this.#bytes;
    // Each value has a header of nine bytes at most.
    this.#reserve(start + this.#copies * row.textBytes + 16 * (width + key.length + 2));
    keyWriter.begin(this.#arena, start, key.length);
    for (let i = 0; i < key.length; i++) {
      if (!keyWriter.wire(row, key[i]!)) return false;
    }
    const keyEnd = keyWriter.end;
    if (keyEnd - start > MAX_KEY_BYTES) return false;

    let at = encoder.writeHeader(this.#arena, keyEnd, width);
    for (let field = 0; field < width; field++) {
      at = encoder.writeWire(this.#arena, at, row, field);
      if (at < 0) return false;
    }
    this.#endRecord(ordinal, start, keyEnd, at);
    return true;
  }

  cut(rows: number): void {
    this.#spans.fill(0, 3 * rows, 3 * this.#rows);
  }

  /** The batch so far. The builder must not be used afterwards: its memory belongs to the batch. */
  finish(): Batch {
    const spans = this.#spans;
    const arena = this.#arena;
    let count = 0;
    let ascending = true;
    for (let row = 0; row < this.#rows; row++) {
      const from = 3 * row;
      if (spans[from + 2] === 0) continue;
      const to = 3 * count;
      if (to < from) spans.copyWithin(to, from, from + 3);
      if (ascending && count > 0) {
        const before = to - 3;
        ascending =
          compareKeys(arena, spans[before]!, spans[before + 1]!, spans[to]!, spans[to + 1]!) < 0;
      }
      count++;
    }
    return {
      arena: arena.buffer as ArrayBuffer,
      spans: spans.buffer,
      count,
      bytes: this.#bytes,
      ascending,
    };
  }

  #endRecord(ordinal: number, start: number, keyEnd: number, rowEnd: number): void {
    const hash = this.#checksum(this.#arena.subarray(start, rowEnd));
    this.#view.setBigUint64(rowEnd, hash, true);
    const end = rowEnd + CHECKSUM_BYTES;
    const spans = this.#spans;
    const at = 3 * ordinal;
    spans[at] = start;
    spans[at + 1] = keyEnd;
    spans[at + 2] = end;
    this.#bytes = end;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#arena.length) return;
    const larger = Buffer.from(
      new ArrayBuffer(Math.max(bytes, Math.floor(this.#arena.length * ARENA_GROWTH))),
    );
    this.#arena.copy(larger, 0, 0, this.#bytes);
    this.#arena = larger;
    this.#view = new DataView(larger.buffer);
  }

  #reserveSpans(rows: number): void {
    if (3 * rows <= this.#spans.length) return;
    const bytes = Math.max(rows * SPAN_BYTES, this.#spans.byteLength * 2);
    const larger = new Uint32Array(new ArrayBuffer(bytes));
    larger.set(this.#spans.subarray(0, 3 * this.#rows));
    this.#spans = larger;
  }
}

/** How often the number is in the list that is there most often. */
function mostRepeated(list: readonly number[]): number {
  return Math.max(0, ...list.map((each) => list.filter((other) => other === each).length));
}

function compareKeys(
  bytes: Buffer,
  aStart: number,
  aEnd: number,
  bStart: number,
  bEnd: number,
): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = bytes[aStart + i]! - bytes[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

const encoder = new RowEncoder();
const keyWriter = new KeyWriter();

/** One record of a batch, as offsets into its arena. */
export interface RecordSpan {
  readonly keyStart: number;
  readonly valueStart: number;
  readonly end: number;
}

/** The records of a batch in order. The object given is the same each time. */
export function* recordsOf(
  batch: Pick<Batch, 'spans' | 'count'>,
): Generator<RecordSpan, void, void> {
  const spans = new Uint32Array(batch.spans);
  const span = { keyStart: 0, valueStart: 0, end: 0 };
  for (let i = 0; i < batch.count; i++) {
    span.keyStart = spans[3 * i]!;
    span.valueStart = spans[3 * i + 1]!;
    span.end = spans[3 * i + 2]!;
    yield span;
  }
}

/** A batch of records that are encoded already. */
export function packRecords(
  records: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
): Batch {
  const bytes = records.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  const arena = new Uint8Array(bytes);
  const spans = new Uint32Array(3 * records.length);
  let at = 0;
  for (const [i, { key, value }] of records.entries()) {
    arena.set(key, at);
    arena.set(value, at + key.length);
    const end = at + key.length + value.length;
    spans.set([at, at + key.length, end], 3 * i);
    at = end;
  }
  return {
    arena: arena.buffer,
    spans: spans.buffer,
    count: records.length,
    bytes,
    ascending: false,
  };
}
