import type { VerifyContext } from './context.js';
import type { RowComparison } from './row-comparison.js';
import type { VerifyTarget } from './tasks.js';

/** Rows that are always compared: the newest. */
const NEWEST_ROWS = 10;
/** Ranges of a sample, and rows in each. A table of not many more is compared whole. */
const SAMPLE_RANGES = 16;
const SAMPLE_RANGE_ROWS = 64;
const WHOLE_ROWS = 4 * SAMPLE_RANGES * SAMPLE_RANGE_ROWS;

/** What a sample is taken of. */
export interface SampledTable {
  readonly context: VerifyContext;
  readonly target: VerifyTarget;
  readonly rows: RowComparison;
  /** Rows that the cache has. */
  readonly entries: number;
}

/** Rows of a table that a sample compares, about. */
export function sampleRows(entries: number): number {
  return entries <= WHOLE_ROWS ? entries : SAMPLE_RANGES * SAMPLE_RANGE_ROWS;
}

/**
 * Compares the newest rows.
 *
 * @returns whether the budget sufficed.
 */
export async function compareNewest({
  context,
  target,
  rows,
  entries,
}: SampledTable): Promise<boolean> {
  if (context.budget.left < 2 * NEWEST_ROWS) return false;
  if (!target.plan.inKeyOrder) await rows.compareNewest(NEWEST_ROWS, 'keys');
  else {
    const ordinal = entries - NEWEST_ROWS;
    const [after] = await keysAt(context, target, [ordinal]);
    await rows.compareBehind(after ?? null, 2 * NEWEST_ROWS, 'range');
  }
  return true;
}

/**
 * Compares random ranges of a table's keys, the last one among them: all rows between two keys, on both sides. Where the
 * source's order is not that of the cache's keys, rows of the cache are looked up, and it is seen whether rows of the
 * source are there. No row is compared twice.
 *
 * @returns whether the budget sufficed.
 */
export async function compareSample(table: SampledTable, random: () => number): Promise<boolean> {
  const { context, target, rows, entries } = table;
  if (entries <= WHOLE_ROWS) return await rows.run(null);
  const places = await keysAt(context, target, sampleStarts(entries, random));
  return target.plan.inKeyOrder
    ? await compareRanges(table, places)
    : await compareKeys(table, places, random);
}

/** Where ranges begin, ascending and not overlapping: at random places, and so many rows before the end. */
function sampleStarts(entries: number, random: () => number): number[] {
  const last = entries - SAMPLE_RANGE_ROWS;
  // From as many before the first row on as a range has, so that each row is as likely to be in one.
  const starts = Array.from(
    { length: SAMPLE_RANGES - 1 },
    () => Math.floor(random() * (entries + SAMPLE_RANGE_ROWS)) - SAMPLE_RANGE_ROWS,
  ).sort((a, b) => a - b);
  const apart: number[] = [];
  for (const start of starts) {
    const before = apart.at(-1) ?? -Infinity;
    const fits = start >= before + SAMPLE_RANGE_ROWS && start + SAMPLE_RANGE_ROWS <= last;
    if (fits) apart.push(start);
  }
  return [...apart, last];
}

async function compareRanges(
  { context, rows }: SampledTable,
  places: readonly (Uint8Array | null)[],
): Promise<boolean> {
  let compared: Uint8Array | null = null;
  for (const place of places) {
    if (context.budget.left < 2 * SAMPLE_RANGE_ROWS) return false;
    // Where the cache has rows that the source does not, the range before reached further.
    const from = later(place, compared);
    const upTo = await rows.compareBehind(from, SAMPLE_RANGE_ROWS, 'range');
    compared = later(compared, upTo);
  }
  return true;
}

/** The later of two keys; null is the start. */
function later(a: Uint8Array | null, b: Uint8Array | null): Uint8Array | null {
  if (a === null || b === null) return a ?? b;
  return Buffer.compare(a, b) >= 0 ? a : b;
}

async function compareKeys(
  { context, target, rows }: SampledTable,
  places: readonly (Uint8Array | null)[],
  random: () => number,
): Promise<boolean> {
  const { plan } = target;
  const cost = 2 * SAMPLE_RANGE_ROWS + 2 * (plan.limit?.count ?? 0);
  for (const place of places) {
    if (context.budget.left < cost) return false;
    await rows.look(await someKeys(context, target, place));
  }
  if (context.budget.left < cost) return false;
  // How far a row is from the limit cannot be told from its key.
  if (plan.limit !== null) await rows.compareNewest(SAMPLE_RANGE_ROWS, 'presence');
  else {
    const place = places[Math.floor(random() * places.length)] ?? null;
    await rows.compareBehind(place, SAMPLE_RANGE_ROWS, 'presence');
  }
  return true;
}

/** The keys of so manieth rows, counted from 1 and ascending; null for those before the first. */
async function keysAt(
  { pool }: VerifyContext,
  target: VerifyTarget,
  ordinals: readonly number[],
): Promise<(Uint8Array | null)[]> {
  const within = ordinals.filter((ordinal) => ordinal > 0);
  const before = ordinals.slice(0, ordinals.length - within.length).map(() => null);
  const steps = within.map((ordinal, i) => ordinal - (within[i - 1] ?? 0));
  const { keys } = await pool.read('keysAt', { ...target, after: null, steps });
  return [...before.slice(0, 1), ...keys];
}

async function someKeys(
  { pool }: VerifyContext,
  target: VerifyTarget,
  after: Uint8Array | null,
): Promise<readonly Uint8Array[]> {
  const steps = Array.from({ length: SAMPLE_RANGE_ROWS }, () => 1);
  return (await pool.read('keysAt', { ...target, after, steps })).keys;
}
