import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { soak } from './soak.js';

const SEED = 20_261_123;
const onLinux = process.platform === 'linux' ? false : 'looks at the process by /proc';

void describe('a watch under constant writes', () => {
  for (const [way, durationMs] of [
    ['file', 8000],
    ['http', 4000],
  ] as const) {
    void it(`loses nothing, and stays as it was: ${way}`, { skip: onLinux }, async () => {
      const report = await soak({ durationMs, roundsPerSecond: 20, way, seed: SEED });
      assert.ok(report.rounds > 5 && report.transactions > 50, JSON.stringify(report));
    });
  }
});
