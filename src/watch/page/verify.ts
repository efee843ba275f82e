import type { VerifySummary } from '../watch-status.js';
import { DataTable } from './data-table.js';
import { byId, setText } from './dom.js';
import { formatCount, formatPlural, formatTime, shown } from './text.js';

type Entry = readonly [name: string, table: VerifySummary['tables'][string]];

/** What the last verify found. */
export class VerifyPanel {
  readonly #table = new DataTable<Entry>('verify-tables', {
    caption: 'Last verify, by table',
    columns: [
      { title: 'Table', isName: true, text: ([name]) => shown(name) },
      {
        title: 'Rows compared',
        isNumber: true,
        text: ([, { rowsCompared }]) => formatCount(rowsCompared),
      },
      {
        title: 'Differences',
        isNumber: true,
        level: ([, { differences }]) => (differences > 0 ? 'bad' : 'good'),
        text: ([, { differences }]) => formatCount(differences),
      },
    ],
    keyOf: ([name]) => name,
    empty: 'Start one with “Verify” above, or let verifyCron do so.',
  });

  show(verify: VerifySummary | null): void {
    setText(byId('verify-what'), verify ? summary(verify) : 'None since the watch began.');
    this.#table.show(verify ? Object.entries(verify.tables) : []);
  }
}

function summary({ at, level, complete, differences, repaired, left }: VerifySummary): string {
  const extent = complete ? level : `${level}, not complete`;
  const found =
    differences === 0
      ? 'no differences'
      : `${formatPlural(differences, 'difference')}, ${formatCount(repaired)} repaired, ${formatCount(left)} left`;
  return `${formatTime(Date.parse(at))}, ${extent}: ${found}.`;
}
