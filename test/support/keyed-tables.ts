import { changeDatabase } from './databases.js';
import fc from './fast-check.js';

/** Tables of every kind of key that can be captured; `u` is unique besides. */
export const KEYED_TABLES = {
  rowid: 'CREATE TABLE rowid (k INTEGER PRIMARY KEY, u UNIQUE, v)',
  texts: 'CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, u UNIQUE, v)',
  without: 'CREATE TABLE without (k TEXT PRIMARY KEY NOT NULL, u UNIQUE, v) WITHOUT ROWID',
  nullable: 'CREATE TABLE nullable (k TEXT PRIMARY KEY, u, v)',
  nocase: 'CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, u UNIQUE, v)',
  spelled:
    'CREATE TABLE spelled (k TEXT COLLATE NOCASE NOT NULL, u UNIQUE, v, PRIMARY KEY (k COLLATE BINARY))',
  blobs: 'CREATE TABLE blobs (k BLOB PRIMARY KEY NOT NULL, u, v)',
  composite:
    'CREATE TABLE composite (k TEXT NOT NULL, k2 INTEGER NOT NULL, u UNIQUE, v, PRIMARY KEY (k, k2))',
  parents: 'CREATE TABLE parents (k INTEGER PRIMARY KEY, u UNIQUE, v)',
  children:
    'CREATE TABLE children (k TEXT NOT NULL PRIMARY KEY, u REFERENCES parents (k) ON DELETE CASCADE ON UPDATE CASCADE, v)',
} as const;

export type KeyedTable = keyof typeof KEYED_TABLES;

/** Tables that rows may be written to whatever is in others. */
const FREE = Object.keys(KEYED_TABLES).filter((name) => name !== 'children') as Exclude<
  KeyedTable,
  'children'
>[];

/** Small domains, so that keys and unique values meet. */
const number = fc.integer({ min: 1, max: 9 });
const text = fc.constantFrom('a', 'A', 'b', 'B', 'é', '', '1', 'x y');
/** What every encoding on the way must bring over as it is. */
const value = fc.oneof(
  { weight: 6, arbitrary: number.map(String) },
  fc.constantFrom(
    'NULL',
    '-1.5',
    '9e999',
    '9223372036854775807',
    "x'00ff'",
    "'é' || char(0) || 'z'",
    'zeroblob(9000)',
    "printf('%.*c', 3000, 'y')",
  ),
);

const written = fc
  .tuple(
    fc.constantFrom(...FREE),
    fc.constantFrom(
      'INSERT OR REPLACE',
      'INSERT OR IGNORE',
      'upsert',
      'update',
      'update key',
      'UPDATE OR REPLACE',
      'UPDATE OR IGNORE',
      'shift',
      'delete',
      'delete all',
      'null key',
      'swap',
    ),
    text,
    text,
    number,
    value,
  )
  .map(([table, kind, a, b, n, v]): string => {
    const literal = (chars: string) => `'${chars}'`;
    const isInteger = table === 'rowid' || table === 'parents';
    const key = (chars: string) =>
      isInteger ? String((chars.codePointAt(0) ?? 7) % 9) : literal(chars);
    const keyColumns =
      table === 'composite' ? 'k, k2' : table === 'spelled' ? 'k COLLATE BINARY' : 'k';
    const wholeKey = table === 'composite' ? `${key(a)}, ${n % 3}` : key(a);
    switch (kind) {
      case 'INSERT OR REPLACE':
      case 'INSERT OR IGNORE':
        return `${kind} INTO ${table} VALUES (${wholeKey}, ${literal(b)}, ${v})`;
      case 'upsert':
        return `INSERT INTO ${table} VALUES (${wholeKey}, NULL, ${n}) ON CONFLICT (${keyColumns}) DO UPDATE SET v = excluded.v + 1`;
      case 'update':
        return `UPDATE ${table} SET v = ${v} WHERE k >= ${key(a)}`;
      case 'update key':
        return `UPDATE OR IGNORE ${table} SET k = ${key(b)} WHERE k = ${key(a)}`;
      case 'UPDATE OR REPLACE':
      case 'UPDATE OR IGNORE':
        return `${kind} ${table} SET k = ${key(b)}, u = ${literal(a)} WHERE v = ${n}`;
      case 'shift':
        return isInteger
          ? `UPDATE OR REPLACE ${table} SET k = k + 1`
          : `UPDATE OR REPLACE ${table} SET k = k || 'x' WHERE length(k) < 4`;
      case 'delete':
        return `DELETE FROM ${table} WHERE v = ${n}`;
      case 'delete all':
        return `DELETE FROM ${table}`;
      case 'null key':
        return `INSERT INTO nullable VALUES (NULL, ${literal(a)}, ${n}); UPDATE nullable SET v = v + 1 WHERE k IS NULL AND u = ${literal(b)}`;
      case 'swap':
        return `UPDATE OR IGNORE ${table} SET u = CASE u WHEN ${literal(a)} THEN ${literal(b)} ELSE u END`;
    }
  });

/** Writes to rows that go, or get another key, when those of `parents` do. */
const referring = fc
  .tuple(fc.constantFrom('put', 'put', 'put', 'move', 'delete'), text, number, value)
  .map(([kind, a, n, v]): string => {
    const parent = `(SELECT k FROM parents ORDER BY k LIMIT 1 OFFSET ${n % 4})`;
    if (kind === 'put') {
      return `INSERT OR REPLACE INTO children VALUES ('${a}' || ${n % 3}, ${parent}, ${v})`;
    }
    if (kind === 'move') return `UPDATE children SET u = ${parent} WHERE k >= '${a}'`;
    return `DELETE FROM children WHERE u IS ${parent}`;
  });

/** One statement that writes to these tables. None of them fails. */
export const keyedStatement = fc.oneof(
  { weight: 9, arbitrary: written },
  { weight: 1, arbitrary: referring },
);

/** What is written at once. */
export interface Transaction {
  readonly statements: readonly string[];
  readonly rollsBack: boolean;
  readonly recursive: boolean;
}

export const transaction = fc
  .tuple(fc.array(keyedStatement, { minLength: 1, maxLength: 8 }), fc.boolean(), fc.boolean())
  .map(([statements, rollsBack, recursive]): Transaction => ({ statements, rollsBack, recursive }));

/** Runs a transaction on a database file, with foreign keys enforced. */
export function commit(file: string, { statements, rollsBack, recursive }: Transaction): void {
  changeDatabase(file, (db) => {
    db.exec(
      `PRAGMA foreign_keys = on; PRAGMA recursive_triggers = ${recursive ? 'on' : 'off'}; BEGIN`,
    );
    for (const sql of statements) db.exec(sql);
    db.exec(rollsBack ? 'ROLLBACK' : 'COMMIT');
  });
}
