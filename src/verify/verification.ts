import { createHash } from 'node:crypto';
import { schemaChange } from '../cache/schema-change.js';
import { describeError, SourceError } from '../errors.js';
import { foldName } from '../source/introspection.js';
import { planTables, type TablePlan } from '../source/plan.js';
import type { TableDefinition } from '../table-definition.js';
import type { VerifyContext } from './context.js';
import { randomNumbers } from './random.js';
import type { VerifyLevel, VerifyReport, VerifyTableReport } from './report.js';
import { sampleRows } from './sample.js';
import { readProgress, removeProgress, writeProgress, type VerifyProgress } from './state-file.js';
import { leftOf, TableFindings } from './table-findings.js';
import { cursorOf, logOf, TableVerify, type TableToVerify } from './table-verify.js';
import type { InspectedTable } from './tasks.js';

export interface VerificationRequest {
  readonly cacheDir: string;
  /** The generation that is served. */
  readonly number: number;
  readonly level: VerifyLevel;
  readonly seed: number;
  readonly definitions: readonly TableDefinition[] | undefined;
  /** Only these tables. */
  readonly tables: readonly string[] | undefined;
}

/** What a verify found, for the report. */
export type Verified = Omit<VerifyReport, 'durationMs' | 'retries' | 'generation' | 'level'>;

/** How often an interrupted verify may lose what it did. */
const SAVE_INTERVAL_MS = 2000;

/** What there is to look at. */
interface Scene {
  readonly tables: readonly (TableToVerify & { readonly name: string })[];
  /** Tables whose rows cannot be compared, with why. */
  readonly apart: readonly { readonly name: string; readonly reason: string }[];
  readonly lastSyncAt: string | null;
  readonly transport: string;
  readonly warnings: readonly string[];
  /** What a saved progress must be of to be gone on with. */
  readonly fingerprint: string;
}

/**
 * The story of a verify: look at both sides, go on from where the last one stopped, compare table by table, report.
 *
 * A deep verify keeps how far it has come in a file, and removes that when it is complete.
 */
export async function verifyCache(
  context: VerifyContext,
  request: VerificationRequest,
): Promise<Verified> {
  const { level, seed, cacheDir } = request;
  const { budget, meter } = context;
  const scene = await lookAtBoth(context, request);
  const saved = level === 'deep' ? await resumable(context, cacheDir, scene.fingerprint) : null;
  const random = randomNumbers(seed);
  const runs = scene.tables.map((table) => {
    const from = saved?.tables[table.name] ?? null;
    const options = { level, random, from, lastSyncAt: scene.lastSyncAt };
    return {
      name: table.name,
      entries: table.inspected.entries,
      run: new TableVerify(context, table, options),
    };
  });
  meter.begin(
    runs.length,
    runs.reduce((rows, { run }) => rows + run.findings.rowsCompared, 0),
  );
  for (const { name, entries } of runs) {
    meter.total(name, level === 'deep' ? entries : level === 'sample' ? sampleRows(entries) : 0);
  }

  const startedAt = saved?.startedAt ?? new Date().toISOString();
  const keep = async (): Promise<string[]> => {
    if (level !== 'deep') return [];
    const tables = Object.fromEntries(runs.map(({ name, run }) => [name, run.save()]));
    try {
      await writeProgress(cacheDir, { of: scene.fingerprint, startedAt, tables });
      return [];
    } catch (error) {
      return [`How far the verify has come could not be kept: ${describeError(error)}`];
    }
  };
  const warnings = [...scene.warnings];
  let complete = false;
  try {
    await keepingNow(keep, async () => {
      for (const { name, run } of runs) {
        await run.run();
        meter.tableDone(name);
      }
    });
    complete = runs.every(({ run }) => run.findings.complete);
  } finally {
    if (!complete) warnings.push(...(await keep()));
    else if (level === 'deep') await removeProgress(cacheDir);
  }
  meter.enter('done');

  const findings = new Map(runs.map(({ name, run }) => [name, run.findings]));
  for (const { name, reason } of scene.apart) findings.set(name, cannotCompare(reason));
  const all = [...findings.values()];
  const sum = (count: (each: TableFindings) => number) =>
    all.reduce((total, each) => total + count(each), 0);
  return {
    seed: level === 'sample' ? seed : null,
    complete: all.every((each) => each.complete),
    resumed: saved !== null,
    sourceRowsRead: budget.read,
    differences: sum((each) => each.wrong),
    repaired: sum((each) => each.repaired),
    left: sum((each) => each.left),
    lastSyncAt: scene.lastSyncAt,
    tables: Object.fromEntries(
      [...findings].map(([name, each]): [string, VerifyTableReport] => [name, each.report()]),
    ),
    transport: scene.transport,
    warnings,
  };
}

