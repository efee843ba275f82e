import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import type { Target } from './target.js';

const PAGE_ROWS = 1000;

/** A limit: one thread that reads the rows with the native driver in key order, and throws them away. */
export const bareRead: Target = {
  prepare: ({ url, tables }) => {
    const database = new Database(fileURLToPath(url));
    return {
      run: () => {
        let count = 0;
        for (const table of tables) {
          const columns = table.columns.join(', ');
          const order = `ORDER BY ${table.key} LIMIT ${PAGE_ROWS}`;
          const first = database.prepare(`SELECT ${columns} FROM ${table.name} ${order}`).raw();
          const next = database
            .prepare(`SELECT ${columns} FROM ${table.name} WHERE ${table.key} > ? ${order}`)
            .raw();
          const keyAt = table.columns.indexOf(table.key);
          let last: unknown = null;
          for (;;) {
            const rows = (last === null ? first.all() : next.all(last)) as unknown[][];
            count += rows.length;
            last = rows.at(-1)?.[keyAt];
            if (rows.length < PAGE_ROWS) break;
          }
        }
        return Promise.resolve(count);
      },
      countKept: () => null,
      close: () => {
        database.close();
        return Promise.resolve();
      },
    };
  },
};
