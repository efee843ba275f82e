import { SourceError } from '../../errors.js';
import { foldName, type Affinity, type SchemaTable } from '../introspection.js';
import { namesIn, parseColumnDefinitions } from './sql-text.js';
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
  refuseComputedFromRowid(table, replacesBy, indexes.tableSql.get(table.name) ?? '');
  const expressions = replacesBy.flatMap((index) => index.terms.map((term) => term.expression));
  const named = namesIn(expressions.filter((text) => text !== null).join(' '));
  const defaults = expressions.some((text) => text !== null)
    ? columnCollations(table, indexes.tableSql.get(table.name) ?? '')
    : new Map<string, string>();
  return {
    table: table.name,
    key,
    keyNullable,
    rowidName: table.rowidName,
    replacesByRowid: !table.primaryKeyIsRowid && table.rowidName !== null,
    replacesBy,
    hasReferences: /\bREFERENCES\b/i.test(indexes.tableSql.get(table.name) ?? ''),
    expressionColumns: table.columns
      .filter((column) => named.has(foldName(column.name)))
      .map(({ name, affinity }) => ({
        name,
        affinity,
        collation: defaults.get(foldName(name)) ?? 'BINARY',
      })),
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
  const key = foldName(table.primaryKey[0]!);
  const definitions = parseColumnDefinitions(sql);
  const generated = new Set(
    table.columns.filter((column) => column.generated).map(({ name }) => foldName(name)),
  );
  const reads = (text: string, seen: ReadonlySet<string>): boolean =>
    [...namesIn(text)].some(
      (name) =>
        name === key ||
        (generated.has(name) &&
          !seen.has(name) &&
          reads(definitions.get(name) ?? key, new Set([...seen, name]))),
    );
  for (const index of indexes) {
    for (const { column, expression } of index.terms) {
      const name = column === null ? null : foldName(column);
      const computed =
        expression !== null
          ? reads(expression, new Set())
          : name !== null && generated.has(name) && reads(definitions.get(name) ?? key, new Set());
      if (!computed) continue;
      throw refusal(
        table,
        `has a unique index ${JSON.stringify(index.name)} on what is computed from the rowid.`,
        'Leave the table to full syncs, or index the key itself.',
      );
    }
  }
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
