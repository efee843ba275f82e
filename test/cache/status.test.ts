import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readStatus, StorageSync } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const HOUR_MS = 3_600_000;

void describe('the status', () => {
  for (const [what, shift, state] of [
    ['fresh while the cache is young', 1000, 'fresh'],
    ['stale when the cache is old', HOUR_MS, 'stale'],
    ['fresh where the clock was put right by a little', -1000, 'fresh'],
    [
      'stale where the clock was set back, for nobody knows how old the cache is',
      -HOUR_MS,
      'stale',
    ],
  ] as const) {
    void it(`is ${what}`, async (t) => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, 'CREATE TABLE t (k INTEGER PRIMARY KEY)');
      const cacheDir = dir.join('cache');
      await using storage = await StorageSync.open({ source: { url: `file:${file}` }, cacheDir });
      await storage.sync();
      const now = Date.now();
      t.mock.method(Date, 'now', () => now + shift);
      const status = await readStatus(cacheDir, { staleAfterMs: 60_000 });
      assert.equal(status.state, state);
      assert.equal(status.ageMs === null, shift === -HOUR_MS);
    });
  }
});
