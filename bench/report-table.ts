import { textTable } from '../src/cli/text-table.js';
import { FIGURE_TEXT, figureText, ratioText } from './figure-text.js';
import { FIGURE_NAMES } from './figures.js';
import type { GoalSummary, TrialSummary } from './trial-summary.js';

/** A trial's medians, ratios and goals, for a terminal. */
export function reportTable(trial: TrialSummary): string {
  const rows = trial.rows.toLocaleString('en');
  const sections = [
    `${trial.title} (${trial.id}): ${rows} rows, medians of ${trial.rounds} rounds`,
    figureTable(trial),
  ];
  if (trial.ratios.length > 0) sections.push(ratioTable(trial));
  if (trial.parts.length > 0) sections.push(partTable(trial));
  if (trial.goals.length > 0) sections.push(goalLines(trial.goals));
  return sections.join('\n\n');
}

function figureTable({ targets, rows }: TrialSummary): string {
  const haveSameRows = targets.every(({ figures }) => figures.rows?.median === rows);
  const shown = FIGURE_NAMES.filter((name) => name !== 'rows' || !haveSameRows);
  return textTable(
    [
      { title: '' },
      { title: 'wall min to max', align: 'right' },
      ...shown.map((name) => ({ title: FIGURE_TEXT[name].title, align: 'right' as const })),
    ],
    targets.map(({ target, figures }) => [
      target.title,
      `${figureText('wallMs', figures.wallMs?.min)} to ${figureText('wallMs', figures.wallMs?.max)}`,
      ...shown.map((name) => figureText(name, figures[name]?.median)),
    ]),
  );
}

function ratioTable({ targets, ratios }: TrialSummary): string {
  const titleOf = (id: string): string =>
    targets.find(({ target }) => target.id === id)?.target.title ?? id;
  return textTable(
    [
      { title: `${titleOf(ratios[0]?.target ?? '')} against` },
      { title: 'rows/s' },
      { title: 'wall' },
      { title: 'CPU per row' },
    ],
    ratios.map(({ against, figures }) => [
      titleOf(against),
      ratioText(figures.rowsPerSecond),
      ratioText(figures.wallMs),
      ratioText(figures.cpuUsPerRow),
    ]),
  );
}

function partTable({ targets, parts }: TrialSummary): string {
  const right = (title: string) => ({ title, align: 'right' as const });
  const [, ...others] = targets;
  return textTable(
    [
      { title: 'part' },
      right('rows'),
      ...targets.map(({ target }) => right(`${target.title}, us/row`)),
      ...others.flatMap(({ target }) => [
        { title: `wall against ${target.title}` },
        { title: `CPU against ${target.title}` },
      ]),
      ...targets.map(({ target }) => right(`${target.title}, bytes/row`)),
    ],
    parts.map((part) => [
      part.name,
      part.rows.toLocaleString('en'),
      ...part.targets.map(({ usPerRow }) => usPerRow?.median.toFixed(1) ?? '-'),
      ...part.ratios.flatMap(({ wall, cpu }) => [ratioText(wall), ratioText(cpu)]),
      ...part.targets.map(({ bytesPerRow }) => bytesPerRow.median.toFixed(0)),
    ]),
  );
}

function goalLines(goals: readonly GoalSummary[]): string {
  return goals
    .map((goal) => {
      const { figure, against, atLeast, atMost, value, isMet } = goal;
      const show = (number: number): string =>
        against === undefined
          ? `${figureText(figure, number)} ${FIGURE_TEXT[figure].unit}`
          : `${number.toFixed(2)}x`;
      const name = FIGURE_TEXT[figure].title.replace(/ (ms|MB|us\/row)$/, '');
      const of = against === undefined ? name : `${name} against ${against}`;
      const bounds = [
        ...(atLeast === undefined ? [] : [`at least ${show(atLeast)}`]),
        ...(atMost === undefined ? [] : [`at most ${show(atMost)}`]),
      ];
      return `${isMet ? 'met   ' : 'MISSED'}  ${of}: ${show(value)}, goal ${bounds.join(', ')}`;
    })
    .join('\n');
}
