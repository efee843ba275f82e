import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { RowSchema } from './row-schema.js';
import type { SqlValue } from './values.js';

/** A column's declared type. A trailing `?` says that it may be NULL. */
export type ColumnType =
  'integer' | 'real' | 'text' | 'blob' | 'any' | 'integer?' | 'real?' | 'text?' | 'blob?' | 'any?';

/** The JavaScript type of a {@link ColumnType}. */
export type ValueOf<T extends ColumnType> = T extends `${infer Base extends ColumnType}?`
  ? ValueOf<Base> | null
  : T extends 'integer'
    ? number | bigint
    : T extends 'real'
      ? number
      : T extends 'text'
        ? string
        : T extends 'blob'
          ? Uint8Array
          : SqlValue;

/** Keep only the newest `count` rows, ordered by `newestBy` (then by key) descending. NULLs are oldest. */
export interface TableLimit {
  readonly count: number;
  readonly newestBy: string;
}

/** A column of an index: by its name, ascending, or with a direction. */
export type IndexColumn = string | { readonly column: string; readonly descending?: boolean };

/**
 * A secondary index kept in the cache: rows in the order of `columns`, then of the key. Values sort as in SQLite under
 * the collation BINARY.
 *
 * It may be declared, changed or left out at any time: the next sync builds it from the rows in the cache, or removes
 * it, while readers go on.
 */
export interface IndexDefinition {
  readonly name: string;
  readonly columns: readonly IndexColumn[];
  /**
   * No two rows have the same values, rows with a NULL among them apart, as in SQL. Judged at the end of every sync:
   * where rows of the source do, the sync reports it and reads through this index are refused, with both rows named,
   * until a sync finds it unique again. All else goes on.
   */
  readonly unique?: boolean;
}

/**
 * Rows of this table point at rows of another.
 *
 * A row whose target exists in the source but fell outside the target's `limit` is out of scope and is not cached.
 * `when` restricts the rule to the rows in which one column has one value.
 */
export interface ReferenceDefinition {
  readonly columns: readonly string[];
  readonly table: string;
  readonly when?: { readonly column: string; readonly equals: string | number };
}

/**
 * A column that the source's writers raise with each insert and update, and never lower: a version or a time. A sync
 * then reads the rows from the last value on, and the keys of all rows now and then.
 *
 * Values compare as SQLite compares them under the collation BINARY, so a column of TEXT must hold times of one format
 * and one offset, or other texts that sort as they were given. Rows with NULL are read by every sync.
 */
export interface CursorDefinition {
  readonly column: string;
  /**
   * How far below the last value each sync begins, for rows that were committed late with an older value. For numbers,
   * in the column's own unit; for times as TEXT, a duration such as `90s` or a number of milliseconds. Default: a minute
   * for times as TEXT and for numbers that may be Unix times (in seconds, milliseconds or microseconds), 100 for other
   * numbers. Other values than numbers and times need 0.
   */
  readonly overlap?: number | string;
  /** How often all keys are read, to find rows that were deleted or missed, in milliseconds. Default: one hour. */
  readonly sweepEveryMs?: number;
}

/** Rows that the source keeps, but calls deleted: they are not cached. */
export interface SoftDeleteDefinition {
  readonly column: string;
  /**
   * The values of a row that is there; one with any other value counts as deleted. Compared as the source's SQL does, by
   * the column's affinity and collation. Default: `[null, 0, '']`; `false` is 0 and `true` is 1, as in SQLite.
   */
  readonly alive?: readonly (string | number | boolean | null)[];
}

/**
 * How a table is brought up to date. `auto`: by the source's change log if it has one that can be relied on, else by the
 * cursor if one is defined, else by a full read. `change-log` and `cursor`: by that, and by a full read where it cannot
 * be. `full`: always by a full read.
 */
export type ModeChoice = 'auto' | 'full' | 'change-log' | 'cursor';

/** What to sync of one table. Everything but the name has a default taken from the source's schema. */
export interface TableDefinition<
  Columns extends ColumnTypes = ColumnTypes,
  Indexes extends IndexDefinitions = IndexDefinitions,
  Schema extends RowSchema | undefined = RowSchema | undefined,
