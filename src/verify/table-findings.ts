import {
  MAX_LISTED,
  type Difference,
  type DifferenceKind,
  type DifferentRange,
  type VerifyCheck,
  type VerifyTableReport,
} from './report.js';
import type { Findings } from './tasks.js';

/** What was found in a table so far, as it is kept between runs. */
export interface SavedFindings {
  readonly rowsCompared: number;
  readonly differences: Readonly<Record<DifferenceKind, number>>;
  readonly found: readonly Difference[];
  readonly ranges: readonly DifferentRange[];
  readonly repaired: number;
  readonly pending: number;
  readonly moving: number;
  readonly quarantined: number;
  readonly missingEntries: number;
  readonly danglingEntries: number;
  readonly repairedEntries: number;
  readonly repairedChecks: number;
  readonly checks: readonly VerifyCheck[];
  readonly notes: readonly string[];
}

const NOTHING_FOUND: SavedFindings = {
  rowsCompared: 0,
  differences: { damaged: 0, differs: 0, missing: 0, extra: 0 },
  found: [],
  ranges: [],
  repaired: 0,
  pending: 0,
  moving: 0,
  quarantined: 0,
  missingEntries: 0,
  danglingEntries: 0,
  repairedEntries: 0,
  repairedChecks: 0,
  checks: [],
  notes: [],
};

/** Differences that were found and not repaired. */
export function leftOf(found: SavedFindings): number {
  const { differences, missingEntries, danglingEntries, repaired, repairedEntries } = found;
  const rows = Object.values(differences).reduce((sum, count) => sum + count, 0);
  return rows - repaired + missingEntries + danglingEntries - repairedEntries;
}

/** Which repairs of a page were made. */
export interface Repaired {
  readonly written: number;
  readonly removed: number;
}

/** Adds up what a verify finds in one table. */
export class TableFindings {
  #rows: SavedFindings;
  #open: DifferentRange | null = null;
  readonly #startedAt = performance.now();
  complete = true;
  unverifiedBehind: string | null = null;

  constructor(saved: SavedFindings = NOTHING_FOUND) {
    this.#rows = saved;
  }

  get rowsCompared(): number {
    return this.#rows.rowsCompared;
  }

  /** Rows, entries and checks that are wrong, repaired or not. */
  get wrong(): number {
    return this.repaired + this.left;
  }

  get repaired(): number {
    const { repaired, repairedEntries, repairedChecks } = this.#rows;
    return repaired + repairedEntries + repairedChecks;
  }

  get left(): number {
    return leftOf(this.#rows) + this.#rows.checks.filter(({ passed }) => !passed).length;
  }

  /** Adds rows that were compared, `rejected` of which cannot be cached. */
  compared(rows: number, rejected: number): void {
    const { rowsCompared, quarantined } = this.#rows;
    this.#rows = {
      ...this.#rows,
      rowsCompared: rowsCompared + rows,
      quarantined: quarantined + rejected,
    };
  }

  /** Adds what was found in a run of keys that goes on where the last one ended. */
  add(findings: Findings, repaired: Repaired): void {
    const rows = this.#rows;
    const { differences } = findings;
    const sum = (kind: DifferenceKind) => rows.differences[kind] + differences[kind];
    const found = findings.found.map(({ key, kind, repair }): Difference => ({
      key,
      kind,
      repaired:
        (repair === 'write' && repaired.written > 0) ||
        (repair === 'remove' && repaired.removed > 0),
    }));
    this.#rows = {
      ...rows,
      differences: {
        damaged: sum('damaged'),
        differs: sum('differs'),
        missing: sum('missing'),
        extra: sum('extra'),
      },
      found: [...rows.found, ...found].slice(0, MAX_LISTED),
      ranges: this.#withRange(findings),
      repaired: rows.repaired + repaired.written + repaired.removed,
      pending: rows.pending + findings.pending,
      moving: rows.moving + findings.moving,
    };
  }

  /** Rows that differ in one run of keys after another make one range. */
  #withRange({ range, differences }: Findings): readonly DifferentRange[] {
    const { ranges } = this.#rows;
    if (range === null) {
      this.#open = null;
      return ranges;
    }
    const count = Object.values(differences).reduce((sum, each) => sum + each, 0);
    const open = this.#open;
    if (open === null) {
      const next = { ...range, differences: count };
      if (ranges.length === MAX_LISTED) return ranges;
      this.#open = next;
      return [...ranges, next];
    }
    const longer = {
      first: open.first,
      last: range.last,
      differences: open.differences + count,
    };
    this.#open = longer;
    return [...ranges.slice(0, -1), longer];
  }

  /** Adds index entries that are not as they should be, `repaired` of which were put right. */
  addEntries(missing: number, dangling: number, repaired: number): void {
    const { missingEntries, danglingEntries, repairedEntries } = this.#rows;
    this.#rows = {
      ...this.#rows,
      missingEntries: missingEntries + missing,
      danglingEntries: danglingEntries + dangling,
      repairedEntries: repairedEntries + repaired,
    };
  }

  /** @param wasRepaired whether it passes only because of a repair. */
  check(check: VerifyCheck, wasRepaired = false): void {
    const { checks, repairedChecks } = this.#rows;
    this.#rows = {
      ...this.#rows,
      checks: [...checks, check],
      repairedChecks: repairedChecks + (wasRepaired ? 1 : 0),
    };
  }

  note(note: string): void {
    const { notes } = this.#rows;
    if (!notes.includes(note)) this.#rows = { ...this.#rows, notes: [...notes, note] };
  }

  /** @param done whether the table is: else what comes after its rows is looked at anew. */
  save(done: boolean): SavedFindings {
    if (done) return this.#rows;
    const { missingEntries, danglingEntries, repairedEntries, repairedChecks } = NOTHING_FOUND;
    const again = { missingEntries, danglingEntries, repairedEntries, repairedChecks };
    return { ...this.#rows, ...again, checks: [], notes: [] };
  }

  report(): VerifyTableReport {
    const { missingEntries, danglingEntries, repairedEntries, repairedChecks, ...rows } =
      this.#rows;
    return {
      ...rows,
      indexEntries: { missing: missingEntries, dangling: danglingEntries },
      repaired: rows.repaired + repairedEntries + repairedChecks,
      complete: this.complete,
      unverifiedBehind: this.unverifiedBehind,
      durationMs: Math.round(performance.now() - this.#startedAt),
    };
  }
}
