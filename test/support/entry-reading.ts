import assert from 'node:assert/strict';
import { StorageSyncError } from '../../src/errors.js';
import type { EntryTaker } from '../../src/source/entry-taker.js';
import {
  CURSOR_END,
  CURSOR_MORE,
  CURSOR_ROW,
  type CursorDecoder,
  type CursorState,
} from '../../src/source/hrana/cursor-decoder.js';
import { WIRE_NULL } from '../../src/source/hrana/wire-row.js';
import { NUMBER_BYTES } from '../../src/source/page.js';
import type { TablePlan } from '../../src/source/plan.js';
import { BatchBuilder, recordsOf } from '../../src/transform/batch.js';
import type { Cell } from '../../src/values.js';
import type { Checksum } from '../../src/transform/checksum.js';

export interface EntryReading {
  /** What came of each row: its record, or why there is none. */
  readonly rows: readonly string[];
  /** Of the rows that have records, as a page counts them. */
  readonly bytes: number;
  readonly end: 'end' | 'more' | `error: ${string}`;
  /** How many rows the taker took. */
  readonly taken: number;
}

function describe(value: Cell): string {
  return typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
}

export interface EntryLimits {
  readonly maxRows?: number;
  readonly maxBytes?: number;
  readonly maxRowBytes?: number;
}

/**
 * Reads the entries of a cursor into a batch, as a page does: many at a time where a taker takes them, the others one by
 * one.
 */
export function readEntries(
  decoder: CursorDecoder,
  pieces: Iterable<Buffer>,
  plan: TablePlan,
  checksum: Checksum,
  taker: EntryTaker | null,
  { maxRows = Infinity, maxBytes = Infinity, maxRowBytes = Infinity }: EntryLimits = {},
): EntryReading {
  const builder = new BatchBuilder(plan, checksum, undefined, taker);
  const width = plan.columns.length + (plan.readsRowid ? 1 : 0);
  const reasons = new Map<number, string>();
  let rows = 0;
  let bytes = 0;
  let taken = 0;
  const takeMany = (): boolean => {
    builder.grow(rows + 1000);
    const found = decoder.takeEntries?.((memory, at, end, maxEntryBytes) => {
      const bounds = {
        maxRows: Math.min(1000, maxRows - rows),
        maxBytes: maxBytes - bytes,
        maxRowBytes,
        maxEntryBytes,
        fieldCount: width + 1,
      };
      return builder.takeEntries(rows, memory, at, end, bounds);
    });
    if (!found || found.rows === 0) return false;
    rows += found.rows;
    taken += found.rows;
    bytes += found.bytes;
    assert.equal(decoder.row.fieldCount, width + 1, 'the row is the last one that was taken');
    return true;
  };
  const takeOne = (): CursorState => {
    const state = decoder.next();
    if (state !== CURSOR_ROW) return state;
    const { row } = decoder;
    builder.grow(rows + 1);
    const size = row.textBytes + NUMBER_BYTES * (width - row.textFields);
    if (row.fieldCount !== width + 1) reasons.set(rows, `${row.fieldCount} values`);
    else if (row.types[width] !== WIRE_NULL)
      reasons.set(rows, `marked ${describe(row.cell(width))}`);
    else if (size > maxRowBytes) reasons.set(rows, 'too large');
    else {
      const reason = builder.takeWire(rows, row);
      if (reason === null) bytes += size;
      else reasons.set(rows, reason);
    }
    rows++;
    return state;
  };
  let end: EntryReading['end'] = 'more';
  const isFull = () => rows >= maxRows || bytes >= maxBytes;
  const takeReady = (): CursorState => {
    while (!isFull()) {
      if (taker !== null && takeMany()) continue;
      const state = takeOne();
      if (state !== CURSOR_ROW) return state;
    }
    return CURSOR_END;
  };
  try {
    for (const piece of pieces) {
      decoder.feed(piece);
      if (takeReady() === CURSOR_MORE) continue;
      end = 'end';
      break;
    }
  } catch (error) {
    assert.ok(error instanceof StorageSyncError, error as Error);
    end = `error: ${error.code} ${error.message}`;
  }
  builder.grow(rows);
  const batch = builder.finish();
  const arena = Buffer.from(batch.arena);
  const records = recordsOf(batch);
  const shown = Array.from({ length: rows }, (_, row) => {
    const reason = reasons.get(row);
    if (reason !== undefined) return reason;
    const { value } = records.next();
    // The row at which it failed has none.
    if (!value) return 'none';
    const { keyStart, valueStart, end: to } = value;
    return `${arena.toString('hex', keyStart, valueStart)} ${arena.toString('hex', valueStart, to)}`;
  });
  return { rows: shown, bytes, end, taken };
}
