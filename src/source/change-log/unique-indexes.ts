import type { RawRow, Statement } from '../connection.js';
import { parseIndex } from './sql-text.js';

export interface UniqueIndexTerm {
  /** The column, or null for an expression. */
  readonly column: string | null;
  /** The expression as it was written, or null for a column. */
  readonly expression: string | null;
  readonly collation: string;
}

/** An index by which `REPLACE` may delete rows. */
export interface UniqueIndex {
  readonly name: string;
  readonly isPrimaryKey: boolean;
  readonly terms: readonly UniqueIndexTerm[];
  /** The condition of a partial index as it was written, or null. */
  readonly where: string | null;
}

/** What the triggers must know of the schema beyond its columns: unique indexes of every kind, and the tables' SQL. */
export interface UniqueIndexes {
  readonly byTable: ReadonlyMap<string, readonly UniqueIndex[]>;
  readonly tableSql: ReadonlyMap<string, string>;
}

/** What tells the unique indexes of all tables. */
export const UNIQUE_INDEXES: Statement = {
  sql: `SELECT t.name, i.name, i.origin, i.partial, c.name, c.coll, s.sql
     FROM pragma_table_list AS t, pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c
     LEFT JOIN main.sqlite_schema AS s ON s.type = 'index' AND s.name = i.name
     WHERE t.schema = 'main' AND t.type = 'table' AND i."unique" = 1 AND c.key = 1
     ORDER BY t.name, i.name, c.seqno`,
};

/** What tells the SQL of all tables. */
export const TABLE_SQL: Statement = {
  sql: `SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL`,
};

/** Makes of the rows of these statements what there is to know. */
export function uniqueIndexesOf(rows: readonly RawRow[], tables: readonly RawRow[]): UniqueIndexes {
  const indexes = new Map<string, Map<string, { index: UniqueIndex; terms: UniqueIndexTerm[] }>>();
  for (const [table, name, origin, partial, column, collation, sql] of rows) {
    const ofTable = indexes.get(String(table)) ?? new Map();
    indexes.set(String(table), ofTable);
    const text = typeof sql === 'string' ? parseIndex(sql) : null;
    let entry = ofTable.get(String(name));
    if (!entry) {
      const terms: UniqueIndexTerm[] = [];
      const where = Number(partial) === 1 ? text!.where : null;
      const index = { name: String(name), isPrimaryKey: origin === 'pk', terms, where };
      entry = { index, terms };
      ofTable.set(String(name), entry);
    }
    entry.terms.push({
      column: column === null ? null : String(column),
      expression: column === null ? text!.terms[entry.terms.length]! : null,
      collation: String(collation ?? 'BINARY').toUpperCase(),
    });
  }
  return {
    byTable: new Map(
      [...indexes].map(([table, of]) => [table, [...of.values()].map(({ index }) => index)]),
    ),
    tableSql: new Map(tables.map(([name, sql]) => [String(name), String(sql)])),
  };
}
