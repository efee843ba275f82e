import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import { LOADING } from '../support/kill/points.js';
import { Random } from '../support/random.js';
import { Chain } from './chain.js';
import { firstLoad, rebuildByLoad } from './scenarios.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

/** `STORAGE_SYNC_CRASH_SEED` repeats a run's random instants. */
const seed = Number(process.env['STORAGE_SYNC_CRASH_SEED'] ?? randomInt(2 ** 31));

/** Points that are come to once for each range. */
const REPEATED = new Set(['spool:done', 'pack:done']);
const RANDOM_KILLS = 3;
const LONGEST_SYNC_MS = 600;

void describe('a process killed while it loads a table', () => {
  [firstLoad, rebuildByLoad].forEach((scenario, i) => {
    void it(`leaves the table empty or whole, and the next sync completes: ${scenario.name}`, async (t) => {
      t.diagnostic(`STORAGE_SYNC_CRASH_SEED=${seed}`);
      const random = new Random(seed + i);
      await using chain = await Chain.begin(scenario);
      for (const [at, point] of LOADING.entries()) {
        // The other of the two scenarios is killed at the points between.
        if (THOROUGHNESS === 1 && (at + i + seed) % 2 === 1) continue;
        t.diagnostic(point);
        const occurrence = REPEATED.has(point) ? random.int(1, 6) : 1;
        const end = await chain.kill({ point, occurrence, action: 'kill' });
        assert.equal(end.kind, 'killed', `killed at ${point}: ${JSON.stringify(end)}`);
        // What was loaded and committed is not loaded again.
        if (point.startsWith('endLoad')) await chain.finish();
      }
      for (let left = RANDOM_KILLS; left > 0; left--) {
        await chain.kill({ afterMs: random.int(0, LONGEST_SYNC_MS) });
      }
      await chain.finish();
    });
  });
});
