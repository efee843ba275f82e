import { ConfigError, SourceError } from '../errors.js';
import { parseDuration } from '../duration.js';
import type {
  CursorDefinition,
  ModeChoice,
  ReferenceDefinition,
  SoftDeleteDefinition,
  TableDefinition,
} from '../table-definition.js';
import {
  findTable,
  foldName,
  type Affinity,
  type SchemaTable,
  type SourceSchema,
  type TextEncoding,
  type UniqueKey,
} from './introspection.js';
import type { OrderTerm } from './keyset.js';
import { quoteIdentifier, quoteText } from './sql.js';

export interface PlanColumn {
  readonly name: string;
  readonly affinity: Affinity;
  readonly notNull: boolean;
  /** True in a STRICT table, where the affinity is the type. */
  readonly strict: boolean;
}

/** A term of the scan's order, and where its value stands in a row as read. */
export interface PlanOrderTerm extends OrderTerm {
  readonly column: number;
}

export interface PlanIndex {
  readonly name: string;
  /** Positions in `TablePlan.columns`. */
  readonly columns: readonly number[];
  /** For each of them, whether the index sorts it in reverse. */
  readonly descending: readonly boolean[];
  readonly unique: boolean;
}

/** A column by which changed rows are found: see {@link CursorDefinition}. */
export interface PlanCursor {
  /** The first term of the order in which changed rows are read; the key's come behind it. */
  readonly term: PlanOrderTerm;
  readonly nullable: boolean;
  /** How far below the last value a round begins; null for the default. */
  readonly overlap: number | null;
  /** True when the overlap is a time whatever the values are. */
  readonly overlapIsTime: boolean;
  readonly sweepEveryMs: number;
}

/** Between two reads of all keys of a table that is followed by a cursor. */
export const DEFAULT_SWEEP_EVERY_MS = 3_600_000;
const DEFAULT_ALIVE = [null, 0, ''] as const;

/**
 * How one table is read and stored: a definition married to the source's schema. Plain data, so that it crosses
 * threads and is kept in the catalog.
 *
 * A row as read has one value for each of `columns`, then the rowid where `readsRowid`.
 */
export interface TablePlan {
  readonly name: string;
  readonly encoding: TextEncoding;
  readonly columns: readonly PlanColumn[];
  /** Positions in a row as read of the key's values. */
  readonly key: readonly number[];
  /** The key's names, for messages and for the reader: column names, or the rowid's. */
  readonly keyNames: readonly string[];
  /** True when a key value may be NULL, which SQLite does not keep unique: the rowid then completes the key. */
  readonly keyNullable: boolean;
  /** True when the row as read ends with the rowid. */
  readonly readsRowid: boolean;
  readonly rowidName: string | null;
  readonly order: readonly PlanOrderTerm[];
  /** True when rows arrive in the order of their keys in the cache. */
  readonly inKeyOrder: boolean;
  readonly limit: { readonly count: number; readonly column: number } | null;
  /** A SQL condition that every row must meet, or null: `references` and `alive` together. */
  readonly filter: string | null;
  /** The part of `filter` that looks at other rows too. */
  readonly references: string | null;
  /** The part of `filter` that looks at the row alone: true, never NULL, for a row that is not marked as deleted. */
  readonly alive: string | null;
  readonly cursor: PlanCursor | null;
  readonly mode: ModeChoice;
  /** The tables on which the filter depends. */
  readonly scopes: readonly PlanScope[];
  readonly indexes: readonly PlanIndex[];
}

/** Another table whose limit decides which rows of this one are in scope. */
export interface PlanScope {
  readonly table: string;
  /** Its key's columns. */
  readonly key: readonly string[];
  /** SQL: this table's columns that refer to that key. */
  readonly columns: string;
  /** SQL: the rows for which the reference counts, or null for all. */
  readonly when: string | null;
  /** SQL that selects that table's keys, newest first; the first `count` of them are in scope. */
  readonly newestFirst: string;
  readonly count: number;
  /** SQL: the rows of that table that are not marked as deleted, or null for all. */
  readonly alive: string | null;
}

