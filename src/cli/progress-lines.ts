import type { Writable } from 'node:stream';
import type { SyncProgress } from '../progress.js';
import type { ProgressDisplay } from './progress-display.js';
import { progressParts } from './progress-text.js';

const INTERVAL_MS = 5000;

/** Progress for a log: a line every few seconds, and one whenever a table is done. */
export class ProgressLines implements ProgressDisplay {
  readonly #stream: Writable;
  #lastLineAt = performance.now();
  #tablesDone = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  update(progress: SyncProgress): void {
    const now = performance.now();
    const tableDone = progress.tablesDone > this.#tablesDone;
    if (!tableDone && now - this.#lastLineAt < INTERVAL_MS) return;
    this.#lastLineAt = now;
    this.#tablesDone = progress.tablesDone;
    this.#stream.write(`storage-sync: ${progressParts(progress).join(', ')}\n`);
  }

  [Symbol.dispose](): void {}
}
