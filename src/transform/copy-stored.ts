import { isUtf8 } from 'node:buffer';
import type { StoredRecord } from '../source/stored/stored-record.js';

/** Up to here a loop beats the calls into native code. */
const SHORT = 300;

/**
 * Copies the bytes of a field.
 *
 * @returns where they end, or -1 when they are TEXT and not valid UTF-8.
 */
export function copyStored(
  target: Buffer,
  at: number,
  { bytes, starts }: StoredRecord,
  field: number,
  isText: boolean,
): number {
  return copyField(target, at, bytes, starts[field]!, starts[field + 1]!, isText);
}

/** The same of any bytes. */
export function copyField(
  target: Buffer,
  at: number,
  bytes: Buffer,
  start: number,
  end: number,
  isText: boolean,
): number {
  if (end - start > SHORT) {
    bytes.copy(target, at, start, end);
    return !isText || isUtf8(bytes.subarray(start, end)) ? at + end - start : -1;
  }
  let all = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    all |= byte;
    target[at++] = byte;
  }
  return !isText || all < 0x80 || isUtf8(bytes.subarray(start, end)) ? at : -1;
}
