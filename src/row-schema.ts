import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConfigError, RowInvalidError, type RowIssue } from './errors.js';
import type { SourceRow } from './values.js';

/**
 * A schema that rows are read through: of Zod, Valibot, ArkType, or whatever else keeps to the interface
 * [Standard Schema](https://standardschema.dev). It gets the row as it is in the cache, and what it gives is what a read
 * gives. It must be synchronous, as reads are.
 */
export type RowSchema = StandardSchemaV1<unknown, object>;

/** Whether a value has the interface of a {@link RowSchema}. Some libraries' schemas are functions. */
export function isRowSchema(value: unknown): value is RowSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const { '~standard': standard } = value as { readonly '~standard'?: Partial<StandardProps> };
  return standard?.version === 1 && typeof standard.validate === 'function';
}

type StandardProps = RowSchema['~standard'];

/** Said of a value that is no {@link RowSchema}. */
export const NO_ROW_SCHEMA = 'must be a Standard Schema, as Zod, Valibot and ArkType make them';

/**
 * The schema that rows of a definition are read through, or null where it has none.
 *
 * @throws {ConfigError} for what is no schema.
 */
export function rowSchemaOf(table: {
  readonly name: string;
  readonly schema?: RowSchema | undefined;
}): RowSchema | null {
  const { name, schema = null } = table;
  if (schema === null || isRowSchema(schema)) return schema;
  throw new ConfigError(`The schema of the table ${JSON.stringify(name)} ${NO_ROW_SCHEMA}.`, {
    context: { table: name },
  });
}

/** Which row it is: asked for only when something is wrong with it. */
export interface RowName {
  readonly table: string;
  readonly key: () => string;
}

/**
 * A row as its schema gives it.
 *
 * @throws {RowInvalidError} when the row does not fit the schema.
 * @throws {ConfigError} when the schema is asynchronous.
 */
export function parseRow(schema: RowSchema, row: SourceRow, name: RowName): object {
  const result = validated(schema, row, name);
  if (isPromise(result)) {
    result.then(undefined, () => undefined);
    throw asynchronous(name.table);
  }
  if (result.issues) throw invalid(name, result.issues.map(toRowIssue));
  return result.value;
}

function validated(schema: RowSchema, row: SourceRow, name: RowName) {
  try {
    return schema['~standard'].validate(row);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw invalid(name, [{ path: [], message: `the schema threw: ${message}` }], error);
  }
}

function isPromise(value: object): value is Promise<unknown> {
  return 'then' in value && typeof value.then === 'function';
}

function toRowIssue({ message, path = [] }: StandardSchemaV1.Issue): RowIssue {
  return { message, path: path.map((part) => (typeof part === 'object' ? part.key : part)) };
}

function invalid(
  { table, key }: RowName,
  issues: readonly RowIssue[],
  cause?: unknown,
): RowInvalidError {
  const shown = key();
  const told = issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`,
  );
  return new RowInvalidError(
    `The row ${shown} of ${JSON.stringify(table)} does not fit its schema: ${told.join('; ')}.`,
    issues,
    {
      ...(cause === undefined ? {} : { cause }),
      context: { table, key: shown, issues: told.join('; ') },
      hint: 'Correct the row in the source and sync, or let the schema admit it. `parse: false` reads rows as they are.',
    },
  );
}

function asynchronous(table: string): ConfigError {
  return new ConfigError(
    `The schema of the table ${JSON.stringify(table)} is asynchronous, and reads are not.`,
    {
      context: { table },
      hint: 'Leave out of the schema what waits, or read with `parse: false` and await the schema yourself.',
    },
  );
}
