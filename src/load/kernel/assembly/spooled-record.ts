import { OVERFLOW_REFERENCE_BYTES } from './lmdb-pages';

/**
 * A record as the spool has it: 16 bits of its key's size, 16 of its range, 32 of the size of what follows, which is its
 * key and its value. A value that is on pages of its own already is told by the highest bit of the key's size: in its
 * place are 32 bits of its size, 32 that are zero, and where it lies, as LMDB refers to it.
 */

export const HEADER_BYTES: usize = 8;
/** In place of a value that is elsewhere. */
export const ELSEWHERE_BYTES: usize = 8 + OVERFLOW_REFERENCE_BYTES;

const IS_ELSEWHERE: u32 = 0x8000;

export function keyBytesOf(record: usize): usize {
  return load<u16>(record) & ~IS_ELSEWHERE;
}

/** Bytes of the key and of what follows it. */
export function sizeOf(record: usize): usize {
  return load<u32>(record, 4);
}

export function isElsewhere(record: usize): bool {
  return (load<u16>(record) & IS_ELSEWHERE) != 0;
}

export function writeHeader(record: usize, keyBytes: u32, range: u32, size: u32): void {
  store<u16>(record, <u16>keyBytes);
  store<u16>(record, <u16>range, 2);
  store<u32>(record, size, 4);
}

export function writeElsewhereHeader(record: usize, keyBytes: u32, range: u32): void {
  writeHeader(record, keyBytes | IS_ELSEWHERE, range, keyBytes + <u32>ELSEWHERE_BYTES);
}

export function valueBytesElsewhere(record: usize): usize {
  return load<u32>(record + HEADER_BYTES + keyBytesOf(record));
}

export function referenceElsewhere(record: usize): usize {
  return record + HEADER_BYTES + keyBytesOf(record) + 8;
}
