import type { Cell } from '../../values.js';
import { InvalidText } from '../../values.js';
import type { TakenEntries } from '../entry-taker.js';
import { answerTooLarge } from '../http-errors.js';
import { refusedStatement } from '../refused-statement.js';
import {
  CURSOR_END,
  CURSOR_MORE,
  CURSOR_ROW,
  type CursorDecoder,
  type CursorEncoding,
  type CursorState,
  type StreamHead,
  type TakeEntries,
} from './cursor-decoder.js';
import {
  DELIMITED,
  delimitedField,
  doubleField,
  FIXED64,
  ProtobufReader,
  sint64Field,
  VARINT,
} from './protobuf.js';
import { malformed } from './protocol-error.js';
import { UnreadBytes } from './unread-bytes.js';
import { WIRE_BIGINT, WIRE_BLOB, WIRE_NULL, WIRE_NUMBER, WIRE_TEXT, WireRow } from './wire-row.js';

/** A length of this many bytes is that of an entry beyond any bound. */
const MAX_LENGTH_BYTES = 5;

/**
 * Cursors of Hrana 3 in protobuf: each entry is a message behind its length
 * (https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md, "Protobuf schema").
 */
export const PROTOBUF_CURSOR: CursorEncoding = {
  transport: 'http-protobuf-cursor',
  path: 'v3-protobuf/cursor',
  pipelinePath: 'v3-protobuf/pipeline',
  contentType: 'application/x-protobuf',
  losesInfinities: false,
  request: ({ sql, params = [] }) => {
    const args = params.map((param) => delimitedField(3, encodeValue(param)));
    const stmt = [delimitedField(1, Buffer.from(sql)), ...args];
    return delimitedField(2, delimitedField(1, delimitedField(2, ...stmt)));
  },
  closing: (baton) =>
    Buffer.concat([delimitedField(1, Buffer.from(baton)), delimitedField(2, delimitedField(1))]),
  decoder: (maxEntryBytes) => new ProtobufCursor(maxEntryBytes),
};

function encodeValue(value: Cell): Buffer {
  if (value === null) return delimitedField(1);
  if (value instanceof InvalidText) return delimitedField(5, value.bytes);
  if (value instanceof Uint8Array) return delimitedField(5, value);
  if (typeof value === 'string') return delimitedField(4, Buffer.from(value));
  if (typeof value === 'bigint') return sint64Field(2, value);
  return Number.isSafeInteger(value) ? sint64Field(2, BigInt(value)) : doubleField(3, value);
}

class ProtobufCursor implements CursorDecoder {
  row = new WireRow();
  previous = new WireRow();
  head: StreamHead | null = null;
  readonly #maxEntryBytes: number;
  readonly #unread = new UnreadBytes();
  readonly #reader = new ProtobufReader();

  constructor(maxEntryBytes: number) {
    this.#maxEntryBytes = maxEntryBytes;
  }

  /** The row to fill next. */
  #turn(): WireRow {
    const row = this.previous;
    this.previous = this.row;
    this.row = row;
    return row;
  }

  feed(bytes: Buffer): void {
    this.#unread.add(bytes);
  }

  next(): CursorState {
    const unread = this.#unread;
    for (;;) {
      const { bytes, end } = unread;
      let at = unread.at;
      let length = 0;
      let scale = 1;
      for (;;) {
        if (at === end) return CURSOR_MORE;
        const byte = bytes[at++]!;
        length += (byte & 0x7f) * scale;
        if (byte < 0x80) break;
        scale *= 0x80;
        if (at - unread.at === MAX_LENGTH_BYTES) throw malformed('an entry is of no length');
      }
      if (length > this.#maxEntryBytes) throw answerTooLarge(this.#maxEntryBytes);
      if (at + length > end) return CURSOR_MORE;
      unread.at = at + length;
      const state = this.#entry(bytes, at, at + length);
      if (state !== CURSOR_MORE) return state;
    }
  }

  takeEntries(take: TakeEntries): TakenEntries | null {
    const unread = this.#unread;
    if (this.head === null || unread.at === unread.end) return null;
    const taken = take(unread.bytes, unread.at, unread.end, this.#maxEntryBytes);
    if (taken === null || taken.rows === 0) return taken;
    unread.at = taken.last;
    this.next();
    return taken;
  }

  /** Reads one entry. `CURSOR_MORE` is for one that says nothing about rows. */
  #entry(bytes: Buffer, at: number, end: number): CursorState {
    const reader = this.#reader;
    reader.read(bytes, at, end);
    if (this.head === null) {
      this.head = this.#readHead();
      return CURSOR_MORE;
    }
    let state: CursorState = CURSOR_MORE;
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      if (field === 4) {
        this.#readRow(bytes);
        state = CURSOR_ROW;
      } else if (field === 2) {
        reader.expect(DELIMITED);
        reader.skip();
        state = CURSOR_END;
      } else if (field === 3) throw this.#within(() => this.#readStepError());
      else if (field === 5) throw this.#within(() => this.#readError());
      else reader.skip();
    }
    return state;
  }

  #readHead(): StreamHead {
    const reader = this.#reader;
    let baton: string | null = null;
    let baseUrl: string | null = null;
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      if (field === 1) baton = reader.text();
      else if (field === 2) baseUrl = reader.text();
      else reader.skip();
    }
    return { baton, baseUrl };
  }

  #readRow(bytes: Buffer): void {
    const reader = this.#reader;
    reader.expect(DELIMITED);
    const outer = reader.end;
    const end = reader.delimited();
    const row = this.#turn();
    row.begin(bytes);
    reader.end = end;
    for (;;) {
      reader.at = readPlainValues(row, bytes, reader.at, end);
      const field = reader.tag();
      if (field === 0) break;
      if (field === 1) this.#readValue();
      else reader.skip();
    }
    reader.end = outer;
  }

  #readValue(): void {
    const { row } = this;
    const reader = this.#reader;
    reader.expect(DELIMITED);
    const outer = reader.end;
    const end = reader.delimited();
    reader.end = end;
    const at = row.nextField();
    let type = -1;
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      switch (field) {
        case 1:
          reader.expect(DELIMITED);
          reader.skip();
          type = WIRE_NULL;
          break;
        case 2: {
          reader.expect(VARINT);
          const value = reader.sint64();
          type = typeof value === 'number' ? WIRE_NUMBER : WIRE_BIGINT;
          if (typeof value === 'number') row.numbers[at] = value;
          else row.bigints[at] = value;
          break;
        }
        case 3: {
          reader.expect(FIXED64);
          const value = reader.double();
          if (Number.isNaN(value)) throw malformed('a REAL is no number');
          row.numbers[at] = value;
          type = WIRE_NUMBER;
          break;
        }
        case 4:
        case 5: {
          reader.expect(DELIMITED);
          const contentEnd = reader.delimited();
          row.starts[at] = reader.at;
          row.ends[at] = contentEnd;
          reader.at = contentEnd;
          type = field === 4 ? WIRE_TEXT : WIRE_BLOB;
          break;
        }
        default:
          reader.skip();
      }
    }
    if (type < 0) throw malformed('a value is of no known kind');
    if (type >= WIRE_TEXT) row.addBytes(row.ends[at]! - row.starts[at]!);
    row.types[at] = type;
    reader.end = outer;
  }

  /** Reads the message that the reader stands before. */
  #within<T>(read: () => T): T {
    const reader = this.#reader;
    reader.expect(DELIMITED);
    const outer = reader.end;
    reader.end = reader.delimited();
    const found = read();
    reader.end = outer;
    return found;
  }

  #readStepError(): Error {
    const reader = this.#reader;
    let error: Error = refusedStatement('', 'no reason is given');
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      if (field === 2) error = this.#within(() => this.#readError());
      else reader.skip();
    }
    return error;
  }

  #readError(): Error {
    const reader = this.#reader;
    let message = '';
    let code = '';
    for (let field = reader.tag(); field !== 0; field = reader.tag()) {
      if (field === 1) message = reader.text();
      else if (field === 2) code = reader.text();
      else reader.skip();
    }
    return refusedStatement(code, message);
  }
}

