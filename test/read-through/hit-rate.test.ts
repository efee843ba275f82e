import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { StorageSync } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

async function withSource(use: (file: string, cacheDir: string) => Promise<void>): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)`);
  await use(file, dir.join('cache'));
}

void describe('the hit rate', () => {
  void it('is of the keys asked for since the last completed sync, whoever did that', async () => {
    await withSource(async (file, cacheDir) => {
      const options = { source: { url: `file:${file}` }, cacheDir };
      await using storage = await StorageSync.open(options);
      const first = await storage.sync();
      assert.equal(first.reads, undefined, 'nothing was read');
      assert.equal((await storage.status()).reads, undefined);
      const table = storage.cache.table('t');
      table.get(1);
      table.get(3);
      table.has(2);
      table.getMany([1, 2, 3, 4]);
      {
        using snapshot = storage.cache.snapshot();
        snapshot.table('t').get(1);
      }
      const { hits, misses, hitRate, since } = storage.cache.reads;
      assert.deepEqual([hits, misses, hitRate], [5, 3, 5 / 8]);
      assert.ok(Date.parse(since) <= Date.now());
      assert.deepEqual((await storage.status()).reads, storage.cache.reads);

      const { reads } = await storage.sync();
      assert.deepEqual([reads?.hits, reads?.misses, reads?.hitRate], [5, 3, 5 / 8]);
      const fresh = storage.cache.reads;
      assert.deepEqual([fresh.hits, fresh.misses, fresh.hitRate], [0, 0, null]);
      assert.ok(Date.parse(fresh.since) >= Date.parse(since));

      table.get(9);
      await using other = await StorageSync.open(options);
      await other.sync();
      assert.deepEqual([storage.cache.reads.hits, storage.cache.reads.misses], [0, 0]);
      table.get(1);
      await sleep(150);
      table.get(1);
      const rebuilt = await storage.rebuild();
      assert.deepEqual([rebuilt.reads?.hits, rebuilt.reads?.misses], [2, 0]);
    });
  });

  void it('goes on over a sync that fails', async () => {
    await withSource(async (file, cacheDir) => {
      await using storage = await StorageSync.open({ source: { url: `file:${file}` }, cacheDir });
      await storage.sync();
      storage.cache.table('t').get(1);
      const stopped = AbortSignal.abort();
      await assert.rejects(async () => await storage.sync({ signal: stopped }), {
        code: 'ABORTED',
      });
      storage.cache.table('t').get(2);
      assert.equal(storage.cache.reads.hits, 2);
      assert.equal((await storage.sync()).reads?.hits, 2);
    });
  });

  void it('is told as a metric, with what reading through has cost', async () => {
    await withSource(async (file, cacheDir) => {
      const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
      const reader = new PeriodicExportingMetricReader({
        exporter,
        exportIntervalMillis: 3600_000,
      });
      const meterProvider = new MeterProvider({ readers: [reader] });
      await using storage = await StorageSync.open({
        source: { url: `file:${file}` },
        cacheDir,
        meterProvider,
      });
      await storage.sync();
      changeDatabase(file, 'INSERT INTO t VALUES (3)');
      const through = storage.readThrough('t');
      await through.getMany([1, 3, 4]);
      while (!storage.cache.table('t').has(3)) await sleep(10);
      await sleep(20);
      const { hits, misses } = storage.cache.reads;
      await meterProvider.forceFlush();
      const points = new Map<string, unknown>();
      for (const { scopeMetrics } of exporter.getMetrics()) {
        for (const { descriptor, dataPoints } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
          for (const { attributes, value } of dataPoints) {
            const about = ['storage_sync.job', 'storage_sync.result'].map(
              (name) => attributes[name],
            );
            points.set([descriptor.name, ...about.filter(Boolean)].join(' '), value);
          }
        }
      }
      assert.equal(points.get('storage_sync.cache.reads hit'), hits);
      assert.equal(points.get('storage_sync.cache.reads miss'), misses);
      assert.equal(points.get('storage_sync.read_through.keys found'), 1);
      assert.equal(points.get('storage_sync.read_through.keys absent'), 1);
      assert.equal(points.get('storage_sync.read_through.stored'), 1);
      assert.equal(points.get('storage_sync.source.rows read-through'), 1);
      assert.ok(points.has('storage_sync.read_through.duration'));
      await meterProvider.shutdown();
    });
  });
});
