import type { CacheStatus, TableStatus } from '../../cache/status.js';
import { DataTable } from './data-table.js';
import { formatCount, formatTime, NONE, shown } from './text.js';

type Entry = readonly [name: string, table: TableStatus];

/** The tables of the cache. */
export class Tables {
  readonly #table = new DataTable<Entry>('tables', {
    caption: 'Tables of the cache',
    columns: [
      { title: 'Table', isName: true, text: ([name]) => shown(name) },
      { title: 'Rows', isNumber: true, text: ([, { rows }]) => formatCount(rows) },
      { title: 'Mode', text: ([, { mode }]) => mode },
      {
        title: 'Checkpoint',
        level: ([, { checkpoint }]) => (checkpoint?.phase === 'complete' ? 'good' : 'unknown'),
        text: ([, { checkpoint }]) =>
          checkpoint
            ? `${checkpoint.phase}, ${formatTime(Date.parse(checkpoint.updatedAt))}`
            : NONE,
      },
      {
        title: 'Damaged',
        isNumber: true,
        level: ([, { damagedRecords }]) => (damagedRecords > 0 ? 'warning' : null),
        text: ([, { damagedRecords }]) => formatCount(damagedRecords),
      },
    ],
    keyOf: ([name]) => name,
    empty: 'No tables yet. The first sync brings those that the configuration names.',
  });

  show({ tables }: CacheStatus): void {
    this.#table.show(Object.entries(tables));
  }
}
