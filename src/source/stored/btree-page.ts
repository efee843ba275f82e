import { StoredFormError } from './stored-form-error.js';

/** The kinds of b-tree pages (https://www.sqlite.org/fileformat.html#b_tree_pages). */
export const INTERIOR_INDEX_PAGE = 0x02;
export const INTERIOR_TABLE_PAGE = 0x05;
export const LEAF_INDEX_PAGE = 0x0a;
export const LEAF_TABLE_PAGE = 0x0d;

/** Higher than any tree can be. */
export const MAX_HEIGHT = 40;

/** More than SQLite can be built for (https://www.sqlite.org/limits.html). */
const MAX_PAYLOAD_BYTES = 2 ** 31 - 1;

const LEAF_HEADER_BYTES = 8;
const INTERIOR_HEADER_BYTES = 12;

/** Where a row is stored: in its page, or begun there and gone on with in a chain of overflow pages. */
export interface StoredCell {
  /** Bytes of the record, wherever they are. */
  payloadBytes: number;
  /** Where the part in the page begins, and how much it is. */
  at: number;
  localBytes: number;
  /** The first overflow page, or 0. */
  overflowPage: number;
}

export function newCell(): StoredCell {
  return { payloadBytes: 0, at: 0, localBytes: 0, overflowPage: 0 };
}

/**
 * The cells of the page that begins at `start`.
 *
 * @throws {StoredFormError} when they are more than a page can have: of four bytes and a pointer each.
 */
export function cellCount(pages: Buffer, start: number, pageBytes: number): number {
  const count = (pages[start + 3]! << 8) | pages[start + 4]!;
  if (6 * count > pageBytes - LEAF_HEADER_BYTES) {
    throw new StoredFormError('a page has more cells than it can have');
  }
  return count;
}

/** Where cell `i` of the page that begins at `start` is. */
export function cellAt(pages: Buffer, start: number, i: number, usableBytes: number): number {
  const isLeaf = (pages[start]! & LEAF_HEADER_BYTES) !== 0;
  const headerBytes = isLeaf ? LEAF_HEADER_BYTES : INTERIOR_HEADER_BYTES;
  const pointer = start + headerBytes + 2 * i;
  const offset = (pages[pointer]! << 8) | pages[pointer + 1]!;
  if (offset < headerBytes || offset + 4 > usableBytes) {
    throw new StoredFormError('a cell lies outside of its page');
  }
  return start + offset;
}

/** The child that holds what lies behind the last cell of an interior page. */
export function lastChild(pages: Buffer, start: number): number {
  return pages.readUInt32BE(start + 8);
}

/**
 * Tells where a record is.
 *
 * @param start where its page begins.
 * @param payload where in it the record begins.
 * @param maxLocal the bytes up to which a record is in its page whole.
 */
export function describeCell(
  pages: Buffer,
  start: number,
  payload: number,
  payloadBytes: number,
  maxLocal: number,
  usableBytes: number,
  found: StoredCell,
): void {
  let local = payloadBytes;
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw new StoredFormError('no record is so large');
  if (payloadBytes > maxLocal) {
    const minLocal = Math.floor(((usableBytes - 12) * 32) / 255) - 23;
    const wanted = minLocal + ((payloadBytes - minLocal) % (usableBytes - 4));
    local = wanted <= maxLocal ? wanted : minLocal;
  }
  const end = payload + local + (local < payloadBytes ? 4 : 0);
  if (end > start + usableBytes) throw new StoredFormError('a cell goes beyond its page');
  const overflowPage = local < payloadBytes ? pages.readUInt32BE(payload + local) : 0;
  if (local < payloadBytes && overflowPage === 0) {
    throw new StoredFormError('a record ends in its page, but should go on');
  }
  found.payloadBytes = payloadBytes;
  found.at = payload;
  found.localBytes = local;
  found.overflowPage = overflowPage;
}
