import { createHash } from 'node:crypto';
import { quoteIdentifier } from '../sql.js';
import type { CapturePlan } from './capture-plan.js';
import { declareColumn, logName, rowName, triggerName, type TriggerKind } from './layout.js';
import type { UniqueIndex } from './unique-indexes.js';

/**
 * The statements that make a table's log: the log, a scratch row where one is needed, and the triggers.
 *
 * Nothing in the triggers relies on `OR REPLACE` or `OR IGNORE`, because the clause of the statement that fires a
 * trigger takes the place of those within (https://www.sqlite.org/lang_createtrigger.html). An upsert stands.
 */
export function createLogStatements(plan: CapturePlan, id: number): string[] {
  return [
    createLog(plan, id),
    ...(usesScratchRow(plan) ? [createScratchRow(plan, id)] : []),
    ...triggers(plan, id).map(([, sql]) => sql),
  ];
}

/** The kinds of triggers that a table needs. */
export function triggerKinds(plan: CapturePlan): TriggerKind[] {
  return triggers(plan, 0).map(([kind]) => kind);
}

/** Changes with everything that the triggers depend on, and with how they are written. */
export function fingerprint(plan: CapturePlan): string {
  const sql = createLogStatements(plan, 0).join(';\n');
  return createHash('sha256').update(sql).digest('hex').slice(0, 16);
}

export function usesScratchRow(plan: CapturePlan): boolean {
  return plan.replacesBy.some((index) => index.terms.some((term) => term.expression !== null));
}

/**
 * Columns compare as the key's index does, but keys are told apart by their bytes: where `a` becomes `A` in a NOCASE
 * key, both are logged, so that whoever holds `a` learns of it.
 */
function createLog({ key, keyNullable }: CapturePlan, id: number): string {
  const columns = key.map(({ affinity, collation }, i) =>
    declareColumn(`k${i + 1}`, affinity, collation),
  );
  return `CREATE TABLE ${logName(id)} (version INTEGER PRIMARY KEY, ${columns.join(', ')},${
    keyNullable ? ' "row" INTEGER,' : ''
  } deleted INTEGER, UNIQUE (${uniqueTerms(key)}))`;
}

function createScratchRow({ expressionColumns }: CapturePlan, id: number): string {
  const columns = expressionColumns.map(({ name, affinity, collation }) =>
    declareColumn(name, affinity, collation),
  );
  return `CREATE TABLE ${rowName(id)} (${columns.join(', ') || 'empty'})`;
}

function uniqueTerms(key: CapturePlan['key']): string {
  return key
    .map(({ collation }, i) => (collation === 'BINARY' ? `k${i + 1}` : `k${i + 1} COLLATE BINARY`))
    .join(', ');
}

function triggers(plan: CapturePlan, id: number): [TriggerKind, string][] {
  const table = quoteIdentifier(plan.table);
  const make = (kind: TriggerKind, event: string, statements: readonly string[]) =>
    [
      kind,
      `CREATE TRIGGER ${triggerName(id, kind)} ${event} ON ${table} BEGIN\n${statements
        .map((statement) => `  ${statement};\n`)
        .join('')}END`,
    ] as [TriggerKind, string];
  const made = [
    make('insert', 'AFTER INSERT', [logRow(plan, id, 'NEW', '0')]),
    make('update', 'AFTER UPDATE', [
      logRow(plan, id, 'OLD', '1', `WHERE ${keyChanged(plan)}`),
      logRow(plan, id, 'NEW', '0'),
    ]),
    make('delete', 'AFTER DELETE', [logRow(plan, id, 'OLD', '1')]),
  ];
  const onInsert = logReplaced(plan, id, '');
  if (onInsert.length > 0) made.push(make('before_insert', 'BEFORE INSERT', onInsert));
  const onUpdate = [
    ...logReplaced(plan, id, ` AND ${isAnother(plan)}`),
    // The row that is replaced may take the updated one with it, by a foreign key: then nothing fires after the update.
    ...(plan.hasReferences
      ? [logRow(plan, id, 'NEW', 'NULL', `WHERE ${keyChanged(plan, newBefore)}`, newBefore)]
      : []),
  ];
  if (onUpdate.length > 0) made.push(make('before_update', 'BEFORE UPDATE', onUpdate));
  return made;
}

