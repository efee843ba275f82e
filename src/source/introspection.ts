import { SourceError } from '../errors.js';
import type { Batch, Query, RawRow, Statement } from './connection.js';

/** SQLite's column affinities (https://www.sqlite.org/datatype3.html, section 3.1). */
export type Affinity = 'integer' | 'text' | 'blob' | 'real' | 'numeric';

export interface SchemaColumn {
  readonly name: string;
  readonly declaredType: string;
  readonly affinity: Affinity;
  readonly notNull: boolean;
  readonly generated: boolean;
  /** The SQL of its DEFAULT, or null where it has none. */
  readonly defaultSql: string | null;
}

/** A set of columns that the source itself keeps unique, with the collation each is compared by. */
export interface UniqueKey {
  readonly columns: readonly string[];
  readonly collations: readonly string[];
}

export interface SchemaTable {
  readonly name: string;
  readonly columns: readonly SchemaColumn[];
  /** The primary key's columns in key order; empty where there is none. */
  readonly primaryKey: readonly string[];
  /** True when the primary key is another name of the rowid (`INTEGER PRIMARY KEY`). */
  readonly primaryKeyIsRowid: boolean;
  /** Unique, non-partial indexes over plain columns, the primary key's among them unless it is the rowid. */
  readonly uniqueKeys: readonly UniqueKey[];
  /** A name by which the rowid can be read, or null: WITHOUT ROWID, or all three names taken by columns. */
  readonly rowidName: string | null;
  readonly withoutRowid: boolean;
  readonly strict: boolean;
}

/** How the database stores TEXT (https://www.sqlite.org/pragma.html#pragma_encoding). */
export type TextEncoding = 'utf8' | 'utf16le' | 'utf16be';

export interface SourceSchema {
  /**
   * SQLite's schema version, which every change of the schema raises
   * (https://www.sqlite.org/pragma.html#pragma_schema_version); null where a server does not tell it. No older than
   * what follows.
   */
  readonly version: number | null;
  readonly encoding: TextEncoding;
  readonly tables: readonly SchemaTable[];
  /** What is in the database but is no user table, by name: `view`, `virtual`, `shadow`, `system` or `own`. */
  readonly others: ReadonlyMap<string, string>;
}

/** Tables that storage-sync itself makes in a source begin so. */
export const OWN_TABLE_PREFIX = 'storage_sync_';

/**
 * Reads the source's schema in one batch of four statements, whatever the number of tables.
 *
 * Left out of `tables`: `sqlite_*` and `libsql_*`, virtual tables and their shadow tables, the shadow tables of
 * native vector indexes, and storage-sync's own.
 */
export async function introspect(batch: Batch): Promise<SourceSchema> {
  // The version first: what changes meanwhile is then noticed by it.
  const { version, encoding, answers } = await readBehindVersion(batch, [
    TABLE_LIST,
    COLUMNS,
    UNIQUE_KEYS,
  ]);
  const [listed, columnRows, keyRows] = answers as [RawRow[], RawRow[], RawRow[]];
  const columns = columnsByTable(columnRows);
  const uniqueKeys = uniqueKeysByTable(keyRows);
  const others = new Map<string, string>();
  const userTables = new Map<string, { withoutRowid: boolean; strict: boolean }>();
  for (const [nameValue, type, withoutRowid, strict, vectorShadow] of listed) {
    const name = String(nameValue);
    const other = classify(name, String(type), Number(vectorShadow) === 1);
    if (other !== null) others.set(name, other);
    else {
      userTables.set(name, {
        withoutRowid: Number(withoutRowid) === 1,
        strict: Number(strict) === 1,
      });
    }
  }

  const tables = [...userTables].map(([name, traits]): SchemaTable => {
    const own = columns.get(name) ?? [];
    const primaryKey = own
      .filter((column) => column.primaryKeyIndex > 0)
      .sort((a, b) => a.primaryKeyIndex - b.primaryKeyIndex)
      .map((column) => column.name);
    const keys = uniqueKeys.get(name) ?? [];
    const primaryKeyIsRowid =
      primaryKey.length === 1 && !traits.withoutRowid && !keys.some((key) => key.origin === 'pk');
    const names = new Set(own.map((column) => column.name.toLowerCase()));
    const rowidName = ['rowid', '_rowid_', 'oid'].find((alias) => !names.has(alias)) ?? null;
    return {
      name,
      columns: own.map(({ primaryKeyIndex, ...column }) => ({
        ...column,
        // In a STRICT table ANY is a type, which converts nothing; elsewhere it is a name like any other.
        affinity: isStrictAny(column, traits.strict) ? ('blob' as const) : column.affinity,
        notNull:
          column.notNull || (primaryKeyIndex > 0 && (traits.withoutRowid || primaryKeyIsRowid)),
      })),
      primaryKey,
      primaryKeyIsRowid,
      uniqueKeys: keys.map(({ columns: keyColumns, collations }) => ({
        columns: keyColumns,
        collations,
      })),
      rowidName: traits.withoutRowid ? null : rowidName,
      ...traits,
    };
  });
  return { version, encoding, tables, others };
}

