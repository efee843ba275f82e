import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../support/databases.js';

/** A directory that is gone when the test is over. */
export class TempDir implements AsyncDisposable {
  readonly path: string;
  /** A cache directory in it, not yet made. */
  readonly cache: string;

  private constructor(path: string) {
    this.path = path;
    this.cache = join(path, 'cache');
  }

  static async make(): Promise<TempDir> {
    return new TempDir(await mkdtemp(join(tmpdir(), 'storage-sync-cli-')));
  }

  join(name: string): string {
    return join(this.path, name);
  }

  async write(name: string, text: string): Promise<string> {
    await writeFile(this.join(name), text);
    return this.join(name);
  }

  /** Makes a database file, or changes one, and gives its URL. */
  database(name: string, sql: string): string {
    const database = openDatabase(this.join(name));
    try {
      database.exec(sql);
    } finally {
      database.close();
    }
    return `file:${this.join(name)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A table `notes` with this many rows. */
export function notesSql(rows: number): string {
  return `CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO notes SELECT i, 'note number ' || i FROM n;`;
}