async function lookAtBoth(
  { pool, source, generation }: VerifyContext,
  { number, definitions, tables: asked }: VerificationRequest,
): Promise<Scene> {
  const { schema, transport, logs } = await pool.read('schema', { source });
  const { plans, warnings } = planTables(schema, definitions);
  const { tables: inspected, record } = await pool.read('inspectCache', { source, generation });
  refuseUnknown(asked, [
    ...inspected.map(({ table }) => table.plan.name),
    ...plans.map(({ name }) => name),
  ]);
  const isAsked = (name: string) =>
    asked === undefined || asked.some((each) => foldName(each) === foldName(name));

  const tables: Scene['tables'][number][] = [];
  const apart: Scene['apart'][number][] = [];
  for (const each of inspected) {
    const { name } = each.table.plan;
    if (!isAsked(name)) continue;
    const plan = plans.find((wanted) => wanted.name === name);
    const reason = plan ? storageReason(each, plan) : absenceReason(definitions);
    if (!plan || reason !== null) apart.push({ name, reason: reason! });
    else {
      const stored = { ...plan, indexes: each.table.plan.indexes };
      tables.push({
        name,
        inspected: each,
        plan: stored,
        log: logOf(stored, each, logs),
        cursor: cursorOf(stored, each),
      });
    }
  }
  for (const { name } of plans) {
    const isThere = inspected.some(({ table }) => table.plan.name === name);
    if (!isThere && isAsked(name)) {
      apart.push({ name, reason: 'the cache does not have it; the next sync brings it' });
    }
  }
  const fingerprint = createHash('sha256')
    .update(
      JSON.stringify([number, tables.map(({ inspected: { table }, plan }) => [table.id, plan])]),
    )
    .digest('base64url');
  return {
    tables,
    apart,
    lastSyncAt: record ? new Date(record.completedAt).toISOString() : null,
    transport,
    warnings,
    fingerprint,
  };
}

function storageReason({ table }: InspectedTable, plan: TablePlan): string | null {
  const change = schemaChange(table.plan, plan);
  return change && `its definition changed (${change.detail}): the next sync builds it anew`;
}

function absenceReason(definitions: VerificationRequest['definitions']): string {
  return definitions === undefined
    ? 'the source does not have it (any more); the next sync drops it'
    : 'it is not among the tables that are defined: its rows were not compared';
}

function cannotCompare(reason: string): TableFindings {
  const findings = new TableFindings();
  findings.check({ check: 'schema', passed: false, detail: reason });
  findings.complete = false;
  return findings;
}

function refuseUnknown(asked: readonly string[] | undefined, known: readonly string[]): void {
  const unknown = asked?.find((name) => !known.some((each) => foldName(each) === foldName(name)));
  if (unknown === undefined) return;
  throw new SourceError(
    'TABLE_NOT_FOUND',
    `Neither the cache nor the source has a table ${JSON.stringify(unknown)}.`,
    { context: { table: unknown }, hint: `There are: ${[...new Set(known)].join(', ')}.` },
  );
}

/** What an interrupted run left. A repair does not go on from one that left differences behind it. */
async function resumable(
  { repair }: VerifyContext,
  cacheDir: string,
  fingerprint: string,
): Promise<VerifyProgress | null> {
  const saved = readProgress(cacheDir, fingerprint);
  if (saved === null || !repair) return saved;
  const left = Object.values(saved.tables).some(({ findings }) => leftOf(findings) > 0);
  return left ? null : saved;
}

/** Runs `work`, and now and then keeps how far it has come. */
async function keepingNow(keep: () => Promise<unknown>, work: () => Promise<void>): Promise<void> {
  let keeping: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    keeping = keeping.then(keep);
  }, SAVE_INTERVAL_MS);
  try {
    await work();
  } finally {
    clearInterval(timer);
    await keeping;
  }
}
