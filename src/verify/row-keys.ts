import type { RawRow } from '../source/connection.js';
import type { TablePlan } from '../source/plan.js';
import { decodeExact } from '../source/sql-page.js';
import { decodeKey, keyBound, writeKey } from '../transform/key-codec.js';
import { describeKey } from '../transform/key-text.js';
import { InvalidText, type SqlValue } from '../values.js';

/** The values of a stored key, and the rowid where a NULL among them needs one. */
export interface KeyValues {
  readonly values: readonly SqlValue[];
  readonly rowid: number | bigint | null;
}

const LAST_ROWID = 2n ** 63n - 1n;
const FIRST_ROWID = -(2n ** 63n);

/** The values of a stored key, or null for bytes that no row of the plan can have as its key. */
export function keyValues(plan: TablePlan, key: Uint8Array): KeyValues | null {
  const width = plan.key.length;
  let decoded: SqlValue[];
  try {
    decoded = decodeKey(key, width);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
  const values = decoded.slice(0, width);
  const hasNull = values.includes(null);
  if (values.length < width || (hasNull && !plan.keyNullable)) return null;
  const last = hasNull ? decoded[width] : null;
  if (decoded.length !== width + (hasNull ? 1 : 0)) return null;
  if (hasNull && typeof last !== 'number' && typeof last !== 'bigint') return null;
  const rowid = last as number | bigint | null;
  const found = { values: values.map(asStored), rowid };
  return encodeValues(found).equals(key) ? found : null;
}

/** A whole number beyond INTEGER's range is a REAL. */
function asStored(value: SqlValue): SqlValue {
  return typeof value === 'bigint' && BigInt.asIntN(64, value) !== value ? Number(value) : value;
}

export function encodeValues({ values, rowid }: KeyValues): Buffer {
  const buffer = Buffer.allocUnsafe(keyBound(values));
  return buffer.subarray(0, writeKey(buffer, 0, values, rowid ?? undefined));
}

/**
 * Keys as the latin1 text of their bytes.
 *
 * @param rows by exact lists: a key's values, and the rowid where it completes a key that holds a NULL.
 */
export function keySet(plan: TablePlan, rows: readonly RawRow[]): Set<string> {
  const width = plan.key.length;
  const keys = new Set<string>();
  for (const row of rows) {
    const values = decodeExact(row.slice(0, width), plan.encoding);
    if (values.some((value) => value instanceof InvalidText)) continue;
    const rowid = plan.keyNullable && values.includes(null) ? row[width] : null;
    const key = { values: values as SqlValue[], rowid: rowid as number | bigint | null };
    keys.add(encodeValues(key).toString('latin1'));
  }
  return keys;
}

/**
 * Where a scan stands that has just passed a row.
 *
 * @param cells the row's columns, for a plan whose order is not that of its key.
 */
export function positionBehind(
  plan: TablePlan,
  { values, rowid }: KeyValues,
  cells: readonly SqlValue[] | null = null,
): SqlValue[] {
  return plan.order.map((term) => {
    const at = plan.key.indexOf(term.column);
    if (at >= 0) return values[at]!;
    if (cells !== null && term.column < plan.columns.length) return cells[term.column]!;
    // The rowid of a row whose key has no NULL is not kept, and no other row has that key.
    return rowid ?? (term.descending ? FIRST_ROWID : LAST_ROWID);
  });
}

/** A stored key for people, also where it is damaged. */
export function keyText(plan: TablePlan, key: Uint8Array): string {
  if (keyValues(plan, key) === null) return `the bytes x'${Buffer.from(key).toString('hex')}'`;
  return describeKey(key, plan.key.length);
}
