import type { Way } from './history.js';

/** Rows a batch: as few as a history's largest tables allow for. */
export function batchSizes({
  way,
  isFast,
}: {
  readonly way: Way;
  readonly isFast: boolean;
}): readonly number[] {
  if (isFast) return [1, 3, 7, 60, 20_000];
  return way === 'file' ? [5, 20, 60, 500, 20_000] : [30, 100, 500, 20_000];
}
