import { malformed } from './protocol-error.js';

/** Wire types (https://protobuf.dev/programming-guides/encoding/). Groups, which are deprecated, are refused. */
export const VARINT = 0;
export const FIXED64 = 1;
export const DELIMITED = 2;
const FIXED32 = 5;

const MAX_VARINT_BYTES = 10;
/** Bytes of a varint whose value is below 2^49: exact as a number with room to spare. */
const PLAIN_BYTES = 7;

/** Reads the fields of messages one after the other. Made once and used for many messages. */
export class ProtobufReader {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  /** Where the message ends that is being read. */
  end = 0;
  /** The wire type of the field that {@link tag} has met. */
  wireType = 0;

  /** Begins with the message from `at` to `end`. */
  read(bytes: Buffer, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** The number of the next field, or 0 at the end of the message. */
  tag(): number {
    if (this.at >= this.end) return 0;
    const tag = this.varint();
    const number = Math.floor(tag / 8);
    this.wireType = tag % 8;
    if (number === 0 || number > 0x1fffffff) throw malformed('a field has no number');
    return number;
  }

  /** An unsigned number. Above 2^53 it is not exact, and larger than anything it may stand for. */
  varint(): number {
    const { bytes, end } = this;
    let at = this.at;
    let value = 0;
    let scale = 1;
    const limit = Math.min(end, at + MAX_VARINT_BYTES);
    while (at < limit) {
      const byte = bytes[at++]!;
      if (byte < 0x80) {
        this.at = at;
        return value + byte * scale;
      }
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    }
    throw malformed('a number does not end');
  }

  /** A number in zigzag encoding, as number where that is safe. */
  sint64(): number | bigint {
    const { bytes, at } = this;
    const first = bytes[at]!;
    if (first < 0x80 && at < this.end) {
      this.at = at + 1;
      return first & 1 ? -(first + 1) / 2 : first / 2;
    }
    const value = this.varint();
    const length = this.at - at;
    if (length <= PLAIN_BYTES) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    return this.#large(at, length);
  }

  #large(at: number, length: number): number | bigint {
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) {
      value = (value << 7n) | BigInt(this.bytes[at + i]! & 0x7f);
    }
    if (value > 0xffffffffffffffffn) throw malformed('an INTEGER is none of 64 bits');
    const integer = (value >> 1n) ^ -(value & 1n);
    const number = Number(integer);
    return Number.isSafeInteger(number) ? number : integer;
  }

  double(): number {
    const { at } = this;
    if (at + 8 > this.end) throw malformed('a field is longer than its message');
    this.at = at + 8;
    return this.bytes.readDoubleLE(at);
  }

  /** Where a delimited field ends; it begins at `at`. */
  delimited(): number {
    const length = this.varint();
    const end = this.at + length;
    if (end > this.end) throw malformed('a field is longer than its message');
    return end;
  }

  /** Takes a field of a message or of bytes, or refuses it. */
  expect(wireType: number): void {
    if (this.wireType !== wireType) throw malformed(`a field is of the wire type ${this.wireType}`);
  }

  text(): string {
    this.expect(DELIMITED);
    const end = this.delimited();
    const text = this.bytes.toString('utf8', this.at, end);
    this.at = end;
    return text;
  }

  /** Passes over a field that is not known. */
  skip(): void {
    if (this.wireType === VARINT) this.varint();
    else if (this.wireType === DELIMITED) this.at = this.delimited();
    else if (this.wireType === FIXED64) this.#pass(8);
    else if (this.wireType === FIXED32) this.#pass(4);
    else throw malformed(`a field is of the wire type ${this.wireType}`);
  }

  #pass(bytes: number): void {
    if (this.at + bytes > this.end) throw malformed('a field is longer than its message');
    this.at += bytes;
  }
}

/** A field that is a varint. */
export function varintField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

/** A field in zigzag encoding. */
export function sint64Field(number: number, value: bigint): Buffer {
  return Buffer.concat([
    varint(number * 8),
    varint(BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))),
  ]);
}

export function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(number * 8 + FIXED64), bytes]);
}

/** A field that is a message, a text or bytes. */
export function delimitedField(number: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([varint(number * 8 + DELIMITED), varint(length), ...parts]);
}

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
