import type { SyncProgress } from '../../progress.js';
import type { StatusDocument } from '../status-document.js';
import type { RunningRound, WatchReason } from '../watch-status.js';
import { byId, setAttribute, setText } from './dom.js';
import { nextText } from './header.js';
import { formatCount, formatPeriod, formatSpan, NONE, shown } from './text.js';

const PHASES: Readonly<Record<SyncProgress['phase'], string>> = {
  connecting: 'connecting',
  reading: 'reading',
  sweeping: 'removing what the source has no more',
  validating: 'validating',
  publishing: 'publishing',
  done: 'done',
};

export const REASONS: Readonly<Record<WatchReason, string>> = {
  start: 'the watch began',
  interval: 'on the interval',
  stale: 'before the cache is stale',
  recovery: 'to recover',
  request: 'asked for',
  schedule: 'on schedule',
};

/** The round that is under way, or when the next one is due. */
export class RoundPanel {
  readonly #panel = byId('round');
  readonly #bar = byId<HTMLProgressElement>('round-bar');

  show({ running }: StatusDocument): void {
    const progress = running?.progress ?? null;
    setAttribute(this.#panel, 'data-running', String(running !== null));
    this.#showBar(running, progress);
    setText(byId('round-table'), progress?.table == null ? NONE : shown(progress.table));
    setText(byId('round-tables'), progress ? tablesText(progress) : NONE);
    setText(byId('round-rows'), progress ? rowsText(progress) : NONE);
    const rate = progress && `${formatCount(Math.round(progress.rowsPerSecond))} rows/s`;
    setText(byId('round-rate'), rate ?? NONE);
    const left = progress?.remainingMs == null ? NONE : formatSpan(progress.remainingMs);
    setText(byId('round-left'), left);
  }

  tick(status: StatusDocument, now: number): void {
    const { running, intervalMs } = status;
    if (running) {
      const { job, reason, progress, startedAt } = running;
      const phase = progress ? `: ${PHASES[progress.phase]}` : '';
      setText(byId('round-what'), `${job}, ${REASONS[reason]}${phase}`);
      setText(byId('round-elapsed'), formatSpan(now - Date.parse(startedAt)));
    } else {
      const every = `A sync every ${formatPeriod(intervalMs)}.`;
      setText(byId('round-what'), `None. The next: ${nextText(status, now)}. ${every}`);
      setText(byId('round-elapsed'), NONE);
    }
  }

  #showBar(running: RunningRound | null, progress: SyncProgress | null): void {
    if (!running) {
      setAttribute(this.#bar, 'value', '0');
      setAttribute(this.#bar, 'aria-valuetext', 'no round under way');
      return;
    }
    if (progress?.phase === 'done') setAttribute(this.#bar, 'value', '1');
    else if (!progress?.rowsTotal) this.#bar.removeAttribute('value');
    else setAttribute(this.#bar, 'value', String(progress.rowsRead / progress.rowsTotal));
    setAttribute(this.#bar, 'aria-valuetext', progress ? rowsText(progress) : 'beginning');
  }
}

function tablesText({ tablesDone, tablesTotal }: SyncProgress): string {
  return `${formatCount(tablesDone)} of ${formatCount(tablesTotal)}`;
}

function rowsText({ rowsRead, rowsTotal }: SyncProgress): string {
  return rowsTotal === null
    ? formatCount(rowsRead)
    : `${formatCount(rowsRead)} of ${formatCount(rowsTotal)}`;
}
