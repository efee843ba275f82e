/** A snapshot of an older state that some process reads. While it is held, pages that it sees cannot be used again. */
export interface HeldSnapshot {
  /** The process that holds it. */
  readonly pid: number;
  /** The thread, by the system's handle for it, in hexadecimal. */
  readonly thread: string;
  /** The number of the transaction whose state it is. */
  readonly transaction: number;
  /** Transactions committed since. */
  readonly behind: number;
  /** When a sync first met it behind and left it further behind; null where none has yet. */
  readonly since: string | null;
  /** Bytes of the cache file that cannot be used again before it ends; null where that cannot be told just now. */
  readonly pinnedBytes: number | null;
}
