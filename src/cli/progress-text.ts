import type { SyncProgress } from '../progress.js';
import { formatCount, formatDuration, formatRate, printable } from './format.js';

const PHASES: Readonly<Record<SyncProgress['phase'], string>> = {
  connecting: 'connecting',
  reading: 'reading',
  sweeping: 'removing what the source has no more',
  validating: 'validating',
  publishing: 'publishing',
  done: 'done',
};

/** `reading episodes, 12,000 of 40,000 rows, 51,200 rows/s, 1 of 4 tables done, 3.2 s left`. */
export function describeProgress(progress: SyncProgress): string {
  const { phase, table, rowsRead, rowsTotal, rowsPerSecond, remainingMs } = progress;
  const { tablesDone, tablesTotal } = progress;
  const reading = phase === 'reading' && table !== null;
  const parts = [reading ? `${PHASES[phase]} ${printable(table)}` : PHASES[phase]];
  if (tablesTotal > 0) {
    const total = rowsTotal === null ? '' : ` of ${formatCount(rowsTotal)}`;
    parts.push(`${formatCount(rowsRead)}${total} rows`);
    if (phase === 'reading') parts.push(formatRate(rowsPerSecond));
    parts.push(`${tablesDone} of ${tablesTotal} tables done`);
    if (reading && remainingMs !== null && remainingMs >= 1000) {
      parts.push(`${formatDuration(remainingMs)} left`);
    }
  }
  return parts.join(', ');
}
