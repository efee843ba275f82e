/** Bytes of a key that are compared as one number. */
const WORD_BYTES = 6;

/**
 * Ranges of keys, told apart by the keys at which all but the first begin. Most keys are placed by comparing one number
 * of six bytes, taken behind what the bounds have in common.
 */
export class KeyRanges {
  readonly #bounds: readonly Buffer[];
  readonly #words: Float64Array;
  readonly #shared: number;

  /** @param bounds in strictly ascending order. */
  constructor(bounds: readonly Uint8Array[]) {
    this.#bounds = bounds.map((key) => Buffer.from(key.buffer, key.byteOffset, key.byteLength));
    this.#shared = sharedBytes(this.#bounds);
    this.#words = Float64Array.from(this.#bounds, (key) => wordAt(key, this.#shared, key.length));
  }

  get count(): number {
    return this.#bounds.length + 1;
  }

  /** The range of the key at `start` in `bytes`. */
  rangeOf(bytes: Buffer, start: number, end: number): number {
    const bounds = this.#bounds;
    if (bounds.length === 0) return 0;
    const shared = this.#shared;
    const [first] = bounds as [Buffer];
    for (let i = 0; i < shared; i++) {
      const byte = start + i < end ? bytes[start + i]! : -1;
      if (byte !== first[i]) return byte < first[i]! ? 0 : bounds.length;
    }
    const word = wordAt(bytes, start + shared, end);
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#words[middle]!;
      const isBefore =
        word === other
          ? bytes.compare(bounds[middle]!, 0, undefined, start, end) < 0
          : word < other;
      if (isBefore) high = middle;
      else low = middle + 1;
    }
    return low;
  }
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

/** How many bytes all keys begin with. */
function sharedBytes(keys: readonly Buffer[]): number {
  const first = keys[0];
  const last = keys.at(-1);
  if (!first || !last) return 0;
  const most = Math.min(first.length, last.length);
  let shared = 0;
  while (shared < most && first[shared] === last[shared]) shared++;
  return shared;
}

/** Six bytes as a number, zeros where the key ends before. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  for (let i = at; i < at + WORD_BYTES; i++) word = word * 256 + (i < end ? bytes[i]! : 0);
  return word;
}
