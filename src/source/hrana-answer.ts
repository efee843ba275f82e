import { isUtf8 } from 'node:buffer';
import { malformed } from './hrana/protocol-error.js';

/**
 * Looks at an answer to a Hrana 2 pipeline before `@libsql/client` makes rows of it, which would take an empty or
 * hexadecimal text for an INTEGER, leave out of a BLOB what is not base64, and put U+FFFD for bytes that are not UTF-8.
 * What else an answer lacks the client refuses by itself.
 *
 * Format: https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_2_SPEC.md
 *
 * @returns the answer, parsed.
 * @throws {SourceError} `SOURCE_PROTOCOL` when it is not as the protocol says.
 */
export function parseAnswer(body: Uint8Array): unknown {
  if (!isUtf8(body)) throw malformed('it is not UTF-8');
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
  } catch (error) {
    throw malformed('it is not valid JSON', error);
  }
  for (const result of list(field(answer, 'results'))) {
    const found = field(field(result, 'response'), 'result');
    checkRows(found);
    for (const step of list(field(found, 'step_results'))) checkRows(step);
  }
  return answer;
}

function checkRows(result: unknown): void {
  const rows = list(field(result, 'rows'));
  const width = list(field(result, 'cols')).length;
  for (const row of rows) {
    const cells = list(row);
    if (cells.length !== width) {
      throw malformed(`a row has ${cells.length} values for ${width} columns`);
    }
    for (const cell of cells) checkValue(cell);
  }
}

const INTEGER = /^-?\d{1,19}$/;
/** Servers leave the padding out; either alphabet is one. */
const BASE64 = /^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}$/;
const MAX_INTEGER = 2n ** 63n - 1n;
const MIN_INTEGER = -(2n ** 63n);

/** @throws {SourceError} `SOURCE_PROTOCOL` for a number or a BLOB that is not as the protocol says. */
export function checkValue(cell: unknown): void {
  const type = field(cell, 'type');
  if (type === 'integer') {
    const value = field(cell, 'value');
    if (typeof value !== 'string' || !INTEGER.test(value) || !isInteger64(value)) {
      throw malformed('an INTEGER is none of 64 bits');
    }
  } else if (type === 'blob') {
    const base64 = field(cell, 'base64');
    if (typeof base64 !== 'string' || !BASE64.test(base64) || !hasWholeBytes(base64)) {
      throw malformed('a BLOB is not base64');
    }
  } else if (type === 'float') {
    if (!Number.isFinite(field(cell, 'value'))) throw malformed('a REAL is no number');
  }
}

function isInteger64(text: string): boolean {
  // Shorter ones fit in any case.
  if (text.length < 19) return true;
  const value = BigInt(text);
  return value >= MIN_INTEGER && value <= MAX_INTEGER;
}

/** Base64 has four characters for three bytes; without padding the last are two or three, never one. */
function hasWholeBytes(base64: string): boolean {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return padding > 0 ? base64.length % 4 === 0 : base64.length % 4 !== 1;
}

export function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return (value as Record<string, unknown>)[name];
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
