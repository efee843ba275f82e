import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { WAYS, type Way } from './history.js';
import { MODE_NAMES, type ModeName } from './modes.js';

/** What a run of chaos is asked for. */
export interface Settings {
  /** Of the first history; the next ones have the next numbers. */
  readonly seed: number;
  /** Histories to run at most. */
  readonly rounds: number;
  readonly durationMs: number;
  /** Null for each in turn. */
  readonly mode: ModeName | null;
  readonly way: Way | null;
  readonly isFast: boolean;
  /** Actions whose names hold this happen more often. */
  readonly more: string | null;
  readonly isVerbose: boolean;
  readonly isJson: boolean;
}

export const USAGE = `npm run chaos -- [options]

  --seed N            of the first history; the next ones have the next numbers (default: random)
  --rounds N          histories to run
  --duration 60s      for how long to begin new ones (default, without --rounds: 60s)
  --mode NAME         ${MODE_NAMES.join(', ')} (default: each in turn)
  --way file|http     how the source is reached (default: each in turn)
  --fast              without processes: thousands of small histories
  --more TEXT         more often what has this in its name, such as: kill
  --verbose           a line for each action
  --json              a JSON object for each action, and one for the result
`;

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3600_000 } as const;
const LARGEST_SEED = 2 ** 31 - 1;

/** @throws {Error} saying which option is wrong. */
export function parseSettings(args: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      rounds: { type: 'string' },
      duration: { type: 'string' },
      mode: { type: 'string' },
      way: { type: 'string' },
      more: { type: 'string' },
      fast: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const { rounds, duration, mode, way } = values;
  return {
    seed: values.seed === undefined ? randomInt(LARGEST_SEED) : wholeNumber('seed', values.seed),
    rounds: rounds === undefined ? Infinity : wholeNumber('rounds', rounds),
    durationMs:
      duration === undefined
        ? rounds === undefined
          ? UNITS_MS.m
          : Infinity
        : durationMs(duration),
    mode: mode === undefined ? null : oneOf('mode', mode, MODE_NAMES),
    way: way === undefined ? null : oneOf('way', way, WAYS),
    isFast: values.fast,
    more: values.more ?? null,
    isVerbose: values.verbose,
    isJson: values.json,
  };
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= LARGEST_SEED) return value;
  throw new Error(`--${name} must be a whole number, at most ${LARGEST_SEED}.`);
}

function durationMs(text: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h)$/.exec(text) ?? [];
  if (amount !== undefined) return Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS];
  throw new Error('--duration must be a number with a unit: 500ms, 60s, 5m or 1h.');
}

function oneOf<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new Error(`--${option} must be one of ${names.join(', ')}.`);
}
