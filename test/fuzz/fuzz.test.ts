import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runTarget } from './run-target.js';
import { TARGET_NAMES, TARGETS } from './targets.js';

const SEED = 20_261_123;
/** `npm run fuzz` runs as many as one likes. */
const CASES = 1500;

void describe('bytes that may be anything', () => {
  for (const target of TARGET_NAMES) {
    void it(`end in an error or in what is right: ${target}`, async () => {
      const cases = Math.ceil(CASES * TARGETS[target].share);
      const failure = await runTarget({ target, seed: SEED, from: 0, cases });
      assert.equal(failure, null, failure ?? '');
    });
  }
});
