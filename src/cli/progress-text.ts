import type { SyncProgress } from '../progress.js';
import { formatCount, formatDuration, formatRate, printable } from '../format.js';

const PHASES: Readonly<Record<SyncProgress['phase'], string>> = {
  connecting: 'connecting',
  reading: 'reading',
  sweeping: 'removing what the source has no more',
  validating: 'validating',
  publishing: 'publishing',
  done: 'done',
};

/** What there is to say, most important first: `episodes`, `12,000 of 40,000 rows`, `51,200 rows/s`, … */
export function progressParts(progress: SyncProgress): string[] {
  const { phase, table, rowsRead, rowsTotal, rowsPerSecond, remainingMs } = progress;
  const { tablesDone, tablesTotal } = progress;
  const reading = phase === 'reading';
  const parts = [reading && table !== null ? printable(table) : PHASES[phase]];
  if (tablesTotal === 0) return parts;
  const total = rowsTotal === null ? '' : ` of ${formatCount(rowsTotal)}`;
  parts.push(`${formatCount(rowsRead)}${total} rows`);
  if (reading) parts.push(formatRate(rowsPerSecond));
  parts.push(`${tablesDone} of ${tablesTotal} tables`);
  if (reading && remainingMs !== null && remainingMs >= 1000) {
    parts.push(`${formatDuration(remainingMs)} left`);
  }
  return parts;
}
