import { join } from 'node:path';
import {
  StorageSync,
  type CacheReader,
  type SourceRow,
  type TableReader,
} from '../../src/index.js';
import type { SourceTable } from '../data/data-file.js';
import { keyedReads } from './keyed-reads.js';
import type { RowKey } from './bare-lmdb.js';

const KEYS_AT_ONCE = 100;

/** Reads from the cache, one row at a time. */
export const cacheGet = cacheReads((cache, { name, key }, keys) =>
  getEach(cache.table(name), key, keys),
);

/** Reads two columns from the cache, the key and the last one, one row at a time. */
export const cacheGetTwo = cacheReads((cache, { name, key, columns }, keys) =>
  getEach(cache.table(name).select(key, columns.at(-1)!), key, keys),
);

/** Reads from the cache, a hundred rows at a time. */
export const cacheGetMany = cacheReads((cache, { name, key }, keys) => {
  const rows = cache.table(name);
  let found = 0;
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
    const wanted = keys.slice(from, from + KEYS_AT_ONCE);
    const read = rows.getMany(wanted);
    for (const [i, row] of read.entries()) if (row?.[key] === wanted[i]) found++;
  }
  return found;
});

function getEach(rows: TableReader<SourceRow>, key: string, keys: readonly RowKey[]): number {
  let found = 0;
  for (const wanted of keys) if (rows.get(wanted)?.[key] === wanted) found++;
  return found;
}

function cacheReads(
  read: (cache: CacheReader, table: SourceTable, keys: readonly RowKey[]) => number,
) {
  return keyedReads(async ({ url, tables, directory }) => {
    const sync = await StorageSync.open({
      source: { url },
      cacheDir: join(directory, 'cache'),
      tables: tables.map(({ name }) => name),
    });
    await sync.sync();
    return {
      read: (table, keys) => read(sync.cache, table, keys),
      close: async () => await sync.close(),
    };
  });
}
