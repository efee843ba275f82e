import { ProtocolError } from './errors.js';

/** The wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding/ */

export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

function fail(reason: string): never {
  throw new ProtocolError(`Could not decode client message from Protobuf: ${reason}`, 1007);
}

export interface Field {
  readonly number: number;
  readonly wireType: number;
  /** The payload of a varint, as the unsigned 64 bits on the wire. */
  readonly varint: bigint;
  readonly bytes: Uint8Array;
}

const NO_BYTES = new Uint8Array();

export function* readFields(bytes: Uint8Array): Generator<Field> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = buffer[at++];
      if (byte === undefined) {
        return fail('unexpected end of a varint');
      }
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        return BigInt.asUintN(64, value);
      }
    }
    return fail('invalid varint');
  };
  const take = (length: number): Uint8Array => {
    if (at + length > buffer.length) {
      return fail('buffer underflow');
    }
    at += length;
    return buffer.subarray(at - length, at);
  };
  while (at < buffer.length) {
    const tag = Number(varint());
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === 0) {
      fail('invalid tag value: 0');
    }
    switch (wireType) {
      case VARINT:
        yield { number, wireType, varint: varint(), bytes: NO_BYTES };
        break;
      case FIXED64:
        yield { number, wireType, varint: 0n, bytes: take(8) };
        break;
      case LENGTH_DELIMITED:
        yield { number, wireType, varint: 0n, bytes: take(Number(varint())) };
        break;
      case FIXED32:
        yield { number, wireType, varint: 0n, bytes: take(4) };
        break;
      default:
        fail(`invalid wire type value: ${wireType}`);
    }
  }
}

/** Refuses a known field that does not come in its wire type. */
export function expectWireType(field: Field, wireType: number): Field {
  return field.wireType === wireType
    ? field
    : fail(`invalid wire type: ${field.wireType} (expected ${wireType})`);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function readString(field: Field): string {
  try {
    return UTF8.decode(expectWireType(field, LENGTH_DELIMITED).bytes);
  } catch (error) {
    return error instanceof ProtocolError
      ? fail(error.message)
      : fail('invalid string value: data is not UTF-8 encoded');
  }
}

export function readMessage(field: Field): Uint8Array {
  return expectWireType(field, LENGTH_DELIMITED).bytes;
}

export function readInt32(field: Field): number {
  return Number(BigInt.asIntN(32, expectWireType(field, VARINT).varint));
}

export function readUint32(field: Field): number {
  return Number(BigInt.asUintN(32, expectWireType(field, VARINT).varint));
}

export function readSint64(field: Field): bigint {
  const { varint } = expectWireType(field, VARINT);
  return BigInt.asIntN(64, (varint >> 1n) ^ -(varint & 1n));
}

export function readDouble(field: Field): number {
  return Buffer.from(expectWireType(field, FIXED64).bytes).readDoubleLE();
}

/** Appends fields to a growing buffer. A message's length is written before its bytes. */
export class ProtobufWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(capacity = 1024) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes));
      this.#buffer.copy(grown, 0, 0, this.#at);
      this.#buffer = grown;
    }
  }

  varint(value: number | bigint): void {
    this.#reserve(10);
    if (typeof value === 'number' && value < 2 ** 31 && value >= 0) {
      let rest = value;
      while (rest >= 0x80) {
        this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
        rest >>>= 7;
      }
      this.#buffer[this.#at++] = rest;
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buffer[this.#at++] = Number(rest);
  }

  #tag(number: number, wireType: number): void {
    this.varint(number * 8 + wireType);
  }

  /** A varint field, left out when it is zero, as proto3 does without `optional`. */
  uint(number: number, value: number | bigint): void {
    if (BigInt(value) !== 0n) {
      this.#tag(number, VARINT);
      this.varint(value);
    }
  }

  bool(number: number, value: boolean): void {
    this.uint(number, value ? 1 : 0);
  }

  /** An `optional` or `oneof` varint: written also when it is zero. */
  uintOptional(number: number, value: number | bigint): void {
    this.#tag(number, VARINT);
    this.varint(value);
  }

  sint64(number: number, value: bigint): void {
    this.#tag(number, VARINT);
    this.varint(BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)));
  }

  double(number: number, value: number): void {
    this.#tag(number, FIXED64);
    this.#reserve(8);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  bytes(number: number, value: Uint8Array): void {
    this.#tag(number, LENGTH_DELIMITED);
    this.varint(value.byteLength);
    this.#reserve(value.byteLength);
    this.#buffer.set(value, this.#at);
    this.#at += value.byteLength;
  }

  string(number: number, value: string): void {
    this.#tag(number, LENGTH_DELIMITED);
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#reserve(length);
    this.#at += this.#buffer.write(value, this.#at, length, 'utf8');
  }

  message(number: number, write: () => void): void {
    this.#tag(number, LENGTH_DELIMITED);
    this.delimited(write);
  }

  /** A message behind its length, without a field number. */
  delimited(write: () => void): void {
    // Most messages are short: guess one byte of length and move what is longer.
    this.#reserve(1);
    const lengthAt = this.#at++;
    write();
    const length = this.#at - lengthAt - 1;
    if (length < 0x80) {
      this.#buffer[lengthAt] = length;
      return;
    }
    const extra = varintLength(length) - 1;
    this.#reserve(extra);
    this.#buffer.copyWithin(lengthAt + 1 + extra, lengthAt + 1, this.#at);
    const end = this.#at + extra;
    this.#at = lengthAt;
    this.varint(length);
    this.#at = end;
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    length++;
  }
  return length;
}