/** SQLite gives 2000 columns at most, and two are needed besides: the rowid, and the mark of an oversized row. */
const MAX_COLUMNS = 1998;

/** The index that serves `newest` on a table with a limit. */
export const NEWEST_INDEX = 'newest';

export interface Plans {
  readonly plans: readonly TablePlan[];
  /** What was left out, and why. */
  readonly warnings: readonly string[];
}

/**
 * Plans what to sync: the tables defined, or every table that can be.
 *
 * @throws {SourceError} for a table, column or key that the source does not have or that cannot be synced.
 */
export function planTables(
  schema: SourceSchema,
  definitions: readonly TableDefinition[] | undefined,
): Plans {
  if (definitions === undefined) return planEverything(schema);
  const names = new Set(schema.tables.map((table) => foldName(table.name)));
  const wanted = definitions.filter(({ name, optional }) => !optional || names.has(foldName(name)));
  return {
    plans: wanted.map((definition) => planTable(schema, definition, wanted)),
    warnings: wanted.length === 0 ? ['The source has none of the tables to sync.'] : [],
  };
}

function planEverything(schema: SourceSchema): Plans {
  const plans: TablePlan[] = [];
  const warnings: string[] = [];
  for (const { name } of schema.tables) {
    try {
      plans.push(planTable(schema, { name }, []));
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== 'TABLE_NOT_SUPPORTED') throw error;
      warnings.push(`Left out: ${error.message}`);
    }
  }
  if (schema.tables.length === 0) warnings.push('The source has no user tables.');
  return { plans, warnings };
}

