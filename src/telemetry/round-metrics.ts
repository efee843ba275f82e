import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api';
import type { SyncReport, TableReport } from '../report.js';
import type { VerifyReport } from '../verify/report.js';

/** Seconds, from a round that finds nothing changed to a rebuild of a large cache. */
const DURATION_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** What became of a row: the values of `storage_sync.change`. */
const CHANGES = {
  written: 'rowsWritten',
  unchanged: 'rowsUnchanged',
  deleted: 'rowsDeleted',
  quarantined: 'rowsQuarantined',
} as const satisfies Record<string, keyof TableReport>;

/**
 * What syncs, rebuilds and verifies did, as OpenTelemetry metrics:
 *
 * | metric                            | kind      | unit         | attributes beside the cache                             |
 * |-----------------------------------|-----------|--------------|---------------------------------------------------------|
 * | `storage_sync.job.duration`       | histogram | `s`          | `storage_sync.job`, `.outcome`, `.mode`; `error.type`   |
 * | `storage_sync.rows`               | counter   | `{row}`      | `storage_sync.table`, `storage_sync.change`             |
 * | `storage_sync.written`            | counter   | `By`         | `storage_sync.table`                                    |
 * | `storage_sync.source.rows`        | counter   | `{row}`      | `storage_sync.job`                                      |
 * | `storage_sync.source.retries`     | counter   | `{request}`  | `storage_sync.job`                                      |
 * | `storage_sync.verify.differences` | counter   | `{row}`      | `storage_sync.table`, `storage_sync.difference`         |
 * | `storage_sync.verify.repaired`    | counter   | `{row}`      | `storage_sync.table`                                    |
 */
export class RoundMetrics {
  readonly #common: Attributes;
  readonly #duration: Histogram;
  readonly #rows: Counter;
  readonly #written: Counter;
  readonly #sourceRows: Counter;
  readonly #retries: Counter;
  readonly #differences: Counter;
  readonly #repaired: Counter;

  constructor(meter: Meter, common: Attributes) {
    this.#common = common;
    this.#duration = meter.createHistogram('storage_sync.job.duration', {
      description: 'How long syncs, rebuilds and verifies took.',
      unit: 's',
      advice: { explicitBucketBoundaries: DURATION_BUCKETS },
    });
    this.#rows = meter.createCounter('storage_sync.rows', {
      description: 'Rows that syncs brought over, by what became of them.',
      unit: '{row}',
    });
    this.#written = meter.createCounter('storage_sync.written', {
      description: 'Keys and values written to the cache, before the overhead of LMDB.',
      unit: 'By',
    });
    this.#sourceRows = meter.createCounter('storage_sync.source.rows', {
      description: 'Rows that the source gave.',
      unit: '{row}',
    });
    this.#retries = meter.createCounter('storage_sync.source.retries', {
      description: 'Requests to the source that were sent again.',
      unit: '{request}',
    });
    this.#differences = meter.createCounter('storage_sync.verify.differences', {
      description: 'Rows of the cache that verifies found to be wrong.',
      unit: '{row}',
    });
    this.#repaired = meter.createCounter('storage_sync.verify.repaired', {
      description: 'Rows and index entries that verifies put right.',
      unit: '{row}',
    });
  }

  /** A job ended, in whatever way. */
  ended(durationMs: number, attributes: Attributes): void {
    this.#duration.record(durationMs / 1000, { ...this.#common, ...attributes });
  }

  report(report: SyncReport | VerifyReport): void {
    const isVerify = 'level' in report;
    const job = isVerify ? 'verify' : report.mode === 'rebuild' ? 'rebuild' : 'sync';
    this.asked(job, report.sourceRowsRead, report.retries);
    if (isVerify) this.#verified(report);
    else this.#synced(report);
  }

  /** What the source gave for a job, and how often it was asked again. */
  asked(job: string, sourceRows: number, retries: number): void {
    const attributes = { ...this.#common, 'storage_sync.job': job };
    this.#sourceRows.add(sourceRows, attributes);
    this.#retries.add(retries, attributes);
  }

  #synced({ tables }: SyncReport): void {
    for (const [name, table] of Object.entries(tables)) {
      const attributes = { ...this.#common, 'storage_sync.table': name };
      for (const [change, field] of Object.entries(CHANGES)) {
        this.#rows.add(table[field], { ...attributes, 'storage_sync.change': change });
      }
      this.#written.add(table.bytesWritten, attributes);
    }
  }

  #verified({ tables }: VerifyReport): void {
    for (const [name, { differences, repaired }] of Object.entries(tables)) {
      const attributes = { ...this.#common, 'storage_sync.table': name };
      for (const [kind, rows] of Object.entries(differences)) {
        this.#differences.add(rows, { ...attributes, 'storage_sync.difference': kind });
      }
      this.#repaired.add(repaired, attributes);
    }
  }
}
