import type { Attributes, Span, Tracer } from '@opentelemetry/api';
import type { SyncProgress } from '../progress.js';
import type { SyncReport } from '../report.js';
import type { VerifyReport } from '../verify/report.js';

/** The spans within a job, made from its progress: one for each phase, and one for each table. */
export class ProgressSpans {
  readonly #tracer: Tracer;
  readonly #common: Attributes;
  readonly #tablesEnded = new Map<string, number>();
  #phase: SyncProgress['phase'] | null = null;
  #span: Span | null = null;
  #tablesDone = 0;

  constructor(tracer: Tracer, common: Attributes) {
    this.#tracer = tracer;
    this.#common = common;
  }

  observe({ phase, table, tablesDone }: SyncProgress): void {
    if (tablesDone > this.#tablesDone && table !== null) this.#tablesEnded.set(table, Date.now());
    this.#tablesDone = tablesDone;
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#span?.end();
    this.#span =
      phase === 'done'
        ? null
        : this.#tracer.startSpan(`storage_sync.${phase}`, { attributes: this.#common });
  }

  /** The job ended, with a report or by a failure. */
  end(report: SyncReport | VerifyReport | null): void {
    this.#span?.end();
    this.#span = null;
    for (const [name, table] of Object.entries(report?.tables ?? {})) {
      const endTime = this.#tablesEnded.get(name) ?? Date.now();
      const attributes: Attributes = { ...this.#common, 'storage_sync.table': name };
      if ('mode' in table) {
        attributes['storage_sync.mode'] = table.mode;
        attributes['storage_sync.rows_read'] = table.rowsRead;
        attributes['storage_sync.rows_written'] = table.rowsWritten;
      } else {
        attributes['storage_sync.rows_compared'] = table.rowsCompared;
      }
      const startTime = endTime - table.durationMs;
      this.#tracer.startSpan('storage_sync.table', { attributes, startTime }).end(endTime);
    }
  }
}
