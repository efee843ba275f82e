import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { nativePages } from './native-pages.js';
import type { Target } from './target.js';
import { type RowKey, BareLmdb } from './bare-lmdb.js';

const MAPPED_BYTES = 16 * 1024 ** 3;

/**
 * The hand-written loop after an afternoon of tuning, still on one thread: the native driver's arrays from a mapped file,
 * packed as arrays into lmdb-js's own buffer and appended in one transaction for each table, and one flush at the end.
 *
 * It cannot be resumed, holds the event loop all the while, and the driver ends the process at TEXT that is no UTF-8.
 */
export const handTunedLoop: Target = {
  prepare: ({ url, tables, directory }) => {
    const source = new Database(fileURLToPath(url));
    source.exec(`PRAGMA mmap_size = ${MAPPED_BYTES}`);
    const store = new BareLmdb<unknown[]>(directory, tables, { encoding: 'msgpack' });
    return {
      run: () => {
        let count = 0;
        for (const table of tables) {
          const rows = store.database(table);
          const keyAt = table.columns.indexOf(table.key);
          store.transaction(() => {
            for (const page of nativePages(source, table)) {
              for (const row of page) rows.putSync(row[keyAt] as RowKey, row, { append: true });
              count += page.length;
            }
          });
        }
        store.flush();
        return Promise.resolve(count);
      },
      countKept: () => store.count(),
      close: async () => {
        source.close();
        await store.close();
      },
    };
  },
};
