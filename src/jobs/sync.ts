import { randomUUID } from 'node:crypto';
import type { TableCheckpoint } from '../cache/catalog.js';
import type { Preparation, PreparedTable } from '../cache/generation-writer.js';
import { refuseOpenToAll } from '../cache/safe-directory.js';
import { schemaChange } from '../cache/schema-change.js';
import { noteSuccess, readAcknowledged, readRowCounts } from '../cache/state-file.js';
import { servedTables } from '../cache/status.js';
import { CacheError, describeError, LossError, SourceError, SyncAbortedError } from '../errors.js';
import { chooseGeneration, dropBuilding, publish, type Target } from '../generations.js';
import { refuseLoss, refuseLosses, type TableRename } from '../loss-guard.js';
import { cursorWarnings, modeWarnings, restoredWarnings } from '../mode-warnings.js';
import type { ResolvedOptions } from '../options.js';
import { buildIndexes } from '../pipeline/index-build.js';
import type { EncodedCursorLook, GenerationRef, SourceRef } from '../pipeline/messages.js';
import { SchemaWatch } from '../pipeline/schema-watch.js';
import { isReadInFull, readAsPlanned, type ReadResult } from '../pipeline/table-reads.js';
import type { ProgressMeter } from '../progress-meter.js';
import type { SyncMode, SyncReport, ValidationCheck } from '../report.js';
import { foldName } from '../source/introspection.js';
import { markRestored, type LogState } from '../source/log-state.js';
import { plainTransportWarning } from '../source/plain-transport.js';
import { planTables, type TablePlan } from '../source/plan.js';
import { RowTally } from '../source/row-tally.js';
import type { SyncOptions } from '../sync-options.js';
import {
  countCheck,
  extendedWarning,
  refuseDamaged,
  syncReport,
  uniqueCheck,
  type StoredCount,
} from '../sync-report.js';
import type { JobContext } from './context.js';

interface PreparedTarget extends Target {
  readonly tables: readonly PreparedTable[];
  readonly warnings: readonly string[];
}

