import uPlot from 'uplot';
import type { WatchRound } from '../watch-status.js';
import { byId } from './dom.js';
import { axisBase, color, Plot } from './plot.js';
import { formatCount, formatTime } from './text.js';
import type { Timespan } from './timespan.js';

const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });

const DOT = 'M6 3.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 1 0 0-5Z';

/** How many rows each sync and rebuild read, and how fast. */
export class RatePlot {
  readonly plot: Plot<WatchRound>;

  constructor(timespan: Timespan) {
    this.plot = new Plot<WatchRound>(byId('rate'), {
      title: 'Rows read',
      legend: [
        {
          label: 'rows of a round',
          shape: 'M3 12V3h6v9Z',
          color: '--series-1-soft',
          isFilled: true,
        },
        { label: 'rows a second', shape: DOT, color: '--series-2', isFilled: true },
      ],
      timespan,
      series: [
        {
          scale: 'rows',
          stroke: () => color('--series-1'),
          fill: () => color('--series-1-soft'),
          width: 0,
          paths: uPlot.paths.bars!({ size: [0.7, 9, 2] }),
          points: { show: false },
        },
        {
          scale: 'rate',
          stroke: () => color('--series-2'),
          // Nothing lies between two rounds that a line could tell of.
          paths: () => null,
          points: { show: true, size: 4, fill: () => color('--series-2') },
        },
      ],
      scales: { rows: { range: fromZero }, rate: { range: fromZero } },
      axes: [
        { ...axisBase(), scale: 'rows', label: 'rows', labelSize: 18, size: 46, values: counts },
        {
          ...axisBase(),
          scale: 'rate',
          side: 1,
          label: 'rows a second',
          labelSize: 18,
          size: 46,
          values: counts,
          grid: { show: false },
        },
      ],
      readOut: (round) =>
        `${formatTime(Date.parse(round.startedAt))}, ${round.job}: ${formatCount(round.rowsRead)} rows, ${formatCount(rateOf(round))} rows/s`,
      columns: [
        {
          title: 'Started',
          isName: true,
          text: ({ startedAt }) => formatTime(Date.parse(startedAt)),
        },
        { title: 'Rows', isNumber: true, text: ({ rowsRead }) => formatCount(rowsRead) },
        { title: 'Rows a second', isNumber: true, text: (round) => formatCount(rateOf(round)) },
      ],
      keyOf: ({ number, startedAt }) => `${number} ${startedAt}`,
      empty: 'No sync has succeeded yet.',
    });
  }

  show(history: readonly WatchRound[]): void {
    const rounds = history.filter(({ mode }) => mode !== null);
    this.plot.show(rounds, [
      rounds.map(({ startedAt }) => Date.parse(startedAt) / 1000),
      rounds.map(({ rowsRead }) => rowsRead),
      rounds.map(rateOf),
    ]);
  }
}

function rateOf({ rowsRead, durationMs }: WatchRound): number {
  return Math.round((rowsRead / Math.max(1, durationMs)) * 1000);
}

function fromZero(_plot: uPlot, _min: number | null, max: number | null): [number, number] {
  return [0, Math.max(1, (max ?? 0) * 1.08)];
}

function counts(_plot: uPlot, splits: number[]): string[] {
  return splits.map((split) => (Number.isInteger(split) ? compact.format(split) : ''));
}
