/** A table that is being read. */
export interface LaneProgress {
  readonly table: string;
  /** Rows of it that were read in this sync. */
  readonly rowsRead: number;
  /** Rows that it has, or null while they are not counted. */
  readonly rowsTotal: number | null;
}

/** One observation of a running sync. */
export interface SyncProgress {
  /** The tables that are being read just now, in the order in which they began. */
  readonly lanes: readonly LaneProgress[];
  readonly phase: 'connecting' | 'reading' | 'sweeping' | 'validating' | 'publishing' | 'done';
  /** The table of the newest batch, or null before the first. */
  readonly table: string | null;
  readonly tablesDone: number;
  readonly tablesTotal: number;
  readonly rowsRead: number;
  /** Rows expected in all, or null while they are not counted: a server's are not. Never below `rowsRead`. */
  readonly rowsTotal: number | null;
  readonly bytesRead: number;
  /** Rows a second over the last few seconds. */
  readonly rowsPerSecond: number;
  readonly elapsedMs: number;
  /** Time left at the present rate, or null when the total is not known. */
  readonly remainingMs: number | null;
}
