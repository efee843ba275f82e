import { LossError } from './errors.js';

/** What a table had, and what it would have. */
export interface RowChange {
  readonly table: string;
  readonly before: number;
  readonly after: number;
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
  const lost = before - after;
  if (before < MIN_ROWS || lost <= maxShare * before) return;
  const percent = Math.floor((100 * lost) / before);
  throw new LossError(
    `The table ${JSON.stringify(table)} would lose ${lost} of its ${before} rows (${percent} %).`,
    {
      context: { table, before, after, maxShare },
      hint: 'The cache is left as it was. If the source is right, sync with --allow-loss (in the library: allowLoss).',
    },
  );
}