> {
  readonly name: string;
  /** Leave the table out where the source does not have it. Default: that is an error. */
  readonly optional?: boolean;
  /** Which columns to keep, and their types for the reader. Default: every column. */
  readonly columns?: Columns;
  /**
   * What each row is passed through when it is read by this definition: a schema of Zod, Valibot, ArkType, or another
   * library with the interface Standard Schema. Its output is the row. It is for readers alone: what is synced, and how it
   * is kept, does not depend on it. Default: rows are given as they are in the cache, which costs nothing.
   */
  readonly schema?: Schema;
  /** The key's columns, unique and in key order. Default: the primary key, or the rowid where there is none. */
  readonly key?: readonly string[];
  /** Keep only the newest rows. Default: all. */
  readonly limit?: TableLimit;
  /** Secondary indexes. Default: none. */
  readonly indexes?: Indexes;
  /** Leave out rows that refer to rows outside a limit. */
  readonly references?: readonly ReferenceDefinition[];
  /** Not together with `limit` or `references`: rows then come and go without a change to them. */
  readonly cursor?: CursorDefinition;
  /** Which rows count as deleted though the source keeps them. */
  readonly softDelete?: SoftDeleteDefinition;
  /** Default: `auto`. */
  readonly mode?: ModeChoice;
}

/** The columns of a definition: which to keep, and their types. */
export type ColumnTypes = Readonly<Record<string, ColumnType>>;
/** The indexes of a definition. */
export type IndexDefinitions = readonly IndexDefinition[];

/** The row type that a {@link TableDefinition} promises: its schema's output, or else what its columns say. */
export type RowOf<Definition> =
  Definition extends TableDefinition<ColumnTypes, IndexDefinitions, infer Schema>
    ? Schema extends RowSchema
      ? StandardSchemaV1.InferOutput<Schema>
      : StoredRowOf<Definition>
    : never;

/** The type of a row as it is in the cache: what a definition's columns say, or else its schema's input. */
export type StoredRowOf<Definition> =
  Definition extends TableDefinition<infer Columns, IndexDefinitions, infer Schema>
    ? string extends keyof Columns
      ? Schema extends RowSchema
        ? StandardSchemaV1.InferInput<Schema>
        : Readonly<Record<string, SqlValue>>
      : { readonly [Name in keyof Columns]: ValueOf<Columns[Name]> }
    : never;

/** The indexes that a {@link TableDefinition} declares. */
export type IndexesOf<Definition> =
  Definition extends TableDefinition<ColumnTypes, infer Indexes> ? Indexes : IndexDefinitions;

/** The names that an index of a table may be read by. */
export type IndexName<Indexes extends IndexDefinitions> = Indexes[number]['name'];

/** The values of an index's columns, in order. */
export type IndexValues<Row, Indexes extends IndexDefinitions, Name extends string> =
  string extends IndexName<Indexes>
    ? readonly SqlValue[]
    : ColumnValues<Row, Extract<Indexes[number], { readonly name: Name }>['columns']>;

/** The types of the columns of an index, in order. */
export type ColumnValues<Row, Columns extends readonly IndexColumn[]> = {
  readonly [At in keyof Columns]: ColumnNameOf<Columns[At]> extends keyof Row
    ? StoredValue<Row[ColumnNameOf<Columns[At]>]>
    : SqlValue;
};

/** What of a type can be in a cache: the input of a schema may be wider. */
export type StoredValue<Value> = unknown extends Value ? SqlValue : Extract<Value, SqlValue>;

/** The name of an {@link IndexColumn}. */
export type ColumnNameOf<Column> = Column extends { readonly column: infer Name } ? Name : Column;

/**
 * Declares a table, so that readers of it are typed.
 *
 * ```ts
 * const patterns = defineTable({
 *   name: 'patterns',
 *   columns: { pattern_id: 'text', success_rate: 'real', context_domain: 'text?' },
 *   key: ['pattern_id'],
 * });
 * const row = cache.table(patterns).get('p1'); // { pattern_id: string; success_rate: number; … } | undefined
 * ```
 *
 * The types are the caller's promise about the source: they are not checked row by row, unless there is a `schema`.
 *
 * ```ts
 * import { defineTable } from 'storage-sync';
 * import { z } from 'zod';
 *
 * const sessions = defineTable({
 *   name: 'sessions',
 *   schema: z.object({ id: z.string(), open: z.number().transform((flag) => flag === 1) }),
 * });
 * ```
 */
export function defineTable<
  const Columns extends ColumnTypes,
  const Indexes extends IndexDefinitions = [],
  Schema extends RowSchema | undefined = undefined,
>(
  definition: TableDefinition<Columns, Indexes, Schema>,
): TableDefinition<Columns, Indexes, Schema> {
  return definition;
}
