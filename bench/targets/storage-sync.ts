import { join } from 'node:path';
import { StorageSync, type StorageSyncOptions } from '../../src/index.js';
import type { Target, TargetContext, TargetRun } from './target.js';

type Settings = Pick<StorageSyncOptions, 'lanes'>;

/** The library, with its defaults: threads are started and ended within the run. */
export const storageSync: Target = { prepare: (context) => firstSync(context, {}) };

/** The same, each table read in one lane. */
export const oneLane: Target = { prepare: (context) => firstSync(context, { lanes: 1 }) };

function firstSync({ url, tables, directory }: TargetContext, settings: Settings): TargetRun {
  const cacheDir = join(directory, 'cache');
  let sync: StorageSync | undefined;
  let sourceRows = 0;
  return {
    run: async () => {
      sync = await StorageSync.open({
        ...settings,
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
}
