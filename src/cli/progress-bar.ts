import cliProgress from 'cli-progress';
import type { SyncProgress } from '../progress.js';
import type { ProgressDisplay } from './progress-display.js';
import { progressParts } from './progress-text.js';

const MAX_BAR_WIDTH = 24;
const MIN_BAR_WIDTH = 6;

/** One line on a terminal, drawn over. Without a total there is no bar and no percentage: they would be made up. */
export class ProgressBar implements ProgressDisplay {
  readonly #bar: cliProgress.SingleBar;
  readonly #restore = (): void => this.#bar.stop();
  #newest: SyncProgress | null = null;

  constructor(stream: NodeJS.WriteStream) {
    this.#bar = new cliProgress.SingleBar({
      stream,
      format: () => (this.#newest === null ? 'connecting' : barLine(this.#newest, stream.columns)),
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

/** `██████░░░░░░  50 %  episodes  20,000 of 40,000 rows  51,200 rows/s  1 of 4 tables  0.4 s left`. */
function barLine(progress: SyncProgress, columns: number): string {
  const { rowsRead, rowsTotal } = progress;
  const described = progressParts(progress).join('  ');
  if (!rowsTotal) return described;
  const share = Math.min(1, rowsRead / rowsTotal);
  const percentage = `${Math.floor(share * 100)} %`.padStart(5);
  const width = Math.min(MAX_BAR_WIDTH, columns - described.length - 10);
  if (width < MIN_BAR_WIDTH) return `${percentage}  ${described}`;
  const filled = Math.round(share * width);
  return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${percentage}  ${described}`;
}
