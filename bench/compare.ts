import { type TextColumn, textTable } from '../src/cli/text-table.js';
import { FIGURE_TEXT, figureText } from './figure-text.js';
import type { FigureName } from './figures.js';
import type { BenchResult } from './result-file.js';
import type { Spread } from './spread.js';
import type { TargetSummary } from './trial-summary.js';

const COMPARED_FIGURES: readonly FigureName[] = [
  'rowsPerSecond',
  'cpuUsPerRow',
  'peakAnonBytes',
  'readPauseMs',
];

const COLUMNS: readonly TextColumn[] = [
  { title: 'trial' },
  { title: 'target' },
  { title: 'rows', align: 'right' },
  { title: 'figure' },
  { title: 'a', align: 'right' },
  { title: 'b', align: 'right' },
  { title: 'b/a', align: 'right' },
  { title: 'ranges' },
];

interface Pair {
  readonly trial: string;
  readonly a: TargetSummary;
  readonly b: TargetSummary;
}

/** What two results have in common, side by side: medians, the second over the first, and how the rounds lie. */
export function compareResults(a: BenchResult, b: BenchResult): string {
  const pairs = pairsOf(a, b);
  return [
    `a: ${originOf(a)}\nb: ${originOf(b)}`,
    pairs.length === 0
      ? 'The results have no target of a trial in common.'
      : textTable(COLUMNS, pairs.flatMap(linesOf)),
  ].join('\n\n');
}

function pairsOf(a: BenchResult, b: BenchResult): readonly Pair[] {
  return a.trials.flatMap(({ id, targets }) => {
    const others = b.trials.find((trial) => trial.id === id)?.targets ?? [];
    return targets.flatMap((target) => {
      const other = others.find((each) => each.target.id === target.target.id);
      return other ? [{ trial: id, a: target, b: other }] : [];
    });
  });
}

function linesOf({ trial, a, b }: Pair): readonly (readonly string[])[] {
  return COMPARED_FIGURES.flatMap((figure) => {
    // A result of an older bench may not have the figure at all.
    const [before, after] = [a.figures[figure], b.figures[figure]];
    if (!before || !after) return [];
    return [
      [
        trial,
        a.target.title,
        rowsText(a, b),
        FIGURE_TEXT[figure].title,
        figureText(figure, before.median),
        figureText(figure, after.median),
        before.median === 0 ? '-' : `${(after.median / before.median).toFixed(2)}x`,
        rangesText(a, b, before, after),
      ],
    ];
  });
}

function rowsText(a: TargetSummary, b: TargetSummary): string {
  const [before, after] = [a, b].map(({ figures }) => figureText('rows', figures.rows?.median));
  return before === after ? `${before}` : `${before} and ${after}`;
}

/** A single round has no range. */
function rangesText(a: TargetSummary, b: TargetSummary, before: Spread, after: Spread): string {
  if (a.runs.length < 2 || b.runs.length < 2) return '-';
  return before.min <= after.max && after.min <= before.max ? 'overlap' : 'apart';
}

function originOf({ startedAt, machine, arguments: args }: BenchResult): string {
  const commit = machine.commit?.slice(0, 7) ?? 'no commit';
  const changes = machine.hasLocalChanges ? ' with changes' : '';
  const options = args.length === 0 ? '' : `, ${args.join(' ')}`;
  return `${startedAt}, ${commit}${changes}, ${machine.cpu}, Node ${machine.node}${options}`;
}