function planTable(
  schema: SourceSchema,
  definition: TableDefinition,
  all: readonly TableDefinition[],
): TablePlan {
  const table = findTable(schema, definition.name);
  const columnNames = columnsOf(table, definition);
  const key = resolveKey(table, definition);
  // A key column that was not asked for is kept all the same: without it a row could not be found again.
  for (const name of key.columns) if (!columnNames.includes(name)) columnNames.push(name);
  const limitColumn = definition.limit ? columnName(table, definition.limit.newestBy) : null;
  if (limitColumn !== null && !columnNames.includes(limitColumn)) columnNames.push(limitColumn);
  const cursorColumn = definition.cursor ? columnName(table, definition.cursor.column) : null;
  if (cursorColumn !== null && !columnNames.includes(cursorColumn)) columnNames.push(cursorColumn);

  const columns = columnNames.map((name): PlanColumn => {
    const column = table.columns.find((candidate) => candidate.name === name)!;
    return { name, affinity: column.affinity, notNull: column.notNull, strict: table.strict };
  });
  const keyNullable = key.columns.some(
    (name) => !table.columns.find((column) => column.name === name)!.notNull,
  );
  const readsRowid = key.columns.length === 0 || keyNullable;
  if (readsRowid && table.rowidName === null) {
    throw new SourceError(
      'TABLE_NOT_SUPPORTED',
      `The table ${JSON.stringify(table.name)} has no ${keyNullable ? 'NOT NULL ' : ''}key, and its columns hide every name of its rowid.`,
      {
        context: { table: table.name },
        hint: 'Declare a NOT NULL primary key, or rename the column called rowid, _rowid_ or oid.',
      },
    );
  }

  if (columns.length > MAX_COLUMNS) {
    throw new SourceError(
      'TABLE_NOT_SUPPORTED',
      `The table ${JSON.stringify(table.name)} has ${columns.length} columns; at most ${MAX_COLUMNS} can be read.`,
      { context: { table: table.name }, hint: 'Name the columns to keep in its definition.' },
    );
  }

  const position = (name: string) => columnNames.indexOf(name);
  const keyTerms = key.columns.map((name, i): PlanOrderTerm => {
    return {
      sql: quoteIdentifier(name),
      collation: isRowidKey(table, key) ? null : (key.collations[i] ?? 'BINARY'),
      descending: false,
      nullable: !table.columns.find((column) => column.name === name)!.notNull,
      column: position(name),
    };
  });
  if (readsRowid) {
    keyTerms.push({
      sql: table.rowidName!,
      collation: null,
      descending: false,
      nullable: false,
      column: columns.length,
    });
  }

  let order = keyTerms;
  if (limitColumn !== null) {
    const first: PlanOrderTerm = {
      sql: quoteIdentifier(limitColumn),
      collation: null,
      descending: true,
      nullable: !table.columns.find((column) => column.name === limitColumn)!.notNull,
      column: position(limitColumn),
    };
    order = [first, ...keyTerms.map((term) => ({ ...term, descending: true }))];
  }

  const scopes = planScopes(schema, table, definition.references ?? [], all);
  const references = scopes.length > 0 ? scopes.map(inScope).join(' AND ') : null;
  const alive = definition.softDelete ? aliveCondition(table, definition.softDelete) : null;
  const conditions = [references, alive].filter((condition) => condition !== null);
  return {
    name: table.name,
    encoding: schema.encoding,
    columns,
    key: key.columns.length > 0 ? key.columns.map(position) : [columns.length],
    keyNames: key.columns.length > 0 ? key.columns : [table.rowidName!],
    keyNullable,
    readsRowid,
    rowidName: table.rowidName,
    order,
    // BINARY compares the bytes as stored: in a UTF-16 database that is not the order of the UTF-8 in the cache.
    inKeyOrder:
      limitColumn === null &&
      key.collations.every((collation) => collation === 'BINARY') &&
      (schema.encoding === 'utf8' || key.columns.length === 0 || isRowidKey(table, key)),
    limit:
      definition.limit && limitColumn !== null
        ? { count: definition.limit.count, column: position(limitColumn) }
        : null,
    filter: conditions.length > 0 ? conditions.join(' AND ') : null,
    references,
    scopes,
    alive,
    cursor:
      definition.cursor && cursorColumn !== null
        ? planCursor(table, definition.cursor, cursorColumn, position(cursorColumn))
        : null,
    mode: definition.mode ?? 'auto',
    indexes: planIndexes(table, definition, columnNames, limitColumn),
  };
}

/**
 * Whether change logs tell all that may change in the cache. Of a table with both a limit and references it cannot be
 * said how far a change elsewhere moves the limit.
 */
export function mayFollowLog({ limit, scopes }: TablePlan): boolean {
  return limit === null || scopes.length === 0;
}

/** Whether rows of a table come and go in the cache without a change to them. */
export function isScoped({ limit, scopes }: TablePlan): boolean {
  return limit !== null || scopes.length > 0;
}

/** A plan of the same rows that reads their keys alone. */
export function keysOnly(plan: TablePlan): TablePlan {
  const kept = [...new Set(plan.key)].filter((at) => at < plan.columns.length);
  // The rowid stands behind the columns.
  const moved = (at: number) => (at < plan.columns.length ? kept.indexOf(at) : kept.length);
  return {
    ...plan,
    columns: kept.map((at) => plan.columns[at]!),
    key: plan.key.map(moved),
    order: plan.order.map((term) => ({ ...term, column: moved(term.column) })),
    indexes: [],
    cursor: null,
  };
}

/** Names a plan's cursor as far as positions depend on it. */
export function cursorIdentity({ name, cursor }: TablePlan): string | null {
  if (cursor === null) return null;
  return JSON.stringify([name, cursor.term.sql, cursor.overlap, cursor.overlapIsTime]);
}

