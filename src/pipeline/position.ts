import { Packr } from 'msgpackr/pack';
import { InvalidText, type Cell } from '../values.js';

const packr = new Packr({ useRecords: false, copyBuffers: true, int64AsType: 'bigint' });

/** A position as bytes: what a checkpoint keeps and what crosses threads. TEXT that is no string is a list of its bytes. */
export function encodePosition(position: readonly Cell[] | null): Uint8Array | null {
  if (position === null) return null;
  const packed = packr.pack(
    position.map((value) => {
      if (value instanceof InvalidText) return [value.bytes];
      // An INTEGER must stay one: as a float it would compare inexactly.
      return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
    }),
  );
  return new Uint8Array(packed);
}

export function decodePosition(bytes: Uint8Array | null): Cell[] | null {
  if (bytes === null) return null;
  const values = packr.unpack(bytes) as (Cell | [Uint8Array])[];
  return values.map((value) => (Array.isArray(value) ? new InvalidText(value[0]) : value));
}

/** One value as bytes; null stays null. */
export function encodeValue(value: Cell): Uint8Array | null {
  return value === null ? null : encodePosition([value]);
}

export function decodeValue(bytes: Uint8Array | null): Cell {
  return decodePosition(bytes)?.[0] ?? null;
}
