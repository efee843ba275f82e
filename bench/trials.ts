import type { DataKind } from './data/data-file.js';
import type { FigureName } from './figures.js';
import type { TargetProgram } from './targets/target-table.js';

/** A program in a trial, and the setting it has to itself. */
export interface TrialTarget {
  readonly id: string;
  readonly title: string;
  readonly program: TargetProgram;
  /** What the round that does not count runs instead, where that must differ. */
  readonly warmUp?: TargetProgram;
  /** Added by the server to every answer. */
  readonly latencyMs?: number;
  /** At which the server sends each answer, at most. */
  readonly bytesPerSecond?: number;
  /** Of the trial's rows; all of them by default. */
  readonly share?: number;
}

/** A bound on the median of a figure of the first target, or on its ratio to another target's. */
export interface Goal {
  readonly figure: FigureName;
  readonly against?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Trial {
  readonly id: string;
  readonly title: string;
  readonly source: 'file' | 'http';
  readonly data: DataKind;
  readonly rows: number;
  /** The first is the one that the others are measured against. */
  readonly targets: readonly [TrialTarget, ...TrialTarget[]];
  readonly goals: readonly Goal[];
}

/** The rows that a target of a trial is given. */
export function rowsOf({ rows }: Trial, { share = 1 }: TrialTarget): number {
  return Math.ceil(rows * share);
}

const STORAGE_SYNC: TrialTarget = {
  id: 'storage-sync',
  title: 'storage-sync',
  program: 'storage-sync',
};

const HAND_WRITTEN: TrialTarget = {
  id: 'hand-written',
  title: 'hand-written loop',
  program: 'hand-written-loop',
};

const HAND_TUNED: TrialTarget = {
  id: 'hand-tuned',
  title: 'hand-tuned loop',
  program: 'hand-tuned-loop',
};

const BARE_READ: TrialTarget = { id: 'bare-read', title: 'bare read', program: 'bare-read' };

const BARE_APPEND: TrialTarget = {
  id: 'bare-append',
  title: 'bare append',
  program: 'bare-append',
};

const FETCH_READ: TrialTarget = { id: 'fetch-read', title: 'bare fetch', program: 'fetch-read' };

const FILE_TARGETS = [STORAGE_SYNC, HAND_WRITTEN, BARE_READ] as const;

function delayed(latencyMs: number): TrialTarget {
  const name = `${latencyMs} ms`;
  return {
    ...OVER_HTTP,
    id: `storage-sync-${latencyMs}ms`,
    title: `storage-sync, ${name}`,
    latencyMs,
  };
}

/** A sync that would read in several lanes while the server has its answers yet to make records them in one. */
const OVER_HTTP: TrialTarget = { ...STORAGE_SYNC, warmUp: 'one-lane' };

/** What a single connection over a long way often gives. */
const FAR = { bytesPerSecond: 20_000_000 } as const;

const RESPONSIVE: readonly Goal[] = [
  { figure: 'loopDelayP99Ms', atMost: 10 },
  { figure: 'loopDelayMaxMs', atMost: 50 },
];

export const TRIALS: readonly Trial[] = [
  {
    id: 'file',
    title: 'Full sync of a file, UUID text keys',
    source: 'file',
    data: 'records',
    rows: 400_000,
    targets: [STORAGE_SYNC, HAND_WRITTEN, HAND_TUNED, BARE_READ, BARE_APPEND],
    goals: [
      { figure: 'rowsPerSecond', against: 'hand-written', atLeast: 5 },
      { figure: 'wallMs', against: 'bare-read', atMost: 0.8 },
      { figure: 'peakAnonBytes', atMost: 256 * 1024 * 1024 },
      ...RESPONSIVE,
    ],
  },
  {
    id: 'http',
    title: 'Full sync over HTTP, UUID text keys',
    source: 'http',
    data: 'records',
    rows: 400_000,
    targets: [OVER_HTTP, HAND_WRITTEN, FETCH_READ],
    goals: [
      { figure: 'rowsPerSecond', against: 'hand-written', atLeast: 4 },
      { figure: 'cpuUsPerRow', against: 'hand-written', atMost: 0.25 },
      ...RESPONSIVE,
    ],
  },
  {
    id: 'latency',
    title: 'Full sync over HTTP, time added to every answer',
    source: 'http',
    data: 'records',
    rows: 400_000,
    targets: [
      delayed(50),
      { ...OVER_HTTP, title: 'storage-sync, 0 ms' },
      delayed(10),
      delayed(200),
      { ...HAND_WRITTEN, title: 'hand-written loop, 50 ms', latencyMs: 50 },
    ],
    goals: [{ figure: 'rowsPerSecond', against: 'storage-sync', atLeast: 0.85 }],
  },
  {
    id: 'far',
    title: 'Full sync over HTTP, 20 MB/s for each answer',
    source: 'http',
    data: 'records',
    rows: 400_000,
    targets: [
      { ...OVER_HTTP, ...FAR },
      { id: 'one-lane', title: 'storage-sync, one lane', program: 'one-lane', ...FAR },
      { ...HAND_WRITTEN, ...FAR },
    ],
    goals: [{ figure: 'rowsPerSecond', against: 'one-lane', atLeast: 1.5 }],
  },
  {
    id: 'changes',
    title: 'Sync by the change log against a full one',
    source: 'file',
    data: 'records',
    rows: 1_000_000,
    targets: [
      { id: 'one-percent', title: 'storage-sync, 1 % changed', program: 'one-percent' },
      { ...STORAGE_SYNC, title: 'storage-sync, full' },
      { id: 'bare-read-puts', title: 'bare read and put', program: 'bare-read-puts' },
      { id: 'bare-puts', title: 'bare LMDB, 1 % put', program: 'bare-puts' },
    ],
    goals: [
      { figure: 'wallMs', against: 'storage-sync', atMost: 0.02 },
      // One row in a hundred is changed.
      { figure: 'sourceRows', against: 'storage-sync', atMost: 0.011 },
    ],
  },
  {
    id: 'again',
    title: 'Sync by the change log, after three such syncs of other rows',
    source: 'file',
    data: 'records',
    rows: 1_000_000,
    targets: [
      { id: 'one-percent-again', title: 'storage-sync, 1 % changed', program: 'one-percent-again' },
      { id: 'bare-read-puts-again', title: 'bare read and put', program: 'bare-read-puts-again' },
    ],
    goals: [],
  },
  {
    id: 'together',
    title: 'Sync by the change log of rows with keys that lie together',
    source: 'file',
    data: 'records',
    rows: 1_000_000,
    targets: [
      {
        id: 'one-percent-together',
        title: 'storage-sync, 1 % changed',
        program: 'one-percent-together',
      },
      { ...STORAGE_SYNC, title: 'storage-sync, full' },
      {
        id: 'bare-read-puts-together',
        title: 'bare read and put',
        program: 'bare-read-puts-together',
      },
    ],
    goals: [
      { figure: 'wallMs', against: 'storage-sync', atMost: 0.02 },
      { figure: 'sourceRows', against: 'storage-sync', atMost: 0.011 },
    ],
  },
  {
    id: 'idle',
    title: 'Sync by the change log where nothing changed',
    source: 'file',
    data: 'records',
    rows: 1_000_000,
    targets: [
      { id: 'no-change', title: 'storage-sync, no change', program: 'no-change' },
      { ...STORAGE_SYNC, title: 'storage-sync, full' },
    ],
    goals: [
      { figure: 'wallMs', atMost: 50 },
      { figure: 'sourceRows', atMost: 100 },
    ],
  },
  {
    id: 'verify',
    title: 'Deep verify',
    source: 'file',
    data: 'records',
    rows: 400_000,
    targets: [
      { id: 'deep-verify', title: 'storage-sync, deep verify', program: 'deep-verify' },
      { ...STORAGE_SYNC, title: 'storage-sync, full sync' },
      BARE_READ,
    ],
    goals: [{ figure: 'wallMs', against: 'bare-read', atMost: 1.2 }, ...RESPONSIVE],
  },
  {
    id: 'serving',
    title: 'Four processes read while the cache is rebuilt',
    source: 'file',
    data: 'records',
    rows: 1_000_000,
    targets: [
      { id: 'rebuild-served', title: 'rebuild, read by four', program: 'rebuild-served' },
      { id: 'readers-alone', title: 'the readers alone', program: 'readers-alone' },
      { ...STORAGE_SYNC, title: 'full sync, no readers' },
    ],
    goals: [{ figure: 'readPauseMs', atMost: 50 }],
  },
  {
    id: 'writes',
    title: 'Writes to a source, with a change log and without',
    source: 'file',
    data: 'records',
    rows: 100_000,
    targets: [
      { id: 'logged', title: 'with a log', program: 'logged-writes' },
      { id: 'plain', title: 'without', program: 'plain-writes' },
    ],
    goals: [],
  },
  {
    id: 'memory',
    title: 'Full sync of an agent memory',
    source: 'file',
    data: 'memory',
    rows: 40_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'wide',
    title: 'Full sync of rows of 100 columns',
    source: 'file',
    data: 'wide',
    rows: 40_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'tiny',
    title: 'Full sync of rows of two integers',
    source: 'file',
    data: 'tiny',
    rows: 1_000_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'documents',
    title: 'Full sync of rows of 20 kB',
    source: 'file',
    data: 'documents',
    rows: 10_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'embeddings-384',
    title: 'Full sync of embeddings of 384 floats',
    source: 'file',
    data: 'embeddings-384',
    rows: 100_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'embeddings-1536',
    title: 'Full sync of embeddings of 1536 floats',
    source: 'file',
    data: 'embeddings-1536',
    rows: 40_000,
    targets: FILE_TARGETS,
    goals: [],
  },
  {
    id: 'reads',
    title: 'Reads by key, keys in random order',
    source: 'file',
    data: 'records',
    rows: 200_000,
    targets: [
      { id: 'cache-get', title: 'storage-sync, get', program: 'cache-get' },
      { id: 'cache-get-two', title: 'storage-sync, two columns', program: 'cache-get-two' },
      { id: 'cache-get-many', title: 'storage-sync, getMany of 100', program: 'cache-get-many' },
      { id: 'lmdb-get', title: 'bare LMDB, decoded', program: 'lmdb-get' },
      { id: 'lmdb-bytes', title: 'bare LMDB, bytes', program: 'lmdb-bytes' },
      { id: 'native-get', title: 'native driver, objects', program: 'native-get' },
      { id: 'native-raw', title: 'native driver, arrays', program: 'native-raw' },
    ],
    goals: [
      { figure: 'rowsPerSecond', against: 'native-get', atLeast: 6 },
      { figure: 'rowsPerSecond', against: 'lmdb-get', atLeast: 0.9 },
    ],
  },
  {
    id: 'peak',
    title: 'Memory of a full sync of a file as its rows grow',
    source: 'file',
    data: 'records',
    rows: 5_000_000,
    targets: [
      { ...STORAGE_SYNC, id: 'all-rows', title: 'storage-sync, all rows' },
      { ...STORAGE_SYNC, id: 'tenth', title: 'storage-sync, a tenth', share: 0.1 },
    ],
    goals: [
      // The pages of LMDB's file that the system has mapped are left out.
      { figure: 'peakAnonBytes', atMost: 256 * 1024 * 1024 },
      { figure: 'peakAnonBytes', against: 'tenth', atMost: 1 },
    ],
  },
  {
    id: 'scale',
    title: 'Full sync of a file as its rows grow',
    source: 'file',
    data: 'records',
    rows: 10_000_000,
    targets: [
      { ...STORAGE_SYNC, id: 'all-rows', title: 'storage-sync, all rows' },
      { ...STORAGE_SYNC, id: 'tenth', title: 'storage-sync, a tenth', share: 0.1 },
      { ...STORAGE_SYNC, id: 'hundredth', title: 'storage-sync, a hundredth', share: 0.01 },
    ],
    goals: [
      // The time of a row may grow by 15 %.
      { figure: 'rowsPerSecond', against: 'tenth', atLeast: 1 / 1.15 },
      { figure: 'rowsPerSecond', against: 'hundredth', atLeast: 1 / 1.15 },
      { figure: 'peakAnonBytes', atMost: 256 * 1024 * 1024 },
      ...RESPONSIVE,
    ],
  },
];
