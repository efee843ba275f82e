import {
  metrics,
  SpanStatusCode,
  trace,
  type Attributes,
  type MeterProvider,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { StorageSyncError, SyncAbortedError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { SyncProgress } from '../progress.js';
import type { LookUpNote } from '../read-through/read-through.js';
import type { SyncReport } from '../report.js';
import { VERSION } from '../version.js';
import type { VerifyReport } from '../verify/report.js';
import { CacheGauges, type ObservedCache } from './cache-gauges.js';
import { LookUpMetrics } from './look-up-metrics.js';
import { ProgressSpans } from './progress-spans.js';
import { RoundMetrics } from './round-metrics.js';

/** The name of the instrumentation scope. */
const SCOPE = 'storage-sync';

export interface TelemetryOptions {
  /** Where measurements go. Default: the global provider of the OpenTelemetry API, which does nothing without an SDK. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Where spans go. Default: the global provider. */
  readonly tracerProvider?: TracerProvider | undefined;
  readonly logger: Logger;
}

/** What is done to a cache. */
export type Job = 'sync' | 'rebuild' | 'verify';

type Outcome = 'done' | 'skipped' | 'failed' | 'aborted';

/**
 * Tells what one `StorageSync` does through the OpenTelemetry API (https://opentelemetry.io/docs/specs/otel/), with names
 * and units by its semantic conventions, and to a logger.
 *
 * | span                    | what                                                                     |
 * |-------------------------|--------------------------------------------------------------------------|
 * | `storage_sync.<job>`    | a sync, rebuild or verify                                                |
 * | `storage_sync.<phase>`  | within it: `connecting`, `reading`, `sweeping`, `validating`, `publishing` |
 * | `storage_sync.table`    | within it: one table                                                     |
 */
export class Telemetry {
  readonly #tracer: Tracer;
  readonly #metrics: RoundMetrics;
  readonly #gauges: CacheGauges;
  readonly #lookUps: LookUpMetrics;
  readonly #logger: Logger;
  readonly #common: Attributes;

  constructor(cache: ObservedCache, { meterProvider, tracerProvider, logger }: TelemetryOptions) {
    const meter = (meterProvider ?? metrics.getMeterProvider()).getMeter(SCOPE, VERSION);
    this.#tracer = (tracerProvider ?? trace.getTracerProvider()).getTracer(SCOPE, VERSION);
    this.#common = { 'storage_sync.cache.path': cache.cacheDir };
    this.#metrics = new RoundMetrics(meter, this.#common);
    this.#lookUps = new LookUpMetrics(meter, this.#common);
    this.#gauges = new CacheGauges(meter, cache, this.#common);
    this.#logger = logger;
  }

  /** Runs a job within a span, and measures it. */
  async job<Report extends SyncReport | VerifyReport>(
    job: Job,
    work: (onProgress: (progress: SyncProgress) => void) => Promise<Report>,
  ): Promise<Report> {
    const begun = performance.now();
    this.#logger.debug({ job }, `${job} begins`);
    return await this.#tracer.startActiveSpan(
      `storage_sync.${job}`,
      { attributes: { ...this.#common, 'storage_sync.job': job } },
      async (span) => {
        const spans = span.isRecording() ? new ProgressSpans(this.#tracer, this.#common) : null;
        try {
          const report = await work((progress) => spans?.observe(progress));
          spans?.end(report);
          const outcome = 'mode' in report && report.mode === 'skipped' ? 'skipped' : 'done';
          this.#ended(job, outcome, begun, { report });
          span.setAttributes({ 'storage_sync.outcome': outcome, ...reportAttributes(report) });
          return report;
        } catch (error) {
          spans?.end(null);
          const outcome = error instanceof SyncAbortedError ? 'aborted' : 'failed';
          this.#ended(job, outcome, begun, { error });
          span.setAttributes({
            'storage_sync.outcome': outcome,
            'error.type': errorType(error),
          });
          if (outcome === 'failed') {
            span.recordException(error as Error);
            span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
          }
          throw error;
        } finally {
          span.end();
        }
      },
    );
  }

  /** The source was asked for rows that the cache does not have. */
  lookedUp(note: LookUpNote): void {
    const { table, durationMs, found, absent, failed, sourceRows, retries, error } = note;
    this.#lookUps.lookedUp(note, error === undefined ? null : errorType(error));
    this.#metrics.asked('read-through', sourceRows, retries);
    const fields = { table, durationMs: Math.round(durationMs), found, absent, failed, sourceRows };
    if (error === undefined) this.#logger.debug(fields, 'rows were read through');
    else this.#logger.warn({ ...fields, code: errorType(error) }, messageOf(error));
  }

  /** Rows that were looked up are in the cache. */
  rowsStored(rows: number): void {
    this.#lookUps.stored(rows);
  }

  /** Stops observing. What was measured stays with the provider. */
  close(): void {
    this.#gauges.close();
  }

  #ended(
    job: Job,
    outcome: Outcome,
    begun: number,
    end: { readonly report: SyncReport | VerifyReport } | { readonly error: unknown },
  ): void {
    const durationMs = performance.now() - begun;
    const attributes: Attributes = { 'storage_sync.job': job, 'storage_sync.outcome': outcome };
    const fields = { job, outcome, durationMs: Math.round(durationMs) };
    if ('error' in end) {
      const code = errorType(end.error);
      this.#metrics.ended(durationMs, { ...attributes, 'error.type': code });
      const message = messageOf(end.error);
      if (outcome === 'aborted') this.#logger.info({ ...fields, code }, message);
      else if (code === 'CACHE_LOCKED') this.#logger.warn({ ...fields, code }, message);
      else this.#logger.error({ ...fields, code, err: end.error }, message);
      return;
    }
    const { report } = end;
    if ('mode' in report) attributes['storage_sync.mode'] = report.mode;
    if ('mode' in report && report.outage) attributes['error.type'] = report.outage.code;
    this.#metrics.ended(durationMs, attributes);
    this.#metrics.report(report);
    for (const warning of report.warnings) this.#logger.warn({ job }, warning);
    this.#logger.info({ ...fields, ...reportFields(report) }, `${job} ${outcome}`);
  }
}

function reportAttributes(report: SyncReport | VerifyReport): Attributes {
  const fields = Object.entries(reportFields(report)).filter(([, value]) => value !== null);
  return Object.fromEntries(fields.map(([name, value]) => [`storage_sync.${name}`, value!]));
}

/** The figures of a report, for a line of a log. */
function reportFields(
  report: SyncReport | VerifyReport,
): Readonly<Record<string, string | number | boolean | null>> {
  const { generation, transport, retries } = report;
  if ('level' in report) {
    const { level: verifyLevel, complete, differences, repaired, left } = report;
    const found = { complete, differences, repaired, left };
    return { generation, transport, retries, verifyLevel, ...found };
  }
  const tables = Object.values(report.tables);
  const sum = (field: 'rowsRead' | 'rowsWritten' | 'rowsDeleted' | 'rowsQuarantined') =>
    tables.reduce((total, table) => total + table[field], 0);
  return {
    generation,
    transport,
    retries,
    mode: report.mode,
    rowsRead: sum('rowsRead'),
    rowsWritten: sum('rowsWritten'),
    rowsDeleted: sum('rowsDeleted'),
    rowsQuarantined: sum('rowsQuarantined'),
    sourceRowsRead: report.sourceRowsRead,
    valid: report.validation.passed,
  };
}

function errorType(error: unknown): string {
  return error instanceof StorageSyncError ? error.code : 'UNEXPECTED';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
