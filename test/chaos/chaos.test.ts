import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { WAYS } from './history.js';
import { InProcessRunner } from './in-process-runner.js';
import { describeCounts, Journal, type CountName } from './journal.js';
import { MODE_NAMES } from './modes.js';
import { processRunner } from './process-runner.js';
import { runHistory } from './run-history.js';

const SEED = 20_261_122;
/** Histories for each mode and way. `npm run chaos` runs as many as one likes, and tells what they do. */
const ROUNDS = Number(process.env['STORAGE_SYNC_CHAOS_ROUNDS'] ?? 1);
const FAST_HISTORIES = 4;

void describe('chaos', () => {
  const all = new Journal();
  let inProcess: InProcessRunner;
  before(() => {
    inProcess = new InProcessRunner();
  });
  after(async () => {
    await inProcess[Symbol.asyncDispose]();
  });

  for (const mode of MODE_NAMES) {
    for (const way of WAYS) {
      void it(`breaks no guarantee by killed processes: ${mode}, ${way}`, async (t) => {
        const journal = new Journal();
        for (let i = 0; i < ROUNDS; i++) {
          await runHistory({
            seed: SEED + i,
            mode,
            way,
            runner: processRunner,
            journal,
            maxSteps: 5,
          });
        }
        t.diagnostic(describeCounts(journal.counts));
        for (const [name, count] of Object.entries(journal.counts))
          all.count(name as CountName, count);
        assert.ok(journal.counts.checks > 0 && journal.counts.equalities > 0);
      });

      void it(`breaks no guarantee by upset syncs: ${mode}, ${way}`, async (t) => {
        const journal = new Journal();
        for (let i = 0; i < FAST_HISTORIES * ROUNDS; i++) {
          await runHistory({ seed: SEED + i, mode, way, runner: inProcess, journal });
        }
        t.diagnostic(describeCounts(journal.counts));
        assert.ok(journal.counts.aborts + journal.counts.failures > 0);
      });
    }
  }

  void it('has killed, aborted and cut', (t) => {
    t.diagnostic(describeCounts(all.counts));
    for (const name of ['kills', 'aborts', 'cuts', 'captureChanges', 'reads'] as const) {
      assert.ok(all.counts[name] > 0, name);
    }
  });
});
