import { InvalidText, type Cell, type SqlValue } from '../../values.js';
import type { Statement } from '../connection.js';
import { checkValue, field } from '../hrana-answer.js';
import { malformed } from './protocol-error.js';

/** Decimal digits, with a sign, that are always a safe integer. */
const SAFE_LENGTH = 15;

/** A value of an answer in JSON (HRANA_3_SPEC.md, "Values"). */
export function readJsonValue(value: unknown): SqlValue {
  checkValue(value);
  switch (field(value, 'type')) {
    case 'null':
      return null;
    case 'integer': {
      const digits = field(value, 'value') as string;
      return digits.length <= SAFE_LENGTH ? Number(digits) : BigInt(digits);
    }
    case 'float':
      return field(value, 'value') as number;
    case 'text': {
      const text = field(value, 'value');
      if (typeof text !== 'string' || !text.isWellFormed()) throw malformed('a TEXT is no string');
      return text;
    }
    case 'blob':
      return new Uint8Array(Buffer.from(field(value, 'base64') as string, 'base64'));
    default:
      throw malformed('a value is of no known kind');
  }
}

/** A statement of a request in JSON. */
export function jsonStatement({ sql, params = [] }: Statement): object {
  return { sql, args: params.map(jsonValue), want_rows: true };
}

function jsonValue(value: Cell): object {
  if (value === null) return { type: 'null' };
  if (value instanceof InvalidText) return jsonBlob(value.bytes);
  if (value instanceof Uint8Array) return jsonBlob(value);
  if (typeof value === 'string') return { type: 'text', value };
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
    return { type: 'integer', value: BigInt(value).toString() };
  }
  return { type: 'float', value };
}

function jsonBlob({ buffer, byteOffset, byteLength }: Uint8Array): object {
  const base64 = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
  return { type: 'blob', base64: base64.replace(/=+$/, '') };
}
