import { isUtf8 } from 'node:buffer';
import { InvalidText, type Cell } from '../../values.js';
import type { TextEncoding } from '../introspection.js';
import { StoredFormError } from './stored-form-error.js';
import { readSize, varintBytes, type Rowid } from './varint.js';

/** More columns than SQLite can be built for. */
const MAX_FIELDS = 32_767;
const INITIAL_FIELDS = 256;
const MAX_TYPE = 2 ** 32 - 1;

/** The serial types of SQLite's record format (https://www.sqlite.org/fileformat.html#record_format). */
export const SERIAL_NULL = 0;
export const SERIAL_INT64 = 6;
export const SERIAL_DOUBLE = 7;
export const SERIAL_ZERO = 8;
export const SERIAL_ONE = 9;
/** From here on, even ones are BLOBs and odd ones TEXT, of half as many bytes as they are above. */
export const SERIAL_BYTES = 12;

const BYTES_OF_TYPE = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

/**
 * One record as it is stored: where its fields are, without making values of them. Made once for a page and used for
 * all its rows.
 */
export class StoredRecord {
  bytes: Buffer = Buffer.alloc(0);
  rowid: Rowid = 0;
  fieldCount = 0;
  /** The serial type of each field. */
  types = new Uint32Array(INITIAL_FIELDS);
  /** Where each field begins in `bytes`, and where the last one ends. */
  starts = new Uint32Array(INITIAL_FIELDS + 1);

  /**
   * Looks at the record of `payloadBytes` bytes that begins at `at`.
   *
   * @throws {StoredFormError} when it is none.
   */
  parse(bytes: Buffer, at: number, payloadBytes: number, rowid: Rowid): void {
    let { types, starts } = this;
    const headerEnd = at + readSize(bytes, at);
    let typeAt = at + varintBytes(bytes, at);
    let start = headerEnd;
    let field = 0;
    while (typeAt < headerEnd) {
      let type = bytes[typeAt]!;
      if (type < 0x80) typeAt++;
      else {
        type = readSize(bytes, typeAt);
        if (type > MAX_TYPE) throw new StoredFormError('a record has a field that cannot be');
        typeAt += varintBytes(bytes, typeAt);
      }
      if (field === MAX_FIELDS || type === 10 || type === 11) {
        throw new StoredFormError('a record has a header that cannot be');
      }
      if (field === types.length) {
        this.#grow();
        ({ types, starts } = this);
      }
      types[field] = type;
      starts[field] = start;
      start += type < SERIAL_BYTES ? BYTES_OF_TYPE[type]! : (type - SERIAL_BYTES) >>> 1;
      field++;
    }
    if (typeAt !== headerEnd || start > at + payloadBytes) {
      throw new StoredFormError('a record is longer than its payload');
    }
    starts[field] = start;
    this.bytes = bytes;
    this.rowid = rowid;
    this.fieldCount = field;
  }

  #grow(): void {
    const types = new Uint32Array(2 * this.types.length);
    const starts = new Uint32Array(types.length + 1);
    types.set(this.types);
    starts.set(this.starts);
    this.types = types;
    this.starts = starts;
  }

  /** Whether a field is TEXT or BLOB; else it is a number or NULL. */
  hasBytes(field: number): boolean {
    return this.types[field]! >= SERIAL_BYTES;
  }

  /** The bytes of a field. */
  fieldBytes(field: number): number {
    return this.starts[field + 1]! - this.starts[field]!;
  }

  /** The value of a field. Bytes are copied: the record's own are soon those of another. */
  value(field: number, encoding: TextEncoding): Cell {
    const { bytes } = this;
    const type = this.types[field]!;
    const start = this.starts[field]!;
    if (type >= SERIAL_BYTES) {
      const content = Buffer.from(bytes.subarray(start, this.starts[field + 1]));
      return type % 2 === 0 ? new Uint8Array(content) : decodeText(content, encoding);
    }
    if (type === SERIAL_NULL) return null;
    if (type === SERIAL_DOUBLE) {
      const double = bytes.readDoubleBE(start);
      return Number.isNaN(double) ? null : double;
    }
    if (type === SERIAL_INT64) {
      const value = bytes.readBigInt64BE(start);
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    return readInteger(bytes, start, type);
  }
}

/** An INTEGER of a serial type below that of 64 bits, or one of the two that need no bytes. */
export function readInteger(bytes: Buffer, at: number, type: number): number {
  switch (type) {
    case 1:
      return (bytes[at]! << 24) >> 24;
    case 2:
      return ((bytes[at]! << 24) >> 16) | bytes[at + 1]!;
    case 3:
      return ((bytes[at]! << 24) >> 8) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    case 4:
      return readInt32(bytes, at);
    case 5:
      return (
        (((bytes[at]! << 24) >> 16) | bytes[at + 1]!) * 0x100000000 +
        (readInt32(bytes, at + 2) >>> 0)
      );
    default:
      return type === SERIAL_ONE ? 1 : 0;
  }
}

export function readInt32(bytes: Buffer, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** TEXT as a string, or what it is if it is not valid Unicode. */
export function decodeText(bytes: Uint8Array, encoding: TextEncoding): string | InvalidText {
  if (encoding !== 'utf8') {
    if (bytes.length % 2 === 1) return new InvalidText(bytes);
    const units = Buffer.from(bytes);
    const text = (encoding === 'utf16be' ? units.swap16() : units).toString('utf16le');
    return text.isWellFormed() ? text : new InvalidText(bytes);
  }
  if (!isUtf8(bytes)) return new InvalidText(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
