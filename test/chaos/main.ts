import { SmallDisk } from '../support/small-disk.js';
import { WAYS, type Way } from './history.js';
import { InProcessRunner } from './in-process-runner.js';
import { describeCounts, Journal, type JournalEntry } from './journal.js';
import { MODE_NAMES, type ModeName } from './modes.js';
import { processRunner } from './process-runner.js';
import { runHistory, Violation } from './run-history.js';
import { parseSettings, USAGE, type Settings } from './settings.js';

const EXIT_VIOLATION = 1;
const EXIT_USAGE = 2;
/** Of a statement's text, what a line shows. */
const LONGEST_LINE = 300;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let settings: Settings;
  try {
    settings = parseSettings(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  const startedAt = performance.now();
  const journal = new Journal((entry) => tell(settings, entry));
  let violation: { readonly error: Violation; readonly reproduce: string } | null = null;
  await using inProcess = settings.isFast ? new InProcessRunner() : null;
  for (let round = 0; round < settings.rounds && violation === null; round++) {
    if (performance.now() - startedAt > settings.durationMs) break;
    const seed = settings.seed + round;
    const { isFast, more } = settings;
    const kind = kindOf(settings, seed);
    try {
      await runHistory({ seed, ...kind, journal, runner: inProcess ?? processRunner, more });
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const how = `--seed ${seed} --rounds 1 --mode ${kind.mode} --way ${kind.way}`;
      const reproduce = `npm run chaos -- ${how}${isFast ? ' --fast' : ''}${more === null ? '' : ` --more ${more}`} --verbose`;
      violation = { error, reproduce };
    }
  }
  if (!SmallDisk.isPossible) {
    console.error('No disk was filled: only root can mount a small file system.');
  }
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  if (settings.isJson) {
    const { counts, actions, kills, guarantees } = journal;
    const result = { counts, actions, kills, guarantees, seconds, violation: asJson(violation) };
    console.log(JSON.stringify(result));
  } else {
    console.log(`seed ${settings.seed}, ${seconds} s: ${describeCounts(journal.counts)}`);
    console.log(`actions: ${String(journal.actions)}`);
    console.log(`kills: ${String(journal.kills)}`);
    console.log(`checks: ${String(journal.guarantees)}`);
    if (violation) {
      const { error, reproduce } = violation;
      console.log(`\nVIOLATION at ${error.message}\n`);
      console.log((error.cause as Error).stack);
      console.log(`\nwhat went before:`);
      for (const entry of error.history) console.log(lineOf(entry));
      console.log(`\nsource and cache: ${error.directory}\nreproduce: ${reproduce}`);
    }
  }
  return violation ? EXIT_VIOLATION : 0;
}

/** Each mode and way in turn, as the seed says, where none is asked for. */
function kindOf(settings: Settings, seed: number): { mode: ModeName; way: Way } {
  return {
    mode: settings.mode ?? MODE_NAMES[seed % MODE_NAMES.length]!,
    way: settings.way ?? WAYS[Math.floor(seed / MODE_NAMES.length) % WAYS.length]!,
  };
}

function tell({ isJson, isVerbose }: Settings, entry: JournalEntry): void {
  if (isJson) console.log(JSON.stringify(entry));
  else if (isVerbose) console.log(lineOf(entry));
}

function lineOf({ seed, step, action, did, ms }: JournalEntry): string {
  const line = `${seed}.${step} ${action} (${ms} ms): ${did}`;
  return line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line;
}

function asJson(violation: { readonly error: Violation; readonly reproduce: string } | null) {
  if (!violation) return null;
  const { seed, step, action, message, directory, history } = violation.error;
  return { seed, step, action, message, directory, history, reproduce: violation.reproduce };
}
