import assert from 'node:assert/strict';
import type { CacheReader } from '../../src/index.js';
import { openDatabase, type NativeDatabase } from '../support/databases.js';
import type { Random } from '../support/random.js';

/** A database under constant writes, and what must be in it. */
export class SoakSource implements Disposable {
  static readonly TABLES = ['users', 'orders', 'events'] as const;
  static readonly MAX_ID = 5000;

  readonly #database: NativeDatabase;
  readonly #random: Random;
  readonly #rows = new Map<string, Map<number, string>>();
  readonly #put;
  readonly #remove;
  transactions = 0;
  rowsWritten = 0;

  constructor(file: string, random: Random) {
    this.#random = random;
    this.#database = openDatabase(file);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;');
    for (const name of SoakSource.TABLES) {
      this.#database.exec(`CREATE TABLE ${name} (id INTEGER PRIMARY KEY, body TEXT NOT NULL)`);
      this.#rows.set(name, new Map());
    }
    const statements = (sql: (table: string) => string) =>
      new Map(SoakSource.TABLES.map((name) => [name as string, this.#database.prepare(sql(name))]));
    this.#put = statements((table) => `INSERT OR REPLACE INTO ${table} VALUES (?, ?)`);
    this.#remove = statements((table) => `DELETE FROM ${table} WHERE id = ?`);
    for (let i = 0; i < 300; i++) this.write();
  }

  /** One transaction over some tables: inserts, updates, deletes. */
  write(): void {
    const random = this.#random;
    this.#database.exec('BEGIN IMMEDIATE');
    for (let i = random.int(1, 12); i > 0; i--) {
      const name = SoakSource.TABLES[random.int(0, SoakSource.TABLES.length - 1)]!;
      const id = random.int(0, SoakSource.MAX_ID);
      const rows = this.#rows.get(name)!;
      if (random.chance(0.3)) {
        this.#remove.get(name)!.run(id);
        rows.delete(id);
      } else {
        const body = `${this.transactions} ${'x'.repeat(random.int(0, 300))}`;
        this.#put.get(name)!.run(id, body);
        rows.set(id, body);
      }
      this.rowsWritten++;
    }
    this.#database.exec('COMMIT');
    this.transactions++;
  }

  /** @throws {AssertionError} when the cache is not what was written. */
  compare(cache: CacheReader): void {
    using snapshot = cache.snapshot();
    for (const [name, rows] of this.#rows) {
      const found = new Map(
        [...snapshot.table(name).range()].map((row) => [
          row['id'] as number,
          row['body'] as string,
        ]),
      );
      assert.equal(found.size, rows.size, name);
      for (const [id, body] of rows) assert.equal(found.get(id), body, `${name} ${id}`);
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
