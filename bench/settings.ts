import { describeError } from '../src/index.js';
import { Command, InvalidArgumentError } from 'commander';
import { type BenchResult, readResult } from './result-file.js';
import { TRIALS, type Trial } from './trials.js';

const DEFAULT_ROUNDS = 5;
const DEFAULT_SEED = 1;
const QUICK_ROUNDS = 1;
const QUICK_SHARE = 0.05;
const QUICK_MOST_ROWS = 100_000;

export interface Settings {
  readonly trials: readonly Trial[];
  readonly rounds: number;
  /** Whether a round that is not counted comes first. */
  readonly warmsUp: boolean;
  readonly seed: number;
  /** Path of the JSON file; the picture lies beside it. */
  readonly out: string | undefined;
  readonly isProfiling: boolean;
  /** Two earlier results to compare, instead of measuring. */
  readonly compared: readonly [BenchResult, BenchResult] | undefined;
}

interface RawSettings {
  readonly quick?: true;
  readonly rows?: number;
  readonly maxRows?: number;
  readonly rounds?: number;
  readonly seed: number;
  readonly trials?: readonly string[];
  readonly targets?: readonly string[];
  readonly out?: string;
  readonly cpuProf?: true;
  readonly compare?: readonly BenchResult[];
}

/** Reads the command line. Prints help or what is wrong with it, and ends the process then. */
export function parseSettings(args: readonly string[]): Settings {
  const command = new Command('bench')
    .description(
      'Measures storage-sync against what one would write without it, and against limits.',
    )
    .option(
      '--quick',
      'a twentieth of the rows, 100,000 at most, one round, cold: shows that all works, measures little',
    )
    .option('--rows <n>', 'rows in every trial', parseCount)
    .option(
      '--max-rows <n>',
      'rows in a trial at most: lowers the trials that have more',
      parseCount,
    )
    .option('--rounds <n>', `measured rounds (default: ${DEFAULT_ROUNDS})`, parseCount)
    .option('--seed <n>', 'seed of the generated data', parseCount, DEFAULT_SEED)
    .option('--trials <ids>', 'only these trials, with commas between', parseList)
    .option('--targets <ids>', 'only these targets, with commas between', parseList)
    .option('--out <file>', 'the JSON file (default: bench/results/<time>.json)')
    .option('--cpu-prof', 'also write and sum up CPU profiles; the figures then suffer')
    .option('--compare <files...>', 'measures nothing: compares two JSON files', parseResults)
    .addHelpText('after', () => `\nTrials:\n${describeTrials()}`)
    .parse(args, { from: 'user' });
  const raw = command.opts<RawSettings>();
  const trials = TRIALS.filter(({ id }) => raw.trials?.includes(id) ?? true)
    .map((trial) => chooseTargets(trial, raw.targets))
    .filter((trial) => trial !== null)
    .map((trial) => ({ ...trial, rows: trialRows(trial, raw) }));
  const known = new Set(TRIALS.map(({ id }) => id));
  const unknown = raw.trials?.find((id) => !known.has(id));
  if (unknown !== undefined) command.error(`There is no trial ${JSON.stringify(unknown)}.`);
  if (trials.length === 0) command.error('No trial has these targets.');
  const [a, b, ...more] = raw.compare ?? [];
  if (raw.compare && (!a || !b || more.length > 0)) command.error('--compare takes two files.');
  return {
    trials,
    rounds: raw.rounds ?? (raw.quick ? QUICK_ROUNDS : DEFAULT_ROUNDS),
    warmsUp: !raw.quick,
    seed: raw.seed,
    out: raw.out,
    isProfiling: raw.cpuProf ?? false,
    compared: a && b && [a, b],
  };
}

function chooseTargets(trial: Trial, ids: readonly string[] | undefined): Trial | null {
  const [first, ...others] = trial.targets.filter(({ id }) => ids?.includes(id) ?? true);
  if (!first) return null;
  // Goals speak of the target that comes first in the table.
  const goals = first === trial.targets[0] ? trial.goals : [];
  return { ...trial, targets: [first, ...others], goals };
}

function trialRows(trial: Trial, { rows, maxRows = Infinity, quick }: RawSettings): number {
  const quickRows = Math.min(QUICK_MOST_ROWS, Math.ceil(trial.rows * QUICK_SHARE));
  return Math.min(maxRows, rows ?? (quick ? quickRows : trial.rows));
}

function describeTrials(): string {
  return TRIALS.map(
    ({ id, title, rows, targets }) =>
      `  ${id.padEnd(16)} ${title}; ${rows} rows\n` +
      `${' '.repeat(19)}${targets.map((target) => target.id).join(', ')}`,
  ).join('\n');
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new InvalidArgumentError('It must be a whole number of at least 1.');
  }
  return count;
}

function parseResults(path: string, before: readonly BenchResult[] = []): readonly BenchResult[] {
  try {
    return [...before, readResult(path)];
  } catch (error) {
    throw new InvalidArgumentError(describeError(error));
  }
}

function parseList(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
