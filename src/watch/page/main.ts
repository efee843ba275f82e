import 'uplot/dist/uPlot.min.css';
import './page.css';
import type { StatusDocument } from '../status-document.js';
import { Actions } from './actions.js';
import { ServerClock } from './clock.js';
import { byId, setText } from './dom.js';
import { DurationPlot } from './duration-plot.js';
import { Header } from './header.js';
import { History } from './history.js';
import { LagPlot } from './lag-plot.js';
import { Poll, type Found } from './poll.js';
import { Problems } from './problems.js';
import { RatePlot } from './rate-plot.js';
import { RoundPanel } from './round.js';
import { Snapshots } from './snapshots.js';
import { Tables } from './tables.js';
import { formatSpan } from './text.js';
import { keepTheme } from './theme.js';
import { Timespan } from './timespan.js';
import { judge, type Verdict } from './verdict.js';
import { VerifyPanel } from './verify.js';

const TICK_MS = 1000;

/** The page: what the last answer said, and what has counted on since. */
class Page {
  readonly #clock = new ServerClock();
  readonly #timespan = new Timespan();
  readonly #header = new Header();
  readonly #round = new RoundPanel();
  readonly #rate = new RatePlot(this.#timespan);
  readonly #lag = new LagPlot(this.#timespan);
  readonly #duration = new DurationPlot(this.#timespan);
  readonly #tables = new Tables();
  readonly #verify = new VerifyPanel();
  readonly #snapshots = new Snapshots();
  readonly #problems = new Problems();
  readonly #history = new History();
  readonly #poll = new Poll(this.#clock, (found) => this.#show(found));
  readonly #actions = new Actions(() => this.#poll.askNow());
  #found: Found | null = null;
  #last: { readonly status: StatusDocument; readonly at: number } | null = null;
  #announced = '';

  start(): void {
    keepTheme(() => {
      for (const { plot } of [this.#rate, this.#lag, this.#duration]) plot.redraw();
    });
    setInterval(() => {
      if (!document.hidden) this.#tick();
    }, TICK_MS);
    this.#poll.askNow();
  }

  #show(found: Found): void {
    this.#found = found;
    if ('status' in found) {
      this.#last = found;
      this.#showStatus(found.status);
    }
    document.body.classList.toggle('silent', !('status' in found));
    this.#tick();
  }

  #showStatus(status: StatusDocument): void {
    const { cache, history, lastVerify } = status;
    const now = this.#clock.now();
    const verdict = judge(status);
    this.#header.showVerdict(verdict);
    this.#header.showFacts(status);
    this.#round.show(status);
    this.#actions.show(status);
    this.#timespan.cover(history, now);
    this.#lag.show(status, now);
    this.#rate.show(history);
    this.#duration.show(history);
    this.#problems.show(status);
    this.#tables.show(cache);
    this.#verify.show(lastVerify);
    this.#snapshots.show(cache, now);
    this.#history.show(history);
    this.#announce(verdict);
  }

  #tick(): void {
    if (this.#found && !('status' in this.#found)) this.#showSilence(this.#found);
    if (!this.#last) return;
    const { status, at } = this.#last;
    const { ageMs } = status.cache;
    const now = this.#clock.now();
    this.#header.tick(status, now, ageMs === null ? null : ageMs + performance.now() - at);
    this.#round.tick(status, now);
  }

  #showSilence({ why, retryAt }: Extract<Found, { readonly why: string }>): void {
    const left = retryAt - performance.now();
    const again = left < 1000 ? 'Asking again now.' : `Asking again in ${formatSpan(left)}.`;
    const last = this.#last
      ? `What is below was said ${formatSpan(performance.now() - this.#last.at)} ago.`
      : '';
    const sentence = `${why} ${again} ${last}`.trim();
    const verdict: Verdict = {
      level: 'bad',
      word: 'No answer',
      doing: null,
      sentence,
      concerns: [],
    };
    this.#header.showVerdict(verdict);
    this.#announce(verdict);
  }

  /** Tells who listens when things turn; that syncs come and go is no news. */
  #announce({ level, word, concerns }: Verdict): void {
    if (level === 'busy') return;
    const attention = concerns.map(({ text }) => text).join(' ');
    const said = `${word}. ${attention}`;
    if (said === this.#announced) return;
    this.#announced = said;
    setText(byId('announcer'), said);
  }
}

new Page().start();
