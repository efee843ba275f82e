import type { Cell } from '../values.js';
import type { PackedCell } from './projection.js';

const LETTER_T = 0x74;
const MINUS = 0x2d;
const DIGIT_0 = 0x30;
/** Decimal digits that are always a safe integer. */
const SAFE_DIGITS = 15;

/** Says that bytes are not what the form promises: a text held a NUL, or a number column something else. */
export const MISFIT = Symbol('misfit');

/**
 * The number in a packed cell, or null for NULL.
 *
 * @returns {@link MISFIT} when the bytes are no number.
 */
export function packedNumber(
  bytes: Buffer,
  start: number,
  end: number,
  cell: 'integer' | 'number',
): number | bigint | null | typeof MISFIT {
  if (start === end) return null;
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  if (first === end) return MISFIT;
  let value = 0;
  for (let at = first; at < end; at++) {
    const digit = bytes[at]! - DIGIT_0;
    if (digit < 0 || digit > 9) {
      // SQLite writes a REAL among INTEGERs with too few digits to tell which it is.
      if (cell === 'integer') return MISFIT;
      return packedReal(bytes.toString('latin1', start, end));
    }
    value = value * 10 + digit;
  }
  if (end - first > SAFE_DIGITS) return BigInt(bytes.toString('latin1', start, end));
  return negative ? -value : value;
}

const REAL = /^-?(\d+\.\d+(e[+-]\d+)?|Inf)$/;

function packedReal(text: string): number | typeof MISFIT {
  if (!REAL.test(text)) return MISFIT;
  if (text.endsWith('Inf')) return text === 'Inf' ? Infinity : -Infinity;
  return Number(text);
}

/** The values of the last row, or null when the bytes do not end as rows do. */
export function lastPackedRow(bytes: Buffer, cells: readonly PackedCell[]): Cell[] | null {
  const row: Cell[] = [];
  let end = bytes.length - 1;
  for (let i = cells.length - 1; i >= 0; i--) {
    if (end < 0 || bytes[end] !== 0) return null;
    const start = end === 0 ? 0 : bytes.lastIndexOf(0, end - 1) + 1;
    const value = packedValue(bytes, start, end, cells[i]!);
    if (value === MISFIT) return null;
    row.unshift(value);
    end = start - 1;
  }
  return row;
}

/** The value of a packed cell, or {@link MISFIT}. */
export function packedValue(
  bytes: Buffer,
  start: number,
  end: number,
  cell: PackedCell,
): string | number | bigint | null | typeof MISFIT {
  if (cell === 'integer' || cell === 'number') return packedNumber(bytes, start, end, cell);
  if (cell === 'text') return bytes.toString('utf8', start, end);
  if (start === end) return null;
  return bytes[start] === LETTER_T ? bytes.toString('utf8', start + 1, end) : MISFIT;
}
