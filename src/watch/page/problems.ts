import type { LastError } from '../../cache/state-file.js';
import type { StatusDocument } from '../status-document.js';
import { byId, create, patchChildren, setHidden, setText } from './dom.js';
import { createSign, setSign, type Level } from './sign.js';
import { formatCount, formatTime, shown } from './text.js';

const PROBLEMS_SHOWN = 8;

/** A failure or a warning, once for all the rounds that met it. */
interface Problem {
  readonly level: Level;
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly times: number;
  readonly lastAt: number;
}

/** What went wrong lately, newest first. */
export class Problems {
  readonly #list = byId('problems');
  readonly #none = byId('no-problems');

  show(status: StatusDocument): void {
    const problems = problemsOf(status);
    setHidden(this.#none, problems.length > 0);
    setHidden(this.#list, problems.length === 0);
    patchChildren<Problem>(this.#list, problems.slice(0, PROBLEMS_SHOWN), {
      keyOf: ({ code, message }) => `${code} ${message}`,
      make,
      fill,
    });
  }
}

function problemsOf({ history, cache }: StatusDocument): Problem[] {
  const found = new Map<string, Problem>();
  const add = (problem: Omit<Problem, 'times'>): void => {
    const key = `${problem.code} ${problem.message}`;
    const before = found.get(key);
    const lastAt = Math.max(problem.lastAt, before?.lastAt ?? -Infinity);
    found.set(key, { ...problem, lastAt, times: (before?.times ?? 0) + 1 });
  };
  for (const { startedAt, durationMs, outcome, error, warnings } of history) {
    const lastAt = Date.parse(startedAt) + durationMs;
    if (error) {
      const level = outcome === 'failed' ? 'bad' : outcome === 'aborted' ? 'unknown' : 'warning';
      add({ ...error, level, lastAt });
    }
    for (const message of warnings) {
      add({ level: 'warning', code: 'warning', message, hint: null, lastAt });
    }
  }
  const problems = [...found.values()];
  const last = cache.lastError && withLastError(problems, cache.lastError);
  return (last ?? problems).toSorted((a, b) => b.lastAt - a.lastAt);
}

/**
 * Adds what the cache itself remembers: of a round that is known, whose message it begins with and says more of, or of
 * before this watch or another process.
 */
function withLastError(problems: readonly Problem[], { at, code, message }: LastError): Problem[] {
  const same = problems.find((each) => each.code === code && message.startsWith(each.message));
  if (!same) {
    const lastAt = Date.parse(at);
    return [...problems, { level: 'bad', code, message, hint: null, times: 1, lastAt }];
  }
  const more = message.slice(same.message.length).trim();
  const hint = same.hint ?? (more === '' ? null : more);
  return problems.map((each) => (each === same ? { ...same, hint } : each));
}

function make(): HTMLElement {
  const item = create('li');
  const body = create('div');
  const head = create('p', 'head');
  head.append(create('code'), ' ', create('time'));
  body.append(head, create('p', 'message'), create('p', 'hint'));
  item.append(createSign(), body);
  return item;
}

function fill(item: HTMLElement, { level, code, message, hint, times, lastAt }: Problem): void {
  setSign(item.firstElementChild!, level);
  const [head, said, advice] = item.lastElementChild!.children as unknown as HTMLElement[];
  setText(head!.firstElementChild!, shown(code));
  const often = times > 1 ? `, ${formatCount(times)} times` : '';
  setText(head!.lastElementChild!, `${formatTime(lastAt)}${often}`);
  setText(said!, shown(message));
  setText(advice!, hint === null ? '' : shown(hint));
  setHidden(advice!, hint === null);
}
