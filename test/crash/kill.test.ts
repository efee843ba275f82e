import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type { Fault } from '../support/kill/fault.js';
import { BEGINNING, ENDING, READING, SWEEPING } from '../support/kill/points.js';
import { Random } from '../support/random.js';
import { Chain } from './chain.js';
import { SCENARIOS, type Scenario } from './scenarios.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

/** `STORAGE_SYNC_CRASH_SEED` repeats a run's points and random instants. */
const seed = Number(process.env['STORAGE_SYNC_CRASH_SEED'] ?? randomInt(2 ** 31));
/** Each scenario is killed at every point that it comes to, not at every other. */
const takesAll = THOROUGHNESS > 1;

const LEAST_KILLS = 80;
const RANDOM_KILLS = 6;
const LONGEST_SYNC_MS = 450;

const POINTS: readonly string[] = [...BEGINNING, ...READING, ...SWEEPING, ...ENDING];

/** Where a scenario never comes to. */
const NOT_IN: Readonly<Record<string, (scenario: Scenario) => boolean>> = {
  manifest: ({ published, mode }) => published && mode === 'sync',
  begin: ({ published, mode }) => published && mode === 'sync',
  publish: ({ published, mode }) => published && mode === 'sync',
  'generation:directory-made': ({ published, mode }) => published && mode === 'sync',
  'close:before-flush': ({ published, mode }) => published && mode === 'sync',
  'close:flushed': ({ published, mode }) => published && mode === 'sync',
  sweep: ({ published, mode }) => !published || mode === 'rebuild',
  'generation:before-remove': ({ mode }) => mode !== 'rebuild',
  'generation:removed': ({ mode }) => mode !== 'rebuild',
};

const kills = new Map<string, number>();

void describe('a process killed in a sync', () => {
  void describe(
    'leaves a cache that is whole, agrees with its checkpoints and goes on',
    {
      concurrency: 2,
    },
    () => {
      SCENARIOS.forEach((scenario, i) => {
        void it(scenario.name, async (t) => {
          const random = new Random(seed + i);
          await using chain = await Chain.begin(scenario);
          for (const fault of faultsFor(scenario, random)) await killAt(t, chain, fault);
          await chain.finish();
          // A sync that was quicker than the kill does not count.
          for (let n = 0, left = RANDOM_KILLS; n < 2 * RANDOM_KILLS && left > 0; n++) {
            const end = await chain.kill({ afterMs: random.int(0, LONGEST_SYNC_MS - 1) });
            if (end.kind !== 'killed') continue;
            count('an instant');
            left--;
          }
          await chain.finish();
        });
      });
    },
  );

  void it('was killed at every point, and often', (t) => {
    const total = [...kills.values()].reduce((sum, each) => sum + each, 0);
    t.diagnostic(`${total} kills; STORAGE_SYNC_CRASH_SEED=${seed}`);
    for (const [point, times] of kills) t.diagnostic(`${point}: ${times}`);
    assert.ok(total >= LEAST_KILLS, `${total} kills`);
    assert.deepEqual(
      POINTS.filter((point) => !kills.has(point)),
      [],
      'every point has had its kill',
    );
  });
});

function comesTo(scenario: Scenario, point: string): boolean {
  return !(NOT_IN[point] ?? NOT_IN[point.split(':')[0]!])?.(scenario);
}

/** Of the scenarios that come to a point, every other is killed there: the seed says which. */
function isKilledAt(scenario: Scenario, point: string): boolean {
  if (!comesTo(scenario, point)) return false;
  const those = SCENARIOS.filter((each) => comesTo(each, point));
  const turn = those.indexOf(scenario) + POINTS.indexOf(point) + seed;
  return takesAll || those.length === 1 || turn % 2 === 0;
}

function faultsFor(scenario: Scenario, random: Random): Fault[] {
  const reading = READING.map((point) => at(point, random.int(1, point.endsWith('-put') ? 60 : 3)));
  return [
    ...BEGINNING.map((point) => at(point)),
    ...random.shuffled(reading),
    ...SWEEPING.map((point) => at(point)),
    ...ENDING.map((point) => at(point)),
  ].filter(({ point }) => isKilledAt(scenario, point));
}

/** A sync that had less left than the fault needs comes to its end; then the next one meets it. */
async function killAt(t: TestContext, chain: Chain, fault: Fault): Promise<void> {
  try {
    for (let attempt = 1; attempt <= 3; attempt++) {
      const end = await chain.kill(fault);
      if (end.kind !== 'killed') continue;
      assert.equal(end.point, fault.point);
      count(fault.point);
      return;
    }
    t.diagnostic(`never came to ${fault.point} for the ${fault.occurrence}. time`);
  } catch (error) {
    t.diagnostic(`after a kill at ${fault.point}, the ${fault.occurrence}. time`);
    throw error;
  }
}

function at(point: string, occurrence = 1): Fault {
  return { point, occurrence, action: 'kill' };
}

function count(point: string): void {
  kills.set(point, (kills.get(point) ?? 0) + 1);
}
