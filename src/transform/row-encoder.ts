import {
  readInteger,
  SERIAL_BYTES,
  SERIAL_DOUBLE,
  SERIAL_INT64,
  SERIAL_NULL,
  type StoredRecord,
} from '../source/stored/stored-record.js';
import {
  WIRE_BIGINT,
  WIRE_NUMBER,
  WIRE_TEXT,
  WIRE_NULL,
  type WireRow,
} from '../source/hrana/wire-row.js';
import { copyField, copyStored } from './copy-stored.js';
import type { Cell, SqlValue } from '../values.js';

/**
 * Rows as msgpack arrays (https://github.com/msgpack/msgpack/blob/master/spec.md), each value in its one canonical
 * form, so that equal rows have equal bytes whatever path they came by:
 *
 * - NULL as nil, TEXT as str, BLOB as bin, each with the shortest header;
 * - whole numbers in the shortest integer format, unsigned unless negative, whether they came as INTEGER or as an
 *   integral REAL within ±(2^53 - 1), and however large an INTEGER is; there is one zero;
 * - every other REAL as float 64.
 */
export class RowEncoder {
  readonly #view = new DataView(new ArrayBuffer(8));
  readonly #eight = new Uint8Array(this.#view.buffer);

  /** Writes the first `width` values and returns the end. The target must have {@link rowBound} bytes left. */
  write(target: Buffer, at: number, row: readonly SqlValue[], width: number): number {
    at = this.writeHeader(target, at, width);
    for (let i = 0; i < width; i++) at = this.writeValue(target, at, row[i]!);
    return at;
  }

  /** Writes the header of a row, for values that follow one by one. */
  writeHeader(target: Buffer, at: number, width: number): number {
    if (width < 16) {
      target[at] = 0x90 | width;
      return at + 1;
    }
    target[at] = 0xdc;
    target[at + 1] = width >>> 8;
    target[at + 2] = width & 0xff;
    return at + 3;
  }

  /**
   * Writes a field as it is stored. The target must have nine bytes more than the field.
   *
   * @returns the end, or -1 for TEXT that is not valid UTF-8.
   */
  writeStored(target: Buffer, at: number, record: StoredRecord, field: number): number {
    const type = record.types[field]!;
    if (type >= SERIAL_BYTES) {
      const isText = type % 2 === 1;
      const length = record.fieldBytes(field);
      at = isText ? writeTextHeader(target, at, length) : writeBlobHeader(target, at, length);
      return copyStored(target, at, record, field, isText);
    }
    if (type === SERIAL_NULL) {
      target[at] = 0xc0;
      return at + 1;
    }
    if (type === SERIAL_DOUBLE || type === SERIAL_INT64) {
      return this.writeValue(target, at, record.value(field, 'utf8') as SqlValue);
    }
    return this.#writeInteger(target, at, readInteger(record.bytes, record.starts[field]!, type));
  }

  /** The same of a field as it came over the wire. */
  writeWire(target: Buffer, at: number, row: WireRow, field: number): number {
    const type = row.types[field];
    if (type === WIRE_NUMBER) return this.writeValue(target, at, row.numbers[field]!);
    if (type === WIRE_NULL) return this.writeValue(target, at, null);
    if (type === WIRE_BIGINT) return this.writeValue(target, at, row.bigints[field]!);
    const start = row.starts[field]!;
    const end = row.ends[field]!;
    const isText = type === WIRE_TEXT;
    const length = end - start;
    at = isText ? writeTextHeader(target, at, length) : writeBlobHeader(target, at, length);
    return copyField(target, at, row.bytes, start, end, isText);
  }

  writeValue(target: Buffer, at: number, value: SqlValue): number {
    switch (typeof value) {
      case 'string':
        return this.#writeText(target, at, value);
      case 'number':
        return Number.isSafeInteger(value)
          ? this.#writeInteger(target, at, value)
          : this.#writeDouble(target, at, value);
      case 'bigint':
        return value >= MIN_SAFE && value <= MAX_SAFE
          ? this.#writeInteger(target, at, Number(value))
          : this.#writeBigInt(target, at, value);
      default:
        if (value === null) {
          target[at] = 0xc0;
          return at + 1;
        }
        return this.#writeBlob(target, at, value);
    }
  }

