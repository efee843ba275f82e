/** Keys at which ranges begin, all but the first, in strictly ascending order: packed, in memory that threads share. */
export interface KeyBounds {
  readonly bytes: Uint8Array;
  /** Where each key ends. */
  readonly ends: Uint32Array;
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
