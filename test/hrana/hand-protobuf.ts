/** Protobuf by hand, apart from the server's own code: what both get wrong would go unseen. */

export interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** A varint, or a 64 bit field, as an unsigned integer. */
  readonly integer: bigint;
  readonly bytes: Buffer;
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest === 0n ? low : low | 0x80);
  } while (rest !== 0n);
  return Buffer.from(bytes);
}

function readVarint(buffer: Buffer, at: number): [value: bigint, next: number] {
  let value = 0n;
  for (let i = at, shift = 0n; ; i++, shift += 7n) {
    const byte = buffer.readUInt8(i);
    value |= BigInt(byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) {
      return [value, i + 1];
    }
  }
}

export const int = (number: number, value: bigint | number): Buffer =>
  Buffer.concat([varint(BigInt(number << 3)), varint(BigInt(value))]);

export const sint = (number: number, value: bigint): Buffer =>
  int(number, value >= 0n ? value * 2n : -value * 2n - 1n);

export function double(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(BigInt((number << 3) | 1)), bytes]);
}

export function message(number: number, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([varint(BigInt((number << 3) | 2)), varint(BigInt(body.length)), body]);
}

export function fields(bytes: Uint8Array): WireField[] {
  const buffer = Buffer.from(bytes);
  const found: WireField[] = [];
  let at = 0;
  while (at < buffer.length) {
    let tag: bigint;
    [tag, at] = readVarint(buffer, at);
    const number = Number(tag >> 3n);
    const wireType = Number(tag & 7n);
    let integer = 0n;
    let body = Buffer.alloc(0);
    if (wireType === 0) {
      [integer, at] = readVarint(buffer, at);
    } else if (wireType === 1) {
      body = buffer.subarray(at, at + 8);
      integer = buffer.readBigUInt64LE(at);
      at += 8;
    } else if (wireType === 2) {
      let length: bigint;
      [length, at] = readVarint(buffer, at);
      if (at + Number(length) > buffer.length) {
        throw new RangeError('message is cut short');
      }
      body = buffer.subarray(at, at + Number(length));
      at += Number(length);
    } else {
      throw new TypeError(`wire type ${wireType}`);
    }
    found.push({ number, wireType, integer, bytes: body });
  }
  return found;
}

/** The bytes at a path of field numbers, always the first field of its number. */
export function dig(bytes: Uint8Array, ...path: readonly number[]): Buffer {
  let current: Buffer = Buffer.from(bytes);
  for (const number of path) {
    const field = fields(current).find((candidate) => candidate.number === number);
    if (field === undefined) {
      throw new RangeError(`no field ${number} of path ${path.join('.')}`);
    }
    current = field.bytes;
  }
  return current;
}

export const has = (bytes: Uint8Array, number: number): boolean =>
  fields(bytes).some((field) => field.number === number);

/** A `Value` message as a JavaScript value. */
export function value(bytes: Uint8Array): null | bigint | number | string | Buffer {
  const [field] = fields(bytes);
  switch (field?.number) {
    case 1:
      return null;
    case 2:
      return field.integer % 2n === 0n ? field.integer / 2n : -(field.integer + 1n) / 2n;
    case 3:
      return field.bytes.readDoubleLE();
    case 4:
      return field.bytes.toString('utf8');
    case 5:
      return field.bytes;
    default:
      throw new TypeError('no value');
  }
}

/** Length-delimited messages; throws when the last one is cut. */
export function frames(body: Uint8Array): Buffer[] {
  const buffer = Buffer.from(body);
  const found: Buffer[] = [];
  let at = 0;
  while (at < buffer.length) {
    let length: bigint;
    [length, at] = readVarint(buffer, at);
    if (at + Number(length) > buffer.length) {
      throw new RangeError('frame is cut short');
    }
    found.push(buffer.subarray(at, at + Number(length)));
    at += Number(length);
  }
  return found;
}
