/** What chaos has done, in numbers. */
export type CountName =
  | 'histories'
  | 'syncs'
  | 'verifies'
  | 'kills'
  | 'aborts'
  | 'cuts'
  | 'skips'
  | 'failures'
  | 'damages'
  | 'transactions'
  | 'captureChanges'
  | 'checks'
  | 'equalities'
  | 'reads';

/** The guarantees of ARCHITECTURE.md. */
export const GUARANTEES = [
  'G1',
  'G2',
  'G3',
  'G4',
  'G5',
  'G6',
  'G7',
  'G8',
  'G9',
  'G10',
  'G11',
] as const;
export type Guarantee = (typeof GUARANTEES)[number];

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
    verifies: 0,
    kills: 0,
    aborts: 0,
    cuts: 0,
    skips: 0,
    failures: 0,
    damages: 0,
    transactions: 0,
    captureChanges: 0,
    checks: 0,
    equalities: 0,
    reads: 0,
  };
  readonly actions = new Tally();
  /** Where processes were killed. */
  readonly kills = new Tally();
  /** Checks of each guarantee that it stood. */
  readonly guarantees = new Tally(GUARANTEES);
  readonly #tell: (entry: JournalEntry) => void;

  constructor(tell: (entry: JournalEntry) => void = () => undefined) {
    this.#tell = tell;
  }

  count(name: CountName, by = 1): void {
    this.counts[name] += by;
  }

  /** Counts a kill: at a named point, or at some instant. */
  killed(point: string): void {
    this.count('kills');
    this.kills.add(point.replace(/(after )?\d+ ms$/, '$1some ms'));
  }

  held(...guarantees: readonly Guarantee[]): void {
    for (const guarantee of guarantees) this.guarantees.add(guarantee);
  }

  tell(entry: JournalEntry): void {
    this.actions.add(entry.action);
    this.#tell(entry);
  }
}

/** How often each of some things was. */
export class Tally {
  readonly #counts: Map<string, number>;

  constructor(names: readonly string[] = []) {
    this.#counts = new Map(names.map((name) => [name, 0]));
  }

  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  toString(): string {
    return [...this.#counts].map(([name, count]) => `${name} ${count}`).join(', ');
  }
}

export function describeCounts(counts: Journal['counts']): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
