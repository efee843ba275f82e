import { join } from 'node:path';
import { createClient } from '@libsql/client';
import { open } from 'lmdb';
import type { Target } from './target.js';

const PAGE_ROWS = 1000;

/** What one would write without the library: pages in key order, each put in one transaction, flushed at the end. */
export const handWrittenLoop: Target = {
  prepare: ({ url, tables, directory }) => {
    const client = createClient({ url });
    const root = open({ path: join(directory, 'cache') });
    const databases = tables.map((table) => ({
      table,
      database: root.openDB<unknown, string | number>({ name: table.name }),
    }));
    return {
      run: async () => {
        let count = 0;
        for (const { table, database } of databases) {
          const first = `SELECT * FROM ${table.name} ORDER BY ${table.key} LIMIT ${PAGE_ROWS}`;
          const next =
            `SELECT * FROM ${table.name} WHERE ${table.key} > ? ` +
            `ORDER BY ${table.key} LIMIT ${PAGE_ROWS}`;
          let last: string | number | null = null;
          for (;;) {
            const { rows } = await client.execute(
              last === null ? first : { sql: next, args: [last] },
            );
            await database.transaction(() => {
              for (const row of rows) {
                const key = row[table.key] as string | number;
                void database.put(key, row);
                last = key;
              }
            });
            count += rows.length;
            if (rows.length < PAGE_ROWS) break;
          }
        }
        await root.flushed;
        return count;
      },
      countKept: () => databases.reduce((rows, { database }) => rows + database.getCount(), 0),
      close: async () => {
        client.close();
        await root.close();
      },
    };
  },
};
