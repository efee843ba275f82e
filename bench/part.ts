/** A part of a run's work, measured by itself as well. */
export interface Part {
  readonly name: string;
  readonly rows: number;
  /** Null for a part that is not about time. */
  readonly ms: number | null;
  /** Processor time. */
  readonly cpuMs: number | null;
  readonly bytes: number;
}
