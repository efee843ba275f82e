import type { CacheStatus, TableStatus } from '../../src/cache/status.js';
import type { RoundOutcome, WatchRound, WatchStatus } from '../../src/watch/watch-status.js';
import { Random } from '../support/random.js';

const MINUTE = 60_000;
/** The number of the last round. */
const ROUNDS = 864;

export function table(rows: number, more: Partial<TableStatus> = {}): TableStatus {
  const checkpoint = {
    phase: 'complete',
    rowsRead: rows,
    updatedAt: new Date(Date.now() - 42_000).toISOString(),
  } as const;
  return { rows, mode: 'change-log', checkpoint, damagedRecords: 0, ...more };
}

export function round(number: number, at: number, more: Partial<WatchRound> = {}): WatchRound {
  return {
    number,
    job: 'sync',
    reason: 'interval',
    startedAt: new Date(at).toISOString(),
    durationMs: 240,
    outcome: 'done',
    error: null,
    mode: 'incremental',
    rowsRead: 1200,
    rowsWritten: 1150,
    rowsDeleted: 12,
    sourceRowsRead: 1230,
    bytesWritten: 480_000,
    ageBeforeMs: MINUTE,
    ageAfterMs: 240,
    warnings: [],
    ...more,
  };
}

export const OUTAGE = {
  code: 'SOURCE_UNAVAILABLE',
  message: 'The source libsql://memory-acme.turso.io cannot be reached: connect ECONNREFUSED.',
  hint: null,
} as const;

export const LOSS = {
  code: 'LOSS_SUSPECTED',
  message: 'Table "episodes" would lose 61,204 of 184,250 rows.',
  hint: 'Look at the source. If the rows are meant to be gone, sync with --allow-loss.',
} as const;

/** Some hours of rounds: on the interval, with an outage of the source, a verify and a rebuild. */
export function history(rounds: number, now = Date.now(), seed = 7): WatchRound[] {
  const random = new Random(seed);
  const begin = now - 42_000 - (rounds - 1) * 5 * MINUTE;
  let syncedAt = begin - 4 * MINUTE;
  return Array.from({ length: rounds }, (_, i): WatchRound => {
    const at = begin + i * 5 * MINUTE;
    const fromEnd = rounds - i;
    const isAway = fromEnd > 22 && fromEnd <= 26;
    const outcome: RoundOutcome = isAway ? 'skipped' : fromEnd === 15 ? 'failed' : 'done';
    const succeeded = outcome === 'done';
    const rowsRead = succeeded ? random.int(300, 2700) : 0;
    const durationMs = succeeded ? 90 + Math.round(rowsRead / 9) + random.int(0, 90) : 5200;
    const ageBeforeMs = at - syncedAt;
    if (succeeded) syncedAt = at;
    return round(ROUNDS - fromEnd + 1, at, {
      reason: i === 0 ? 'start' : 'interval',
      outcome,
      durationMs,
      rowsRead,
      mode: succeeded ? 'incremental' : null,
      rowsWritten: Math.round(rowsRead * 0.97),
      rowsDeleted: succeeded ? random.int(0, 20) : 0,
      ageBeforeMs,
      ageAfterMs: at + durationMs - syncedAt,
      error: isAway ? OUTAGE : outcome === 'failed' ? LOSS : null,
    });
  });
}

export type StatusChanges = Partial<Omit<WatchStatus, 'cache'>> & {
  readonly cache?: Partial<CacheStatus>;
};

/** A watch for which all is well, with what is given changed. */
export function statusOf({ cache, ...changes }: StatusChanges = {}): WatchStatus {
  const now = Date.now();
  return {
    version: '0.1.0',
    source: 'libsql://memory-acme.turso.io',
    cacheDir: '/var/lib/agents/.storage-sync',
    state: 'waiting',
    startedAt: new Date(now - 3 * 86_400_000).toISOString(),
    intervalMs: 5 * MINUTE,
    staleAfterMs: 15 * MINUTE,
    nextRoundAt: new Date(now + 258_000).toISOString(),
    running: null,
    rounds: ROUNDS,
    failedRounds: 1,
    diskBytes: 412_000_000,
    lastVerify: {
      at: new Date(now - 5 * 3_600_000).toISOString(),
      level: 'sample',
      complete: true,
      rowsCompared: 24_000,
      differences: 0,
      repaired: 0,
      left: 0,
      tables: {
        episodes: { rowsCompared: 8000, differences: 0 },
        patterns: { rowsCompared: 8000, differences: 0 },
        heuristics: { rowsCompared: 2410, differences: 0 },
        embeddings: { rowsCompared: 8000, differences: 0 },
      },
    },
    history: history(60, now),
    cache: {
      state: 'fresh',
      isFresh: true,
      generation: 7,
      lastSyncAt: new Date(now - 42_000).toISOString(),
      ageMs: 42_000,
      tables: {
        episodes: table(184_250),
        patterns: table(31_004),
        heuristics: table(2410, { mode: 'cursor' }),
        embeddings: table(215_254),
      },
      lastError: null,
      failedSyncs: 0,
      rebuildDue: false,
      holder: null,
      snapshots: [
        {
          pid: 48_213,
          thread: '7f31c2ffe6c0',
          transaction: 90_411,
          behind: 3,
          since: new Date(now - 15 * MINUTE).toISOString(),
          pinnedBytes: 1_200_000,
        },
      ],
      ...cache,
    },
    ...changes,
  };
}

/** A rebuild that is half done. */
export function runningStatus(): WatchStatus {
  return statusOf({
    state: 'running',
    nextRoundAt: null,
    running: {
      job: 'rebuild',
      reason: 'request',
      startedAt: new Date(Date.now() - 8000).toISOString(),
      progress: {
        phase: 'reading',
        lanes: [
          { table: 'embeddings', rowsRead: 105_459, rowsTotal: 200_000 },
          { table: 'episodes', rowsRead: 1200, rowsTotal: null },
        ],
        table: 'embeddings',
        tablesDone: 3,
        tablesTotal: 4,
        rowsRead: 216_459,
        rowsTotal: 432_918,
        bytesRead: 90_000_000,
        rowsPerSecond: 27_400,
        elapsedMs: 8000,
        remainingMs: 7900,
      },
    },
    cache: { state: 'rebuilding' },
  });
}
