import type { SchemaChange } from '../report.js';
import { foldName } from '../source/introspection.js';
import type { PlanIndex, TablePlan } from '../source/plan.js';

/**
 * How the records of a table would have to differ from what is stored of it, or null when the stored ones can be
 * brought up to date one by one.
 */
export function schemaChange(stored: TablePlan, wanted: TablePlan): SchemaChange | null {
  const others = [
    ...keyChange(stored, wanted),
    ...(limitOf(stored) === limitOf(wanted) ? [] : ['another limit is asked for']),
    ...(stored.references === wanted.references ? [] : ['other references are asked for']),
  ];
  const before = stored.columns.map(({ name }) => name);
  const after = wanted.columns.map(({ name }) => name);
  const added = after.filter((name) => !before.includes(name));
  const gone = before.filter((name) => !after.includes(name));
  const moved = before.some((name, at) => after[at] !== name);
  const columns = [
    ...(gone.length > 0 ? [`${columnList(gone)} gone`] : []),
    ...(added.length > 0 ? [`${columnList(added)} new`] : []),
    ...(moved && added.length + gone.length === 0 ? ['its columns are in another order'] : []),
  ];
  const all = [...columns, ...others];
  if (all.length === 0) return null;
  const onlyAdded = others.length === 0 && !moved;
  return { kind: onlyAdded ? 'columns-added' : 'redefined', detail: all.join(', ') };
}

/** Whether two plans read and store a table in the same way, whatever indexes it has. */
export function samePlan(a: TablePlan, b: TablePlan): boolean {
  // How a table is followed is no part of what is read of it.
  const followed = { indexes: [], cursor: null, mode: 'auto' };
  return JSON.stringify({ ...a, ...followed }) === JSON.stringify({ ...b, ...followed });
}

/**
 * The indexes of a stored table as the wanted plan would have them, where no definition says which it is to have. One
 * over a column that is gone is left out.
 */
export function carriedIndexes(stored: TablePlan, wanted: TablePlan): PlanIndex[] {
  return stored.indexes.flatMap((index) => {
    const columns = index.columns.map((at) => {
      const { name } = stored.columns[at]!;
      return wanted.columns.findIndex((column) => column.name === name);
    });
    return columns.includes(-1) ? [] : [{ ...index, columns }];
  });
}

/**
 * Tables that the source seems to have under another name now: of those that it no longer has, each with a new one of
 * the same columns and key. Whether the rows are the same cannot be told from this.
 *
 * @returns the vanished table's plan by the name of the new one.
 */
export function likelyRenames(
  stored: readonly TablePlan[],
  wanted: readonly TablePlan[],
): Map<string, TablePlan> {
  const has = (plans: readonly TablePlan[], { name }: TablePlan) =>
    plans.some((plan) => foldName(plan.name) === foldName(name));
  const vanished = stored.filter((plan) => !has(wanted, plan));
  const renames = new Map<string, TablePlan>();
  for (const plan of wanted) {
    if (has(stored, plan)) continue;
    const at = vanished.findIndex((candidate) => schemaChange(candidate, plan) === null);
    if (at >= 0) renames.set(plan.name, ...(vanished.splice(at, 1) as [TablePlan]));
  }
  return renames;
}

function keyChange(stored: TablePlan, wanted: TablePlan): string[] {
  const before = keyOf(stored);
  const after = keyOf(wanted);
  if (before !== after) return [`the key is ${after}, not ${before}`];
  if (stored.keyNullable === wanted.keyNullable) return [];
  return [`the key may ${wanted.keyNullable ? 'be NULL now' : 'no longer be NULL'}`];
}

function keyOf(plan: TablePlan): string {
  const names = plan.key.map((at) => plan.columns[at]?.name);
  return names.includes(undefined) ? 'the rowid' : `(${names.join(', ')})`;
}

function limitOf({ limit, columns }: TablePlan): string | null {
  return limit && JSON.stringify([limit.count, columns[limit.column]!.name]);
}

function columnList(names: readonly string[]): string {
  const list = names.map((name) => JSON.stringify(name)).join(', ');
  return names.length === 1 ? `the column ${list} is` : `the columns ${list} are`;
}
