import { openCache, StorageSyncError } from '../../src/index.js';

/** Reads rows by key from a cache, and says of each what came of it. */
const [cacheDir, table, ...keys] = process.argv.slice(2) as [string, string, ...string[]];
await using cache = openCache(cacheDir, { validateChecksums: true });
const said = keys.map((key) => {
  try {
    return cache.table(table).get(key) === undefined ? 'none' : 'row';
  } catch (error) {
    return error instanceof StorageSyncError ? error.code : String(error);
  }
});
process.stdout.write(said.join(' '));
