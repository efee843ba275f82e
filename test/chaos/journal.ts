/** What chaos has done, in numbers. */
export type CountName =
  | 'histories'
  | 'syncs'
  | 'kills'
  | 'aborts'
  | 'cuts'
  | 'failures'
  | 'transactions'
  | 'captureChanges'
  | 'checks'
  | 'equalities'
  | 'reads';

/** One action, as it went. */
export interface JournalEntry {
  readonly seed: number;
  readonly step: number;
  readonly action: string;
  readonly did: string;
  readonly ms: number;
}

/** Counts, and a line for each action. */
export class Journal {
  readonly counts: Record<CountName, number> = {
    histories: 0,
    syncs: 0,
    kills: 0,
    aborts: 0,
    cuts: 0,
    failures: 0,
    transactions: 0,
    captureChanges: 0,
    checks: 0,
    equalities: 0,
    reads: 0,
  };
  readonly #tell: (entry: JournalEntry) => void;

  constructor(tell: (entry: JournalEntry) => void = () => undefined) {
    this.#tell = tell;
  }

  count(name: CountName, by = 1): void {
    this.counts[name] += by;
  }

  tell(entry: JournalEntry): void {
    this.#tell(entry);
  }
}

export function describeCounts(counts: Journal['counts']): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
