import type { TableCheckpoint } from './cache/catalog.js';
import type { UniqueVerdict } from './cache/table-indexes.js';
import { CacheError } from './errors.js';
import type { TableRename } from './loss-guard.js';
import type { ResolvedOptions } from './options.js';
import { modeOf, type ReadResult } from './pipeline/table-reads.js';
import type { SchemaChange, SyncMode, SyncReport, TableReport, ValidationCheck } from './report.js';
import { foldName } from './source/introspection.js';
import type { TablePlan } from './source/plan.js';

/** Rows of a table as the cache counts them, and records as LMDB does. */
export interface StoredCount {
  readonly stored: number;
  readonly counted: number;
}

/** What a sync has done, as it is told. */
export interface ReportInput extends ReadResult {
  readonly warnings: readonly string[];
  readonly mode: SyncMode;
  readonly startedAt: number;
  readonly transport: string;
  readonly plans: readonly TablePlan[];
  readonly checks: readonly ValidationCheck[];
  /** Rows that the source gave beside those of tables. */
  readonly sourceRows: number;
  readonly counts: readonly StoredCount[];
  readonly number: number;
  readonly renames: readonly TableRename[];
}

type ReportOptions = Pick<ResolvedOptions, 'staleAfterMs' | 'preset' | 'tables'>;

/** Tells what a sync has done. */
export function syncReport(result: ReportInput, options: ReportOptions): SyncReport {
  const { plans, tables, checkpoints, durations, checks, counts, mode, renames } = result;
  const reports = plans.map((plan, i): [string, TableReport] => {
    const schemaChange = tables[i]!.change ?? renameOf(plan, renames);
    return [
      plan.name,
      {
        ...checkpoints[i]!.counters,
        mode: modeOf(tables[i]!),
        ...(schemaChange && { schemaChange }),
        durationMs: Math.round(durations[i]!),
        resumed: tables[i]!.resumed,
      },
    ];
  });
  const quarantined = reports
    .filter(([, report]) => report.rowsQuarantined > 0)
    .map(
      ([name, report]) =>
        `${report.rowsQuarantined} rows of ${JSON.stringify(name)} could not be cached and were set aside.`,
    );
  const changed = reports.flatMap(([name, { schemaChange: change }]) =>
    change === undefined || change.kind === 'columns-added' ? [] : [changeWarning(name, change)],
  );
  const rowsOf = (match: (name: string) => boolean) =>
    plans.reduce((sum, plan, i) => sum + (match(foldName(plan.name)) ? counts[i]!.stored : 0), 0);
  return {
    mode,
    durationMs: Date.now() - result.startedAt,
    stale: Date.now() - result.asOf > options.staleAfterMs,
    generation: result.number,
    tables: Object.fromEntries(reports),
    sourceRowsRead: reports.reduce(
      (sum, [, report]) => sum + report.sourceRowsRead,
      result.sourceRows,
    ),
    retries: result.retries,
    transport: result.transport,
    warnings: [...result.warnings, ...changed, ...presetWarnings(plans, options), ...quarantined],
    validation: { passed: checks.every((check) => check.passed), checks },
    ...(options.preset === 'memory'
      ? {
          episodesSynced: rowsOf((name) => name === 'episodes'),
          patternsSynced: rowsOf((name) => name === 'patterns'),
          heuristicsSynced: rowsOf((name) => name === 'heuristics'),
          embeddingsSynced: rowsOf((name) => name.startsWith('embeddings')),
        }
      : {}),
  };
}

function presetWarnings(plans: readonly TablePlan[], { tables, preset }: ReportOptions): string[] {
  const isEmbeddings = ({ name }: { readonly name: string }) =>
    foldName(name).startsWith('embeddings');
  const missing = preset === 'memory' && tables?.some(isEmbeddings) && !plans.some(isEmbeddings);
  return missing ? ['The source has no table of embeddings.'] : [];
}

function renameOf({ name }: TablePlan, renames: readonly TableRename[]): SchemaChange | null {
  const rename = renames.find(({ to }) => to === name);
  return rename ? { kind: 'renamed', detail: `it was ${JSON.stringify(rename.from)}` } : null;
}

function changeWarning(table: string, { kind, detail }: SchemaChange): string {
  const name = JSON.stringify(table);
  return kind === 'renamed'
    ? `The table ${name} is new and takes the place of one that is gone: ${detail}, with the same columns and key.`
    : `The table ${name} was built anew, because ${detail}.`;
}

/** Said of a table to which columns were added while it was read. */
export function extendedWarning(table: string): string {
  return `The table ${JSON.stringify(table)} got columns while it was read. The next sync brings them.`;
}

/** @param checkpoint of a table that was read in full: only then is it known how many rows the source has. */
export function countCheck(
  plan: TablePlan,
  count: StoredCount,
  checkpoint: TableCheckpoint | null,
): ValidationCheck {
  const table = plan.name;
  if (count.stored !== count.counted) {
    const detail = `${count.counted} records in the cache, which says it has ${count.stored}`;
    return { table, check: 'records', passed: false, detail };
  }
  const detail = `${count.stored} rows in the cache`;
  if (checkpoint === null) return { table, check: 'rows', passed: true, detail };
  const { rowsRead, rowsQuarantined } = checkpoint.counters;
  const expected = rowsRead - rowsQuarantined;
  return {
    table,
    check: 'rows',
    passed: count.stored === expected,
    detail: `${detail}, ${expected} read from the source`,
  };
}

export function uniqueCheck({ table, index, first, second }: UniqueVerdict): ValidationCheck {
  return {
    table,
    check: 'unique index',
    passed: false,
    detail: `the index ${JSON.stringify(index)} is not unique: the rows ${first} and ${second} have the same values`,
  };
}

export function refuseDamaged(checks: readonly ValidationCheck[]): void {
  const damaged = checks.find((check) => check.check === 'records');
  if (!damaged) return;
  throw new CacheError(
    'CACHE_CORRUPT',
    `The table ${JSON.stringify(damaged.table)} has ${damaged.detail}.`,
    {
      context: { table: damaged.table },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
