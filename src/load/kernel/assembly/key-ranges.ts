import { compareBytes, sortableWord } from './bytes';

/**
 * Ranges of keys, told apart by the keys at which all but the first begin. Most keys are placed by comparing one number,
 * of the eight bytes behind what the bounds have in common.
 */

let bounds: usize = 0;
let boundCount: u32 = 0;
let shared: usize = 0;

/** Bytes of a bound in their table: its word, where its bytes are, and how many. */
const BOUND_BYTES: usize = 16;

/**
 * Sets the bounds, in strictly ascending order.
 *
 * @param table sixteen bytes for each: eight to be filled in, the address of its bytes, and their number.
 */
export function setBounds(table: usize, count: u32): void {
  bounds = table;
  boundCount = count;
  shared = 0;
  if (count == 0) return;
  const first = bytesOf(0);
  const last = bytesOf(count - 1);
  const most = min(sizeOf(0), sizeOf(count - 1));
  while (shared < most && load<u8>(first + shared) == load<u8>(last + shared)) shared++;
  for (let i: u32 = 0; i < count; i++) {
    const key = bytesOf(i);
    store<u64>(bounds + BOUND_BYTES * i, sortableWord(key + shared, key + sizeOf(i)));
  }
}

/** The range of a key. */
export function rangeOf(key: usize, size: usize): u32 {
  if (boundCount == 0) return 0;
  const difference = compareBytes(key, min(size, shared), bytesOf(0), shared);
  if (difference != 0) return difference < 0 ? 0 : boundCount;
  const word = sortableWord(key + shared, key + size);
  let low: u32 = 0;
  let high = boundCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = load<u64>(bounds + BOUND_BYTES * middle);
    const isBefore =
      word == other ? compareBytes(key, size, bytesOf(middle), sizeOf(middle)) < 0 : word < other;
    if (isBefore) high = middle;
    else low = middle + 1;
  }
  return low;
}

function bytesOf(bound: u32): usize {
  return load<u32>(bounds + BOUND_BYTES * bound, 8);
}

function sizeOf(bound: u32): usize {
  return load<u32>(bounds + BOUND_BYTES * bound, 12);
}
