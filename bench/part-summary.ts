import type { Part } from './part.js';
import { type Spread, spreadOf } from './spread.js';
import type { Run } from './trial-rounds.js';

/** What a part of the work cost each target, over the rounds. */
export interface PartSummary {
  readonly name: string;
  readonly rows: number;
  readonly targets: readonly {
    readonly target: string;
    readonly usPerRow: Spread | null;
    readonly bytesPerRow: Spread;
  }[];
  /** The first target's times over those of each other one, divided round by round. */
  readonly ratios: readonly {
    readonly against: string;
    readonly wall: Spread | null;
    readonly cpu: Spread | null;
  }[];
}

/** Puts together the parts that runs were measured by, without the warm-up. */
export function summarizeParts(targets: readonly string[], runs: readonly Run[]): PartSummary[] {
  const counted = runs.filter(({ round }) => round > 0);
  const partsOf = (target: string, name: string): readonly Part[] =>
    counted
      .filter((run) => run.target.id === target)
      .flatMap(({ parts = [] }) => parts.filter((part) => part.name === name));
  const [first = '', ...others] = targets;
  const own = counted.find((run) => run.target.id === first)?.parts ?? [];
  return own.map(({ name, rows }) => ({
    name,
    rows,
    targets: targets.map((target) => {
      const parts = partsOf(target, name);
      return {
        target,
        usPerRow: spreadOfTimes(parts.map((part) => timePerRow(part))),
        bytesPerRow: spreadOf(parts.map((part) => part.bytes / part.rows)),
      };
    }),
    ratios: others.map((against) => {
      const other = partsOf(against, name);
      const ratioOf = (time: 'ms' | 'cpuMs') =>
        spreadOfTimes(
          partsOf(first, name).map((part, round) => {
            const [value, divisor] = [part[time], other[round]?.[time]];
            return value === null || !divisor ? null : value / divisor;
          }),
        );
      return { against, wall: ratioOf('ms'), cpu: ratioOf('cpuMs') };
    }),
  }));
}

function timePerRow({ ms, rows }: Part): number | null {
  return ms === null ? null : (1000 * ms) / rows;
}

function spreadOfTimes(values: readonly (number | null)[]): Spread | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : spreadOf(known);
}