/** Logs one row's key, under the next version. */
function logRow(
  plan: CapturePlan,
  id: number,
  from: string,
  deleted: '0' | '1' | 'NULL',
  rest = 'WHERE true',
  valueOf: NewValue = (_, name) => `${from}.${quoteIdentifier(name)}`,
): string {
  const { key, keyNullable, rowidName } = plan;
  const row = keyNullable ? ', "row"' : '';
  const values = key.map(({ name }) => valueOf(plan, name)).join(', ');
  const rowid = keyNullable ? `, ${from}.${quoteIdentifier(rowidName!)}` : '';
  return (
    `INSERT INTO ${logName(id)} (version, ${key.map((_, i) => `k${i + 1}`).join(', ')}${row}, deleted) ` +
    `SELECT (SELECT max(version) FROM ${logName(id)}) + 1, ${values}${rowid}, ${deleted} ${rest} ` +
    `ON CONFLICT (${uniqueTerms(key)}) DO UPDATE SET version = excluded.version` +
    `${keyNullable ? ', "row" = excluded."row"' : ''}, deleted = excluded.deleted`
  );
}

/** How a column's value in the new row is told. */
type NewValue = (plan: CapturePlan, name: string) => string;

const newAfter: NewValue = (_, name) => `NEW.${quoteIdentifier(name)}`;

/** A random default cannot be told; that it meets a row that is there is left to chance. */
const newBefore: NewValue = (plan, name) => {
  const value = newAfter(plan, name);
  const otherwise = plan.defaults.get(name);
  return otherwise === undefined ? value : `coalesce(${value}, (${otherwise}))`;
};

function keyChanged(plan: CapturePlan, newValue: NewValue = newAfter): string {
  const { key, keyNullable, rowidName } = plan;
  const names = key.map(({ name }) => name);
  return [...names, ...(keyNullable ? [rowidName!] : [])]
    .map((name) => `OLD.${quoteIdentifier(name)} COLLATE BINARY IS NOT ${newValue(plan, name)}`)
    .join(' OR ');
}

/** Says of a row of the table that it is not the one that is updated. */
function isAnother({ table, key, rowidName }: CapturePlan): string {
  const column = (from: string, name: string) => `${from}.${quoteIdentifier(name)}`;
  const of = quoteIdentifier(table);
  if (rowidName !== null) return `${column(of, rowidName)} <> ${column('OLD', rowidName)}`;
  return `(${key
    .map(({ name }) => `${column(of, name)} COLLATE BINARY IS NOT ${column('OLD', name)}`)
    .join(' OR ')})`;
}

/**
 * Logs the rows that the statement may be about to replace. Where it replaces them, no trigger tells (unless
 * `recursive_triggers` is on), so this looks them up before, whatever the statement's conflict clause is.
 *
 * An index gives one row at most: versions are taken one by one.
 */
function logReplaced(plan: CapturePlan, id: number, condition: string): string[] {
  const table = quoteIdentifier(plan.table);
  const found = (where: string) =>
    logRow(plan, id, table, 'NULL', `FROM ${table} WHERE ${where}${condition} LIMIT 1`);
  const statements: string[] = [];
  if (plan.replacesByRowid) {
    const rowid = quoteIdentifier(plan.rowidName!);
    statements.push(found(`${table}.${rowid} = NEW.${rowid}`));
  }
  const scratch = rowName(id);
  const usesScratch = usesScratchRow(plan);
  if (usesScratch) {
    const names = plan.expressionColumns.map(({ name }) => quoteIdentifier(name));
    statements.push(
      names.length === 0
        ? `INSERT INTO ${scratch} VALUES (NULL)`
        : `INSERT INTO ${scratch} (${names.join(', ')}) VALUES (${plan.expressionColumns
            .map(({ name }) => newBefore(plan, name))
            .join(', ')})`,
    );
  }
  for (const index of plan.replacesBy) statements.push(found(sameEntry(plan, index, scratch)));
  if (usesScratch) statements.push(`DELETE FROM ${scratch}`);
  return statements;
}

/**
 * Says of a row of the table that it has the new row's entry in an index. A partial index's condition is asked of the
 * old row only, so a row may be logged that is not replaced.
 *
 * `NEW.column` has no affinity in SQLite, so an expression over it may give another value than over the column. The
 * scratch row has.
 */
function sameEntry(plan: CapturePlan, index: UniqueIndex, scratch: string): string {
  const table = quoteIdentifier(plan.table);
  const terms = index.terms.map(({ column, expression, collation }) => {
    const collate = `COLLATE ${quoteIdentifier(collation)}`;
    if (column === null)
      return `(${expression}) = (SELECT ${expression} FROM ${scratch}) ${collate}`;
    return `${table}.${quoteIdentifier(column)} = ${newBefore(plan, column)} ${collate}`;
  });
  return [...(index.where === null ? [] : [`(${index.where})`]), ...terms].join(' AND ');
}
