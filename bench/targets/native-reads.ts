import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import type { SourceTable } from '../data/data-file.js';
import { keyedReads } from './keyed-reads.js';
import type { TargetContext } from './target.js';

type Statement = ReturnType<InstanceType<typeof Database>['prepare']>;

/** The whole of a file of a few million rows. */
const MAPPED_BYTES = 16 * 1024 ** 3;

/** Point reads of the file by the native driver: a prepared statement, objects as the cache's reads give them. */
export const nativeGet = keyedReads((context) => {
  const { statementFor, close } = preparedReads(context);
  return {
    read: (table, keys) => {
      const { key } = table;
      const statement = statementFor(table);
      let found = 0;
      for (const wanted of keys) {
        const row = statement.get(wanted) as Readonly<Record<string, unknown>> | undefined;
        if (row?.[key] === wanted) found++;
      }
      return found;
    },
    close,
  };
});

/** The same with arrays, which the driver makes faster. */
export const nativeRaw = keyedReads((context) => {
  const { statementFor, close } = preparedReads(context);
  return {
    read: (table, keys) => {
      const keyAt = table.columns.indexOf(table.key);
      const statement = statementFor(table).raw();
      let found = 0;
      for (const wanted of keys) {
        const row = statement.get(wanted) as readonly unknown[] | undefined;
        if (row?.[keyAt] === wanted) found++;
      }
      return found;
    },
    close,
  };
});

function preparedReads({ url }: TargetContext): {
  readonly statementFor: (table: SourceTable) => Statement;
  readonly close: () => Promise<void>;
} {
  const database = new Database(fileURLToPath(url));
  database.exec(`PRAGMA mmap_size = ${MAPPED_BYTES}`);
  return {
    statementFor: ({ name, key, columns }) =>
      database.prepare(`SELECT ${columns.join(', ')} FROM ${name} WHERE ${key} = ?`),
    close: () => {
      database.close();
      return Promise.resolve();
    },
  };
}
