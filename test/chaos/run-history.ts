import { Random } from '../support/random.js';
import { TempDirectory } from '../support/temp.js';
import { ACTIONS, FAST_ACTIONS } from './actions.js';
import { quietOrder } from './actions/orders.js';
import { History, type Way } from './history.js';
import type { Journal, JournalEntry } from './journal.js';
import { MODES, type ModeName } from './modes.js';
import type { SyncRunner } from './sync-order.js';

/** One history to run. */
export interface HistoryOrder {
  readonly seed: number;
  readonly mode: ModeName;
  readonly way: Way;
  readonly runner: SyncRunner;
  readonly journal: Journal;
  /** Actions at most. Default: as many as the seed says. */
  readonly maxSteps?: number;
  /** What the reading process pauses for between two reads. Default: it reads flat out. */
  readonly readingPauseMs?: number;
  /** Actions whose names hold this happen more often. */
  readonly more?: string | null;
}

/** How much more often. */
const MORE = 6;

/** Something that must not be. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly seed: number;
  readonly step: number;
  readonly action: string;
  /** Where the source and the cache are, for a look. */
  readonly directory: string;
  /** What went before it. */
  readonly history: readonly JournalEntry[];

  constructor(
    at: {
      readonly seed: number;
      readonly step: number;
      readonly action: string;
      readonly directory: string;
      readonly history: readonly JournalEntry[];
    },
    cause: unknown,
  ) {
    const what = cause instanceof Error ? cause.message : String(cause);
    super(`seed ${at.seed}, step ${at.step} (${at.action}): ${what}`, { cause });
    this.seed = at.seed;
    this.step = at.step;
    this.action = at.action;
    this.directory = at.directory;
    this.history = at.history;
  }
}

/**
 * Runs one history to its end: a number of actions, then quiet. The source and the cache are left where they are when
 * something is found.
 *
 * @throws {Violation}
 */
export async function runHistory(order: HistoryOrder): Promise<void> {
  const { seed, way, runner, journal } = order;
  const { isFast } = runner;
  const random = new Random(seed);
  const mode = MODES[order.mode](random.fork('mode'));
  const dir = await TempDirectory.make();
  let step = 0;
  let action = 'begin';
  const told: JournalEntry[] = [];
  try {
    const setup = { mode, way, runner, journal, dir, random: random.fork('setup') };
    await using history = await History.begin(setup);
    const perform = async (name: string, run: (choices: Random) => Promise<string>) => {
      action = name;
      const begun = performance.now();
      const did = await run(random.fork(step));
      const ms = Math.round(performance.now() - begun);
      const entry = { seed, step, action, did, ms };
      told.push(entry);
      journal.tell(entry);
      step++;
    };
    const settle = async () =>
      await perform(
        'settle',
        async (choices) => await history.settle(quietOrder(choices), choices.chance(0.3)),
      );
    // What belongs together is together from the second sync on: the first may read one table before the other.
    if (mode.together) await settle();
    if (!isFast) {
      history.startReading({
        cacheDir: history.cacheDir,
        seed,
        together: mode.together,
        pauseMs: order.readingPauseMs ?? 0,
      });
    }
    const { more = null } = order;
    const actions = (isFast ? FAST_ACTIONS : ACTIONS)
      .filter(({ applies }) => applies?.(history) ?? true)
      .map((each) => {
        const isMore = more !== null && each.name.includes(more);
        return { ...each, weight: each.weight * (isMore ? MORE : 1) };
      });
    const steps = isFast ? random.fork('steps').int(3, 12) : random.fork('steps').int(6, 24);
    for (let i = 0; i < Math.min(steps, order.maxSteps ?? Infinity); i++) {
      const choices = random.fork(`action ${i}`);
      const next = choices.weighted(actions);
      await perform(next.name, async (own) => await next.run(history, own));
      history.checkReading();
    }
    await settle();
    await history.stopReading();
    journal.count('histories');
  } catch (error) {
    throw new Violation({ seed, step, action, directory: dir.path, history: told }, error);
  }
  await dir[Symbol.asyncDispose]();
}
