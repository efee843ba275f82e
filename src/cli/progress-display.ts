import type { SyncProgress } from '../progress.js';
import { ProgressBar } from './progress-bar.js';
import { ProgressLines } from './progress-lines.js';

/** Shows a running sync to a person. */
export interface ProgressDisplay extends Disposable {
  update(progress: SyncProgress): void;
}

/** A bar on a terminal, else a line now and then. */
export function openProgressDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  return stream.isTTY ? new ProgressBar(stream) : new ProgressLines(stream);
}
