import type { Figures } from '../../bench/figures.js';

/** What a run of the bench might have cost, but for what a test says of it. */
export function benchFigures(figures: Partial<Figures> = {}): Figures {
  return {
    rows: 10,
    wallMs: 5,
    rowsPerSecond: 2000,
    cpuUsPerRow: 3,
    peakRssBytes: 1e6,
    peakAnonBytes: null,
    loopDelayP99Ms: 1,
    loopDelayMaxMs: 2,
    diskBytes: 0,
    sourceRows: null,
    readPauseMs: null,
    otherCores: 0,
    ...figures,
  };
}
