import uPlot from 'uplot';
import type { RoundOutcome, WatchRound } from '../watch-status.js';
import { byId } from './dom.js';
import { axisBase, color, Plot } from './plot.js';
import { formatDuration, formatTime } from './text.js';
import type { Timespan } from './timespan.js';

interface Mark {
  readonly color: string;
  /** In a box of 12 by 12, around its middle. */
  readonly shape: string;
  readonly isFilled: boolean;
}

const MARKS: Readonly<Record<RoundOutcome, Mark>> = {
  done: { color: '--good', shape: 'M6 3a3 3 0 1 0 0 6a3 3 0 1 0 0-6Z', isFilled: true },
  differences: { color: '--series-2', shape: 'M6 1.5 11 10H1Z', isFilled: true },
  skipped: {
    color: '--muted',
    shape: 'M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7Z',
    isFilled: false,
  },
  failed: { color: '--bad', shape: 'M2.5 2.5l7 7M9.5 2.5l-7 7', isFilled: false },
  aborted: { color: '--muted', shape: 'M3 3h6v6H3Z', isFilled: true },
};
const OUTCOMES = Object.keys(MARKS) as RoundOutcome[];

/** How long rounds took, and how they ended. */
export class DurationPlot {
  readonly plot: Plot<WatchRound>;
  readonly #paths = OUTCOMES.map((outcome) => new Path2D(MARKS[outcome].shape));
  #rounds: readonly WatchRound[] = [];

  constructor(timespan: Timespan) {
    const base = axisBase();
    const grid = { ...base.grid, filter: wholeDecades };
    const ticks = { ...base.ticks, filter: wholeDecades };
    this.plot = new Plot<WatchRound>(byId('duration'), {
      title: 'Time that rounds took',
      legend: OUTCOMES.map((label) => ({ label, ...MARKS[label] })),
      timespan,
      series: [{ scale: 'took', paths: () => null, points: { show: false } }],
      scales: { took: { distr: 3, range: decades } },
      axes: [{ ...base, scale: 'took', size: 62, values: durations, grid, ticks }],
      draw: (plot) => this.#drawMarks(plot),
      readOut: ({ startedAt, job, outcome, durationMs }) =>
        `${formatTime(Date.parse(startedAt))}, ${job}: ${outcome} in ${formatDuration(durationMs)}`,
      columns: [
        {
          title: 'Started',
          isName: true,
          text: ({ startedAt }) => formatTime(Date.parse(startedAt)),
        },
        { title: 'Job', text: ({ job }) => job },
        { title: 'Outcome', text: ({ outcome }) => outcome },
        { title: 'Took', isNumber: true, text: ({ durationMs }) => formatDuration(durationMs) },
      ],
      keyOf: ({ number, startedAt }) => `${number} ${startedAt}`,
      empty: 'No round has ended yet.',
    });
  }

  show(history: readonly WatchRound[]): void {
    this.#rounds = history;
    this.plot.show(history, [
      history.map(({ startedAt }) => Date.parse(startedAt) / 1000),
      // A logarithm has no nought.
      history.map(({ durationMs }) => Math.max(1, durationMs)),
    ]);
  }

  #drawMarks(plot: uPlot): void {
    const { ctx } = plot;
    const colors = OUTCOMES.map((outcome) => color(MARKS[outcome].color));
    for (const { startedAt, durationMs, outcome } of this.#rounds) {
      const i = OUTCOMES.indexOf(outcome);
      const path = this.#paths[i];
      if (!path) continue;
      ctx.save();
      ctx.translate(
        plot.valToPos(Date.parse(startedAt) / 1000, 'x', true),
        plot.valToPos(Math.max(1, durationMs), 'took', true),
      );
      ctx.scale(devicePixelRatio, devicePixelRatio);
      ctx.translate(-6, -6);
      ctx.fillStyle = ctx.strokeStyle = colors[i]!;
      ctx.lineWidth = 2;
      if (MARKS[outcome].isFilled) ctx.fill(path);
      else ctx.stroke(path);
      ctx.restore();
    }
  }
}

/** Lines at powers of ten only: those between them are too many to read. */
function wholeDecades(_plot: uPlot, splits: number[]): (number | null)[] {
  return splits.map((ms) => (isDecade(ms) ? ms : null));
}

function isDecade(ms: number): boolean {
  return Number.isInteger(Math.log10(ms));
}

function decades(_plot: uPlot, min: number | null, max: number | null): [number, number] {
  const low = 10 ** Math.floor(Math.log10(min ?? 1));
  const high = 10 ** Math.ceil(Math.log10((max ?? 1) + 1));
  return [low, Math.max(high, low * 10)];
}

function durations(_plot: uPlot, splits: number[]): string[] {
  return splits.map((ms) => {
    if (!isDecade(ms)) return '';
    return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toLocaleString('en-US')} s`;
  });
}
