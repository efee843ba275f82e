import { LossError } from '../errors.js';
import { refuseLoss } from '../loss-guard.js';
import type { VerifyContext } from './context.js';
import type { Repaired, TableFindings } from './table-findings.js';
import type { LogRef, RowRepairs, VerifyTarget } from './tasks.js';

const NOTHING_REPAIRED: Repaired = { written: 0, removed: 0 };

/**
 * Puts the rows of one table right, page by page. Rows that only the cache has are removed only when the source may be
 * believed: before the first of them it is counted, and what is lost in all is held against the share that may be.
 */
export class RowRepairer {
  readonly #context: VerifyContext;
  readonly #target: VerifyTarget;
  readonly #log: LogRef | null;
  readonly #findings: TableFindings;
  readonly #rowsBefore: number;
  #mayRemove: Promise<boolean> | null = null;
  #lost = 0;

  constructor(
    context: VerifyContext,
    target: VerifyTarget,
    log: LogRef | null,
    rowsBefore: number,
    findings: TableFindings,
  ) {
    this.#context = context;
    this.#target = target;
    this.#log = log;
    this.#findings = findings;
    this.#rowsBefore = rowsBefore;
  }

  async repair({ batch, remove }: RowRepairs, missing: number): Promise<Repaired> {
    this.#lost -= missing;
    const removes = remove.length > 0 && (await this.#loses(remove.length)) ? remove : [];
    if (batch === null && removes.length === 0) return NOTHING_REPAIRED;
    const { pool, generation } = this.#context;
    const { tableId } = this.#target;
    const written = batch?.count ?? 0;
    await pool.write(
      'repairRows',
      { generation, tableId, batch, remove: removes },
      batch ? [batch.arena, batch.spans] : [],
    );
    return { written, removed: removes.length };
  }

  async #loses(rows: number): Promise<boolean> {
    this.#mayRemove ??= this.#believesSource();
    if (!(await this.#mayRemove)) return false;
    const lost = this.#lost + rows;
    if (!this.#isLikely(this.#rowsBefore - lost)) return false;
    this.#lost = lost;
    return true;
  }

  async #believesSource(): Promise<boolean> {
    const { budget, pool, repair } = this.#context;
    if (repair!.maxLossShare >= 1) return true;
    if (budget.left < this.#rowsBefore) {
      this.#findings.note(
        'Rows that only the cache has were not removed: the source would have to be counted first, for which maxSourceRows leaves too little.',
      );
      return false;
    }
    const counted = await pool.read('compareCount', { ...this.#target, log: this.#log });
    budget.spend(counted.source);
    return this.#isLikely(counted.source);
  }

  #isLikely(after: number): boolean {
    const { repair } = this.#context;
    const { plan } = this.#target;
    try {
      refuseLoss({ table: plan.name, before: this.#rowsBefore, after }, repair!.maxLossShare);
      return true;
    } catch (error) {
      if (!(error instanceof LossError)) throw error;
      this.#findings.note(
        `${error.message} Nothing was removed from it. If the source is right, repair with --allow-loss (in the library: allowLoss).`,
      );
      return false;
    }
  }
}
