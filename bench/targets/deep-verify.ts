import { join } from 'node:path';
import { StorageSync } from '../../src/index.js';
import type { Target } from './target.js';

/** A deep verify of a cache that is true. The first sync is not measured. */
export const deepVerify: Target = {
  prepare: async ({ url, tables, directory }) => {
    const sync = await StorageSync.open({
      source: { url },
      cacheDir: join(directory, 'cache'),
      tables: tables.map(({ name }) => name),
    });
    await sync.sync();
    let sourceRows = 0;
    return {
      run: async () => {
        const report = await sync.verify({ level: 'deep' });
        if (report.differences > 0 || !report.complete)
          throw new Error('The cache was not found true.');
        sourceRows = report.sourceRowsRead;
        return sourceRows;
      },
      countKept: () => tables.reduce((rows, { name }) => rows + sync.cache.table(name).count(), 0),
      sourceRows: () => sourceRows,
      close: async () => await sync.close(),
    };
  },
};
