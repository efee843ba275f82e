import type { TablePlan } from './plan.js';

/** Entries of a cursor that may be taken. */
export interface EntryBounds {
  readonly maxRows: number;
  /** Rows are taken until they have so many bytes. */
  readonly maxBytes: number;
  readonly maxRowBytes: number;
  /** Longer entries are refused by others. */
  readonly maxEntryBytes: number;
  /** Values in each row. The last is NULL where the row is whole. */
  readonly fieldCount: number;
}

/** Entries that were taken: the first ones. */
export interface TakenEntries {
  readonly rows: number;
  /** Of these rows, as pages count them. */
  readonly bytes: number;
  /** Whether the next entry has come whole, but is not plain. */
  readonly isOdd: boolean;
  /** Where the next entry begins, and the last one that was taken. */
  readonly next: number;
  readonly last: number;
}

/** Records of rows, in memory that is soon used again. */
export interface EntryRecords extends TakenEntries {
  readonly records: Uint8Array;
  /** As in a batch. */
  readonly spans: Uint32Array;
}

/** Makes records of the rows of a cursor in Hrana's protobuf, many at a time, as far as they are plain. */
export interface EntryTaker {
  /**
   * @param bytes begin with an entry at `at`.
   * @param base what the first record's begin is told as in the spans.
   */
  take(
    plan: TablePlan,
    bytes: Uint8Array,
    at: number,
    end: number,
    base: number,
    bounds: EntryBounds,
  ): EntryRecords;
}
