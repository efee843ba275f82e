import type { GenerationRef, SourceRef } from '../pipeline/messages.js';
import type { WorkerPool } from '../pipeline/worker-pool.js';
import type { ProgressMeter } from '../progress-meter.js';
import type { PageBounds } from '../source/page.js';
import type { SourceBudget } from './source-budget.js';

/** What the tables of one verify have in common. */
export interface VerifyContext {
  readonly pool: WorkerPool;
  readonly source: SourceRef;
  readonly generation: GenerationRef;
  readonly bounds: PageBounds;
  /** Pages that may be compared at a time. */
  readonly lanes: number;
  /** What is to be done about differences, or null where they are only told. */
  readonly repair: {
    readonly removesUncacheable: boolean;
    /** The share of a table's rows that may go: 1 where all may. */
    readonly maxLossShare: number;
  } | null;
  readonly budget: SourceBudget;
  readonly meter: ProgressMeter;
  readonly throwIfAborted: () => void;
  readonly onRetries: (retries: number) => void;
}
