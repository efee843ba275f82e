import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import type { SourceTable } from '../data/data-file.js';
import { Random } from '../data/random.js';
import { nativePages } from './native-pages.js';
import type { Target, TargetContext } from './target.js';
import type { RowKey } from './bare-lmdb.js';

const SEED = 4711;
const STREAM = 0;

/** A store that rows can be read from by their keys. */
export interface KeyedStore {
  /** Reads the rows with these keys, and returns how many are what they should be. */
  read(table: SourceTable, keys: readonly RowKey[]): number;
  close(): Promise<void>;
}

/**
 * Reads every row of the tables once by its key, in random order, from a store that is filled before the clock starts and
 * has been read the same way once: its pages are in memory and the code is compiled.
 */
export function keyedReads(
  openStore: (context: TargetContext) => KeyedStore | Promise<KeyedStore>,
): Target {
  return {
    prepare: async (context) => {
      const orders = keysInRandomOrder(context);
      const store = await openStore(context);
      const readAll = () =>
        orders.reduce((found, { table, keys }) => found + store.read(table, keys), 0);
      readAll();
      return {
        run: () => Promise.resolve(readAll()),
        countKept: () => null,
        close: async () => await store.close(),
      };
    },
  };
}

function keysInRandomOrder({
  url,
  tables,
}: TargetContext): { readonly table: SourceTable; readonly keys: RowKey[] }[] {
  const database = new Database(fileURLToPath(url));
  try {
    return tables.map((table) => {
      const { key } = table;
      const pages = nativePages(database, { ...table, columns: [key] });
      return { table, keys: shuffle(Array.from(pages).flat(2) as RowKey[]) };
    });
  } finally {
    database.close();
  }
}

/** The shuffle of Fisher and Yates: alike in all runs. */
function shuffle(keys: RowKey[]): RowKey[] {
  const random = new Random(SEED, STREAM, keys.length);
  for (let i = keys.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [keys[i], keys[j]] = [keys[j]!, keys[i]!];
  }
  return keys;
}
