import type { ServedTable } from './cache/status.js';
import { schemaChange } from './cache/schema-change.js';
import { LossError } from './errors.js';
import { foldName } from './source/introspection.js';
import type { TablePlan } from './source/plan.js';

/** What a table had, and what it would have. */
export interface RowChange {
  readonly table: string;
  readonly before: number;
  readonly after: number;
}

/** A table as a sync has read it. */
export interface ReadTable {
  readonly plan: TablePlan;
  readonly rows: number;
  /** True when it was filled beside the one that is served, and is to take its place. */
  readonly replaces: boolean;
}

/** A table that the source has under another name. */
export interface TableRename {
  readonly from: string;
  readonly to: string;
}

/** Smaller tables come and go. */
const MIN_ROWS = 100;

/**
 * Refuses what looks like a source that lost its rows, or shows but some of them: a table would lose more than a share
 * of what it had.
 *
 * @param maxShare 0 to 1.
 * @throws {LossError} naming the table and the counts.
 */
export function refuseLoss({ table, before, after }: RowChange, maxShare: number): void {
  if (before < MIN_ROWS || !losesMore({ before, after }, maxShare)) return;
  const lost = before - after;
  const percent = Math.floor((100 * lost) / before);
  throw new LossError(
    `The table ${JSON.stringify(table)} would lose ${lost} of its ${before} rows (${percent} %).`,
    {
      context: { table, before, after, maxShare },
      hint: 'The cache is left as it was. If the source is right, sync with --allow-loss (in the library: allowLoss).',
    },
  );
}

/**
 * Holds tables that were filled beside the served ones against these, and, where every table of the source is synced,
 * tables that it no longer has against what they had. One that the source has under another name is not lost: a new
 * table of the same columns and key with about as many rows.
 *
 * @returns the tables that were renamed.
 * @throws {LossError} as {@link refuseLoss} does.
 */
export function refuseLosses(
  served: readonly ServedTable[],
  read: readonly ReadTable[],
  { discovered, maxShare }: { readonly discovered: boolean; readonly maxShare: number },
): TableRename[] {
  const renames: TableRename[] = [];
  const arrived = read.filter(({ plan }) => !byName(served, plan));
  for (const { plan, rows: before } of served.toSorted((a, b) => b.rows - a.rows)) {
    const table = plan.name;
    const found = byName(read, plan);
    if (found) {
      // Fewer than before are no loss where fewer are asked for.
      const asked = Math.min(before, found.plan.limit?.count ?? Infinity);
      if (found.replaces) refuseLoss({ table, before: asked, after: found.rows }, maxShare);
    } else if (discovered) {
      const [renamed] = arrived
        .filter((candidate) => schemaChange(plan, candidate.plan) === null && candidate.rows > 0)
        .filter(({ rows: after }) => !losesMore({ before, after }, maxShare))
        .sort((a, b) => Math.abs(a.rows - before) - Math.abs(b.rows - before));
      if (renamed && before > 0) {
        renames.push({ from: table, to: renamed.plan.name });
        arrived.splice(arrived.indexOf(renamed), 1);
      } else refuseLoss({ table, before, after: 0 }, maxShare);
    }
  }
  return renames;
}

function byName<Table extends { readonly plan: TablePlan }>(
  tables: readonly Table[],
  { name }: TablePlan,
): Table | undefined {
  return tables.find(({ plan }) => foldName(plan.name) === foldName(name));
}

function losesMore(
  { before, after }: Pick<RowChange, 'before' | 'after'>,
  maxShare: number,
): boolean {
  return before - after > maxShare * before;
}