/** The first bytes of a value, by what it is: the number of its field and its wire type. */
const VALUE = 0x0a;
const NULL_TAG = 0x0a;
const INTEGER_TAG = 0x10;
const DOUBLE_TAG = 0x19;
const TEXT_TAG = 0x22;
const BLOB_TAG = 0x2a;
/** Bytes of a value that is a number below 2^49, its tag included. */
const PLAIN_INTEGER_BYTES = 8;

/**
 * Reads values as servers write them: one field each, by the shortest lengths. This takes half the time of reading field
 * by field, and stops at the first value that is written in another way, or is not one.
 *
 * @returns where that value is, or the end.
 */
function readPlainValues(row: WireRow, bytes: Buffer, from: number, end: number): number {
  const { types, numbers, starts, ends } = row;
  const room = types.length;
  let field = row.fieldCount;
  let at = from;
  while (at < end && field < room && bytes[at] === VALUE) {
    const value = at;
    let length = bytes[++at]!;
    if (length >= 0x80) {
      const second = bytes[++at]!;
      if (second >= 0x80) return stopAt(row, field, value);
      length = (length & 0x7f) | (second << 7);
    }
    at++;
    const valueEnd = at + length;
    if (length === 0 || valueEnd > end) return stopAt(row, field, value);
    const tag = bytes[at++]!;
    if (tag === TEXT_TAG || tag === BLOB_TAG) {
      let size = bytes[at++]!;
      if (size >= 0x80) {
        const second = bytes[at++]!;
        if (second >= 0x80) return stopAt(row, field, value);
        size = (size & 0x7f) | (second << 7);
      }
      if (at + size !== valueEnd) return stopAt(row, field, value);
      types[field] = tag === TEXT_TAG ? WIRE_TEXT : WIRE_BLOB;
      starts[field] = at;
      ends[field] = valueEnd;
      row.addBytes(size);
    } else if (tag === INTEGER_TAG && length <= PLAIN_INTEGER_BYTES) {
      let zigzag = 0;
      let scale = 1;
      while (at < valueEnd) {
        const byte = bytes[at++]!;
        if (byte >= 0x80 === (at === valueEnd)) return stopAt(row, field, value);
        zigzag += (byte & 0x7f) * scale;
        scale *= 0x80;
      }
      types[field] = WIRE_NUMBER;
      numbers[field] = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    } else if (tag === DOUBLE_TAG && length === 9) {
      const double = bytes.readDoubleLE(at);
      if (Number.isNaN(double)) return stopAt(row, field, value);
      types[field] = WIRE_NUMBER;
      numbers[field] = double;
    } else if (tag === NULL_TAG && length === 2 && bytes[at] === 0) {
      types[field] = WIRE_NULL;
    } else return stopAt(row, field, value);
    field++;
    at = valueEnd;
  }
  return stopAt(row, field, at);
}

function stopAt(row: WireRow, field: number, at: number): number {
  row.fieldCount = field;
  return at;
}
