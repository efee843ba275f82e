import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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

/** @throws {Error} when there is no such file, or it is no result of the bench. */
export function readResult(path: string): BenchResult {
  const text = readFileSync(path, 'utf8');
  try {
    const result = JSON.parse(text) as Partial<BenchResult> | null;
    if (result?.machine && Array.isArray(result.trials)) return result as BenchResult;
  } catch (error) {
    throw new Error(`${JSON.stringify(path)} is no JSON.`, { cause: error });
  }
  throw new Error(`${JSON.stringify(path)} is no result of the bench.`);
}
