import { CacheError, StorageSyncError, SyncAbortedError } from '../errors.js';
import type { SyncReport } from '../report.js';
import type { VerifyReport } from '../verify/report.js';
import type { RoundError, RoundOutcome, VerifySummary, WatchRound } from './watch-status.js';

/** What a round ended with. */
export type RoundEnd = { readonly report: SyncReport | VerifyReport } | { readonly error: unknown };

type Known = Pick<
  WatchRound,
  'number' | 'job' | 'reason' | 'startedAt' | 'durationMs' | 'ageBeforeMs' | 'ageAfterMs'
>;

const NOTHING = {
  mode: null,
  rowsRead: 0,
  rowsWritten: 0,
  rowsDeleted: 0,
  sourceRowsRead: 0,
  bytesWritten: 0,
  warnings: [],
};

/** What is kept of a round. */
export function newRound(end: RoundEnd, known: Known): WatchRound {
  if ('error' in end) {
    const { error } = end;
    return { ...known, ...NOTHING, outcome: outcomeOf(error), error: roundError(error) };
  }
  const { report } = end;
  return 'level' in report ? verifyRound(report, known) : syncRound(report, known);
}

export function summaryOf(report: VerifyReport, round: WatchRound): VerifySummary {
  const { level, complete, differences, repaired, left } = report;
  const tables = Object.entries(report.tables).map(([name, table]) => {
    const { rowsCompared } = table;
    return [name, { rowsCompared, differences: sum(Object.values(table.differences)) }] as const;
  });
  return {
    at: new Date(Date.parse(round.startedAt) + round.durationMs).toISOString(),
    level,
    complete,
    rowsCompared: sum(tables.map(([, { rowsCompared }]) => rowsCompared)),
    differences,
    repaired,
    left,
    tables: Object.fromEntries(tables),
  };
}

function syncRound(report: SyncReport, known: Known): WatchRound {
  if (report.mode === 'skipped') {
    const { code, message } = report.outage!;
    const error = { code, message, hint: null };
    return { ...known, ...NOTHING, outcome: 'skipped', error };
  }
  const tables = Object.values(report.tables);
  const failed = report.validation.checks.filter((check) => !check.passed);
  return {
    ...known,
    outcome: 'done',
    error: null,
    mode: report.mode,
    rowsRead: sum(tables.map((table) => table.rowsRead)),
    rowsWritten: sum(tables.map((table) => table.rowsWritten)),
    rowsDeleted: sum(tables.map((table) => table.rowsDeleted)),
    bytesWritten: sum(tables.map((table) => table.bytesWritten)),
    sourceRowsRead: report.sourceRowsRead,
    warnings: [
      ...report.warnings,
      ...failed.map(({ table, detail }) => `Validation of ${table}: ${detail}`),
    ],
  };
}

function verifyRound(report: VerifyReport, known: Known): WatchRound {
  const { left, sourceRowsRead, warnings } = report;
  return {
    ...known,
    ...NOTHING,
    outcome: left > 0 ? 'differences' : 'done',
    error: null,
    sourceRowsRead,
    warnings,
  };
}

function outcomeOf(error: unknown): RoundOutcome {
  if (error instanceof SyncAbortedError) return 'aborted';
  return error instanceof CacheError && error.code === 'CACHE_LOCKED' ? 'skipped' : 'failed';
}

function roundError(error: unknown): RoundError {
  if (error instanceof StorageSyncError) {
    return { code: error.code, message: error.message, hint: error.hint ?? null };
  }
  const message = error instanceof Error ? error.message || error.name : String(error);
  return { code: 'UNEXPECTED', message: `Unexpected failure: ${message}`, hint: null };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
