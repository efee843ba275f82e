import type { CatalogTable } from '../cache/catalog.js';
import type { Environment } from '../cache/environment.js';
import { wholeIndex } from '../cache/index-key.js';
import { decodeRecord, recordIsSound } from '../cache/record.js';
import { TableIndexes } from '../cache/table-indexes.js';
import type { Checksum } from '../transform/checksum.js';
import type { VerifyTasks } from './tasks.js';

/** Rows or entries looked at in one task. */
const CHUNK = 5000;
const CHUNK_BYTES = 8 * 1024 * 1024;
/** Keys that one task gives back at most. */
const MAX_KEYS = 2000;

/** Holds the next stored rows against the entries that they should have. Damaged rows are for others to find. */
export function checkEntries(
  environment: Environment,
  table: CatalogTable,
  checksum: Checksum,
  after: Uint8Array | null,
): VerifyTasks['checkEntries']['response'] {
  environment.refresh();
  const indexes = new TableIndexes(environment, table, checksum);
  const database = environment.indexes(table.id);
  const incomplete: Uint8Array[] = [];
  let missing = 0;
  let found = 0;
  let rows = 0;
  let bytes = 0;
  let last = after;
  for (const { key, value } of environment.rows(table.id).getRange(behind(after))) {
    if (rows === CHUNK || bytes >= CHUNK_BYTES || incomplete.length === MAX_KEYS) {
      return { rows: incomplete, missing, found, after: last, done: false };
    }
    rows++;
    bytes += value.length;
    last = new Uint8Array(key);
    if (!recordIsSound(checksum, key, value, value.length)) continue;
    const row = decodeRecord(value, value.length);
    const rowKey = Buffer.from(key);
    let lacking = 0;
    for (let at = 0; at < table.plan.indexes.length; at++) {
      const entry = database.get(indexes.entry(at, row, rowKey).key);
      if (entry?.equals(rowKey)) found++;
      else lacking++;
    }
    missing += lacking;
    if (lacking > 0) incomplete.push(last);
  }
  return { rows: incomplete, missing, found, after: last, done: true };
}

/** Entries of the table's indexes that LMDB says there are. */
export function countEntries(environment: Environment, table: CatalogTable): number {
  environment.refresh();
  const database = environment.indexes(table.id);
  return table.indexNumbers.reduce(
    (sum, number) => sum + database.getKeysCount(wholeIndex(number)),
    0,
  );
}

/** The next entries that no row calls for. */
export function danglingEntries(
  environment: Environment,
  table: CatalogTable,
  checksum: Checksum,
  after: Uint8Array | null,
): VerifyTasks['danglingEntries']['response'] {
  environment.refresh();
  const indexes = new TableIndexes(environment, table, checksum);
  const rows = environment.rows(table.id);
  const dangling: Uint8Array[] = [];
  let seen = 0;
  let last = after;
  for (const { key, value: rowKey } of environment.indexes(table.id).getRange(behind(after))) {
    if (seen === CHUNK || dangling.length === MAX_KEYS) {
      return { entries: dangling, after: last, done: false };
    }
    seen++;
    last = new Uint8Array(key);
    // Of an index that was dropped: the next sync removes them.
    const at = table.indexNumbers.indexOf(key.readUInt16BE(0));
    if (at < 0) continue;
    const ownKey = Buffer.from(rowKey);
    const stored = rows.get(ownKey);
    // What a damaged row calls for cannot be told.
    if (stored !== undefined && !recordIsSound(checksum, ownKey, stored, stored.length)) continue;
    const called =
      stored !== undefined &&
      indexes.entry(at, decodeRecord(stored, stored.length), ownKey).key.equals(key);
    if (!called) dangling.push(last);
  }
  return { entries: dangling, after: last, done: true };
}

function behind(after: Uint8Array | null) {
  return after === null ? {} : { start: Buffer.from(after), exclusiveStart: true };
}
