import type { StorageSyncOptions, SyncReport, VerifyLevel, VerifyReport } from '../../src/index.js';

/** What befalls a sync from within its own process. */
export type Upset =
  | { readonly kind: 'kill at'; readonly point: string; readonly occurrence: number }
  | { readonly kind: 'kill after'; readonly ms: number }
  | { readonly kind: 'abort after'; readonly ms: number }
  /** The command is sent SIGINT. */
  | { readonly kind: 'interrupt after'; readonly ms: number }
  /** The n-th statement to the source fails as one on a cut connection. */
  | { readonly kind: 'cut at statement'; readonly statement: number }
  /** The signal is aborted while the n-th statement is under way. */
  | { readonly kind: 'abort at statement'; readonly statement: number }
  /** The n-th transaction of the cache fails before its commit. */
  | { readonly kind: 'fail at transaction'; readonly transaction: number };

/** One sync to run. */
export interface SyncOrder {
  readonly mode: 'sync' | 'rebuild';
  readonly full: boolean;
  readonly allowLoss: boolean;
  readonly upset: Upset | null;
  /** How far ahead the clock of its process is. */
  readonly clockAheadMs: number;
  readonly readerThreads: number;
  /** Whether a table that is followed by its cursor is swept for deleted rows. */
  readonly sweep: boolean;
  /** Options that this sync has besides the history's. */
  readonly options: Partial<StorageSyncOptions>;
}

/** One verify to run. */
export interface VerifyOrder {
  readonly level: VerifyLevel;
  readonly repair: boolean;
  readonly upset: Extract<
    Upset,
    { readonly kind: 'kill at' | 'kill after' | 'abort after' }
  > | null;
  readonly readerThreads: number;
}

export type Failed = {
  readonly kind: 'failed';
  readonly code: string | null;
  readonly message: string;
};
export type Killed = { readonly kind: 'killed'; readonly point: string };

export type SyncEnd =
  | { readonly kind: 'completed'; readonly report: SyncReport }
  /** The source was away: nothing is promised but that the cache is served. */
  | { readonly kind: 'skipped'; readonly code: string; readonly report: SyncReport }
  | Failed
  | Killed;

export type VerifyEnd =
  { readonly kind: 'verified'; readonly report: VerifyReport } | Failed | Killed;

/** Runs syncs and verifies: in processes of their own, or in this one. */
export interface SyncRunner {
  /** Whether syncs run in this process: small and quick, in great numbers. */
  readonly isFast: boolean;
  run(options: StorageSyncOptions, order: SyncOrder): Promise<SyncEnd>;
  verify(options: StorageSyncOptions, order: VerifyOrder): Promise<VerifyEnd>;
}

/** How a sync ended that gave a report. */
export function endOf(report: SyncReport): SyncEnd {
  return report.outage === undefined
    ? { kind: 'completed', report }
    : { kind: 'skipped', code: report.outage.code, report };
}

export function describeOrder(order: SyncOrder): string {
  const { mode, full, allowLoss, upset, clockAheadMs, sweep, options } = order;
  const parts: string[] = [mode];
  if (full) parts.push('in full');
  if (sweep) parts.push('with sweeps');
  if (!allowLoss) parts.push('on guard against loss');
  if (options.batchSize !== undefined) parts.push(`${options.batchSize} rows a batch`);
  if (clockAheadMs !== 0) parts.push(`clock ${clockAheadMs / 3600_000} h ahead`);
  if (upset) parts.push(Object.values(upset).join(' '));
  return parts.join(', ');
}

export function describeEnd(end: SyncEnd): string {
  switch (end.kind) {
    case 'completed': {
      const tables = Object.values(end.report.tables);
      const sum = (of: 'rowsRead' | 'rowsWritten' | 'rowsDeleted') =>
        tables.reduce((total, table) => total + table[of], 0);
      const counts = `${sum('rowsRead')} read, ${sum('rowsWritten')} written, ${sum('rowsDeleted')} deleted`;
      const resumed = tables.some((table) => table.resumed) ? ', resumed' : '';
      return `${end.report.mode} to generation ${end.report.generation}: ${counts}${resumed}`;
    }
    case 'skipped':
      return `skipped for ${end.code}`;
    case 'failed':
      return `failed with ${end.code ?? end.message}`;
    case 'killed':
      return `killed at ${end.point}`;
  }
}

export function describeVerify({ level, repair, upset }: VerifyOrder, end: VerifyEnd): string {
  const order = [level, ...(repair ? ['repair'] : []), ...(upset ? Object.values(upset) : [])];
  if (end.kind === 'failed') return `${order.join(' ')}: failed with ${end.code ?? end.message}`;
  if (end.kind === 'killed') return `${order.join(' ')}: killed at ${end.point}`;
  const { differences, repaired, left } = end.report;
  return `${order.join(' ')}: ${differences} differences, ${repaired} repaired, ${left} left`;
}
