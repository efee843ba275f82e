import type { StatusDocument } from '../status-document.js';
import type { WatchRound } from '../watch-status.js';
import type { Level } from './sign.js';
import { formatBytes, formatCount, formatPeriod, formatPlural, shown } from './text.js';

/** Something that somebody should look at. */
export interface Concern {
  readonly level: 'warning' | 'bad';
  readonly text: string;
}

/** Whether all is well, in a word and a sentence. */
export interface Verdict {
  readonly level: Level;
  readonly word: string;
  /** What is done to the cache just now, where that changes nothing about the word. */
  readonly doing: string | null;
  readonly sentence: string;
  readonly concerns: readonly Concern[];
}

type Standing = Omit<Verdict, 'concerns'>;

/** Of `status` as it was told; ages in it count on elsewhere. */
export function judge(status: StatusDocument): Verdict {
  const concerns = concernsOf(status);
  const stands = standing(status);
  return { ...stands, level: worse(stands.level, concerns), concerns };
}

function standing(status: StatusDocument): Standing {
  const { cache } = status;
  switch (cache.state) {
    case 'corrupt': {
      const why = shown(cache.lastError?.message ?? '');
      const sentence = `${why} The next sync builds the cache anew.`.trim();
      return { level: 'bad', word: 'Corrupt', doing: null, sentence };
    }
    case 'empty': {
      const sentence = 'Nothing is cached yet. The next sync fills the cache.';
      return { level: 'warning', word: 'Empty', doing: null, sentence };
    }
    case 'syncing':
    case 'rebuilding':
      return cache.generation === null ? filling(cache.state) : served(status, cache.state);
    case 'fresh':
    case 'stale':
      return served(status, null);
  }
  const sentence = 'The watch tells a state that this page does not know.';
  return { level: 'unknown', word: shown(String(cache.state)), doing: null, sentence };
}

function filling(state: 'syncing' | 'rebuilding'): Standing {
  const word = state === 'syncing' ? 'Syncing' : 'Rebuilding';
  const sentence = 'The cache is being filled; nothing can be read yet.';
  return { level: 'busy', word, doing: null, sentence };
}

/** That rounds come and go does not change what readers get. */
function served(status: StatusDocument, doing: string | null): Standing {
  const limit = formatPeriod(status.staleAfterMs);
  if (!status.cache.isFresh) {
    return { level: 'warning', word: 'Stale', doing, sentence: staleSentence(status, limit) };
  }
  const sentence = `No data are older than ${limit}.`;
  return { level: doing === null ? 'good' : 'busy', word: 'Fresh', doing, sentence };
}

function staleSentence({ cache, staleAfterMs }: StatusDocument, limit: string): string {
  if (cache.ageMs === null) return 'The clock was set back: how old the data are is not known.';
  if (cache.ageMs > staleAfterMs) return `Data are older than ${limit}, and still served.`;
  return `${formatPlural(cache.failedSyncs, 'sync')} failed since the last complete one. Reads go on.`;
}

function concernsOf(status: StatusDocument): Concern[] {
  const { cache, lastVerify, state, history } = status;
  const concerns: Concern[] = [];
  if (state === 'stopping' || state === 'stopped') {
    concerns.push({ level: 'bad', text: `The watch is ${state}: no more rounds are begun.` });
  }
  const damaged = Object.entries(cache.tables).filter(([, { damagedRecords }]) => damagedRecords);
  for (const [name, { damagedRecords }] of damaged) {
    const records = formatPlural(damagedRecords, 'damaged record');
    concerns.push({
      level: 'warning',
      text: `${records} in ${shown(name)}; the next sync repairs them.`,
    });
  }
  if (cache.rebuildDue) {
    const text = 'More than single records are damaged; the next sync builds the cache anew.';
    concerns.push({ level: 'bad', text });
  }
  if (lastVerify && lastVerify.left > 0) {
    const left = formatPlural(lastVerify.left, 'difference');
    const text = `The last verify left ${left}. Verify with “Repair” to put them right.`;
    concerns.push({ level: 'bad', text });
  }
  const last = history.findLast(({ outcome }) => outcome !== 'aborted');
  if (last && last.outcome === 'failed') concerns.push({ level: 'bad', text: failureText(last) });
  else if (last && last.outcome === 'skipped') {
    concerns.push({ level: 'warning', text: failureText(last) });
  }
  const pinned = Math.max(0, ...cache.snapshots.map((each) => each.pinnedBytes ?? 0));
  if (pinned >= PINNED_WORTH_SAYING) {
    const text = `A held snapshot keeps ${formatBytes(pinned)} of the cache from being used again.`;
    concerns.push({ level: 'warning', text });
  }
  return concerns;
}

const PINNED_WORTH_SAYING = 64 * 1024 * 1024;

function failureText({ number, job, outcome, error }: WatchRound): string {
  const what = `Round ${formatCount(number)} (${job}) ${outcome === 'failed' ? 'failed' : 'was skipped'}`;
  return error ? `${what}: ${shown(error.message)}` : `${what}.`;
}

function worse(level: Level, concerns: readonly Concern[]): Level {
  if (level === 'bad' || concerns.some((each) => each.level === 'bad')) return 'bad';
  if (level === 'warning' || concerns.length > 0) return 'warning';
  return level;
}
