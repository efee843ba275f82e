import { isUtf8 } from 'node:buffer';
import type { Cell } from '../../values.js';
import { malformed } from './protocol-error.js';

export const WIRE_NULL = 0;
/** A REAL, or an INTEGER that is safe as a number. */
export const WIRE_NUMBER = 1;
export const WIRE_BIGINT = 2;
export const WIRE_TEXT = 3;
export const WIRE_BLOB = 4;

const INITIAL_FIELDS = 64;

/**
 * One row of an answer: where its TEXT and BLOB are among the bytes of the wire, and its numbers. No values are made of
 * what is only copied on. Made once for an answer and used for all its rows.
 */
export class WireRow {
  bytes: Buffer = Buffer.alloc(0);
  fieldCount = 0;
  types = new Uint8Array(INITIAL_FIELDS);
  numbers = new Float64Array(INITIAL_FIELDS);
  bigints: bigint[] = [];
  /** Where TEXT and BLOB begin and end in `bytes`. */
  starts = new Uint32Array(INITIAL_FIELDS);
  ends = new Uint32Array(INITIAL_FIELDS);
  /** Bytes of all TEXT and BLOB. */
  textBytes = 0;
  /** How many fields are TEXT or BLOB. */
  textFields = 0;
  /** The row as values, where the wire carries none that could be copied; else null. */
  cells: readonly Cell[] | null = null;

  begin(bytes: Buffer): void {
    this.bytes = bytes;
    this.fieldCount = 0;
    this.textBytes = 0;
    this.textFields = 0;
    this.cells = null;
  }

  /** Counts a field of TEXT or BLOB. */
  addBytes(bytes: number): void {
    this.textBytes += bytes;
    this.textFields++;
  }

  /** The number of the next field, with room for it. */
  nextField(): number {
    const field = this.fieldCount++;
    if (field === this.types.length) this.#grow();
    return field;
  }

  /** Fills in what is known of a row of values. */
  setCells(cells: readonly Cell[]): void {
    this.cells = cells;
    this.fieldCount = cells.length;
  }

  /** @throws {SourceError} `SOURCE_PROTOCOL` for TEXT that is not valid UTF-8: no server has it so. */
  cell(field: number): Cell {
    if (this.cells !== null) return this.cells[field]!;
    switch (this.types[field]) {
      case WIRE_NUMBER:
        return this.numbers[field]!;
      case WIRE_BIGINT:
        return this.bigints[field]!;
      case WIRE_TEXT:
        return this.#text(field);
      case WIRE_BLOB:
        return new Uint8Array(this.bytes.subarray(this.starts[field], this.ends[field]));
      default:
        return null;
    }
  }

  /** The first `count` values, all of the row's own. */
  values(count: number): Cell[] {
    return Array.from({ length: count }, (_, field) => this.cell(field));
  }

  #text(field: number): string {
    const bytes = this.bytes.subarray(this.starts[field], this.ends[field]);
    if (!isUtf8(bytes)) throw malformed('a TEXT is not valid UTF-8', undefined, true);
    return bytes.toString('utf8');
  }

  #grow(): void {
    const more = 2 * this.types.length;
    this.types = enlarge(this.types, new Uint8Array(more));
    this.numbers = enlarge(this.numbers, new Float64Array(more));
    this.starts = enlarge(this.starts, new Uint32Array(more));
    this.ends = enlarge(this.ends, new Uint32Array(more));
  }
}

function enlarge<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
