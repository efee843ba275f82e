/** One observation of a running sync. */
export interface SyncProgress {
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
