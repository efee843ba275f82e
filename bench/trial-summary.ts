import { FIGURE_NAMES, type FigureName, type Figures } from './figures.js';
import { summarizeParts, type PartSummary } from './part-summary.js';
import { type Spread, spreadOf } from './spread.js';
import type { Run } from './trial-rounds.js';
import type { Goal, Trial, TrialTarget } from './trials.js';

export type FigureSpreads = Readonly<Record<FigureName, Spread | null>>;

export interface TargetSummary {
  readonly target: TrialTarget;
  readonly figures: FigureSpreads;
  /** One for each round. */
  readonly runs: readonly Figures[];
}

/** The first target's figures over another's, divided round by round. */
export interface RatioSummary {
  readonly target: string;
  readonly against: string;
  readonly figures: FigureSpreads;
}

export interface GoalSummary extends Goal {
  readonly value: number;
  readonly isMet: boolean;
}

export interface TrialSummary {
  readonly id: string;
  readonly title: string;
  readonly source: Trial['source'];
  readonly data: Trial['data'];
  readonly rows: number;
  readonly rounds: number;
  readonly targets: readonly TargetSummary[];
  readonly ratios: readonly RatioSummary[];
  readonly goals: readonly GoalSummary[];
  readonly parts: readonly PartSummary[];
}

/** Puts together what the rounds of a trial have shown, without the warm-up. */
export function summarizeTrial(trial: Trial, runs: readonly Run[]): TrialSummary {
  const targets = trial.targets.map((target): TargetSummary => {
    const own = runs
      .filter((run) => run.round > 0 && run.target.id === target.id)
      .map((run) => run.figures);
    return { target, figures: spreadsOf((name) => own.map((figures) => figures[name])), runs: own };
  });
  const [first, ...others] = targets;
  const ratios = first ? others.map((other) => ratioOf(first, other)) : [];
  return {
    id: trial.id,
    title: trial.title,
    source: trial.source,
    data: trial.data,
    rows: trial.rows,
    rounds: first?.runs.length ?? 0,
    targets,
    ratios,
    parts: summarizeParts(
      trial.targets.map(({ id }) => id),
      runs,
    ),
    goals: trial.goals.flatMap((goal) => {
      const figures =
        goal.against === undefined
          ? first?.figures
          : ratios.find((ratio) => ratio.against === goal.against)?.figures;
      const value = figures?.[goal.figure]?.median;
      return value === undefined ? [] : [{ ...goal, value, isMet: isMet(goal, value) }];
    }),
  };
}

function ratioOf(first: TargetSummary, other: TargetSummary): RatioSummary {
  return {
    target: first.target.id,
    against: other.target.id,
    figures: spreadsOf((name) =>
      first.runs.map((own, round) => {
        const numerator = own[name];
        const denominator = other.runs[round]?.[name];
        return numerator === null || !denominator ? null : numerator / denominator;
      }),
    ),
  };
}

function spreadsOf(values: (name: FigureName) => readonly (number | null)[]): FigureSpreads {
  return Object.fromEntries(
    FIGURE_NAMES.map((name) => {
      const known = values(name).filter((value) => value !== null);
      return [name, known.length === 0 ? null : spreadOf(known)];
    }),
  ) as FigureSpreads;
}

function isMet({ atLeast = -Infinity, atMost = Infinity }: Goal, value: number): boolean {
  return value >= atLeast && value <= atMost;
}
