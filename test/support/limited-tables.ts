import { defineTable, type TableDefinition } from '../../src/index.js';
import fc from './fast-check.js';

/** Tables with a limit by each kind of key, and one that refers to two of them. */
export const LIMITED_SCHEMA = `
  CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, t, v);
  CREATE TABLE without (k TEXT, k2 INTEGER, t, v, PRIMARY KEY (k, k2)) WITHOUT ROWID;
  CREATE TABLE nullable (k TEXT PRIMARY KEY, t, v);
  CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, t TEXT COLLATE NOCASE, v);
  CREATE TABLE notes (id INTEGER PRIMARY KEY, kind TEXT, text_k TEXT, without_k TEXT, without_k2 INTEGER, v);
  CREATE INDEX notes_by_text ON notes (text_k)`;
const LIMITED = ['texts', 'without', 'nullable', 'nocase'] as const;

/** The definitions of these tables, each limited to its newest rows. */
export function limitedTables(count: number): TableDefinition[] {
  return [
    ...LIMITED.map((name) => defineTable({ name, limit: { count, newestBy: 't' } })),
    defineTable({
      name: 'notes',
      references: [
        { columns: ['text_k'], table: 'texts', when: { column: 'kind', equals: 'text' } },
        { columns: ['without_k', 'without_k2'], table: 'without' },
      ],
    }),
  ];
}

/** The rows that the cache must hold of each table, said in another way than the library says it. */
export function limitedWhere(count: number): Record<string, string> {
  const newest = (table: string, id: string, key: string) =>
    `(${id}) IN (SELECT ${id} FROM (SELECT ${id}, row_number() OVER (ORDER BY t DESC, ${key}) AS place FROM ${table}) ` +
    `WHERE place <= ${count})`;
  const texts = newest('texts', 'k', 'k DESC');
  const without = newest('without', 'k, k2', 'k DESC, k2 DESC');
  return {
    texts,
    without,
    nocase: newest('nocase', 'k', 'k DESC'),
    nullable: newest('nullable', 'rowid', 'k DESC, rowid DESC'),
    notes:
      `NOT (kind IS 'text' AND text_k IN (SELECT k FROM texts WHERE NOT (${texts}))) AND ` +
      `NOT EXISTS (SELECT 1 FROM without WHERE k = without_k AND k2 = without_k2 AND NOT (${without}))`,
  };
}

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'é', '');
const number = fc.integer({ min: 1, max: 4 });
/** Few values, so that there are ties at the limit; of several storage classes. */
const time = fc.constantFrom('1', '2', '2', '3', '3', '4', '5', 'NULL', "'x'", "'X'", '2.5');
/** One statement that writes to these tables. None of them fails. */
export const limitedStatement = fc
  .tuple(
    fc.constantFrom(...LIMITED, ...(['texts', 'notes', 'notes', 'notes'] as const)),
    fc.constantFrom(
      'put',
      'put',
      'put',
      'put',
      'put',
      'put',
      'touch',
      'move',
      'delete',
      'delete newest',
      'null',
      'key',
    ),
    key,
    key,
    number,
    time,
  )
  .map(([table, kind, a, b, n, t]): string => {
    if (table === 'notes') {
      const id = (a.codePointAt(0) ?? 0) + n * 256;
      if (kind.startsWith('delete')) return `DELETE FROM notes WHERE id = ${id}`;
      const isText = n % 2 === 0;
      return `INSERT OR REPLACE INTO notes VALUES (${id}, '${isText ? 'text' : 'other'}', '${b}', '${a}', ${n}, ${n})`;
    }
    const columns = table === 'without' ? `'${a}', ${n}` : `'${a}'`;
    switch (kind) {
      case 'touch':
        return `UPDATE ${table} SET v = ${n} WHERE k >= '${a}'`;
      case 'move':
        return `UPDATE ${table} SET t = ${t} WHERE k = '${a}'`;
      case 'key':
        return `UPDATE OR IGNORE ${table} SET k = '${b}' WHERE k = '${a}'`;
      case 'delete':
        return `DELETE FROM ${table} WHERE k = '${a}'`;
      case 'delete newest':
        return `DELETE FROM ${table} WHERE k IN (SELECT k FROM ${table} ORDER BY t DESC LIMIT ${n})`;
      case 'null':
        return `INSERT INTO nullable VALUES (NULL, ${t}, ${n})`;
      default:
        return `INSERT OR REPLACE INTO ${table} VALUES (${columns}, ${t}, ${n})`;
    }
  });
