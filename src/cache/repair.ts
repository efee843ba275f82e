import { StorageSyncError } from '../errors.js';
import { recordsOf, type Batch } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import type { CatalogTable } from './catalog.js';
import type { BytesDatabase, Environment } from './environment.js';
import { recordIsSound } from './record.js';
import { TableIndexes } from './table-indexes.js';

/** Rows of one table to write and to remove, as a verify found them. */
export interface RowRepair {
  readonly tableId: number;
  readonly batch: Batch | null;
  readonly remove: readonly Uint8Array[];
}

/** Index entries of one table to put right. */
export interface EntryRepair {
  readonly tableId: number;
  /** Keys of rows that lack entries. */
  readonly rows: readonly Uint8Array[];
  /** Entries that no row calls for. */
  readonly entries: readonly Uint8Array[];
}

/**
 * Writes and removes rows, with their index entries and the table's row count, in one transaction. Where the table
 * stands in its sync stays as it is. The row count is set to what there is: it may be what was wrong.
 */
export function repairRows(
  environment: Environment,
  checksum: Checksum,
  { tableId, batch, remove }: RowRepair,
): void {
  const table = findTable(environment, tableId);
  const rows = environment.rows(tableId);
  const indexes = new TableIndexes(environment, table, checksum);
  const isIndexed = table.plan.indexes.length > 0;
  const writes = batch === null ? [] : recordsToWrite(batch);
  const removes = remove.map((key) => Buffer.from(key));
  const keys = [...writes.map(({ key }) => key), ...removes];
  // What a damaged record was entered under cannot be told from it, so its entries are searched for.
  const damaged = isIndexed ? keys.filter((key) => isDamaged(rows, checksum, key)) : [];
  const stale = damaged.length > 0 ? entriesOf(environment, tableId, damaged) : [];

  environment.transaction(() => {
    for (const key of stale) environment.indexes(tableId).removeSync(key);
    const unreadable = new Set(damaged.map((key) => key.toString('latin1')));
    for (const key of keys) {
      if (!isIndexed || unreadable.has(key.toString('latin1'))) continue;
      const old = rows.get(key);
      if (old !== undefined) indexes.remove(key, old);
    }
    for (const key of removes) rows.removeSync(key);
    for (const { key, value } of writes) {
      rows.putSync(key, value);
      if (isIndexed) indexes.add(key, value);
    }
    if (isIndexed) settle(indexes, stale.length > 0);
    putRowCount(environment, tableId);
  });
}

/** Enters rows in the indexes that lack them, and removes entries that no row calls for, in one transaction. */
export function repairEntries(
  environment: Environment,
  checksum: Checksum,
  { tableId, rows: keys, entries }: EntryRepair,
): void {
  const table = findTable(environment, tableId);
  const indexes = new TableIndexes(environment, table, checksum);
  const rows = environment.rows(tableId);
  const database = environment.indexes(tableId);
  environment.transaction(() => {
    for (const key of entries) database.removeSync(Buffer.from(key));
    for (const bytes of keys) {
      const key = Buffer.from(bytes);
      const value = rows.get(key);
      if (value === undefined || !recordIsSound(checksum, key, value, value.length)) continue;
      // An entry that is there with a wrong row would be taken for this one's.
      for (const entry of indexes.entriesOf(key, value)) database.removeSync(entry.key);
      indexes.add(key, value);
    }
    settle(indexes, true);
  });
}

/** Brings a table's row count to the records that there are. */
export function repairCount(environment: Environment, tableId: number): void {
  environment.refresh();
  environment.transaction(() => putRowCount(environment, tableId));
}

/** @param recounts whether entries came or went that were not counted. */
function settle(indexes: TableIndexes, recounts: boolean): void {
  if (recounts) indexes.recount();
  indexes.judge();
}

function putRowCount(environment: Environment, tableId: number): void {
  const { checkpoint } = environment.tableState(tableId);
  const { entryCount } = environment.rows(tableId).getStats() as { entryCount: number };
  environment.putTableState(tableId, { rows: entryCount, checkpoint });
}

interface RecordToWrite {
  readonly key: Buffer;
  readonly value: Buffer;
}

function recordsToWrite(batch: Batch): RecordToWrite[] {
  const arena = Buffer.from(batch.arena);
  const records: RecordToWrite[] = [];
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    records.push({
      key: arena.subarray(keyStart, valueStart),
      value: arena.subarray(valueStart, end),
    });
  }
  return records;
}

function isDamaged(rows: BytesDatabase, checksum: Checksum, key: Buffer): boolean {
  const stored = rows.get(key);
  return stored !== undefined && !recordIsSound(checksum, key, stored, stored.length);
}

/** The index entries of some rows, found by their values: all entries of the table are looked at. */
function entriesOf(environment: Environment, tableId: number, keys: readonly Buffer[]): Buffer[] {
  const wanted = new Set(keys.map((key) => key.toString('latin1')));
  const found: Buffer[] = [];
  for (const { key, value } of environment.indexes(tableId).getRange({})) {
    if (wanted.has(value.toString('latin1', 0, value.length))) found.push(Buffer.from(key));
  }
  return found;
}

function findTable(environment: Environment, tableId: number): CatalogTable {
  environment.refresh();
  const table = environment.catalog().tables.find(({ id }) => id === tableId);
  if (table) return table;
  throw new StorageSyncError('WORKER_FAILED', `The cache has no table ${tableId} to repair.`);
}
