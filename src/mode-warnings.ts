import type { EncodedCursorLook } from './pipeline/messages.js';
import type { LogState } from './source/log-state.js';
import { quoteIdentifier } from './source/sql.js';
import type { TablePlan } from './source/plan.js';

/** What is wrong with the cursors that tables are to be followed by. */
export function cursorWarnings(
  plans: readonly TablePlan[],
  looks: readonly Pick<EncodedCursorLook, 'table' | 'indexed' | 'problem'>[],
): string[] {
  return looks.flatMap(({ table, indexed, problem }) => {
    const { cursor, order } = plans.find(({ name }) => name === table)!;
    const { sql } = cursor!.term;
    const warnings: string[] = [];
    if (problem !== null) {
      warnings.push(
        `The cursor ${sql} of ${JSON.stringify(table)} cannot be followed, so the table is read in full: ${problem}.`,
      );
    }
    if (!indexed) {
      const columns = [
        sql,
        ...order.filter(({ collation }) => collation !== null).map((t) => t.sql),
      ];
      warnings.push(
        `No index of ${JSON.stringify(table)} begins with the cursor ${sql}, so the source looks at all its rows in each sync. ` +
          `CREATE INDEX … ON ${quoteIdentifier(table)} (${columns.join(', ')}) spares that.`,
      );
    }
    return warnings;
  });
}

/** Which tables are to be followed by a change log that there is not. */
export function modeWarnings(plans: readonly TablePlan[], logs: readonly LogState[]): string[] {
  return plans
    .filter(({ name, mode }) => mode === 'change-log' && !logs.some(({ table }) => table === name))
    .map(
      ({ name }) =>
        `The table ${JSON.stringify(name)} has no change log that can be relied on, and is read in full.`,
    );
}

/** Which tables are read in full because their change log was put back behind what this cache has read of it. */
export function restoredWarnings(plans: readonly TablePlan[], logs: readonly LogState[]): string[] {
  const tables = logs
    .filter(({ table, restored }) => restored && plans.some(({ name }) => name === table))
    .map(({ table }) => JSON.stringify(table));
  if (tables.length === 0) return [];
  return [
    `The source was put back to an older state, or has forgotten this cache; read in full: ${tables.join(', ')}.`,
  ];
}
