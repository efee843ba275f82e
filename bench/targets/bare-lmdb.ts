import { closeSync, fsyncSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import type { SourceTable } from '../data/data-file.js';

export type RowKey = string | number;

/** A bare LMDB environment with a database for each table, whose commits do not wait for the disk. */
export class BareLmdb<V> {
  readonly #path: string;
  readonly #root;
  readonly #databases: ReadonlyMap<SourceTable, Database<V, RowKey>>;

  constructor(
    directory: string,
    tables: readonly SourceTable[],
    options: { readonly encoding: 'msgpack' | 'binary'; readonly sharedStructuresKey?: symbol },
  ) {
    this.#path = join(directory, 'cache');
    this.#root = open({ path: this.#path, noSync: true });
    this.#databases = new Map(
      tables.map((table) => [table, this.#root.openDB<V, RowKey>(table.name, options)]),
    );
  }

  database(table: SourceTable): Database<V, RowKey> {
    return this.#databases.get(table)!;
  }

  transaction(work: () => void): void {
    this.#root.transactionSync(() => {
      work();
    });
  }

  count(): number {
    return Array.from(this.#databases.values(), (database) => database.getCount()).reduce(
      (sum, count) => sum + count,
      0,
    );
  }

  /** Forces to the disk what was committed. */
  flush(): void {
    const file = openSync(join(this.#path, 'data.mdb'), 'r+');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}
