import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { StorageSync, WorkerPool, type StorageSyncOptions } from '../../src/index.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { makeZooDatabase, ZOO } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const TRANSPORT_OF: Readonly<Record<string, string>> = {
  http: 'http-protobuf-cursor',
  'http-json-cursor': 'http-json-cursor',
  'http-pipeline': 'http-pipeline',
  'http client': 'client',
};

for (const zoo of ZOO) {
  void describe(`the database "${zoo.name}"`, () => {
    void it('is cached the same over every transport', async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      const made = makeZooDatabase(zoo, file);
      try {
        await using server = await startHranaServer({ file });
        const ways: Record<string, Pick<StorageSyncOptions, 'source' | 'transport'>> = {
          native: { source: { url: `file:${file}` } },
          file: { source: { url: `file:${file}` }, transport: 'client' },
          http: { source: { url: server.httpUrl } },
          'http-json-cursor': { source: { url: server.httpUrl }, transport: 'http-json-cursor' },
          'http-pipeline': { source: { url: server.httpUrl }, transport: 'http-pipeline' },
          'http client': { source: { url: server.httpUrl }, transport: 'client' },
          ws: { source: { url: server.wsUrl } },
        };
        const digests: Record<string, unknown> = {};
        for (const [way, options] of Object.entries(ways)) {
          if (zoo.fileOnly && !options.source.url.startsWith('file:')) continue;
          const cacheDir = dir.join(way);
          await using storage = await StorageSync.open({ ...options, cacheDir, pool });
          const report = await storage.sync();
          assert.equal(report.validation.passed, true, way);
          assert.deepEqual(report.warnings, []);
          if (way.startsWith('http')) assert.equal(report.transport, TRANSPORT_OF[way]);
          digests[way] = await recordDigests(cacheDir);
          assert.deepEqual(digests[way], digests['native'] ?? digests[way], `records over ${way}`);
          // The others hold the same bytes.
          if (way === 'native') {
            await assertCacheEquals(file, cacheDir, { way, leftOut: zoo.leftOut ?? [] });
          }
          // Nothing changed: the next sync finds every row as it is.
          if (zoo.name === 'shapes' && way !== 'native') continue;
          const again = await storage.sync();
          for (const [table, counts] of Object.entries(again.tables)) {
            assert.equal(counts.rowsWritten + counts.rowsDeleted, 0, `${way}: ${table}`);
          }
        }
      } finally {
        made.close();
      }
    });
  });
}
