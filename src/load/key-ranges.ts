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
