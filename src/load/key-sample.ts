import type { StoredRecord } from '../source/stored/stored-record.js';
import type { StoredTable } from '../source/stored/stored-table.js';
import { keyBound, MAX_KEY_BYTES, unkeyableReason, writeKey } from '../transform/key-codec.js';
import type { SqlValue } from '../values.js';
import type { PackedKeys } from './key-ranges.js';

const INITIAL_BYTES = 64 * 1024;

/** The keys of some rows, as the cache has them. */
export class KeySample {
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #end = 0;
  readonly #ends: number[] = [];

  get keys(): PackedKeys {
    return {
      bytes: new Uint8Array(this.#bytes.subarray(0, this.#end)),
      ends: Uint32Array.from(this.#ends),
    };
  }

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
    this.#makeRoom(keyBound(values));
    const rowid = plan.readsRowid ? record.rowid : undefined;
    const keyEnd = writeKey(this.#bytes, this.#end, values as SqlValue[], rowid);
    if (keyEnd - this.#end > MAX_KEY_BYTES) return;
    this.#ends.push(keyEnd);
    this.#end = keyEnd;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * needed);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
