/** Keys, one behind the other: thousands of them would take some hundred bytes more each. */
export interface PackedKeys {
  readonly bytes: Uint8Array;
  /** Where each key ends. */
  readonly ends: Uint32Array;
}

/** Keys at which ranges begin, all but the first, in strictly ascending order, in memory that threads share. */
export type KeyBounds = PackedKeys;

/** @returns views of them. */
export function unpackKeys({ bytes, ends }: PackedKeys): Buffer[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from(ends, (end, i) => all.subarray(ends[i - 1] ?? 0, end));
}

/** @param keys in strictly ascending order. */
export function packBounds(keys: readonly Uint8Array[]): KeyBounds {
  const size = keys.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  const ends = new Uint32Array(new SharedArrayBuffer(4 * keys.length));
  let at = 0;
  for (const [i, key] of keys.entries()) {
    bytes.set(key, at);
    ends[i] = at += key.length;
  }
  return { bytes, ends };
}

/**
 * Keys that cut others into ranges of about as many each.
 *
 * @param sample keys taken evenly from those to be cut, in any order.
 * @param ranges to cut them into, at most.
 */
export function cutEvenly(sample: readonly Buffer[], ranges: number): Buffer[] {
  const sorted = sample.toSorted((a, b) => Buffer.compare(a, b));
  const bounds: Buffer[] = [];
  for (let i = 1; i < ranges; i++) {
    const bound = sorted[Math.floor((i * sorted.length) / ranges)];
    if (bound && (bounds.length === 0 || Buffer.compare(bounds.at(-1)!, bound) < 0)) {
      bounds.push(bound);
    }
  }
  return bounds;
}
