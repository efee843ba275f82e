import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCache, StorageSync, type StorageSyncOptions } from '../../src/index.js';
import { readGeneration } from './stored-generation.js';
import { generationPath } from '../../src/cache/layout.js';
import { assertCacheEquals, readDatabase } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import type { Fault } from '../support/kill/fault.js';
import { runChild } from '../support/kill/run-child.js';
import { TempDirectory } from '../support/temp.js';

const TABLES = `CREATE TABLE a (k INTEGER PRIMARY KEY, c INTEGER, v INTEGER); CREATE INDEX ac ON a (c);
  CREATE TABLE b (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, c INTEGER, v INTEGER);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
  INSERT INTO a SELECT i, i, 0 FROM n;
  INSERT INTO b SELECT 'k' || k, k, 0 FROM a;`;
/** Changes rows, takes some away, brings others, some of them too late for any round. */
const change = (round: number) => `BEGIN;
  UPDATE a SET v = v + 1, c = 1000 * ${round} + k / 9 WHERE k % 2 = 0;
  UPDATE b SET v = v + 1, c = 1000 * ${round} + v WHERE c % 2 = 0;
  DELETE FROM a WHERE k % 7 = ${round}; DELETE FROM b WHERE substr(k, 2) % 7 = ${round};
  INSERT INTO a VALUES (1000 + ${round}, 1000 * ${round}, 1), (2000 + ${round}, -5, 1), (3000 + ${round}, NULL, 1);
  INSERT INTO b VALUES ('K9' || ${round}, 1000 * ${round}, 1), ('z' || ${round}, -5, 1), ('n' || ${round}, NULL, 1); COMMIT`;
/** Rows of a page: then a kill may be between two. */
const PART = 9;

const POINTS = [
  'page:before-read',
  'page:after-read',
  'prepare:before-commit',
  'follow:received',
  'follow:before-put',
  'follow:before-commit',
  'follow:after-commit',
  'beginSweep:before-commit',
  'absentKeys:done',
  'insertMissed:before-commit',
  'insertMissed:after-commit',
  'write:before-commit',
  'write:after-commit',
  'previewSweep:done',
  'sweep:before-commit',
  'complete:done',
] as const;

const definitions = ['a', 'b'].map((name) => ({
  name,
  cursor: { column: 'c', overlap: 3, sweepEveryMs: 0 },
}));

/** Each row is whole and one that the source had at some time; no key that the source has always had is missing. */
async function assertWhole(options: StorageSyncOptions, kept: ReadonlySet<string>): Promise<void> {
  const { tables } = await readGeneration(generationPath(options.cacheDir, 1));
  const cache = openCache(options.cacheDir, { validateChecksums: true });
  try {
    for (const name of ['a', 'b']) {
      assert.equal(tables.get(name)?.state.rows, tables.get(name)?.rows.size, `rows of ${name}`);
      const keys = new Set<string>();
      for await (const row of cache.table(name).stream()) keys.add(`${name} ${String(row['k'])}`);
      for (const key of kept) {
        if (key.startsWith(`${name} `)) assert.ok(keys.has(key), `${key} is still there`);
      }
    }
  } finally {
    await cache.close();
  }
}

function keysOf(file: string): Set<string> {
  const tables = readDatabase(file);
  return new Set(
    tables.flatMap(({ name, rows }) => rows.map(({ key }) => `${name} ${String(key[0])}`)),
  );
}

void describe('a kill while tables are followed by their cursors and their keys are swept', () => {
  for (const point of POINTS) {
    void it(`loses nothing and takes nothing that is there: at ${point}`, async (t) => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, `PRAGMA journal_mode = WAL; ${TABLES}`);
      const options = {
        source: { url: `file:${file}` },
        cacheDir: dir.join('cache'),
        batchSize: PART,
        tables: definitions,
      };
      {
        await using storage = await StorageSync.open(options);
        await storage.sync();
      }
      const kept = keysOf(file);
      let kills = 0;
      for (const [round, occurrence] of [1, 4].entries()) {
        // While the sync is interrupted, too.
        changeDatabase(file, change(round + 1));
        const now = keysOf(file);
        for (const key of kept) if (!now.has(key)) kept.delete(key);
        const fault: Fault = { point, occurrence, action: 'kill' };
        const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault });
        if (end.kind === 'killed') kills++;
        else assert.equal(end.kind, 'completed', JSON.stringify(end));
        await assertWhole(options, kept);
      }
      // One that goes on with an interrupted sweep of keys leaves to the next what was deleted meanwhile.
      for (let again = 0; again < 2; again++) {
        const end = await runChild({ mode: 'sync', options, readerThreads: 1, fault: null });
        assert.equal(end.kind, 'completed', JSON.stringify(end));
        if (end.kind === 'completed') assert.equal(end.report.mode, 'incremental');
      }
      await assertCacheEquals(file, options.cacheDir);
      t.diagnostic(`${kills} kills`);
      assert.ok(kills > 0);
    });
  }
});
