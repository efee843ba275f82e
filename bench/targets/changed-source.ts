import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Database from 'libsql';
import { openChangeLog, StorageSync } from '../../src/index.js';
import type { SourceTable } from '../data/data-file.js';
import type { Target } from './target.js';

/** Of each table, one row in so many is changed. */
const ONE_IN = 100;

type SourceDatabase = InstanceType<typeof Database>;

/** A sync by the change log when nothing changed. */
export const noChange: Target = afterChanges(() => undefined);

/** A sync by the change log of one row in a hundred, spread over the keys, each with another value than before. */
export const onePercent: Target = afterChanges((database, table) => {
  changeWhere(database, table, `rowid % ${ONE_IN} = 0`);
});

/** The same after three such syncs of other rows. */
export const onePercentAgain: Target = afterChanges((database, table, round) => {
  changeWhere(database, table, `rowid % ${ONE_IN} = ${round}`);
}, 3);

/** The same of rows that lie together: the first hundredth in the order of the keys. */
export const onePercentTogether: Target = afterChanges((database, table) => {
  const { name, key } = table;
  const behind = `(SELECT ${key} FROM ${name} ORDER BY ${key} LIMIT 1 OFFSET (SELECT count(*) FROM ${name}) / ${ONE_IN})`;
  changeWhere(database, table, `${key} < ${behind}`);
});

/** Gives rows another value in a column that is no part of the key. */
function changeWhere(database: SourceDatabase, table: SourceTable, where: string): void {
  const { name, columns, key } = table;
  const column = columns.find((each) => each !== key)!;
  database.exec(
    `UPDATE ${name} SET ${column} = CASE typeof(${column}) WHEN 'text' THEN ${column} || '!' ELSE ${column} + 1 END ` +
      `WHERE ${where}`,
  );
}

/**
 * What is not measured: a copy of the file with a change log, a first sync, then the changes.
 *
 * @param earlier syncs of other changes that come before.
 */
function afterChanges(
  change: (database: SourceDatabase, table: SourceTable, round: number) => void,
  earlier = 0,
): Target {
  return {
    prepare: async ({ url, tables, directory }) => {
      const file = join(directory, 'source.db');
      copyFileSync(fileURLToPath(url), file);
      const source = { url: pathToFileURL(file).href };
      await using log = await openChangeLog(source);
      await log.install();
      const sync = await StorageSync.open({
        source,
        cacheDir: join(directory, 'cache'),
        tables: tables.map(({ name }) => name),
      });
      for (let round = 0; round <= earlier; round++) {
        await sync.sync();
        const database = new Database(file);
        for (const table of tables) change(database, table, round);
        database.close();
      }
      let sourceRows = 0;
      const count = () =>
        tables.reduce((rows, { name }) => rows + sync.cache.table(name).count(), 0);
      return {
        run: async () => {
          const { mode, sourceRowsRead } = await sync.sync();
          if (mode !== 'incremental') throw new Error(`The sync was ${mode}.`);
          sourceRows = sourceRowsRead;
          return count();
        },
        countKept: count,
        sourceRows: () => sourceRows,
        close: async () => await sync.close(),
      };
    },
  };
}
