import type { PlacedRun } from './bulk-file.js';

/**
 * Makes one run of several that follow on one another in the order of their keys. What is told of a run is small, and
 * each crosses threads twice: many would leave the heaps of all of them full of what is not needed any more.
 *
 * @param runs one at least, each with entries.
 * @throws {RangeError} when they are in another order.
 */
export function joinRuns(runs: readonly PlacedRun[]): PlacedRun {
  const sum = (size: (run: PlacedRun) => number) => runs.reduce((all, run) => all + size(run), 0);
  const base = Math.min(...runs.map((run) => run.base));
  const leafNumbers = new Uint32Array(sum((run) => run.leafNumbers.length));
  const separators = new Uint8Array(sum((run) => run.separators.length));
  const separatorEnds = new Uint32Array(leafNumbers.length);
  let leaves = 0;
  let bytes = 0;
  for (const [i, run] of runs.entries()) {
    refuseDisorder(runs[i - 1], run);
    for (let j = 0; j < run.leafNumbers.length; j++) {
      leafNumbers[leaves + j] = run.base - base + run.leafNumbers[j]!;
      separatorEnds[leaves + j] = bytes + run.separatorEnds[j]!;
    }
    separators.set(run.separators, bytes);
    leaves += run.leafNumbers.length;
    bytes += run.separators.length;
  }
  return {
    base,
    ranges: runs.flatMap((run) => run.ranges),
    leafPages: sum((run) => run.leafPages),
    overflowPages: sum((run) => run.overflowPages),
    entries: sum((run) => run.entries),
    leafNumbers,
    separators,
    separatorEnds,
    lastKey: runs.at(-1)!.lastKey,
  };
}

/** The first separator of a run is its first key. */
function refuseDisorder(before: PlacedRun | undefined, run: PlacedRun): void {
  const firstKey = run.separators.subarray(0, run.separatorEnds[0]);
  if (before !== undefined && Buffer.compare(before.lastKey, firstKey) >= 0) {
    throw new RangeError('runs are not in the order of their keys');
  }
}
