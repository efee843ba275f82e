import type { Part } from './part.js';
import type { TargetContext } from './targets/target.js';
import type { TargetProgram } from './targets/target-table.js';

/** What the process of one run is told, as JSON in its first argument. */
export interface TrialRunSpec {
  readonly program: TargetProgram;
  readonly context: TargetContext;
}

/** What it prints, as its one line of JSON. */
export interface TrialRunResult {
  readonly rows: number;
  readonly rowsKept: number | null;
  readonly wallMs: number;
  readonly cpuUs: number;
  /** Processor time of all other processes while the work ran. */
  readonly otherCpuUs: number;
  readonly idleRssBytes: number;
  readonly idleAnonBytes: number | null;
  readonly peakRssBytes: number;
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  readonly sourceRows: number | null;
  readonly readPauseMs: number | null;
  readonly parts: readonly Part[];
}
