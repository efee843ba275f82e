import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { Packr } from 'msgpackr';
import { keyedReads } from './keyed-reads.js';
import { nativePages } from './native-pages.js';
import type { TargetContext } from './target.js';
import { type RowKey, BareLmdb } from './bare-lmdb.js';

type NamedRow = Readonly<Record<string, unknown>>;

/** Reads from bare LMDB rows that are objects, as msgpack with shared structures: the fastest that lmdb-js decodes. */
export const lmdbGet = keyedReads((context) => {
  const store = filledStore<NamedRow>(
    context,
    { encoding: 'msgpack', sharedStructuresKey: Symbol.for('structures') },
    (row, columns) => Object.fromEntries(columns.map((column, i) => [column, row[i]])),
  );
  return {
    read: (table, keys) => {
      const rows = store.database(table);
      const { key } = table;
      let found = 0;
      for (const wanted of keys) if (rows.get(wanted)?.[key] === wanted) found++;
      return found;
    },
    close: async () => await store.close(),
  };
});

/** A limit: finds the bytes of rows in bare LMDB, in the buffer that lmdb-js lends until the next read. */
export const lmdbBytes = keyedReads((context) => {
  const packr = new Packr({ useRecords: false });
  const store = filledStore<Buffer>(context, { encoding: 'binary' }, (row) => packr.pack(row));
  return {
    read: (table, keys) => {
      const rows = store.database(table);
      let found = 0;
      for (const wanted of keys) if (rows.getBinaryFast(wanted) !== undefined) found++;
      return found;
    },
    close: async () => await store.close(),
  };
});

function filledStore<V>(
  { url, tables, directory }: TargetContext,
  options: ConstructorParameters<typeof BareLmdb>[2],
  toValue: (row: unknown[], columns: readonly string[]) => V,
): BareLmdb<V> {
  const source = new Database(fileURLToPath(url));
  const store = new BareLmdb<V>(directory, tables, options);
  for (const table of tables) {
    const { key, columns } = table;
    const rows = store.database(table);
    const keyAt = columns.indexOf(key);
    store.transaction(() => {
      for (const page of nativePages(source, table)) {
        for (const row of page) rows.putSync(row[keyAt] as RowKey, toValue(row, columns));
      }
    });
  }
  source.close();
  return store;
}
