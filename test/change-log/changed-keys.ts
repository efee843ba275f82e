import { openChangeLog } from '../../src/index.js';
import { openDatabase, quote, type NativeDatabase } from '../support/databases.js';

/** The rows of a table by their keys, as text that differs whenever a value does. */
export type Rows = ReadonlyMap<string, string>;

/** A database file with change logs, and the promise they must keep, looked at through the driver. */
export class LoggedDatabase implements Disposable {
  readonly database: NativeDatabase;

  private constructor(database: NativeDatabase) {
    this.database = database;
  }

  /** Makes the database, and a log for every table that can have one. */
  static async make(
    file: string,
    sql: string,
    tables?: readonly string[],
  ): Promise<LoggedDatabase> {
    const database = openDatabase(file);
    database.exec(sql);
    await using log = await openChangeLog({ url: `file:${file}` });
    await log.install(tables);
    return new LoggedDatabase(database);
  }

  exec(sql: string): void {
    this.database.exec(sql);
  }

  all(sql: string): unknown[][] {
    return this.database.prepare(sql).raw().all() as unknown as unknown[][];
  }

  /** Each log's table, key and number. */
  captures(): { id: number; table: string; key: string[] }[] {
    return this.all('SELECT id, table_name, key FROM storage_sync_capture').map(
      ([id, table, key]) => ({
        id: Number(id),
        table: String(table),
        key: JSON.parse(String(key)) as string[],
      }),
    );
  }

  version(id: number): number {
    return Number(this.all(`SELECT max(version) FROM storage_sync_log_${id}`)[0]![0] ?? 0);
  }

  /** Runs `change`, and gives what it changed and did not log: nothing, if the promise is kept. */
  unlogged(change: () => void): string[] {
    const captures = this.captures();
    const before = captures.map(({ id, table, key }) => ({
      rows: this.rows(id, table, key),
      version: this.version(id),
    }));
    change();
    return captures.flatMap(({ id, table, key }, i) => {
      const { rows, version } = before[i]!;
      const logged = this.loggedKeys(id, key.length, version);
      return changedKeys(rows, this.rows(id, table, key))
        .filter((changed) => !logged.has(changed))
        .map((changed) => `${table}: ${changed}`);
    });
  }

  loggedKeys(id: number, keyLength: number, after: number): Set<string> {
    const columns = Array.from({ length: keyLength }, (_, i) => `k${i + 1}`);
    const row = this.hasRow(id) ? '"row"' : 'NULL';
    return new Set(
      this.all(
        `SELECT ${row}, ${columns.map(exact).join(', ')} FROM storage_sync_log_${id} WHERE version > ${after}`,
      ).map(keyText),
    );
  }

  rows(id: number, table: string, key: readonly string[]): Rows {
    const columns = this.all(`SELECT name FROM pragma_table_xinfo(${text(table)})`).map(String);
    const rowid = this.hasRow(id) ? 'rowid' : 'NULL';
    const keyColumns = key.map((name) => exact(quote(name)));
    const values = columns.map((name) => exact(quote(name)));
    return new Map(
      this.all(
        `SELECT ${rowid}, ${keyColumns.join(', ')}, ${values.join(` || ',' || `)} FROM ${quote(table)}`,
      ).map((row) => [keyText(row.slice(0, -1)), String(row.at(-1))]),
    );
  }

  hasRow(id: number): boolean {
    return (
      this.all(`SELECT 1 FROM pragma_table_info('storage_sync_log_${id}') WHERE name = 'row'`)
        .length > 0
    );
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}

function changedKeys(before: Rows, after: Rows): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter(
    (key) => before.get(key) !== after.get(key),
  );
}

/** A value as SQL text, an integral REAL as the INTEGER it equals. */
function exact(column: string): string {
  return `CASE WHEN typeof(${column}) = 'real' AND ${column} = CAST(${column} AS INTEGER) THEN quote(CAST(${column} AS INTEGER)) ELSE quote(${column}) END`;
}

/** The rowid tells rows apart only where a key value is NULL. */
function keyText([rowid, ...key]: readonly unknown[]): string {
  const parts = key.map(String);
  return parts.includes('NULL') ? `${parts.join(',')} at ${String(rowid)}` : parts.join(',');
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
