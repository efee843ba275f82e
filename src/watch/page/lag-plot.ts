import uPlot from 'uplot';
import type { StatusDocument } from '../status-document.js';
import { byId } from './dom.js';
import { axisBase, color, Plot } from './plot.js';
import { formatPeriod, formatSpan, formatTime } from './text.js';
import type { Timespan } from './timespan.js';

/** The age of the data at an instant, both in milliseconds. */
interface AgePoint {
  readonly at: number;
  readonly ageMs: number | null;
  readonly when: string;
}

/** Above this multiple of the highest age the limit would press the plot flat. */
const LIMIT_SHOWN_WITHIN = 4;
/** Steps that make sense of seconds. */
const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
  172_800, 604_800, 2_592_000,
];

/** How old the oldest data were: what a round leaves, and what time adds. */
export class LagPlot {
  readonly plot: Plot<AgePoint>;
  #limitMs = Infinity;

  constructor(timespan: Timespan) {
    this.plot = new Plot<AgePoint>(byId('lag'), {
      title: 'Age of the oldest data',
      legend: [
        { label: 'age', shape: 'M0 10 5.5 2v8L12 2', color: '--series-1' },
        { label: 'stale', shape: 'M0 6h3M4.5 6h3M9 6h3', color: '--bad' },
      ],
      timespan,
      series: [
        {
          scale: 'age',
          stroke: () => color('--series-1'),
          fill: () => color('--series-1-faint'),
          width: 1.5,
          points: { show: false },
        },
      ],
      scales: { age: { range: (_plot, _min, max) => this.#range(max) } },
      axes: [{ ...axisBase(), scale: 'age', size: 62, incrs: STEPS, space: 28, values: periods }],
      draw: (plot) => this.#drawLimit(plot),
      readOut: ({ at, ageMs, when }) =>
        `${formatTime(at)}, ${when}: ${ageMs === null ? 'age not known' : formatSpan(ageMs)}`,
      columns: [
        { title: 'At', isName: true, text: ({ at }) => formatTime(at) },
        { title: 'When', text: ({ when }) => when },
        {
          title: 'Age',
          isNumber: true,
          text: ({ ageMs }) => (ageMs === null ? 'not known' : formatSpan(ageMs)),
        },
      ],
      keyOf: ({ at, when }) => `${at} ${when}`,
      empty: 'No round has ended yet.',
    });
  }

  /** @param now the server's time. */
  show({ history, cache, staleAfterMs }: StatusDocument, now: number): void {
    this.#limitMs = staleAfterMs;
    this.plot.relabel(1, `stale from ${formatPeriod(staleAfterMs)}`);
    const points = history.flatMap((round): AgePoint[] => {
      const { number, startedAt, durationMs, ageBeforeMs, ageAfterMs } = round;
      const begun = Date.parse(startedAt);
      return [
        { at: begun, ageMs: ageBeforeMs, when: `before round ${number}` },
        { at: begun + durationMs, ageMs: ageAfterMs, when: `after round ${number}` },
      ];
    });
    if (points.length > 0) points.push({ at: now, ageMs: cache.ageMs, when: 'now' });
    // A clock that was set back would have points lie before others.
    points.sort((a, b) => a.at - b.at);
    this.plot.show(points, [
      points.map(({ at }) => at / 1000),
      points.map(({ ageMs }) => (ageMs === null ? null : ageMs / 1000)),
    ]);
  }

  #range(highest: number | null): [number, number] {
    const limit = this.#limitMs / 1000;
    const top = Math.max(1, highest ?? 0);
    const isShown = limit <= top * LIMIT_SHOWN_WITHIN;
    return [0, Math.max(top, isShown ? limit : 0) * 1.08];
  }

  #drawLimit(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const y = Math.round(plot.valToPos(this.#limitMs / 1000, 'age', true));
    if (!(y >= bbox.top && y <= bbox.top + bbox.height)) return;
    ctx.save();
    ctx.strokeStyle = color('--bad');
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}

function periods(_plot: uPlot, splits: number[]): string[] {
  return splits.map((seconds) => (seconds === 0 ? '0' : formatPeriod(seconds * 1000)));
}
