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
  const start = starts[field]!;
  const end = starts[field + 1]!;
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
