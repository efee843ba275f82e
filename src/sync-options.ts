import type { SyncProgress } from './progress.js';

/** How one sync or rebuild runs. */
export interface SyncOptions {
  /** Stops the sync at the next batch. What was committed stays, and the next sync goes on from there. */
  readonly signal?: AbortSignal | undefined;
  /** Called as the sync comes on, in this thread, some times a second at most. */
  readonly onProgress?: ((progress: SyncProgress) => void) | undefined;
  /** Read every table in full, also where the source's change log would tell what changed. */
  readonly full?: boolean | undefined;
  /** Believe the source even when a table loses more rows than `maxLossShare`. */
  readonly allowLoss?: boolean | undefined;
}
