import type { SyncProgress } from '../../progress.js';
import type { StatusDocument } from '../status-document.js';
import type { RunningRound, WatchReason, WatchRound } from '../watch-status.js';
import { byId, setAttribute, setText } from './dom.js';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatPeriod,
  formatSpan,
  NONE,
  shown,
} from './text.js';

const PHASES: Readonly<Record<SyncProgress['phase'], string>> = {
  connecting: 'connecting',
  reading: 'reading',
  sweeping: 'removing what the source has no more',
  validating: 'validating',
  publishing: 'publishing',
  done: 'done',
};

const REASONS: Readonly<Record<WatchReason, string>> = {
  start: 'the watch began',
  interval: 'on the interval',
  stale: 'before the cache is stale',
  recovery: 'to recover',
  request: 'asked for',
  schedule: 'on schedule',
};

/** Where the facts of a round stand, in their order. */
const PLACES = ['round-1', 'round-2', 'round-3', 'round-4', 'round-5', 'round-6'];

const LANES_SHOWN = 4;

type Facts = readonly (readonly [label: string, value: string])[];

/** The round that is under way, or else the last one. */
export class RoundPanel {
  readonly #panel = byId('round');
  readonly #bar = byId<HTMLProgressElement>('round-bar');

  show({ running, history }: StatusDocument): void {
    const progress = running?.progress ?? null;
    setAttribute(this.#panel, 'data-running', String(running !== null));
    setText(byId('round-title'), running ? 'Round under way' : 'Last round');
    this.#showBar(running, progress);
    const facts = running ? progressFacts(progress) : roundFacts(history.at(-1));
    for (const [i, [label, value]] of facts.entries()) {
      const place = byId(PLACES[i]!);
      setText(place.firstElementChild!, label);
      const text = place.querySelector('bdi')!;
      setText(text, value);
      // It may be cut off.
      setAttribute(text, 'title', value);
    }
  }

  tick(status: StatusDocument, now: number): void {
    const { running, history, intervalMs } = status;
    if (running) {
      const { job, reason, progress, startedAt } = running;
      const phase = progress ? `${PHASES[progress.phase]}, ` : '';
      const since = formatSpan(now - Date.parse(startedAt));
      setText(byId('round-what'), `${job} (${REASONS[reason]}), ${phase}for ${since}`);
      return;
    }
    const last = history.at(-1);
    const every = `A sync every ${formatPeriod(intervalMs)}.`;
    const before = last ? endText(last, now) : 'None yet.';
    setText(byId('round-what'), `${before} ${every}`);
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

function progressFacts(progress: SyncProgress | null): Facts {
  const rate = progress ? `${formatCount(Math.round(progress.rowsPerSecond))} rows/s` : NONE;
  const left = progress?.remainingMs == null ? NONE : formatSpan(progress.remainingMs);
  return [
    ['Lanes at work', progress ? lanesText(progress) : NONE],
    ['Tables done', progress ? tablesText(progress) : NONE],
    ['Rows read', progress ? rowsText(progress) : NONE],
    ['Bytes read', progress ? formatBytes(progress.bytesRead) : NONE],
    ['Rate', rate],
    ['Time left', left],
  ];
}

function roundFacts(round: WatchRound | undefined): Facts {
  return [
    ['Outcome', round?.outcome ?? NONE],
    ['Mode', round?.mode ?? NONE],
    ['Rows read', round ? formatCount(round.rowsRead) : NONE],
    ['Rows written', round ? formatCount(round.rowsWritten) : NONE],
    ['Rows deleted', round ? formatCount(round.rowsDeleted) : NONE],
    ['Took', round ? formatDuration(round.durationMs) : NONE],
  ];
}

function endText({ number, job, reason, startedAt, durationMs }: WatchRound, now: number): string {
  const ago = formatSpan(now - Date.parse(startedAt) - durationMs);
  return `Number ${formatCount(number)}: ${job} (${REASONS[reason]}), ended ${ago} ago.`;
}

function lanesText({ lanes }: SyncProgress): string {
  const texts = lanes.slice(0, LANES_SHOWN).map(({ table, rowsRead, rowsTotal }) => {
    return `${shown(table)} ${rowsTotal ? formatShare(rowsRead / rowsTotal) : formatCount(rowsRead)}`;
  });
  const others = lanes.length - texts.length;
  if (others > 0) texts.push(`${formatCount(others)} more`);
  return texts.join(', ') || NONE;
}

function formatShare(share: number): string {
  return `${Math.floor(100 * share)} %`;
}

function tablesText({ tablesDone, tablesTotal }: SyncProgress): string {
  return `${formatCount(tablesDone)} of ${formatCount(tablesTotal)}`;
}

function rowsText({ rowsRead, rowsTotal }: SyncProgress): string {
  return rowsTotal === null
    ? formatCount(rowsRead)
    : `${formatCount(rowsRead)} of ${formatCount(rowsTotal)}`;
}
