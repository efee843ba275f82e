import type { CacheState } from '../../cache/status.js';
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
  readonly sentence: string;
  readonly concerns: readonly Concern[];
}

const WORDS: Readonly<Record<CacheState, string>> = {
  empty: 'Empty',
  fresh: 'Fresh',
  stale: 'Stale',
  syncing: 'Syncing',
  rebuilding: 'Rebuilding',
  corrupt: 'Corrupt',
};

/** Of `status` as it was told; ages in it count on elsewhere. */
export function judge(status: StatusDocument): Verdict {
  const { state } = status.cache;
  const concerns = concernsOf(status);
  const stands = standing(status);
  return {
    level: worse(stands.level, concerns),
    word: WORDS[state] ?? shown(String(state)),
    sentence: stands.sentence,
    concerns,
  };
}

function standing(status: StatusDocument): { readonly level: Level; readonly sentence: string } {
  const { cache, staleAfterMs } = status;
  const limit = formatPeriod(staleAfterMs);
  switch (cache.state) {
    case 'corrupt': {
      const why = shown(cache.lastError?.message ?? '');
      return { level: 'bad', sentence: `${why} The next sync builds the cache anew.`.trim() };
    }
    case 'empty': {
      const fill = 'Nothing is cached yet. The next sync fills the cache.';
      return { level: 'warning', sentence: fill };
    }
    case 'syncing':
    case 'rebuilding': {
      if (cache.generation === null) {
        return { level: 'busy', sentence: 'The cache is being filled; nothing can be read yet.' };
      }
      const served = cache.isFresh ? 'What is served is fresh.' : 'What is served is stale.';
      return { level: cache.isFresh ? 'busy' : 'warning', sentence: served };
    }
    case 'fresh':
      return { level: 'good', sentence: `No data are older than ${limit}.` };
    case 'stale':
      return { level: 'warning', sentence: staleSentence(status, limit) };
  }
  return { level: 'unknown', sentence: 'The watch tells a state that this page does not know.' };
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
