import { join } from 'node:path';
import { StorageSync } from '../../src/index.js';
import type { Target } from './target.js';

/** The library, with its defaults: threads are started and ended within the run. */
export const storageSync: Target = {
  prepare: ({ url, tables, directory }) => {
    const cacheDir = join(directory, 'cache');
    let sync: StorageSync | undefined;
    let sourceRows = 0;
    return {
      run: async () => {
        sync = await StorageSync.open({
          source: { url },
          cacheDir,
          tables: tables.map(({ name }) => name),
        });
        const report = await sync.sync();
        sourceRows = report.sourceRowsRead;
        return Object.values(report.tables).reduce((rows, table) => rows + table.rowsRead, 0);
      },
      countKept: () =>
        tables.reduce((rows, { name }) => rows + (sync?.cache.table(name).count() ?? 0), 0),
      sourceRows: () => sourceRows,
      close: async () => await sync?.close(),
    };
  },
};
