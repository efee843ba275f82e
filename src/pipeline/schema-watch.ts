import { schemaChange } from '../cache/schema-change.js';
import { SourceError } from '../errors.js';
import { foldName, type SourceSchema } from '../source/introspection.js';
import type { TablePlan } from '../source/plan.js';
import type { RowTally } from '../source/row-tally.js';
import type { SourceRef } from './messages.js';
import type { WorkerPool } from './worker-pool.js';

export interface SchemaWatchOptions {
  readonly pool: WorkerPool;
  readonly source: SourceRef;
  /** The schema's version that the plans were made for, or null where the source does not tell. */
  readonly version: number | null;
  /** Counts what the source gives to tell its schema. */
  readonly tally: RowTally;
  readonly planTables: (schema: SourceSchema) => readonly TablePlan[];
}

/**
 * Notices when the source's schema changed since a sync was planned. Pages are read by the plan, each by statements of
 * its own: over a table that was made anew they would give rows of another table, or miss some.
 */
export class SchemaWatch {
  readonly #options: SchemaWatchOptions;
  readonly #extended = new Set<string>();
  readonly #changed = new Set<string>();
  #version: number | null;
  /** The version as it was read behind all rows of all tables. */
  #behindAll: Promise<number | null> | null = null;
  /** The plans as they would be now, once the schema changed. */
  #plans: readonly TablePlan[] | null = null;

  constructor(options: SchemaWatchOptions) {
    this.#options = options;
    this.#version = options.version;
  }

  /** Tables that got columns meanwhile: what was read of the others is right. */
  get extended(): readonly string[] {
    return [...this.#extended];
  }

  /** Tables of which what was read need not be right. */
  get changed(): readonly string[] {
    return [...this.#changed];
  }

  /**
   * Begins to read the version that {@link check} needs, while what was read is still being committed. To be called once
   * all that the sync reads of tables has come.
   */
  lookBehindAll(): void {
    this.#behindAll = this.#readVersion();
    // Whoever checks is told.
    this.#behindAll.catch(() => undefined);
  }

  /** @throws {SourceError} `SOURCE_SCHEMA_CHANGED` when what was read by one of these plans need not be right. */
  async check(plans: readonly TablePlan[]): Promise<void> {
    if (plans.length === 0) return;
    const { pool, source, tally } = this.#options;
    const version = await (this.#behindAll ?? this.#readVersion());
    if (version === null || version !== this.#version) {
      const read = await pool.read('schema', { source });
      tally.add(read.sourceRows);
      const { schema } = read;
      this.#plans = this.#planNow(schema);
      this.#version = schema.version;
      this.#behindAll &&= Promise.resolve(schema.version);
    }
    const problems = plans.flatMap((plan) => this.#problemOf(plan) ?? []);
    if (problems.length > 0) throw changedMeanwhile(problems.join(' '));
  }

  /** What a failure in reading a table is really about: the schema, where that changed. */
  async explain(error: unknown, plans: readonly TablePlan[]): Promise<unknown> {
    if (!(error instanceof SourceError) || error.code !== 'SOURCE_SQL') return error;
    try {
      await this.check(plans);
      return error;
    } catch (changed) {
      const isChange = changed instanceof SourceError && changed.code === 'SOURCE_SCHEMA_CHANGED';
      return isChange ? changed : error;
    }
  }

  async #readVersion(): Promise<number | null> {
    const { pool, source, tally } = this.#options;
    const { version, sourceRows } = await pool.read('schemaVersion', { source });
    tally.add(sourceRows);
    return version;
  }

  #planNow(schema: SourceSchema): readonly TablePlan[] {
    try {
      return this.#options.planTables(schema);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.#changed.add(String(error.context['table']));
      throw changedMeanwhile(error.message, error);
    }
  }

  #problemOf(plan: TablePlan): string | null {
    if (this.#plans === null) return null;
    const { name } = plan;
    const now = this.#plans.find((other) => foldName(other.name) === foldName(name));
    const change = now ? schemaChange(plan, now) : null;
    if (now && change === null) return null;
    if (change?.kind === 'columns-added') {
      this.#extended.add(name);
      return null;
    }
    this.#changed.add(name);
    const table = JSON.stringify(name);
    return change ? `Of the table ${table}, ${change.detail}.` : `The table ${table} is gone.`;
  }
}

function changedMeanwhile(what: string, cause?: unknown): SourceError {
  return new SourceError(
    'SOURCE_SCHEMA_CHANGED',
    `The schema of the source changed while it was read. ${what}`,
    { cause, hint: 'Sync again: it will go by the schema as it is then.' },
  );
}
