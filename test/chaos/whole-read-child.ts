import assert from 'node:assert/strict';
import { openCache, StorageSyncError, type CacheReader, type SqlValue } from '../../src/index.js';
import type { SourceRow } from '../../src/index.js';
import type { TableRead, WholeRead } from './whole-read.js';

/** Reads every table by its key, and by each of its indexes, whatever the cache is, and tells what came. */
const cacheDir = process.argv[2]!;

async function readAll(): Promise<WholeRead> {
  const reads: TableRead[] = [];
  try {
    await using cache = openCache(cacheDir, { validateChecksums: true });
    for (const { name, indexes } of cache.tables()) {
      reads.push(await readTable(cache, name, (table) => table.stream(), true));
      for (const index of indexes) {
        reads.push(await readTable(cache, name, (table) => table.rangeByIndex(index), false));
      }
    }
    return { reads, code: null, complaint: null };
  } catch (error) {
    if (!(error instanceof StorageSyncError)) return { reads, code: null, complaint: told(error) };
    return { reads, code: error.code, complaint: null };
  }
}

type Rows = Iterable<SourceRow> | AsyncIterable<SourceRow>;

async function readTable(
  cache: CacheReader,
  name: string,
  read: (table: ReturnType<typeof cache.table>) => Rows,
  isByKey: boolean,
): Promise<TableRead> {
  let columns: readonly string[] = [];
  let keyNames: readonly string[] = [];
  const rows: (readonly SqlValue[])[] = [];
  const told = (code: string | null) => {
    return { name, columns, keyNames, rows, isWhole: isByKey && code === null, code };
  };
  try {
    const table = cache.table(name);
    ({ columns, keyNames } = table);
    const hasKey = keyNames.every((column) => columns.includes(column));
    for await (const row of read(table)) {
      const cells = columns.map((column) => row[column]!);
      rows.push(cells);
      const key: SqlValue[] = keyNames.map((column) => row[column]!);
      if (!isByKey || !hasKey || key.includes(null)) continue;
      assert.deepEqual(table.get(...key), row, `a row of ${name} by its key`);
    }
    return told(null);
  } catch (error) {
    if (!(error instanceof StorageSyncError)) throw error;
    return told(error.code);
  }
}

function told(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

const result = await readAll();
// Ending before all of it is on its way would cut it off.
process.send!(result, () => process.disconnect());
