/** What one run of one target cost. */
export interface Figures {
  readonly rows: number;
  readonly wallMs: number;
  readonly rowsPerSecond: number;
  /** Of the whole process, all its threads. */
  readonly cpuUsPerRow: number;
  /** The highest resident memory above that of the idle process. Pages of mapped files are in it. */
  readonly peakRssBytes: number;
  /** The same without mapped files; null where the system does not tell. */
  readonly peakAnonBytes: number | null;
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  /** Of the files that the target left. */
  readonly diskBytes: number;
  /** What the source gave, where that is told. */
  readonly sourceRows: number | null;
  /** The longest time between two reads of a process that read the cache all the while, where the target has such. */
  readonly readPauseMs: number | null;
  /** Cores that the rest of the machine kept busy meanwhile, on average: the less, the better the other figures. */
  readonly otherCores: number;
}

export type FigureName = keyof Figures;

export const FIGURE_NAMES: readonly FigureName[] = [
  'rows',
  'wallMs',
  'rowsPerSecond',
  'cpuUsPerRow',
  'peakRssBytes',
  'peakAnonBytes',
  'loopDelayP99Ms',
  'loopDelayMaxMs',
  'diskBytes',
  'sourceRows',
  'readPauseMs',
  'otherCores',
];
