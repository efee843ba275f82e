import type { RoundOutcome, WatchRound } from '../watch-status.js';
import { DataTable } from './data-table.js';
import type { Level } from './sign.js';
import { formatCount, formatDuration, formatSpan, formatTime, NONE, shown } from './text.js';

const ROUNDS_SHOWN = 50;

export const OUTCOME_LEVELS: Readonly<Record<RoundOutcome, Level>> = {
  done: 'good',
  differences: 'bad',
  skipped: 'warning',
  failed: 'bad',
  aborted: 'unknown',
};

/** The last rounds, newest first. */
export class History {
  readonly #table = new DataTable<WatchRound>('history', {
    caption: `The last ${ROUNDS_SHOWN} rounds`,
    columns: [
      { title: 'Round', isName: true, isNumber: true, text: ({ number }) => formatCount(number) },
      { title: 'Started', text: ({ startedAt }) => formatTime(Date.parse(startedAt)) },
      {
        title: 'Outcome',
        level: ({ outcome }) => OUTCOME_LEVELS[outcome] ?? 'unknown',
        text: ({ outcome, error }) => (error ? `${outcome}: ${shown(error.code)}` : outcome),
      },
      { title: 'Job', text: ({ job, mode }) => (mode && mode !== job ? `${job}, ${mode}` : job) },
      { title: 'Reason', text: ({ reason }) => reason },
      { title: 'Took', isNumber: true, text: ({ durationMs }) => formatDuration(durationMs) },
      { title: 'Read', isNumber: true, text: ({ rowsRead }) => formatCount(rowsRead) },
      { title: 'Written', isNumber: true, text: ({ rowsWritten }) => formatCount(rowsWritten) },
      { title: 'Deleted', isNumber: true, text: ({ rowsDeleted }) => formatCount(rowsDeleted) },
      {
        title: 'Age after',
        isNumber: true,
        text: ({ ageAfterMs }) => (ageAfterMs === null ? NONE : formatSpan(ageAfterMs)),
      },
    ],
    keyOf: ({ number, startedAt }) => `${number} ${startedAt}`,
    empty: 'No round has ended yet. The first will show here.',
  });

  show(history: readonly WatchRound[]): void {
    this.#table.show(history.slice(-ROUNDS_SHOWN).toReversed());
  }
}
