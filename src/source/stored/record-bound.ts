import { InvalidText, type Cell } from '../../values.js';
import type { TextEncoding } from '../introspection.js';
import { SERIAL_BYTES, SERIAL_NULL, type StoredRecord } from './stored-record.js';

type Bound =
  | { readonly kind: typeof KIND_NULL }
  | { readonly kind: typeof KIND_NUMBER; readonly value: number | bigint }
  | { readonly kind: typeof KIND_TEXT | typeof KIND_BLOB; readonly bytes: Buffer };

const KIND_NULL = 0;
const KIND_NUMBER = 1;
const KIND_TEXT = 2;
const KIND_BLOB = 3;

/**
 * A position that records are held against, by the order that SQLite keeps an index of BINARY collation in: NULL, then
 * numbers, TEXT, and BLOBs; TEXT by its bytes as stored (https://www.sqlite.org/datatype3.html#sort_order).
 */
export class RecordBound {
  readonly #bounds: readonly Bound[];
  readonly #encoding: TextEncoding;

  constructor(position: readonly Cell[], encoding: TextEncoding) {
    this.#encoding = encoding;
    this.#bounds = position.map((cell) => boundOf(cell, encoding));
  }

  /** Below zero for a record that lies before, above for one behind. The record's first fields are its key. */
  compare(record: StoredRecord): number {
    for (let field = 0; field < this.#bounds.length; field++) {
      const order = this.#compareField(record, field, this.#bounds[field]!);
      if (order !== 0) return order;
    }
    return 0;
  }

  #compareField(record: StoredRecord, field: number, bound: Bound): number {
    const kind = kindOf(record.types[field]!);
    if (kind !== bound.kind) return kind - bound.kind;
    if (bound.kind === KIND_NULL) return 0;
    if (bound.kind === KIND_NUMBER) {
      const value = record.value(field, this.#encoding) as number | bigint;
      return value < bound.value ? -1 : value > bound.value ? 1 : 0;
    }
    const { bytes, starts } = record;
    return bytes.compare(bound.bytes, 0, bound.bytes.length, starts[field]!, starts[field + 1]!);
  }
}

function kindOf(type: number): number {
  if (type === SERIAL_NULL) return KIND_NULL;
  if (type < SERIAL_BYTES) return KIND_NUMBER;
  return type % 2 === 0 ? KIND_BLOB : KIND_TEXT;
}

function boundOf(cell: Cell, encoding: TextEncoding): Bound {
  if (cell === null) return { kind: KIND_NULL };
  if (typeof cell === 'number' || typeof cell === 'bigint') {
    return { kind: KIND_NUMBER, value: cell };
  }
  if (typeof cell === 'string') {
    const bytes = Buffer.from(cell, encoding === 'utf8' ? 'utf8' : 'utf16le');
    return { kind: KIND_TEXT, bytes: encoding === 'utf16be' ? bytes.swap16() : bytes };
  }
  if (cell instanceof InvalidText) return { kind: KIND_TEXT, bytes: Buffer.from(cell.bytes) };
  return { kind: KIND_BLOB, bytes: Buffer.from(cell) };
}