/** Finds a table as SQLite would, without regard to the case of ASCII letters. */
export function findTable(schema: SourceSchema, name: string): SchemaTable {
  const folded = foldName(name);
  const found = schema.tables.find((table) => foldName(table.name) === folded);
  if (found) return found;
  for (const [other, kind] of schema.others) {
    if (foldName(other) !== folded) continue;
    const what = kind === 'own' ? "one of storage-sync's own tables" : `a ${kind} table`;
    throw new SourceError(
      'TABLE_NOT_SUPPORTED',
      kind === 'view'
        ? `${JSON.stringify(name)} is a view, and a view has no key to page by.`
        : `${JSON.stringify(name)} is ${what}, which is not synced.`,
      {
        context: { table: name, kind },
        hint:
          kind === 'view'
            ? 'Sync the tables it reads, or let the source keep its rows in a table.'
            : 'Name a user table.',
      },
    );
  }
  const known = schema.tables.map((table) => table.name);
  const shown = known.slice(0, 20).join(', ') + (known.length > 20 ? ', …' : '');
  throw new SourceError('TABLE_NOT_FOUND', `The source has no table ${JSON.stringify(name)}.`, {
    context: { table: name },
    hint: known.length > 0 ? `It has: ${shown}.` : 'It has no user tables.',
  });
}

