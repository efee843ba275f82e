import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { Packr } from 'msgpackr';
import { nativePages } from './native-pages.js';
import type { Target } from './target.js';
import { type RowKey, BareLmdb } from './bare-lmdb.js';

/** A limit: one thread that appends records made beforehand to LMDB, in one transaction for each table, and flushes. */
export const bareAppend: Target = {
  prepare: ({ url, tables, directory }) => {
    const source = new Database(fileURLToPath(url));
    const packr = new Packr({ useRecords: false });
    const records = tables.map((table) => {
      const keyAt = table.columns.indexOf(table.key);
      const keys: RowKey[] = [];
      const values: Buffer[] = [];
      for (const page of nativePages(source, table)) {
        for (const row of page) {
          keys.push(row[keyAt] as RowKey);
          values.push(packr.pack(row));
        }
      }
      return { table, keys, values };
    });
    source.close();
    const store = new BareLmdb<Buffer>(directory, tables, { encoding: 'binary' });
    return {
      run: () => {
        let count = 0;
        for (const { table, keys, values } of records) {
          const rows = store.database(table);
          store.transaction(() => {
            for (const [i, value] of values.entries()) {
              rows.putSync(keys[i]!, value, { append: true });
            }
          });
          count += values.length;
        }
        store.flush();
        return Promise.resolve(count);
      },
      countKept: () => store.count(),
      close: async () => await store.close(),
    };
  },
};
