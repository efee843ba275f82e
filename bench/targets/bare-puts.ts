import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { Packr } from 'msgpackr';
import type { SourceTable } from '../data/data-file.js';
import { type RowKey, BareLmdb } from './bare-lmdb.js';
import { type NativeDatabase, nativePages } from './native-pages.js';
import type { Target } from './target.js';

/** Of each table, one row in so many is put again. */
const ONE_IN = 100;

interface Changes {
  /** Rows that are changed by one round: `row` counts in the order of the keys. */
  readonly isChanged: (row: number, table: SourceTable, round: number) => boolean;
  /** Rounds of other rows that come before the one that is measured. */
  readonly earlier?: number;
  /** True to read the changed rows from the source as well, each by its key. */
  readonly reads?: boolean;
}

const isSpread: Changes['isChanged'] = (row, _, round) => row % ONE_IN === round;
const isTogether: Changes['isChanged'] = (row, { rows }) => row < rows / ONE_IN;

/**
 * A limit: LMDB alone has all rows, and is given other values for one in a hundred, spread over the keys and made
 * beforehand, in one transaction that is forced to the disk. Whatever brings a cache up to date does at least that.
 */
export const barePuts = bareChanges({ isChanged: isSpread });

/** The same behind a read of these rows: the two things that a sync does, one after the other. */
export const bareReadPuts = bareChanges({ isChanged: isSpread, reads: true });

/** The same of rows that lie together. */
export const bareReadPutsTogether = bareChanges({ isChanged: isTogether, reads: true });

/** The same after three rounds of other rows, whose pages are there to be used again. */
export const bareReadPutsAgain = bareChanges({ isChanged: isSpread, reads: true, earlier: 3 });

interface Changed {
  readonly key: RowKey;
  readonly value: Buffer;
}

function bareChanges({ isChanged, earlier = 0, reads = false }: Changes): Target {
  return {
    prepare: ({ url, tables, directory }) => {
      const source = new Database(fileURLToPath(url));
      const packr = new Packr({ useRecords: false });
      const store = new BareLmdb<Buffer>(directory, tables, { encoding: 'binary' });
      const changed = tables.map((table) => {
        const keyAt = table.columns.indexOf(table.key);
        const rows = store.database(table);
        const rounds: Changed[][] = Array.from({ length: earlier + 1 }, () => []);
        let count = 0;
        store.transaction(() => {
          for (const page of nativePages(source, table)) {
            for (const row of page) {
              const key = row[keyAt] as RowKey;
              rows.putSync(key, packr.pack(row), { append: true });
              const round = rounds.findIndex((_, i) => isChanged(count, table, i));
              count++;
              if (round < 0) continue;
              const other = row.map((cell, i) => (i === keyAt ? cell : `${String(cell)}!`));
              rounds[round]!.push({ key, value: Buffer.from(packr.pack(other)) });
            }
          }
        });
        return { table, rounds };
      });
      store.flush();
      const put = (round: number) => {
        for (const { table, rounds } of changed) {
          const rows = store.database(table);
          store.transaction(() => {
            for (const { key, value } of rounds[round]!) rows.putSync(key, value);
          });
        }
        store.flush();
      };
      for (let round = 0; round < earlier; round++) put(round);
      return {
        run: () => {
          if (reads) {
            for (const { table, rounds } of changed) readByKey(source, table, rounds[earlier]!);
          }
          put(earlier);
          return Promise.resolve(store.count());
        },
        countKept: () => store.count(),
        close: async () => {
          source.close();
          await store.close();
        },
      };
    },
  };
}

/** Reads rows by their keys, in one snapshot, and throws them away. */
function readByKey(
  source: NativeDatabase,
  { name, key, columns }: SourceTable,
  rows: readonly Changed[],
): void {
  const select = source.prepare(`SELECT ${columns.join(', ')} FROM ${name} WHERE ${key} = ?`).raw();
  source.exec('BEGIN');
  for (const row of rows) {
    if (!select.get(row.key)) throw new Error(`The row ${row.key} is not there.`);
  }
  source.exec('COMMIT');
}
