/**
 * Records as SQLite stores them (https://www.sqlite.org/fileformat.html#record_format), and what is known of the fields
 * of one, wherever they come from.
 */

export const SERIAL_NULL: u32 = 0;
/** An INTEGER of eight bytes. */
export const SERIAL_INTEGER: u32 = 6;
export const SERIAL_DOUBLE: u32 = 7;
/** From here on, even ones are BLOBs and odd ones TEXT, of half as many bytes as they are above. */
export const SERIAL_BYTES: u32 = 12;

/** A record with more fields is for others to read. */
const MAX_FIELDS: u32 = 4096;
const TYPES: usize = memory.data(4 * 4096);
const STARTS: usize = memory.data(4 * 4097);

/** Fields of the record that was looked at last. */
export let fieldCount: u32 = 0;

/**
 * Looks at the record between two addresses.
 *
 * @returns false for one that others have to read, or to refuse.
 */
export function parseRecord(at: usize, end: usize): bool {
  let typeAt = at;
  let header: u32 = load<u8>(typeAt++);
  if (header >= 0x80) {
    const low: u32 = load<u8>(typeAt++);
    if (low >= 0x80) return false;
    header = ((header & 0x7f) << 7) | low;
  }
  const headerEnd = at + header;
  if (headerEnd > end) return false;
  let start = headerEnd;
  let field: u32 = 0;
  while (typeAt < headerEnd) {
    let type: u32 = load<u8>(typeAt++);
    if (type >= 0x80) {
      type &= 0x7f;
      for (let more = 0; ; more++) {
        // What is larger does not fit into a page.
        if (more == 3) return false;
        const byte: u32 = load<u8>(typeAt++);
        type = (type << 7) | (byte & 0x7f);
        if (byte < 0x80) break;
      }
    }
    if (type == 10 || type == 11 || field == MAX_FIELDS) return false;
    store<u32>(TYPES + 4 * field, type);
    store<u32>(STARTS + 4 * field, <u32>start);
    start += type < SERIAL_BYTES ? bytesOfNumber(type) : bytesOf(type);
    if (start > end) return false;
    field++;
  }
  if (typeAt != headerEnd) return false;
  store<u32>(STARTS + 4 * field, <u32>start);
  fieldCount = field;
  return true;
}

/** Forgets the fields, for others that are {@link addField added}. */
export function beginFields(): void {
  fieldCount = 0;
}

/** @returns false where there are too many. */
export function addField(type: u32, start: usize): bool {
  if (fieldCount == MAX_FIELDS) return false;
  store<u32>(TYPES + 4 * fieldCount, type);
  store<u32>(STARTS + 4 * fieldCount, <u32>start);
  fieldCount++;
  return true;
}

export function typeOf(field: u32): u32 {
  return load<u32>(TYPES + 4 * field);
}

export function startOf(field: u32): usize {
  return load<u32>(STARTS + 4 * field);
}

/** The size of a TEXT or BLOB. */
export function bytesOf(type: u32): usize {
  return (type - SERIAL_BYTES) >> 1;
}

/** 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 */
function bytesOfNumber(type: u32): usize {
  return <usize>(((<u64>0x0088643210) >> (4 * type)) & 0xf);
}

/** An INTEGER of any size. */
export function readInteger(at: usize, type: u32): i64 {
  switch (type) {
    case 1:
      return load<i8>(at);
    case 2:
      return <i16>bswap(load<u16>(at));
    case 3:
      return ((<i64>load<i8>(at)) << 16) | bswap(load<u16>(at, 1));
    case 4:
      return <i32>bswap(load<u32>(at));
    case 5:
      return ((<i64>(<i16>bswap(load<u16>(at)))) << 32) | bswap(load<u32>(at, 2));
    case 6:
      return <i64>bswap(load<u64>(at));
    default:
      return type == 9 ? 1 : 0;
  }
}

export function readDouble(at: usize): f64 {
  return reinterpret<f64>(bswap(load<u64>(at)));
}
