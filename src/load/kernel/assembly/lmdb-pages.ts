/** Pages of LMDB's data file, as far as both their writers need them: see `lmdb-format.ts`. */

export const PAGE_HEADER_BYTES: usize = 24;
export const AT_PAGE_PAD: usize = 16;
export const AT_PAGE_FLAGS: usize = 18;
export const NODE_HEADER_BYTES: usize = 8;
/** Where a value lies that has pages of its own: the first of them, their transaction, and how many they are. */
export const OVERFLOW_REFERENCE_BYTES: usize = 24;

const AT_OVERFLOW_PAGES: usize = 20;
const IS_OVERFLOW: u16 = 0x04;

export function overflowPagesOf(bytes: usize, pageBytes: usize): usize {
  return (PAGE_HEADER_BYTES - 1 + bytes) / pageBytes + 1;
}

/** Writes a value on pages of its own, which have neither number nor transaction yet. Tells how many they are. */
export function writeOverflow(to: usize, value: usize, bytes: usize, pageBytes: usize): usize {
  const pages = overflowPagesOf(bytes, pageBytes);
  store<u16>(to, 0, AT_PAGE_PAD);
  store<u16>(to, IS_OVERFLOW, AT_PAGE_FLAGS);
  store<u32>(to, <u32>pages, AT_OVERFLOW_PAGES);
  memory.copy(to + PAGE_HEADER_BYTES, value, bytes);
  memory.fill(to + PAGE_HEADER_BYTES + bytes, 0, pages * pageBytes - PAGE_HEADER_BYTES - bytes);
  return pages;
}
