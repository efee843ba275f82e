import cliProgress from 'cli-progress';
import type { SyncProgress } from '../progress.js';
import type { ProgressDisplay } from './progress-display.js';
import { describeProgress } from './progress-text.js';

const BAR_WIDTH = 24;

/** One line on a terminal, drawn over. Without a total there is no bar and no percentage: they would be made up. */
export class ProgressBar implements ProgressDisplay {
  readonly #bar: cliProgress.SingleBar;
  readonly #restore = (): void => this.#bar.stop();
  #newest: SyncProgress | null = null;

  constructor(stream: NodeJS.WritableStream) {
    this.#bar = new cliProgress.SingleBar({
      stream,
      format: () => (this.#newest === null ? 'connecting' : barLine(this.#newest)),
      clearOnComplete: true,
      forceRedraw: true,
    });
    this.#bar.start(0, 0);
    // A second Ctrl-C ends the process with the bar still drawn and the terminal's line wrapping off.
    process.once('exit', this.#restore);
  }

  update(progress: SyncProgress): void {
    this.#newest = progress;
    this.#bar.update(progress.rowsRead);
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#restore);
    this.#bar.stop();
  }
}

function barLine(progress: SyncProgress): string {
  const { rowsRead, rowsTotal } = progress;
  const described = describeProgress(progress);
  if (rowsTotal === null || rowsTotal === 0) return described;
  const share = Math.min(1, rowsRead / rowsTotal);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
  return `${bar} ${Math.floor(share * 100)} % ${described}`;
}
