import type { CacheStatus } from '../../cache/status.js';
import type { HeldSnapshot } from '../../cache/held-snapshot.js';
import { DataTable } from './data-table.js';
import { formatBytes, formatCount, formatSpan, NONE } from './text.js';

type Entry = HeldSnapshot & { readonly heldMs: number | null };

/** Snapshots of older states that some process still reads. */
export class Snapshots {
  readonly #table = new DataTable<Entry>('snapshots', {
    caption: 'Held snapshots',
    columns: [
      { title: 'Process', isName: true, text: ({ pid }) => String(pid) },
      {
        title: 'Held for',
        isNumber: true,
        text: ({ heldMs }) => (heldMs === null ? NONE : formatSpan(heldMs)),
      },
      { title: 'Commits behind', isNumber: true, text: ({ behind }) => formatCount(behind) },
      {
        title: 'Keeps',
        isNumber: true,
        text: ({ pinnedBytes }) => (pinnedBytes === null ? NONE : formatBytes(pinnedBytes)),
      },
    ],
    keyOf: ({ pid, thread, transaction }) => `${pid} ${thread} ${transaction}`,
    empty: 'None: no reader keeps an older state.',
  });

  /** @param now the server's time. */
  show({ snapshots }: CacheStatus, now: number): void {
    this.#table.show(
      snapshots.map((each) => {
        return { ...each, heldMs: each.since === null ? null : now - Date.parse(each.since) };
      }),
    );
  }
}
