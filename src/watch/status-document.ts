import type { WatchStatus } from './watch-status.js';

/** What `GET /status.json` answers. */
export interface StatusDocument extends WatchStatus {
  /** Whether the watch has a token, so that who knows it may ask for rounds. */
  readonly actions: boolean;
}
