import type { StatusDocument } from '../status-document.js';
import { byId, create, patchChildren, setAttribute, setHidden, setText } from './dom.js';
import { createSign, setSign, type Level } from './sign.js';
import { formatBytes, formatCount, formatSpan, formatTime, NONE, shown } from './text.js';
import type { Concern, Verdict } from './verdict.js';

const MARKS: Readonly<Record<Level, string>> = {
  good: '✓',
  busy: '↻',
  warning: '⚠',
  bad: '✕',
  unknown: '?',
};

/** The first thing to see: whether all is well, and how fresh the data are. */
export class Header {
  readonly #verdict = byId('verdict');
  readonly #sign = byId('sign');
  readonly #icon = byId<HTMLLinkElement>('icon');
  readonly #attention = byId('attention');

  showVerdict({ level, word, doing, sentence, concerns }: Verdict): void {
    setAttribute(this.#verdict, 'data-level', level);
    setAttribute(this.#sign, 'href', `#sign-${level}`);
    const more = doing ?? (word === 'Fresh' && concerns.length > 0 ? 'but see below' : null);
    setText(byId('headline'), more === null ? word : `${word}, ${more}`);
    setText(byId('sentence'), sentence);
    setHidden(this.#attention, concerns.length === 0);
    patchChildren<Concern>(this.#attention, concerns, CONCERNS);
    const title = `${MARKS[level]} ${word} · storage-sync`;
    if (document.title !== title) document.title = title;
    this.#showIcon(level);
  }

  showFacts(status: StatusDocument): void {
    const { cache, rounds, failedRounds } = status;
    setText(byId('version'), shown(status.version));
    setText(byId('source'), shown(status.source));
    setText(byId('cache-dir'), shown(status.cacheDir));
    setText(byId('fact-generation'), String(cache.generation ?? 'none'));
    setText(byId('fact-disk'), formatBytes(status.diskBytes));
    setText(byId('fact-rounds'), `${formatCount(rounds)}, ${formatCount(failedRounds)} failed`);
    setText(
      byId('fact-last'),
      cache.lastSyncAt ? formatTime(Date.parse(cache.lastSyncAt)) : 'never',
    );
  }

  /** What counts on between two answers. `now` is the server's, `ageMs` what the age is by now. */
  tick(status: StatusDocument, now: number, ageMs: number | null): void {
    setText(byId('age'), ageMs === null ? NONE : formatSpan(ageMs));
    setText(byId('fact-since'), formatSpan(now - Date.parse(status.startedAt)));
    setText(byId('fact-next'), nextText(status, now));
  }

  #showIcon(level: Level): void {
    const color = getComputedStyle(this.#verdict).getPropertyValue('--level').trim();
    const shape = byId(`sign-${level}`).innerHTML.replaceAll('currentColor', color);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><style>.line,.cut{fill:none;stroke-width:2.5}.line{stroke:${color}}.cut{stroke:#fff}</style>${shape}</svg>`;
    setAttribute(this.#icon, 'href', `data:image/svg+xml,${encodeURIComponent(svg)}`);
  }
}

function nextText({ nextRoundAt, running, state }: StatusDocument, now: number): string {
  if (running) return 'under way';
  if (nextRoundAt === null) return state === 'waiting' ? NONE : `none: ${state}`;
  const left = Date.parse(nextRoundAt) - now;
  return left < 1000 ? 'now' : `in ${formatSpan(left)}`;
}

const CONCERNS = {
  keyOf: ({ level, text }: Concern) => `${level} ${text}`,
  make: () => {
    const item = create('li');
    item.append(createSign(), create('span'));
    return item;
  },
  fill: (item: HTMLElement, { level, text }: Concern) => {
    setSign(item.firstElementChild!, level);
    setText(item.lastElementChild!, text);
  },
};