/** The story of a sync: look at the source, prepare, read and write, complete, publish. */
export async function runSync(
  context: JobContext,
  mode: 'full' | 'rebuild',
  asked: SyncOptions,
  signal: AbortSignal,
  meter: ProgressMeter,
): Promise<SyncReport> {
  const startedAt = Date.now();
  const { options, pool } = context;
  const sync = randomUUID();
  const stop = new AbortController();
  const onAbort = () => {
    stop.abort(new SyncAbortedError());
    pool.endSession(sync);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  let generation: GenerationRef | null = null;
  try {
    if (signal.aborted) throw new SyncAbortedError();
    const unknown = context.sourceRef(sync);
    const found = await pool.read('schema', { source: unknown });
    const { schema, transport, logs } = found;
    // The other threads need not find out as well.
    const source = { ...unknown, connection: { ...unknown.connection, transport } };
    const tally = new RowTally();
    tally.add(found.sourceRows);
    const { plans, warnings: planned } = planTables(schema, options.tables);
    const warnings = [...planned];
    const watch = new SchemaWatch({
      pool,
      source,
      version: schema.version,
      tally,
      planTables: (now) => planTables(now, options.tables).plans,
    });

    // Before any row is read: what is read later holds all that these stand for.
    const looks = await lookAtCursors(context, source, plans, tally);
    warnings.push(...securityWarnings(options));
    warnings.push(...cursorWarnings(plans, looks), ...modeWarnings(plans, logs));

    const { fingerprint } = context;
    const preparation = {
      plans,
      sync,
      source: fingerprint,
      reuseSince: Date.now() - options.staleAfterMs,
      logs,
      cursors: looks,
      schemaVersion: schema.version,
      full: asked.full === true || mode === 'rebuild',
    };
    const target = await prepare(context, mode, preparation, (opened) => {
      generation = opened;
    });
    generation = target.generation;
    warnings.push(...target.warnings);

    await buildIndexes(pool, generation, target.tables, stop.signal);
    const maxLossShare = asked.allowLoss ? 1 : options.maxLossShare;
    const read = await readAsPlanned({
      pool,
      plans,
      prepared: target.tables,
      logs,
      looks,
      source,
      generation,
      stop,
      meter,
      startedAt,
      bounds: context.bounds,
      maxBytesInFlight: options.maxBytesInFlight,
      onRowError: options.onRowError,
      maxLossShare,
      maxLanes: options.lanes,
      watch,
      tally,
    });
    const { tables } = read;
    const renames = await refuseSuspectLosses(
      context,
      { ...target, tables },
      plans,
      read.checkpoints,
      maxLossShare,
    );

    meter.enter('validating');
    const { counts, violations } = await pool.write('complete', {
      generation,
      record: {
        sync,
        mode,
        startedAt,
        completedAt: Date.now(),
        asOf: read.asOf,
        source: fingerprint,
      },
      // An unpublished generation may hold parts of tables that an interrupted sync was asked for, and this one not.
      dropOthers: options.tables === undefined || generation.unpublished,
      tableIds: tables.map((table) => table.id),
    });
    const checks = plans.map((plan, i) =>
      countCheck(plan, counts[i]!, isReadInFull(tables[i]!) ? read.checkpoints[i]! : null),
    );
    refuseDamaged(checks);
    checks.push(...violations.map(uniqueCheck));

    meter.enter('publishing');
    await pool.write('close', { generation });
    await publish(options.cacheDir, target);
    const published = { ...generation, unpublished: false, create: false };
    generation = null;
    const validated = await validate(context, source, published, plans, tables, read, tally);
    checks.push(...validated.checks);
    warnings.push(...validated.warnings);
    const told = await acknowledge(context, source, target.manifest.cacheId, logs, read);
    warnings.push(...told.warnings);
    await noteCounts(context, plans, counts, told.acknowledged);
    meter.enter('done');
    const onlyChanges = tables.length > 0 && !tables.some(isReadInFull);
    const result = {
      mode: mode === 'full' && onlyChanges ? ('incremental' as const) : mode,
      startedAt,
      transport,
      plans,
      checks,
      sourceRows: tally.rows,
      number: target.number,
      ...read,
      retries: read.retries + found.retries,
      counts,
      warnings: [...warnings, ...watch.extended.map(extendedWarning)],
      renames,
    };
    return syncReport(result, options);
  } finally {
    signal.removeEventListener('abort', onAbort);
    pool.endSession(sync);
    // A generation that was not completed stays as its checkpoints say.
    if (generation) await pool.write('close', { generation }).catch(() => undefined);
  }
}

function securityWarnings({ source, cacheDir }: ResolvedOptions): string[] {
  return [plainTransportWarning(source), refuseOpenToAll(cacheDir)].filter(
    (warning) => warning !== null,
  );
}

async function lookAtCursors(
  { pool }: JobContext,
  source: SourceRef,
  plans: readonly TablePlan[],
  tally: RowTally,
): Promise<readonly EncodedCursorLook[]> {
  const followed = plans.filter(
    ({ cursor, mode }) => cursor !== null && (mode === 'auto' || mode === 'cursor'),
  );
  if (followed.length === 0) return [];
  const { looks, sourceRows } = await pool.read('cursors', { source, plans: followed });
  tally.add(sourceRows);
  return looks;
}

/**
 * Holds what was filled beside the served tables against them, and a table that the source no longer has against what
 * it had.
 */
async function refuseSuspectLosses(
  context: JobContext,
  { manifest, generation, tables }: PreparedTarget,
  plans: readonly TablePlan[],
  checkpoints: readonly TableCheckpoint[],
  maxShare: number,
): Promise<readonly TableRename[]> {
  const served = await servedTables(context.cacheDir);
  const read = plans.map((plan, i) => {
    const { rowsRead, rowsQuarantined } = checkpoints[i]!.counters;
    const replaces = generation.unpublished || tables[i]!.pending;
    return { plan, rows: rowsRead - rowsQuarantined, replaces };
  });
  const discovered = context.options.tables === undefined;
  try {
    // Where the cache is lost, how many rows it had is still known.
    const counts = served.length > 0 ? {} : readRowCounts(context.cacheDir);
    for (const [table, before] of Object.entries(counts)) {
      const after = read.find(({ plan }) => plan.name === table)?.rows ?? (discovered ? 0 : before);
      refuseLoss({ table, before, after }, maxShare);
    }
    return refuseLosses(served, read, { discovered, maxShare });
  } catch (error) {
    // Else the next sync would go on from what is not believed.
    if (generation.unpublished) {
      await context.pool.write('close', { generation });
      await dropBuilding(context.cacheDir, manifest);
    } else if (error instanceof LossError) {
      const lost = served.find(({ plan }) => plan.name === error.context['table'])!;
      for (const [i, { id, pending }] of tables.entries()) {
        const plan = plans[i]!;
        const isSuspect =
          foldName(plan.name) === foldName(lost.plan.name) ||
          schemaChange(lost.plan, plan) === null;
        if (pending && isSuspect) await context.pool.write('abandon', { generation, tableId: id });
      }
    }
    throw error;
  }
}

/** Looks at what is served now. The sync is done: what cannot be looked at is a warning. */
async function validate(
  context: JobContext,
  source: SourceRef,
  generation: GenerationRef,
  plans: readonly TablePlan[],
  tables: readonly PreparedTable[],
  { checkpoints }: ReadResult,
  tally: RowTally,
): Promise<{ readonly checks: readonly ValidationCheck[]; readonly warnings: string[] }> {
  const { preset } = context.options;
  const hasChanged = checkpoints.some(
    ({ counters }, i) =>
      tables[i]!.follows === null || counters.rowsWritten + counters.rowsDeleted > 0,
  );
  const isWanted = preset !== undefined || plans.some(({ limit }) => limit !== null);
  if (!hasChanged || !isWanted) return { checks: [], warnings: [] };
  try {
    const { checks, sourceRows } = await context.pool.read('validate', {
      source,
      generation,
      preset,
      bounds: context.bounds,
      tables: plans.map((plan, i) => ({
        tableId: tables[i]!.id,
        plan,
        inFull: tables[i]!.follows === null,
      })),
    });
    tally.add(sourceRows);
    return { checks, warnings: [] };
  } catch (error) {
    if (error instanceof SyncAbortedError) throw error;
    return {
      checks: [],
      warnings: [`What was synced could not be validated: ${describeError(error)}`],
    };
  }
}

/**
 * Tells the change logs how far this cache has come, so that they can drop what nobody needs any more.
 *
 * @returns by the id of each log, how far it knows that this cache is.
 */
async function acknowledge(
  { cacheDir, pool }: JobContext,
  source: SourceRef,
  reader: string,
  logs: readonly LogState[],
  { checkpoints }: ReadResult,
): Promise<{ readonly acknowledged: Record<string, number>; readonly warnings: string[] }> {
  const before = readAcknowledged(cacheDir);
  const acknowledged = Object.fromEntries(
    Object.entries(before).filter(([id]) => logs.some(({ logId }) => logId === id)),
  );
  const news = checkpoints.flatMap(({ log: position }) => {
    const log = logs.find(({ logId }) => logId === position?.id);
    if (log === undefined) return [];
    acknowledged[log.logId] = position!.version;
    const isNews = log.readers[reader] !== position!.version;
    return isNews ? [{ log, version: position!.version }] : [];
  });
  if (news.length === 0) return { acknowledged, warnings: [] };
  const positions = news.map(({ log, version }) => ({ log: log.number, version }));
  try {
    await pool.read('acknowledge', { source, reader, positions });
    return { acknowledged, warnings: [] };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    for (const { log } of news) delete acknowledged[log.logId];
    return {
      acknowledged,
      warnings: [
        `The change log could not be told how far this cache is: a compaction will not wait for it. ${error.message}`,
      ],
    };
  }
}

/** Keeps how many rows each table has, for a time when the cache is lost, and what the change logs were told. */
async function noteCounts(
  { options }: JobContext,
  plans: readonly TablePlan[],
  counts: readonly StoredCount[],
  acknowledged: Readonly<Record<string, number>>,
): Promise<void> {
  const { cacheDir, tables } = options;
  const rows = Object.fromEntries(plans.map(({ name }, i) => [name, counts[i]!.stored]));
  const others = tables === undefined ? {} : readRowCounts(cacheDir);
  await noteSuccess(cacheDir, { ...others, ...rows }, acknowledged);
}

/**
 * Opens the generation to write and enters the tables. What an interrupted sync left of a generation that is not
 * served is dropped when it is damaged, of another source, or of other definitions.
 */
async function prepare(
  context: JobContext,
  mode: SyncMode,
  preparation: Omit<Preparation, 'unpublished'>,
  onOpen: (generation: GenerationRef) => void,
): Promise<PreparedTarget> {
  for (;;) {
    const target = await chooseGeneration(mode, context.cacheDir);
    const { generation } = target;
    onOpen(generation);
    try {
      const warnings = await context.openGeneration(generation);
      // Discovered tables have no definitions that could say which indexes to keep.
      const keepIndexes = context.options.tables === undefined;
      const logs = markRestored(
        preparation.logs,
        target.manifest.cacheId,
        readAcknowledged(context.cacheDir),
      );
      warnings.push(...restoredWarnings(preparation.plans, logs));
      const request = { generation, ...preparation, logs, keepIndexes };
      return { ...target, ...(await context.pool.write('prepare', request)), warnings };
    } catch (error) {
      const unusable =
        error instanceof CacheError &&
        (error.code === 'CACHE_DEFINITION_MISMATCH' || error.code === 'CACHE_CORRUPT');
      if (!unusable || !generation.unpublished || generation.create) throw error;
      await context.pool.write('close', { generation });
      await dropBuilding(context.cacheDir, target.manifest);
    }
  }
}
