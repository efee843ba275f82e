import { SourceError } from '../../errors.js';
import { foldName, type Affinity, type SchemaTable } from '../introspection.js';
import { namesIn, parseColumnDefinitions, parseDefault } from './sql-text.js';
import type { UniqueIndex, UniqueIndexes } from './unique-indexes.js';

export interface CaptureColumn {
  readonly name: string;
  readonly affinity: Affinity;
  /** Of the key's index. */
  readonly collation: string;
}

/** How a table's changes are logged: its schema, as far as the triggers depend on it. */
export interface CapturePlan {
  readonly table: string;
  readonly key: readonly CaptureColumn[];
  /** True when a key value may be NULL: such rows are logged by their rowid. */
  readonly keyNullable: boolean;
  /** A name of the rowid, or null where there is none. */
  readonly rowidName: string | null;
  /** True when a row with another key may be replaced because it has the rowid of the new one. */
  readonly replacesByRowid: boolean;
  /** The indexes by which a row with another key may be replaced. */
  readonly replacesBy: readonly UniqueIndex[];
  /** True when a row may go with another one that it refers to: also while it is being updated. */
  readonly hasReferences: boolean;
  /** The columns that expressions in those indexes read. */
  readonly expressionColumns: readonly CaptureColumn[];
  /**
   * What takes the place of a NULL in a NOT NULL column where `REPLACE` resolves it, by the column's name: BEFORE
   * triggers still see the NULL (https://www.sqlite.org/lang_conflict.html).
   */
  readonly defaults: ReadonlyMap<string, string>;
}

/**
 * Plans the log of a table.
 *
 * @throws {SourceError} `TABLE_NOT_SUPPORTED` when no log could be kept true.
 */
export function planCapture(table: SchemaTable, indexes: UniqueIndexes): CapturePlan {
  const unique = indexes.byTable.get(table.name) ?? [];
  if (table.primaryKey.length === 0) {
    throw refusal(
      table,
      'has no primary key, and VACUUM may give its rows other rowids.',
      'Declare a primary key, or leave the table to full syncs.',
    );
  }
  const primary = unique.find((index) => index.isPrimaryKey);
  const key = table.primaryKey.map((name, i): CaptureColumn => {
    const { affinity } = columnOf(table, name);
    return { name, affinity, collation: primary?.terms[i]?.collation ?? 'BINARY' };
  });
  const keyNullable = table.primaryKey.some((name) => !columnOf(table, name).notNull);
  if (keyNullable && table.rowidName === null) {
    throw refusal(
      table,
      'has no NOT NULL key, and its columns hide every name of its rowid.',
      'Declare the key NOT NULL, or rename the column called rowid, _rowid_ or oid.',
    );
  }
  // What is equal to a key by its bytes is logged with the new row.
  const byAnotherKey = (index: UniqueIndex): boolean =>
    index !== primary || key.some(({ collation }) => collation !== 'BINARY');
  const replacesBy = unique.filter(byAnotherKey);
  const sql = indexes.tableSql.get(table.name) ?? '';
  const replacesByRowid = !table.primaryKeyIsRowid && table.rowidName !== null;
  const defaults = defaultsOf(table);
  refuseComputedFromRowid(table, replacesBy, sql);
  refuseComputedFromDefault(table, replacesBy, sql, defaults);
  if (replacesByRowid || replacesBy.length > 0) refuseNameOfTriggers(table);
  const expressions = replacesBy.flatMap((index) => index.terms.map((term) => term.expression));
  const named = namesIn(expressions.filter((text) => text !== null).join(' '));
  const collations = expressions.some((text) => text !== null)
    ? columnCollations(table, sql)
    : new Map<string, string>();
  return {
    table: table.name,
    key,
    keyNullable,
    rowidName: table.rowidName,
    replacesByRowid,
    replacesBy,
    hasReferences: /\bREFERENCES\b/i.test(sql),
    expressionColumns: table.columns
      .filter((column) => named.has(foldName(column.name)))
      .map(({ name, affinity }) => ({
        name,
        affinity,
        collation: collations.get(foldName(name)) ?? 'BINARY',
      })),
    defaults,
  };
}

