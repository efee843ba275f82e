import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Machine, PACKAGE_ROOT } from './machine.js';
import type { TrialSummary } from './trial-summary.js';

export interface BenchResult {
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly arguments: readonly string[];
  readonly machine: Machine;
  readonly trials: readonly TrialSummary[];
}

/** Where the results of a bench begun at `startedAt` go when nobody says otherwise. */
export function defaultResultPath(startedAt: string): string {
  return join(PACKAGE_ROOT, 'bench', 'results', `${startedAt.replaceAll(/[:.]/g, '-')}.json`);
}

export function writeResult(path: string, result: BenchResult): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`);
}
