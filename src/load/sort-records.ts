import type { GroupedRecords } from './spool.js';

/** A number holds this many bits of a record's place beside 32 of its key. */
const PLACE = 2 ** 20;
const WORD_BYTES = 4;

/**
 * The places of records in the order of their keys, by memcmp. Sorts numbers that are made of four bytes of each key,
 * behind what all keys begin with, and of the record's place; then by the whole keys where those bytes are the same.
 */
export function sortRecords(bytes: Buffer, records: GroupedRecords): Uint32Array {
  const { count } = records;
  if (count > PLACE) return sortByKeys(bytes, records, identity(count));
  const shared = sharedBytes(bytes, records);
  const words = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const start = records.keyStarts[i]! + shared;
    words[i] = wordAt(bytes, start, records.valueStarts[i]!) * PLACE + i;
  }
  words.sort();
  const places = new Uint32Array(count);
  for (let i = 0; i < count; i++) places[i] = words[i]! % PLACE;
  for (let from = 0; from < count;) {
    const word = Math.floor(words[from]! / PLACE);
    let to = from + 1;
    while (to < count && Math.floor(words[to]! / PLACE) === word) to++;
    if (to - from > 1) sortByKeys(bytes, records, places.subarray(from, to));
    from = to;
  }
  return places;
}

/** Whether two records have the same key. */
export function sameKey(
  bytes: Buffer,
  { keyStarts, valueStarts }: GroupedRecords,
  a: number,
  b: number,
): boolean {
  const length = valueStarts[a]! - keyStarts[a]!;
  if (length !== valueStarts[b]! - keyStarts[b]!) return false;
  for (let i = 0; i < length; i++) {
    if (bytes[keyStarts[a]! + i] !== bytes[keyStarts[b]! + i]) return false;
  }
  return true;
}

function identity(count: number): Uint32Array {
  const places = new Uint32Array(count);
  for (let i = 0; i < count; i++) places[i] = i;
  return places;
}

function sortByKeys(
  bytes: Buffer,
  { keyStarts, valueStarts }: GroupedRecords,
  places: Uint32Array,
): Uint32Array {
  return places.sort((a, b) =>
    bytes.compare(bytes, keyStarts[b], valueStarts[b], keyStarts[a], valueStarts[a]),
  );
}

/** How many bytes all keys begin with. */
function sharedBytes(bytes: Buffer, { count, keyStarts, valueStarts }: GroupedRecords): number {
  if (count === 0) return 0;
  const first = keyStarts[0]!;
  let shared = valueStarts[0]! - first;
  for (let i = 1; i < count; i++) {
    const start = keyStarts[i]!;
    const most = Math.min(shared, valueStarts[i]! - start);
    let same = 0;
    while (same < most && bytes[start + same] === bytes[first + same]) same++;
    shared = same;
  }
  return shared;
}

/** Four bytes as a number, zeros where the key ends before. */
function wordAt(bytes: Buffer, at: number, end: number): number {
  if (at + WORD_BYTES <= end) {
    return (
      ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
    );
  }
  let word = 0;
  for (let i = at; i < at + WORD_BYTES; i++) word = word * 256 + (i < end ? bytes[i]! : 0);
  return word;
}
