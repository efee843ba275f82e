import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { nativePages } from './native-pages.js';
import type { Target } from './target.js';

/** A limit: one thread that reads the rows with the native driver in key order, and throws them away. */
export const bareRead: Target = {
  prepare: ({ url, tables }) => {
    const database = new Database(fileURLToPath(url));
    return {
      run: () => {
        let count = 0;
        for (const table of tables) {
          for (const page of nativePages(database, table)) count += page.length;
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
