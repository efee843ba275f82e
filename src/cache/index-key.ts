import type { PlanIndex } from '../source/plan.js';
import type { Checksum } from '../transform/checksum.js';
import { encodeKeyPrefix, MAX_KEY_BYTES } from '../transform/key-codec.js';
import type { SqlValue } from '../values.js';

/** Of an indexed TEXT or BLOB, the part that the index sorts by. Equality is decided on the row itself. */
const INDEXED_CHARACTERS = 64;

/** The leading part of an index key: the indexed values, each cut to what the index sorts by. */
export function indexPrefix(values: readonly SqlValue[]): Buffer {
  return encodeKeyPrefix(values.map(cut));
}

/** The key under which a row stands in an index: its values, then its own key, or a hash of one too long for that. */
export function indexKey(
  index: PlanIndex,
  row: readonly SqlValue[],
  rowKey: Uint8Array,
  checksum: Checksum,
): Buffer {
  const prefix = indexPrefix(index.columns.map((at) => row[at]!));
  if (prefix.length + rowKey.length <= MAX_KEY_BYTES) return Buffer.concat([prefix, rowKey]);
  const hash = Buffer.alloc(8);
  hash.writeBigUInt64BE(checksum(rowKey));
  return Buffer.concat([prefix, hash]);
}

function cut(value: SqlValue): SqlValue {
  if (typeof value === 'string') return value.slice(0, INDEXED_CHARACTERS).toWellFormed();
  if (value instanceof Uint8Array) return value.subarray(0, INDEXED_CHARACTERS);
  return value;
}