  #writeInteger(target: Buffer, at: number, value: number): number {
    if (value >= 0) {
      if (value < 0x80) {
        target[at] = value;
        return at + 1;
      }
      if (value < 0x100) {
        target[at] = 0xcc;
        target[at + 1] = value;
        return at + 2;
      }
      if (value < 0x10000) {
        target[at] = 0xcd;
        target[at + 1] = value >>> 8;
        target[at + 2] = value;
        return at + 3;
      }
      if (value < 0x100000000) {
        target[at] = 0xce;
        return writeUint32(target, at + 1, value);
      }
      target[at] = 0xcf;
      at = writeUint32(target, at + 1, Math.floor(value / 0x100000000));
      return writeUint32(target, at, value >>> 0);
    }
    if (value >= -0x20) {
      target[at] = value;
      return at + 1;
    }
    if (value >= -0x80) {
      target[at] = 0xd0;
      target[at + 1] = value;
      return at + 2;
    }
    if (value >= -0x8000) {
      target[at] = 0xd1;
      target[at + 1] = value >>> 8;
      target[at + 2] = value;
      return at + 3;
    }
    if (value >= -0x80000000) {
      target[at] = 0xd2;
      return writeUint32(target, at + 1, value);
    }
    target[at] = 0xd3;
    at = writeUint32(target, at + 1, Math.floor(value / 0x100000000));
    return writeUint32(target, at, value >>> 0);
  }

  #writeBigInt(target: Buffer, at: number, value: bigint): number {
    this.#view.setBigInt64(0, value);
    target[at] = value < 0n ? 0xd3 : 0xcf;
    target.set(this.#eight, at + 1);
    return at + 9;
  }

  #writeDouble(target: Buffer, at: number, value: number): number {
    this.#view.setFloat64(0, value);
    target[at] = 0xcb;
    target.set(this.#eight, at + 1);
    return at + 9;
  }

  #writeText(target: Buffer, at: number, value: string): number {
    const length = value.length;
    if (length < SHORT_TEXT) {
      const headed = length < 32 ? at + 1 : at + 2;
      let i = 0;
      for (; i < length; i++) {
        const code = value.charCodeAt(i);
        if (code >= 0x80) break;
        target[headed + i] = code;
      }
      if (i === length) return writeTextHeader(target, at, length) + length;
    }
    // The header's size is known only with the bytes: assume one byte a character, and move the text if that was wrong.
    const assumed = at + textHeaderBytes(length);
    const written = target.write(value, assumed, 'utf8');
    const start = at + textHeaderBytes(written);
    if (start !== assumed) target.copyWithin(start, assumed, assumed + written);
    return writeTextHeader(target, at, written) + written;
  }

  #writeBlob(target: Buffer, at: number, value: Uint8Array): number {
    at = writeBlobHeader(target, at, value.byteLength);
    target.set(value, at);
    return at + value.byteLength;
  }
}

/** Up to here a loop beats the call into native code. */
const SHORT_TEXT = 40;
const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER);
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** The bytes that a row may take at most. */
export function rowBound(row: readonly Cell[]): number {
  let bound = 5;
  for (let i = 0; i < row.length; i++) {
    const value = row[i]!;
    if (typeof value === 'string') bound += 5 + value.length * 3;
    else if (value instanceof Uint8Array) bound += 5 + value.byteLength;
    else bound += 9;
  }
  return bound;
}

function textHeaderBytes(length: number): number {
  return length < 32 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 5;
}

function writeTextHeader(target: Buffer, at: number, length: number): number {
  if (length < 32) {
    target[at] = 0xa0 | length;
    return at + 1;
  }
  if (length < 0x100) {
    target[at] = 0xd9;
    target[at + 1] = length;
    return at + 2;
  }
  if (length < 0x10000) {
    target[at] = 0xda;
    target[at + 1] = length >>> 8;
    target[at + 2] = length;
    return at + 3;
  }
  target[at] = 0xdb;
  return writeUint32(target, at + 1, length);
}

function writeBlobHeader(target: Buffer, at: number, length: number): number {
  if (length < 0x100) {
    target[at] = 0xc4;
    target[at + 1] = length;
    return at + 2;
  }
  if (length < 0x10000) {
    target[at] = 0xc5;
    target[at + 1] = length >>> 8;
    target[at + 2] = length;
    return at + 3;
  }
  target[at] = 0xc6;
  return writeUint32(target, at + 1, length);
}

function writeUint32(target: Buffer, at: number, value: number): number {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
  return at + 4;
}