function planCursor(
  table: SchemaTable,
  { overlap, sweepEveryMs }: CursorDefinition,
  name: string,
  column: number,
): PlanCursor {
  const isRowid = table.primaryKeyIsRowid && name === table.primaryKey[0];
  return {
    term: {
      sql: quoteIdentifier(name),
      collation: isRowid ? null : 'BINARY',
      descending: false,
      // Rows with NULL are read apart.
      nullable: false,
      column,
    },
    nullable: !table.columns.find((candidate) => candidate.name === name)!.notNull,
    overlap: typeof overlap === 'string' ? parseDuration(overlap) : (overlap ?? null),
    overlapIsTime: typeof overlap === 'string',
    sweepEveryMs: sweepEveryMs ?? DEFAULT_SWEEP_EVERY_MS,
  };
}

/** `IS TRUE` also keeps the planner from reading by an index over this column, out of the order that is wanted. */
function aliveCondition(table: SchemaTable, { column, alive }: SoftDeleteDefinition): string {
  const name = quoteIdentifier(columnName(table, column));
  const values = alive ?? DEFAULT_ALIVE;
  const listed = values.filter((value) => value !== null).map((value) => literal(value));
  const conditions = [
    ...(values.includes(null) ? [`${name} IS NULL`] : []),
    ...(listed.length > 0 ? [`${name} IN (${listed.join(', ')})`] : []),
  ];
  return `(${conditions.join(' OR ')}) IS TRUE`;
}

function columnsOf(table: SchemaTable, definition: TableDefinition): string[] {
  const asked = definition.columns ? Object.keys(definition.columns) : undefined;
  return asked
    ? [...new Set(asked.map((name) => columnName(table, name)))]
    : table.columns.map((column) => column.name);
}

function columnName(table: SchemaTable, asked: string): string {
  const folded = foldName(asked);
  const found = table.columns.find((column) => foldName(column.name) === folded);
  if (found) return found.name;
  throw columnNotFound(table, asked);
}

/** @internal Says which columns there are. */
export function columnNotFound(
  {
    name,
    columns,
  }: { readonly name: string; readonly columns: readonly { readonly name: string }[] },
  asked: string,
): SourceError {
  return new SourceError(
    'COLUMN_NOT_FOUND',
    `The table ${JSON.stringify(name)} has no column ${JSON.stringify(asked)}.`,
    {
      context: { table: name, column: asked },
      hint: `It has: ${columns.map((column) => column.name).join(', ')}.`,
    },
  );
}

function resolveKey(table: SchemaTable, definition: TableDefinition): UniqueKey {
  const asked = definition.key?.map((name) => columnName(table, name)) ?? table.primaryKey;
  if (asked.length === 0) return { columns: [], collations: [] };
  const askedKey = { columns: asked, collations: asked.map(() => 'BINARY') };
  if (asked.length === 1 && isRowidKey(table, askedKey)) return askedKey;
  const unique = table.uniqueKeys.find(
    (candidate) =>
      candidate.columns.length === asked.length &&
      candidate.columns.every((name) => asked.includes(name)),
  );
  if (!unique) {
    throw new SourceError(
      'KEY_NOT_UNIQUE',
      `The source does not keep (${asked.join(', ')}) of ${JSON.stringify(table.name)} unique, so it cannot be a key.`,
      {
        context: { table: table.name },
        hint: 'Create a UNIQUE index over exactly these columns, or leave the key out to use the primary key.',
      },
    );
  }
  return unique;
}

function isRowidKey(table: SchemaTable, key: UniqueKey): boolean {
  return table.primaryKeyIsRowid && key.columns[0] === table.primaryKey[0];
}

