import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const HOUR_MS = 3600_000;

void describe('a table that an interrupted sync had read', () => {
  for (const hours of [-5, 5]) {
    void it(`is read again when the clock was ${hours} h ahead then`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(
        file,
        `CREATE TABLE a (k INTEGER PRIMARY KEY, v); CREATE TABLE b (k INTEGER PRIMARY KEY);
         INSERT INTO a VALUES (1, 'old'); INSERT INTO b VALUES (1), (2), (3)`,
      );
      const options = {
        source: { url: `file:${file}` },
        cacheDir: dir.join('cache'),
        batchSize: 1,
      };
      const order = { mode: 'sync', options, readerThreads: 1 } as const;
      const fault = { point: 'write:before-commit', occurrence: 4, action: 'kill' } as const;
      const killed = await runChild({ ...order, fault }, { clockAheadMs: hours * HOUR_MS });
      assert.equal(killed.kind, 'killed');
      changeDatabase(file, `UPDATE a SET v = 'new'`);
      const end = await runChild({ ...order, fault: null });
      assert.ok(end.kind === 'completed' && end.report.tables['b']?.resumed);
      await assertCacheEquals(file, options.cacheDir);
    });
  }
});
