import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api';
import type { LookUpNote } from '../read-through/read-through.js';

/** Seconds, from a local file to a server that is far away and slow. */
const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * What reading through costs, as OpenTelemetry metrics. The rows that the source gave are told by
 * `storage_sync.source.rows`, for the job `read-through`.
 *
 * | metric                                | kind      | unit    | attributes beside the cache                            |
 * |---------------------------------------|-----------|---------|--------------------------------------------------------|
 * | `storage_sync.read_through.duration`  | histogram | `s`     | `storage_sync.table`; `error.type`: of one statement   |
 * | `storage_sync.read_through.keys`      | counter   | `{key}` | `storage_sync.table`, `storage_sync.result`            |
 * | `storage_sync.read_through.stored`    | counter   | `{row}` |                                                        |
 */
export class LookUpMetrics {
  readonly #common: Attributes;
  readonly #duration: Histogram;
  readonly #keys: Counter;
  readonly #stored: Counter;

  constructor(meter: Meter, common: Attributes) {
    this.#common = common;
    this.#duration = meter.createHistogram('storage_sync.read_through.duration', {
      description: 'How long the source was asked for rows that the cache does not have.',
      unit: 's',
      advice: { explicitBucketBoundaries: DURATION_BUCKETS },
    });
    this.#keys = meter.createCounter('storage_sync.read_through.keys', {
      description: 'Keys that the source was asked for, by what became of them.',
      unit: '{key}',
    });
    this.#stored = meter.createCounter('storage_sync.read_through.stored', {
      description: 'Rows that were looked up and are in the cache since.',
      unit: '{row}',
    });
  }

  lookedUp({ table, durationMs, ...keys }: LookUpNote, errorType: string | null): void {
    const attributes = { ...this.#common, 'storage_sync.table': table };
    const failure = errorType === null ? {} : { 'error.type': errorType };
    this.#duration.record(durationMs / 1000, { ...attributes, ...failure });
    for (const result of ['found', 'absent', 'failed'] as const) {
      this.#keys.add(keys[result], { ...attributes, 'storage_sync.result': result });
    }
  }

  stored(rows: number): void {
    this.#stored.add(rows, this.#common);
  }
}
