import type { EntryBounds, EntryRecords, EntryTaker } from '../../source/entry-taker.js';
import type { TablePlan } from '../../source/plan.js';
import { Kernel, Places } from './kernel.js';

/** Bytes of a cursor that are looked at together, at most. */
const MOST_BYTES = 256 * 1024;
const SPAN_BYTES = 12;
/** Lengths and tags of an entry and the row in it; of a value and what it is. */
const LEAST_ENTRY_BYTES = 3;
const LEAST_VALUE_BYTES = 4;
/** What the records of entries take beyond five times what the entries do. */
const RECORD_ROOM_BYTES = 64 * 1024;

/** Makes records of the rows of a cursor, in WebAssembly. What it knows of one call it does not need in the next. */
export class WireKernel implements EntryTaker {
  readonly #kernel: Kernel;

  /** @param kernel nobody else's. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  take(
    { columns, key }: TablePlan,
    bytes: Uint8Array,
    at: number,
    end: number,
    base: number,
    bounds: EntryBounds,
  ): EntryRecords {
    const kernel = this.#kernel;
    const { wasm } = kernel;
    const size = Math.min(end - at, MOST_BYTES);
    const leastBytes = LEAST_ENTRY_BYTES + LEAST_VALUE_BYTES * bounds.fieldCount;
    const maxRows = Math.min(bounds.maxRows, Math.ceil(size / leastBytes));
    const places = new Places(wasm.heapBase());
    const fields = places.take(4 * (columns.length + key.length));
    const entries = places.take(size);
    const spans = places.take(SPAN_BYTES * maxRows);
    const recordBytes = 5 * size + RECORD_ROOM_BYTES;
    const records = places.take(recordBytes + wasm.keyRoom());
    kernel.reserve(places.end);

    const memory = kernel.bytes;
    for (let i = 0; i < columns.length; i++) memory.writeInt32LE(i, fields + 4 * i);
    for (const [i, column] of key.entries()) {
      memory.writeInt32LE(column, fields + 4 * (columns.length + i));
    }
    memory.set(bytes.subarray(at, at + size), entries);
    const { fieldCount, maxRowBytes, maxBytes } = bounds;
    // What is longer than the bytes at hand is never taken.
    const maxEntryBytes = Math.min(bounds.maxEntryBytes, MOST_BYTES);
    const { length: width } = columns;
    wasm.setAnswer(fields, width, key.length, fieldCount, maxEntryBytes, maxRowBytes);
    const limit = records + recordBytes;
    const to = entries + size;
    const rows = wasm.takeEntries(entries, to, records, limit, spans, base, maxRows, maxBytes);
    return {
      rows,
      bytes: wasm.takenBytes(),
      isOdd: wasm.metOdd() !== 0,
      next: at + wasm.nextEntry() - entries,
      last: at + wasm.lastEntry() - entries,
      records: memory.subarray(records, wasm.takenEnd()),
      spans: new Uint32Array(memory.buffer, spans, 3 * rows),
    };
  }
}
