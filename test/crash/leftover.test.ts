import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { changeDatabase } from '../support/databases.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

void describe('a generation that another has taken the place of', () => {
  for (const point of ['publish:renamed', 'generation:before-remove'] as const) {
    void it(`is removed by the next sync when the one that published was killed: at ${point}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, 'CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)');
      const options = { source: { url: `file:${file}` }, cacheDir: dir.join('cache') };
      const order = { options, readerThreads: 1 } as const;
      await runChild({ ...order, mode: 'sync', fault: null });
      // The first removal is of what there may be before a generation is begun: there is none.
      const fault = { point, occurrence: 1, action: 'kill' } as const;
      const killed = await runChild({ ...order, mode: 'rebuild', fault });
      assert.equal(killed.kind, 'killed');
      const generations = dir.join('cache', 'generations');
      assert.deepEqual(readdirSync(generations).sort(), ['1', '2']);
      const end = await runChild({ ...order, mode: 'sync', fault: null });
      assert.ok(end.kind === 'completed' && end.report.generation === 2, JSON.stringify(end));
      assert.deepEqual(readdirSync(generations), ['2']);
    });
  }
});
