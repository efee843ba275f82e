import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { Packr } from 'msgpackr';
import { nativePages } from './native-pages.js';
import { type RowKey, BareLmdb } from './bare-lmdb.js';
import type { Target } from './target.js';

/** Of each table, one row in so many is put again. */
const ONE_IN = 100;

/**
 * A limit: LMDB alone has all rows, and is given other values for one in a hundred, spread over the keys and made
 * beforehand, in one transaction that is forced to the disk. Whatever brings a cache up to date does at least that.
 */
export const barePuts: Target = {
  prepare: ({ url, tables, directory }) => {
    const source = new Database(fileURLToPath(url));
    const packr = new Packr({ useRecords: false });
    const store = new BareLmdb<Buffer>(directory, tables, { encoding: 'binary' });
    const changed = tables.map((table) => {
      const keyAt = table.columns.indexOf(table.key);
      const rows = store.database(table);
      const records: { readonly key: RowKey; readonly value: Buffer }[] = [];
      let count = 0;
      store.transaction(() => {
        for (const page of nativePages(source, table)) {
          for (const row of page) {
            const key = row[keyAt] as RowKey;
            rows.putSync(key, packr.pack(row), { append: true });
            if (count++ % ONE_IN > 0) continue;
            const other = row.map((cell, i) => (i === keyAt ? cell : `${String(cell)}!`));
            records.push({ key, value: Buffer.from(packr.pack(other)) });
          }
        }
      });
      return { rows, records };
    });
    source.close();
    store.flush();
    return {
      run: () => {
        for (const { rows, records } of changed) {
          store.transaction(() => {
            for (const { key, value } of records) rows.putSync(key, value);
          });
        }
        store.flush();
        return Promise.resolve(store.count());
      },
      countKept: () => store.count(),
      close: async () => await store.close(),
    };
  },
};
