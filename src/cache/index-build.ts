import type { Checksum } from '../transform/checksum.js';
import { findCatalogTable, withTable, type CatalogTable } from './catalog.js';
import type { Environment } from './environment.js';
import { wholeIndex, type IndexEntry } from './index-key.js';
import { damagedRecord, decodeRecord, recordIsSound } from './record.js';
import { TableIndexes } from './table-indexes.js';

/** Rows entered, or entries removed, in one transaction. */
const CHUNK_ROWS = 2000;
/** Bytes of rows at which a transaction ends early. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export interface IndexBuildProgress {
  /** True when the table's indexes are as declared: all built, and nothing left of others. */
  readonly done: boolean;
}

/**
 * Takes one step towards the indexes that a table is declared to have: enters the next stored rows in those that are
 * not complete, or, when all are, removes entries of one that is not declared any more. Each step is one transaction
 * that also says how far it has come, so a kill costs at most one step. Rows may be written between steps.
 *
 * @throws {CacheError} `CACHE_CORRUPT` for a damaged row.
 */
export function buildIndexes(
  environment: Environment,
  tableId: number,
  checksum: Checksum,
): IndexBuildProgress {
  environment.refresh();
  const table = findCatalogTable(environment.catalog(), tableId);
  if (!table) return { done: true };
  return buildStep(environment, table, checksum) ?? dropStep(environment, table);
}

/** Whether anything is left to do for {@link buildIndexes}. */
export function hasIndexWork(environment: Environment, table: CatalogTable): boolean {
  return (
    table.droppedIndexes.length > 0 ||
    table.indexNumbers.some((number) => !environment.indexState(table.id, number)?.complete)
  );
}

function buildStep(
  environment: Environment,
  table: CatalogTable,
  checksum: Checksum,
): IndexBuildProgress | null {
  const { id, plan } = table;
  const building = table.indexNumbers.flatMap((number, at) => {
    const state = environment.indexState(id, number);
    return state && !state.complete ? [{ at, number, builtTo: state.builtTo }] : [];
  });
  if (building.length === 0) return null;
  const after = building.map(({ builtTo }) => builtTo).reduce(least);
  const indexes = new TableIndexes(environment, table, checksum);

  const entries: { readonly entry: IndexEntry; readonly rowKey: Buffer }[] = [];
  let rows = 0;
  let bytes = 0;
  let last = after;
  let done = true;
  const start = after ? { start: Buffer.from(after), exclusiveStart: true } : {};
  for (const { key, value } of environment.rows(id).getRange(start)) {
    if (rows === CHUNK_ROWS || bytes >= CHUNK_BYTES) {
      done = false;
      break;
    }
    if (!recordIsSound(checksum, key, value, value.length)) throw damagedRecord(plan.name, key);
    const rowKey = Buffer.from(key);
    const row = decodeRecord(value, value.length);
    for (const { at } of building) entries.push({ entry: indexes.entry(at, row, rowKey), rowKey });
    rows++;
    bytes += value.length;
    last = rowKey;
  }
  // In their own order, neighbours go into the same pages.
  entries.sort((a, b) => a.entry.key.compare(b.entry.key));

  environment.transaction(() => {
    for (const { entry, rowKey } of entries) indexes.put(entry, rowKey);
    for (const { number } of building) {
      const state = environment.indexState(id, number)!;
      const ahead = least(state.builtTo, last) === last ? state.builtTo : last;
      environment.putIndexState(id, number, { ...state, builtTo: ahead, complete: done });
    }
    if (done) indexes.judge();
  });
  return { done: done && table.droppedIndexes.length === 0 };
}

function dropStep(environment: Environment, table: CatalogTable): IndexBuildProgress {
  const [number] = table.droppedIndexes;
  if (number === undefined) return { done: true };
  const database = environment.indexes(table.id);
  const keys = [...database.getKeys({ ...wholeIndex(number), limit: CHUNK_ROWS })];
  const droppedIndexes =
    keys.length < CHUNK_ROWS ? table.droppedIndexes.slice(1) : table.droppedIndexes;
  environment.transaction(() => {
    for (const key of keys) database.removeSync(key);
    if (droppedIndexes === table.droppedIndexes) return;
    environment.putCatalog(withTable(environment.catalog(), { ...table, droppedIndexes }));
  });
  return { done: droppedIndexes.length === 0 };
}

/** The lesser of two positions; null is the start. */
function least(a: Uint8Array | null, b: Uint8Array | null): Uint8Array | null {
  if (a === null || b === null) return null;
  return Buffer.compare(a, b) <= 0 ? a : b;
}