/** Folds the ASCII letters of a name, as SQLite does when it compares identifiers. */
export function foldName(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

// `PRAGMA encoding` is not open to every client of a server; the bytes of a letter tell as well.
const LETTER = `hex(CAST('a' AS BLOB))`;

const VERSION: Statement = { sql: `SELECT ${LETTER}, schema_version FROM pragma_schema_version` };
const NO_VERSION: Statement = { sql: `SELECT ${LETTER}, NULL` };

/** Reads the schema's version and the encoding. */
export async function readVersion(batch: Batch): Promise<SchemaVersion> {
  return await readBehindVersion(batch, []);
}

type SchemaVersion = Pick<SourceSchema, 'version' | 'encoding'>;

/** Reads the schema's version and the encoding, and then the answers of other statements, in the same batch. */
async function readBehindVersion(
  batch: Batch,
  statements: readonly Statement[],
): Promise<SchemaVersion & { readonly answers: readonly RawRow[][] }> {
  const read = async (first: Statement) => {
    const [versions, ...answers] = await batch([first, ...statements]);
    const [letter, version] = versions![0]!;
    return {
      version: version === null ? null : Number(version),
      encoding: encodingOf(letter),
      answers,
    };
  };
  try {
    return await read(VERSION);
  } catch (error) {
    if (!(error instanceof SourceError) || error.code !== 'SOURCE_SQL') throw error;
    return await read(NO_VERSION);
  }
}

function encodingOf(letter: unknown): TextEncoding {
  if (letter === '61') return 'utf8';
  return letter === '6100' ? 'utf16le' : 'utf16be';
}

function classify(name: string, type: string, vectorShadow: boolean): string | null {
  const folded = foldName(name);
  if (folded.startsWith('sqlite_') || folded.startsWith('libsql_')) return 'system';
  if (folded.startsWith(OWN_TABLE_PREFIX)) return 'own';
  if (vectorShadow) return 'shadow';
  return type === 'table' ? null : type;
}

interface ReadColumn extends SchemaColumn {
  readonly primaryKeyIndex: number;
}

const TABLE_LIST: Statement = {
  sql: `SELECT t.name, t.type, t.wr, t.strict,
            EXISTS (SELECT 1 FROM main.sqlite_schema AS i
                    WHERE i.type = 'index' AND i.name || '_shadow' = t.name
                      AND lower(i.sql) LIKE '%libsql_vector_idx%')
     FROM pragma_table_list AS t WHERE t.schema = 'main' ORDER BY t.name`,
};

const COLUMNS: Statement = {
  sql: `SELECT t.name, c.name, c.type, c."notnull", c.pk, c.hidden, c.dflt_value
     FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c
     WHERE t.schema = 'main' AND t.type = 'table' AND c.hidden <> 1 ORDER BY t.name, c.cid`,
};

function columnsByTable(rows: readonly RawRow[]): Map<string, ReadColumn[]> {
  const byTable = new Map<string, ReadColumn[]>();
  for (const [table, name, type, notNull, pk, hidden, defaultSql] of rows) {
    const declaredType = String(type);
    const list = byTable.get(String(table)) ?? [];
    list.push({
      name: String(name),
      declaredType,
      affinity: affinityOf(declaredType),
      notNull: Number(notNull) === 1,
      generated: Number(hidden) >= 2,
      defaultSql: defaultSql === null ? null : String(defaultSql),
      primaryKeyIndex: Number(pk),
    });
    byTable.set(String(table), list);
  }
  return byTable;
}

const UNIQUE_KEYS: Statement = {
  sql: `SELECT t.name, i.name, i.origin, c.name, c.coll
     FROM pragma_table_list AS t, pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c
     WHERE t.schema = 'main' AND t.type = 'table' AND i."unique" = 1 AND i.partial = 0 AND c.key = 1
     ORDER BY t.name, i.seq, c.seqno`,
};

function uniqueKeysByTable(
  rows: readonly RawRow[],
): Map<string, { origin: string; columns: string[]; collations: string[] }[]> {
  const byTable = new Map<
    string,
    Map<string, { origin: string; columns: string[]; collations: string[] }>
  >();
  for (const [table, index, origin, column, collation] of rows) {
    const indexes = byTable.get(String(table)) ?? new Map();
    byTable.set(String(table), indexes);
    const entry = indexes.get(String(index)) ?? {
      origin: String(origin),
      columns: [],
      collations: [],
    };
    indexes.set(String(index), entry);
    // An expression has no name: an empty one matches no column, so the index is never taken for a key.
    entry.columns.push(column === null ? '' : String(column));
    entry.collations.push(String(collation ?? 'BINARY').toUpperCase());
  }
  return new Map([...byTable].map(([table, indexes]) => [table, [...indexes.values()]]));
}

function isStrictAny({ declaredType }: SchemaColumn, strict: boolean): boolean {
  return strict && declaredType.toUpperCase() === 'ANY';
}

function affinityOf(declaredType: string): Affinity {
  const type = declaredType.toUpperCase();
  if (type.includes('INT')) return 'integer';
  if (/CHAR|CLOB|TEXT/.test(type)) return 'text';
  if (type === '' || type.includes('BLOB')) return 'blob';
  if (/REAL|FLOA|DOUB/.test(type)) return 'real';
  return 'numeric';
}

/** Counts a table's rows, or null when the count takes more than the source is willing to do. */
export async function countRows(query: Query, from: string): Promise<number> {
  const [row] = await query(`SELECT count(*) FROM ${from}`);
  return Number(row![0]);
}
