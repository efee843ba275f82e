import type { FigureName } from './figures.js';
import type { Spread } from './spread.js';

interface FigureText {
  readonly title: string;
  readonly unit: string;
  readonly format: (value: number) => string;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const count = (value: number): string => whole.format(value);
const precise = (value: number): string => value.toFixed(value < 9.995 ? 2 : 1);
const megabytes = (value: number): string => whole.format(value / (1024 * 1024));
const milliseconds = (value: number): string =>
  value < 99.95 ? value.toFixed(1) : whole.format(value);

/** How each figure is shown to people. */
export const FIGURE_TEXT: Readonly<Record<FigureName, FigureText>> = {
  rows: { title: 'rows', unit: '', format: count },
  wallMs: { title: 'wall', unit: 's', format: (value) => precise(value / 1000) },
  rowsPerSecond: { title: 'rows/s', unit: 'rows/s', format: count },
  cpuUsPerRow: { title: 'CPU us/row', unit: 'us', format: precise },
  peakRssBytes: { title: 'RSS MB', unit: 'MB', format: megabytes },
  peakAnonBytes: { title: 'anon MB', unit: 'MB', format: megabytes },
  loopDelayP99Ms: { title: 'loop p99 ms', unit: 'ms', format: milliseconds },
  loopDelayMaxMs: { title: 'loop max ms', unit: 'ms', format: milliseconds },
  diskBytes: { title: 'disk MB', unit: 'MB', format: megabytes },
  sourceRows: { title: 'source rows', unit: 'rows', format: count },
  readPauseMs: { title: 'read pause ms', unit: 'ms', format: milliseconds },
  otherCores: { title: 'others', unit: 'cores', format: (value) => value.toFixed(2) },
};

export function figureText(name: FigureName, value: number | undefined): string {
  return value === undefined ? '-' : FIGURE_TEXT[name].format(value);
}

/** A ratio and, in brackets, its least and greatest value over the rounds. */
export function ratioText(spread: Spread | null): string {
  if (!spread) return '-';
  return `${ratio(spread.median)} (${ratio(spread.min)} to ${ratio(spread.max)})`;
}

function ratio(value: number): string {
  return `${value.toFixed(2)}x`;
}
