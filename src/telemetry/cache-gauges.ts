import type { Attributes, BatchObservableResult, Meter, Observable } from '@opentelemetry/api';
import { diskUsage } from '../cache/disk-usage.js';
import type { ReadCounts } from '../cache/read-window.js';
import { CACHE_STATES, type CacheStatus } from '../cache/status.js';

/** The cache that is observed. */
export interface ObservedCache {
  readonly cacheDir: string;
  status(): Promise<CacheStatus>;
  /** Keys asked of it in this process, or null where it was not read. */
  reads(): Readonly<ReadCounts> | null;
}

/**
 * How a cache stands, looked at whenever the metrics are collected:
 *
 * | metric                               | unit         | what                                                             |
 * |--------------------------------------|--------------|------------------------------------------------------------------|
 * | `storage_sync.cache.status`          |              | 1 for the state that it is in, by `storage_sync.state`; else 0   |
 * | `storage_sync.cache.age`             | `s`          | how old the oldest data may be; not told where that is not known |
 * | `storage_sync.cache.rows`            | `{row}`      | by `storage_sync.table`                                          |
 * | `storage_sync.cache.damaged`         | `{record}`   | records that reads found damaged, by `storage_sync.table`        |
 * | `storage_sync.cache.size`            | `By`         | on the disk                                                      |
 * | `storage_sync.cache.failures`        | `{sync}`     | syncs that failed since the last complete one                    |
 * | `storage_sync.cache.snapshots`       | `{snapshot}` | snapshots of older states that readers hold                      |
 * | `storage_sync.cache.reads`            | `{key}`      | keys asked of the cache in this process, by `storage_sync.result`: `hit`, `miss` |
 */
export class CacheGauges {
  readonly #cache: ObservedCache;
  readonly #common: Attributes;
  readonly #gauges;
  readonly #stop: () => void;

  constructor(meter: Meter, cache: ObservedCache, common: Attributes) {
    this.#cache = cache;
    this.#common = common;
    const upDown = (name: string, unit: string, description: string) =>
      meter.createObservableUpDownCounter(`storage_sync.cache.${name}`, { unit, description });
    const gauges = {
      status: upDown('status', '', 'Whether the cache is in the state.'),
      age: meter.createObservableGauge('storage_sync.cache.age', {
        unit: 's',
        description: 'How old the oldest data of the cache may be.',
      }),
      rows: upDown('rows', '{row}', 'Rows of the cache.'),
      damaged: upDown('damaged', '{record}', 'Records of the cache that reads found damaged.'),
      size: upDown('size', 'By', 'What the cache takes on the disk.'),
      failures: meter.createObservableGauge('storage_sync.cache.failures', {
        unit: '{sync}',
        description: 'Syncs that failed since the last complete one.',
      }),
      reads: meter.createObservableCounter('storage_sync.cache.reads', {
        unit: '{key}',
        description: 'Keys asked of the cache, by whether it had them.',
      }),
      snapshots: upDown('snapshots', '{snapshot}', 'Snapshots of older states that are held.'),
    };
    this.#gauges = gauges;
    const observables: Observable[] = Object.values(gauges);
    const observe = async (result: BatchObservableResult) => await this.#observe(result);
    meter.addBatchObservableCallback(observe, observables);
    this.#stop = () => meter.removeBatchObservableCallback(observe, observables);
  }

  close(): void {
    this.#stop();
  }

  async #observe(result: BatchObservableResult): Promise<void> {
    const common = this.#common;
    const { status, age, rows, damaged, size, failures, reads, snapshots } = this.#gauges;
    const [found, bytes] = await Promise.all([
      this.#cache.status(),
      diskUsage(this.#cache.cacheDir),
    ]);
    for (const state of CACHE_STATES) {
      const is = found.state === state ? 1 : 0;
      result.observe(status, is, { ...common, 'storage_sync.state': state });
    }
    if (found.ageMs !== null) result.observe(age, found.ageMs / 1000, common);
    for (const [name, table] of Object.entries(found.tables)) {
      const attributes = { ...common, 'storage_sync.table': name };
      result.observe(rows, table.rows, attributes);
      result.observe(damaged, table.damagedRecords, attributes);
    }
    result.observe(size, bytes, common);
    result.observe(failures, found.failedSyncs, common);
    const asked = this.#cache.reads();
    if (asked) {
      result.observe(reads, asked.hits, { ...common, 'storage_sync.result': 'hit' });
      result.observe(reads, asked.misses, { ...common, 'storage_sync.result': 'miss' });
    }
    result.observe(snapshots, found.snapshots.length, common);
  }
}
