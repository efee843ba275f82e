import type { WatchRound } from '../watch-status.js';

/** A plot of less would show nothing but the clock's ticking. */
const SHORTEST_S = 60;
const MARGIN = 0.02;

/** From the first round to now: the time that all plots show, in seconds since the epoch. */
export class Timespan {
  #range: [number, number] = [0, SHORTEST_S];

  get range(): [number, number] {
    return this.#range;
  }

  /** @param now the server's time in milliseconds. */
  cover(history: readonly WatchRound[], now: number): void {
    const starts = history.map(({ startedAt }) => Date.parse(startedAt) / 1000);
    const ends = history.map((round) => (Date.parse(round.startedAt) + round.durationMs) / 1000);
    const to = Math.max(now / 1000, ...ends);
    const from = Math.min(to - SHORTEST_S, ...starts);
    const margin = (to - from) * MARGIN;
    this.#range = [from - margin, to + margin];
  }
}
