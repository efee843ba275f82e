import type { LaneProgress, SyncProgress } from './progress.js';

/** The span over which the rate is taken. */
const RATE_WINDOW_MS = 5000;
/** Reports are no closer together than this. */
const REPORT_INTERVAL_MS = 50;

/** Adds up what a sync does and tells it now and then. */
export class ProgressMeter {
  readonly #report: (progress: SyncProgress) => void;
  readonly #startedAt = performance.now();
  readonly #samples: { readonly at: number; readonly rows: number }[] = [];
  readonly #totals = new Map<string, number>();
  /** Rows read of each table that is not done yet. */
  readonly #lanes = new Map<string, number>();
  #tablesTotal = 0;
  #tablesDone = 0;
  #phase: SyncProgress['phase'] = 'connecting';
  #table: string | null = null;
  #rowsRead = 0;
  #rowsResumed = 0;
  #bytesRead = 0;
  #reportedAt = -Infinity;

  /** Fulfilled when somebody looks at the progress, who will want totals too. */
  readonly watched: Promise<void>;

  constructor(report: (progress: SyncProgress) => void, watched: Promise<void>) {
    this.#report = report;
    this.watched = watched;
  }

  /** @param rowsBefore rows that an interrupted sync had read already: progress, but no speed. */
  begin(tablesTotal: number, rowsBefore: number): void {
    this.#tablesTotal = tablesTotal;
    this.#rowsRead = rowsBefore;
    this.#rowsResumed = rowsBefore;
    this.enter('reading');
  }

  enter(phase: SyncProgress['phase']): void {
    this.#phase = phase;
    this.#tell(true);
  }

  /** Rows that a table has, once they are counted. */
  total(table: string, rows: number): void {
    this.#totals.set(table, rows);
    this.#tell(true);
  }

  batch(table: string, rows: number, bytes: number): void {
    this.#table = table;
    this.#rowsRead += rows;
    this.#bytesRead += bytes;
    this.#lanes.set(table, (this.#lanes.get(table) ?? 0) + rows);
    this.#tell(false);
  }

  tableDone(table: string): void {
    this.#table = table;
    this.#tablesDone++;
    this.#lanes.delete(table);
    this.#tell(true);
  }

  #tell(always: boolean): void {
    const now = performance.now();
    if (!always && now - this.#reportedAt < REPORT_INTERVAL_MS) return;
    this.#reportedAt = now;
    const rowsPerSecond = this.#rate(now);
    const rowsTotal = this.#rowsTotal();
    this.#report({
      lanes: this.#lanesNow(),
      phase: this.#phase,
      table: this.#table,
      tablesDone: this.#tablesDone,
      tablesTotal: this.#tablesTotal,
      rowsRead: this.#rowsRead,
      rowsTotal,
      bytesRead: this.#bytesRead,
      rowsPerSecond,
      elapsedMs: now - this.#startedAt,
      remainingMs:
        rowsTotal === null || rowsPerSecond <= 0
          ? null
          : ((rowsTotal - this.#rowsRead) / rowsPerSecond) * 1000,
    });
  }

  #lanesNow(): readonly LaneProgress[] {
    return Array.from(this.#lanes, ([table, rowsRead]) => {
      const total = this.#totals.get(table);
      return { table, rowsRead, rowsTotal: total === undefined ? null : Math.max(total, rowsRead) };
    });
  }

  #rate(now: number): number {
    this.#samples.push({ at: now, rows: this.#rowsRead - this.#rowsResumed });
    while (this.#samples.length > 2 && now - this.#samples[1]!.at > RATE_WINDOW_MS)
      this.#samples.shift();
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    return last.at > first.at ? ((last.rows - first.rows) / (last.at - first.at)) * 1000 : 0;
  }

  /** Known only when every table was counted; and a source that grew meanwhile has at least what was read. */
  #rowsTotal(): number | null {
    if (this.#tablesTotal === 0 || this.#totals.size < this.#tablesTotal) return null;
    const counted = [...this.#totals.values()].reduce((sum, rows) => sum + rows, 0);
    return Math.max(counted, this.#rowsRead);
  }
}