/** The collations that columns are declared with, where they are. */
function columnCollations(table: SchemaTable, sql: string): Map<string, string> {
  const definitions = parseColumnDefinitions(sql);
  const found = new Map<string, string>();
  for (const { name } of table.columns) {
    const text = definitions.get(foldName(name)) ?? '';
    const [, collation] = /\bCOLLATE\s+["`[]?(\w+)/i.exec(text) ?? [];
    if (collation) found.set(foldName(name), collation.toUpperCase());
  }
  return found;
}

function defaultsOf(table: SchemaTable): Map<string, string> {
  const isRowid = (name: string): boolean =>
    table.primaryKeyIsRowid && name === table.primaryKey[0];
  const replaced = table.columns.flatMap(({ name, notNull, generated, defaultSql }) =>
    notNull && !generated && defaultSql !== null && !isRowid(name)
      ? [[name, parseDefault(defaultSql)] as const]
      : [],
  );
  return new Map(replaced.filter(([, sql]) => !/^null$/i.test(sql)));
}

/** In a trigger, `NEW` and `OLD` mean such a table wherever it is read, and not the row. */
function refuseNameOfTriggers(table: SchemaTable): void {
  if (!/^(?:new|old)$/i.test(table.name)) return;
  throw refusal(
    table,
    'has a name that stands for the changed row in triggers.',
    'Rename the table, or leave it to full syncs.',
  );
}

/**
 * A new row's automatic rowid is not known before it is there, so nor is what is computed from it: which row that would
 * replace cannot be told in time.
 */
function refuseComputedFromRowid(
  table: SchemaTable,
  indexes: readonly UniqueIndex[],
  sql: string,
): void {
  if (!table.primaryKeyIsRowid) return;
  const reads = readerOf(table, sql, new Set([foldName(table.primaryKey[0]!)]));
  const computed = indexes.find(({ terms }) =>
    terms.some(({ column, expression }) =>
      column === null ? reads.text(expression!) : reads.generatedColumn(column),
    ),
  );
  if (!computed) return;
  throw refusal(
    table,
    `has a unique index ${JSON.stringify(computed.name)} on what is computed from the rowid.`,
    'Leave the table to full syncs, or index the key itself.',
  );
}

/** Where a default takes the place of a NULL, generated columns are computed anew behind all BEFORE triggers. */
function refuseComputedFromDefault(
  table: SchemaTable,
  indexes: readonly UniqueIndex[],
  sql: string,
  defaults: CapturePlan['defaults'],
): void {
  if (defaults.size === 0) return;
  const reads = readerOf(table, sql, new Set([...defaults.keys()].map(foldName)));
  const computed = indexes.find(({ terms }) =>
    terms.some(({ column, expression }) =>
      column === null
        ? [...namesIn(expression!)].some((name) => reads.generatedColumn(name))
        : reads.generatedColumn(column),
    ),
  );
  if (!computed) return;
  throw refusal(
    table,
    `has a unique index ${JSON.stringify(computed.name)} on a column that is generated from one with NOT NULL and a DEFAULT.`,
    'Leave the table to full syncs, or index the expression itself.',
  );
}

/** Tells whether SQL reads one of some columns (folded names), also by way of generated ones. */
function readerOf(table: SchemaTable, sql: string, wanted: ReadonlySet<string>) {
  const definitions = parseColumnDefinitions(sql);
  const generated = new Set(
    table.columns.filter((column) => column.generated).map(({ name }) => foldName(name)),
  );
  const text = (read: string, seen: ReadonlySet<string> = new Set()): boolean =>
    [...namesIn(read)].some((name) => wanted.has(name) || generatedColumn(name, seen));
  const generatedColumn = (column: string, seen: ReadonlySet<string> = new Set()): boolean => {
    const name = foldName(column);
    if (!generated.has(name) || seen.has(name)) return false;
    const definition = definitions.get(name);
    return definition === undefined || text(definition, new Set([...seen, name]));
  };
  return { text, generatedColumn };
}

function columnOf(table: SchemaTable, name: string): SchemaTable['columns'][number] {
  return table.columns.find((column) => column.name === name)!;
}

function refusal(table: SchemaTable, why: string, hint: string): SourceError {
  return new SourceError(
    'TABLE_NOT_SUPPORTED',
    `The changes of ${JSON.stringify(table.name)} cannot be logged: the table ${why}`,
    { context: { table: table.name }, hint },
  );
}
