import Database from 'libsql';

/** Makes a database of customers at `path`. */
export function makeSampleShop(path: string, customers: number): void {
  changeShop(
    path,
    `CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, points INTEGER NOT NULL);
     WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${customers})
     INSERT INTO customers SELECT id, 'customer ' || id, id % 10 FROM n`,
  );
}

/** Runs statements on the database, as the application that owns it would. */
export function changeShop(path: string, sql: string): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}
