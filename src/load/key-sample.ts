import type { StoredRecord } from '../source/stored/stored-record.js';
import type { StoredTable } from '../source/stored/stored-table.js';
import { keyBound, MAX_KEY_BYTES, unkeyableReason, writeKey } from '../transform/key-codec.js';
import type { SqlValue } from '../values.js';

/** The keys of some rows, as the cache has them. */
export class KeySample {
  readonly keys: Uint8Array[] = [];

  /** Takes the key of a record, unless it is not all in its page, or no key for a cache. */
  take(record: StoredRecord, table: StoredTable, end: number): void {
    const { plan, fields } = table;
    const isInPage = plan.key.every((column) => {
      const field = fields[column] ?? -1;
      return field < 0 || field >= record.fieldCount || record.starts[field + 1]! <= end;
    });
    if (!isInPage) return;
    const values = plan.key.map((column) => table.cell(record, column));
    if (unkeyableReason(values) !== null) return;
    const key = Buffer.allocUnsafeSlow(keyBound(values));
    const rowid = plan.readsRowid ? record.rowid : undefined;
    const size = writeKey(key, 0, values as SqlValue[], rowid);
    if (size <= MAX_KEY_BYTES) this.keys.push(new Uint8Array(key.subarray(0, size)));
  }
}
