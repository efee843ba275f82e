import type { SourceTable } from '../data/data-file.js';
import type { Part } from '../part.js';

export interface TargetContext {
  readonly url: string;
  readonly tables: readonly SourceTable[];
  /** Empty, and of this run alone. */
  readonly directory: string;
}

/** One way to do a trial's work. */
export interface Target {
  /** What is done before the clock starts: nothing that a full sync would have to do. */
  prepare(context: TargetContext): TargetRun | Promise<TargetRun>;
}

export interface TargetRun {
  /** The work that is measured. Resolves to the rows read, once they are durable where the target keeps them. */
  run(): Promise<number>;
  /** The rows that are now kept, counted after the clock has stopped; null where none are. */
  countKept(): number | null;
  /** What the source gave in the run, where the target knows. */
  sourceRows?(): number;
  /** The longest time between two reads of a process that read all the while, where there are such. */
  readPauseMs?(): number;
  /** Parts of the work that were measured by themselves. */
  parts?(): readonly Part[];
  close(): Promise<void>;
}
