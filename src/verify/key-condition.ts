import { collate } from '../source/keyset.js';
import type { TablePlan } from '../source/plan.js';
import { quoteIdentifier, quoteText } from '../source/sql.js';
import type { TextEncoding } from '../source/introspection.js';
import type { SqlValue } from '../values.js';
import type { KeyValues } from './row-keys.js';

/** Keys in one statement at most: SQLite's parser allows a depth of 1000. */
export const KEYS_PER_STATEMENT = 200;
/** Bytes of keys in one statement, of which a server may take a million characters. */
export const MAX_KEYS_BYTES = 64 * 1024;

/** A condition that the rows with these keys meet, and such whose keys their collation finds equal. */
export function anyKey(plan: TablePlan, keys: readonly KeyValues[]): string {
  const conditions = keys.map(({ values, rowid }) => {
    if (rowid !== null) return `${plan.rowidName} = ${literal(rowid, plan.encoding)}`;
    const same = values.map((value, i) => {
      const term = plan.order.find(({ column }) => column === plan.key[i])!;
      return `${term.sql} = ${literal(value, plan.encoding)}${collate(term)}`;
    });
    return same.join(' AND ');
  });
  return anyOf(conditions);
}

/** A condition that the changes of these keys meet in the table's change log. */
export function anyLoggedKey(plan: TablePlan, keys: readonly KeyValues[]): string {
  const conditions = keys.map(({ values, rowid }) => {
    const same = values.map((value, i) =>
      value === null
        ? `k${i + 1} IS NULL`
        : `k${i + 1} = ${literal(value, plan.encoding)} COLLATE BINARY`,
    );
    if (rowid !== null) same.push(`row = ${literal(rowid, plan.encoding)}`);
    return same.join(' AND ');
  });
  return anyOf(conditions);
}

/** The names of a plan's key as a list of columns, for statements that compare it as a whole. */
export function keyList(plan: TablePlan): string {
  return plan.keyNames.map((name) => quoteIdentifier(name)).join(', ');
}

function anyOf(conditions: readonly string[]): string {
  return conditions.length === 0
    ? '0'
    : conditions.map((condition) => `(${condition})`).join(' OR ');
}

/** A value as SQL that gives exactly that value. */
function literal(value: SqlValue, encoding: TextEncoding): string {
  if (value === null) return 'NULL';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : real(value);
  if (typeof value === 'string') {
    if (!value.includes('\0')) return quoteText(value);
    return `CAST(x'${encoded(value, encoding).toString('hex')}' AS TEXT)`;
  }
  return `x'${Buffer.from(value).toString('hex')}'`;
}

function encoded(text: string, encoding: TextEncoding): Buffer {
  if (encoding === 'utf8') return Buffer.from(text, 'utf8');
  const bytes = Buffer.from(text, 'utf16le');
  return encoding === 'utf16be' ? bytes.swap16() : bytes;
}

const STEP = 2 ** 30;

/** A REAL by its whole mantissa and powers of two, all exact: SQLite may read decimals with a digit too few. */
function real(value: number): string {
  if (value === Infinity) return '9e999';
  if (value === -Infinity) return '-9e999';
  let mantissa = value;
  let sql = '';
  while (!Number.isInteger(mantissa)) {
    mantissa *= STEP;
    sql += ` / ${STEP}.0`;
  }
  while (!Number.isSafeInteger(mantissa)) {
    const step = Number.isInteger(mantissa / STEP) ? STEP : 2;
    mantissa /= step;
    sql += ` * ${step}.0`;
  }
  return `(${BigInt(mantissa)}.0${sql})`;
}