function planIndexes(
  table: SchemaTable,
  definition: TableDefinition,
  columnNames: readonly string[],
  limitColumn: string | null,
): PlanIndex[] {
  const indexes = (definition.indexes ?? []).map((index): PlanIndex => ({
    name: index.name,
    columns: index.columns.map((column) => {
      const asked = typeof column === 'string' ? column : column.column;
      const name = columnName(table, asked);
      const position = columnNames.indexOf(name);
      if (position < 0) {
        throw new ConfigError(
          `The index ${JSON.stringify(index.name)} of ${JSON.stringify(table.name)} needs the column ${JSON.stringify(name)}, which is not among the columns to keep.`,
        );
      }
      return position;
    }),
    descending: index.columns.map(
      (column) => typeof column !== 'string' && column.descending === true,
    ),
    unique: index.unique ?? false,
  }));
  const names = new Set(indexes.map((index) => index.name));
  if (names.size < indexes.length || (limitColumn !== null && names.has(NEWEST_INDEX))) {
    throw new ConfigError(
      `Two indexes of ${JSON.stringify(table.name)} have the same name (${JSON.stringify(NEWEST_INDEX)} belongs to tables with a limit).`,
    );
  }
  if (limitColumn !== null) {
    const columns = [columnNames.indexOf(limitColumn)];
    indexes.push({ name: NEWEST_INDEX, columns, descending: [false], unique: false });
  }
  return indexes;
}

/** The limits of other tables that decide which rows are in scope. */
function planScopes(
  schema: SourceSchema,
  table: SchemaTable,
  references: readonly ReferenceDefinition[],
  all: readonly TableDefinition[],
): PlanScope[] {
  return references.flatMap((reference): PlanScope[] => {
    const target = all.find(
      (definition) => foldName(definition.name) === foldName(reference.table),
    );
    if (!target?.limit) return [];
    const targetTable = findTable(schema, target.name);
    const key = resolveKey(targetTable, target).columns;
    if (key.length !== reference.columns.length) {
      throw new ConfigError(
        `The reference from ${JSON.stringify(table.name)} to ${JSON.stringify(target.name)} has ${reference.columns.length} columns, but the key there has ${key.length}.`,
      );
    }
    const noNulls = key.map((name) => `${quoteIdentifier(name)} IS NOT NULL`).join(' AND ');
    const newest = quoteIdentifier(columnName(targetTable, target.limit.newestBy));
    const keyNewestFirst = key.map((name) => `${quoteIdentifier(name)} DESC`).join(', ');
    const { when } = reference;
    const alive = target.softDelete ? aliveCondition(targetTable, target.softDelete) : null;
    const andThere = alive === null ? '' : ` AND ${alive}`;
    return [
      {
        table: targetTable.name,
        key,
        columns: tuple(reference.columns.map((name) => columnName(table, name))),
        when: when
          ? `${quoteIdentifier(columnName(table, when.column))} IS ${literal(when.equals)}`
          : null,
        newestFirst:
          `SELECT ${key.map(quoteIdentifier).join(', ')} FROM ${quoteIdentifier(targetTable.name)} ` +
          `WHERE ${noNulls}${andThere} ORDER BY ${newest} DESC, ${keyNewestFirst}`,
        count: target.limit.count,
        alive,
      },
    ];
  });
}

/**
 * Leaves out the rows whose target exists in the source but lies outside the target's limit. A row whose target does
 * not exist at all is kept: the cache is a copy, and an orphan is for validation to report.
 */
function inScope({ table, key, columns, when, newestFirst, count, alive }: PlanScope): string {
  const isThere = alive === null ? '' : ` WHERE ${alive}`;
  const outOfScope =
    `${columns} IN (SELECT ${key.map(quoteIdentifier).join(', ')} FROM ${quoteIdentifier(table)}${isThere}) AND ` +
    `${columns} NOT IN (${newestFirst} LIMIT ${count})`;
  return `(${when === null ? '' : `${when} AND `}${outOfScope}) IS NOT TRUE`;
}

function tuple(names: readonly string[]): string {
  const list = names.map(quoteIdentifier).join(', ');
  return names.length === 1 ? list : `(${list})`;
}

function literal(value: string | number | boolean): string {
  return typeof value === 'string' ? quoteText(value) : String(Number(value));
}
