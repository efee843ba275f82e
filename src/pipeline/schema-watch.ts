import { schemaChange } from '../cache/schema-change.js';
import { SourceError } from '../errors.js';
import { foldName, type SourceSchema } from '../source/introspection.js';
import type { TablePlan } from '../source/plan.js';
import type { SourceRef } from './messages.js';
import type { WorkerPool } from './worker-pool.js';

export interface SchemaWatchOptions {
  readonly pool: WorkerPool;
  readonly source: SourceRef;
  /** The schema's version that the plans were made for, or null where the source does not tell. */
  readonly version: number | null;
  readonly planTables: (schema: SourceSchema) => readonly TablePlan[];
}

/**
 * Notices when the source's schema changed since a sync was planned. Pages are read by the plan, each by statements of
 * its own: over a table that was made anew they would give rows of another table, or miss some.
 */
export class SchemaWatch {
  readonly #options: SchemaWatchOptions;
  readonly #extended = new Set<string>();
  #version: number | null;
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

  /** @throws {SourceError} `SOURCE_SCHEMA_CHANGED` when what was read by one of these plans need not be right. */
  async check(plans: readonly TablePlan[]): Promise<void> {
    if (plans.length === 0) return;
    const { pool, source } = this.#options;
    const { version } = await pool.read('schemaVersion', { source });
    if (version === null || version !== this.#version) {
      const { schema } = await pool.read('schema', { source });
      this.#plans = this.#planNow(schema);
      this.#version = schema.version;
    }
    for (const plan of plans) this.#checkOne(plan);
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

  #planNow(schema: SourceSchema): readonly TablePlan[] {
    try {
      return this.#options.planTables(schema);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      throw changedMeanwhile(error.message, error);
    }
  }

  #checkOne(plan: TablePlan): void {
    if (this.#plans === null) return;
    const now = this.#plans.find(({ name }) => foldName(name) === foldName(plan.name));
    const name = JSON.stringify(plan.name);
    if (!now) throw changedMeanwhile(`The table ${name} is gone.`);
    const change = schemaChange(plan, now);
    if (change?.kind === 'columns-added') this.#extended.add(plan.name);
    else if (change) throw changedMeanwhile(`Of the table ${name}, ${change.detail}.`);
  }
}

function changedMeanwhile(what: string, cause?: unknown): SourceError {
  return new SourceError(
    'SOURCE_SCHEMA_CHANGED',
    `The schema of the source changed while it was read. ${what}`,
    { cause, hint: 'Sync again: it will go by the schema as it is then.' },
  );
}
