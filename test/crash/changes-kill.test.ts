import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCache, openChangeLog, StorageSync } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import type { Fault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const TABLES = `CREATE TABLE a (k INTEGER PRIMARY KEY, v INTEGER);
  CREATE TABLE b (k TEXT PRIMARY KEY NOT NULL, v INTEGER) WITHOUT ROWID;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
  INSERT INTO a SELECT i, 0 FROM n;
  INSERT INTO b SELECT 'k' || k, 0 FROM a;`;
/** Changes rows of both tables, takes some away and brings others, in one transaction. */
const CHANGE = `BEGIN; UPDATE a SET v = v + 1; UPDATE b SET v = v + 1;
  DELETE FROM a WHERE k % 7 = 0; DELETE FROM b WHERE substr(k, 2) % 7 = 0;
  INSERT INTO a VALUES (1000, 1); INSERT INTO b VALUES ('k1000', 1); COMMIT`;
const WHOLE = 20_000;
/** Rows of a round, where a change takes many: then a kill may be between two. */
const PART = 9;

const POINTS = [
  'page:before-read',
  'page:after-read',
  'prepare:received',
  'prepare:before-commit',
  'prepare:done',
  'apply:received',
  'apply:before-commit',
  'apply:after-commit',
  'apply:done',
  'complete:received',
  'complete:before-commit',
  'complete:done',
  'close:done',
] as const;

/** What a reader finds: all of it, and whether both tables are of one state of the source. */
function look(cacheDir: string): { readonly together: boolean } {
  const cache = openCache(cacheDir, { validateChecksums: true });
  try {
    using snapshot = cache.snapshot();
    const shape = (table: string) =>
      [...snapshot.table(table).range()].map((row) => Number((row as { v: number }).v));
    const [a, b] = [shape('a'), shape('b')];
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    return { together: a.length === b.length && sum(a) === sum(b) };
  } finally {
    void cache.close();
  }
}

void describe('a kill while changes are brought over', () => {
  for (const batchSize of [WHOLE, PART]) {
    const size = batchSize === WHOLE ? 'one round' : 'many rounds';
    for (const point of POINTS) {
      void it(`loses nothing and tears nothing: ${size}, at ${point}`, async (t) => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, `PRAGMA journal_mode = WAL; ${TABLES}`);
        const source = { url: `file:${file}` };
        const options = { source, cacheDir: dir.join('cache'), batchSize };
        {
          await using log = await openChangeLog(source);
          await log.install();
          await using storage = await StorageSync.open(options);
          await storage.sync();
        }
        changeDatabase(file, CHANGE);
        let kills = 0;
        const occurrences = batchSize === WHOLE ? [1] : /^(page|apply)/.test(point) ? [3] : [1];
        for (const occurrence of occurrences) {
          const fault: Fault = { point, occurrence, action: 'kill' };
          const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault });
          if (end.kind === 'killed') kills++;
          const { together } = look(options.cacheDir);
          if (batchSize === WHOLE) assert.ok(together, 'both tables are of one state');
        }
        const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault: null });
        assert.equal(end.kind, 'completed');
        if (end.kind === 'completed') assert.equal(end.report.mode, 'incremental');
        await assertCacheEquals(file, options.cacheDir);
        t.diagnostic(`${kills} kills`);
        if (point.startsWith('apply') || point.startsWith('prepare')) assert.ok(kills > 0);
      });
    }
  }
});
