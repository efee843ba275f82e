import type { GroupedRecords } from './spool.js';

/** Up to here a number holds every whole number. */
const EXACT = 2 ** 53;
/** Positions of a key that are looked at: so many bits there never are in numbers that have room for few records. */
const MAX_POSITIONS = 16;
const BYTE_VALUES = 256;

/**
 * The places of records in the order of their keys, by memcmp. Sorts numbers that are made of the beginning of each key
 * and of the record's place; then by the whole keys where those beginnings are the same.
 *
 * A beginning is a number in a mixed radix: one digit for each position behind what all keys share. A digit numbers the
 * bytes that are found at its position, in their order, from 1; 0 is for a key that ended before. So keys of hexadecimal
 * digits take some four bits a byte, not eight, and few beginnings are the same.
 */
export function sortRecords(bytes: Buffer, records: GroupedRecords): Uint32Array {
  const { count } = records;
  const digits = digitsOf(bytes, records);
  const words = new Float64Array(count);
  writeWords(words, bytes, records, digits);
  words.sort();
  const places = new Uint32Array(count);
  for (let i = 0; i < count; i++) places[i] = words[i]! % count;
  for (let from = 0; from < count;) {
    const word = Math.floor(words[from]! / count);
    let to = from + 1;
    while (to < count && words[to]! < (word + 1) * count) to++;
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

/** The digits of a key's beginning. */
interface Digits {
  /** The position of the first. */
  readonly from: number;
  readonly radixes: readonly number[];
  /** The digit of each byte at each position, one position behind the other. */
  readonly codes: Uint16Array;
}

function digitsOf(bytes: Buffer, records: GroupedRecords): Digits {
  const from = sharedBytes(bytes, records);
  const codes = new Uint16Array(MAX_POSITIONS * BYTE_VALUES);
  markBytes(codes, bytes, records, from);
  const radixes: number[] = [];
  let room = EXACT / Math.max(1, records.count);
  for (let position = 0; position < MAX_POSITIONS; position++) {
    const radix = numberBytes(codes, position * BYTE_VALUES) + 1;
    room /= radix;
    if (room < 1) break;
    radixes.push(radix);
  }
  return { from, radixes, codes };
}

/** Marks which bytes there are at each position. */
function markBytes(
  codes: Uint16Array,
  bytes: Buffer,
  { count, keyStarts, valueStarts }: GroupedRecords,
  from: number,
): void {
  for (let i = 0; i < count; i++) {
    const start = keyStarts[i]! + from;
    const length = Math.min(MAX_POSITIONS, valueStarts[i]! - start);
    for (let position = 0; position < length; position++) {
      codes[position * BYTE_VALUES + bytes[start + position]!] = 1;
    }
  }
}

/** Numbers the marked bytes of a position, and tells how many there are. */
function numberBytes(codes: Uint16Array, at: number): number {
  let count = 0;
  for (let byte = at; byte < at + BYTE_VALUES; byte++) if (codes[byte] !== 0) codes[byte] = ++count;
  return count;
}

function writeWords(
  words: Float64Array,
  bytes: Buffer,
  { count, keyStarts, valueStarts }: GroupedRecords,
  { from, radixes, codes }: Digits,
): void {
  for (let i = 0; i < count; i++) {
    const start = keyStarts[i]! + from;
    const end = valueStarts[i]!;
    let word = 0;
    for (let position = 0; position < radixes.length; position++) {
      const at = start + position;
      const digit = at < end ? codes[position * BYTE_VALUES + bytes[at]!]! : 0;
      word = word * radixes[position]! + digit;
    }
    words[i] = word * count + i;
  }
}

function sortByKeys(
  bytes: Buffer,
  { keyStarts, valueStarts }: GroupedRecords,
  places: Uint32Array,
): void {
  places.sort((a, b) =>
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
