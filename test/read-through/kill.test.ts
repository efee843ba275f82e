import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defineTable, openCache, openChangeLog, StorageSync } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const POINTS = [
  'lookUp:done',
  'environment:opened',
  'addFetched:received',
  'addFetched:before-put',
  'addFetched:after-put',
  'addFetched:before-commit',
  'addFetched:after-commit',
  'addFetched:done',
  'close:done',
] as const;
const KEYS = ['n1', 'n2', 'n3'];

void describe('a kill while a row that was fetched is stored', () => {
  for (const point of POINTS) {
    void it(`leaves all of them or none, and a next sync that takes changes only: at ${point}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(
        file,
        `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v INTEGER);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO t SELECT 'k' || i, i FROM n`,
      );
      const source = { url: `file:${file}` };
      {
        await using log = await openChangeLog(source);
        await log.install();
      }
      const table = defineTable({ name: 't', indexes: [{ name: 'by_v', columns: ['v'] }] });
      const options = { source, cacheDir: dir.join('cache'), tables: [table] };
      {
        await using storage = await StorageSync.open(options);
        await storage.sync();
      }
      changeDatabase(file, KEYS.map((key, i) => `INSERT INTO t VALUES ('${key}', ${i})`).join(';'));
      const fault = { point, occurrence: 1, action: 'kill' } as const;
      const read = { table: 't', keys: KEYS };
      const end = await runChild({ mode: 'read-through', options, readerThreads: 1, fault, read });
      assert.deepEqual([end.kind, end.kind === 'killed' && end.point], ['killed', point]);
      {
        await using cache = openCache(options.cacheDir, { validateChecksums: true });
        const reader = cache.table(table);
        const rows = reader.getMany(KEYS).filter((row) => row !== undefined);
        const isStored = POINTS.indexOf(point) >= POINTS.indexOf('addFetched:after-commit');
        assert.equal(rows.length, isStored ? 3 : 0);
        assert.equal(reader.count(), 40 + rows.length);
        for (const row of rows) {
          const { v } = row as { readonly v: number };
          assert.ok([...reader.byIndex('by_v', v)].some((found) => found['k'] === row['k']));
        }
      }
      changeDatabase(file, `DELETE FROM t WHERE k = 'n2'`);
      await using storage = await StorageSync.open(options);
      const report = await storage.sync();
      assert.equal(report.mode, 'incremental');
      await assertCacheEquals(file, options.cacheDir);
      const { left, complete } = await storage.verify({ level: 'deep' });
      assert.deepEqual([left, complete], [0, true]);
    });
  }
});
