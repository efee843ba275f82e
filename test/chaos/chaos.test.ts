import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { WAYS } from './history.js';
import { InProcessRunner } from './in-process-runner.js';
import { describeCounts, Journal, type CountName } from './journal.js';
import { MODE_NAMES } from './modes.js';
import { processRunner } from './process-runner.js';
import { runHistory } from './run-history.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

/** Of histories that have some of everything in their first actions. */
const SEED = 20_264_223;
/** Histories for each mode and way. `npm run chaos` runs as many as one likes, and tells what they do. */
const ROUNDS = Number(process.env['STORAGE_SYNC_CHAOS_ROUNDS'] ?? THOROUGHNESS);

void describe('chaos', () => {
  const all = new Journal();
  const total = ({ counts }: Journal) => {
    for (const [name, count] of Object.entries(counts)) all.count(name as CountName, count);
  };
  let inProcess: InProcessRunner;
  before(() => {
    inProcess = new InProcessRunner();
  });
  after(async () => {
    await inProcess[Symbol.asyncDispose]();
  });

  MODE_NAMES.forEach((mode, m) => {
    WAYS.forEach((way, w) => {
      const first = SEED + 100 * (2 * m + w);

      // Each mode by one way: `npm run chaos` has them all.
      if (m % WAYS.length === w) {
        void it(`breaks no guarantee by killed processes: ${mode}, ${way}`, async (t) => {
          const journal = new Journal();
          for (let i = 0; i < ROUNDS; i++) {
            await runHistory({
              seed: first + i,
              mode,
              way,
              runner: processRunner,
              journal,
              maxSteps: 3,
              readingPauseMs: 2,
            });
          }
          t.diagnostic(describeCounts(journal.counts));
          total(journal);
        });
      }

      // By the other way.
      if (m % WAYS.length === w && ROUNDS === 1) return;
      void it(`breaks no guarantee by upset syncs: ${mode}, ${way}`, async (t) => {
        const journal = new Journal();
        for (let i = 0; i < ROUNDS; i++) {
          await runHistory({ seed: first + i, mode, way, runner: inProcess, journal });
        }
        t.diagnostic(describeCounts(journal.counts));
        total(journal);
      });
    });
  });

  void it('has killed, failed, damaged and mended', (t) => {
    t.diagnostic(describeCounts(all.counts));
    for (const name of [
      'kills',
      'failures',
      'skips',
      'verifies',
      'damages',
      'captureChanges',
      'reads',
    ] as const) {
      assert.ok(all.counts[name] > 0, name);
    }
  });
});
