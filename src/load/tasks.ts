import type { SourceRef } from '../pipeline/messages.js';
import type { Looking, TableOutline } from '../source/file-scan.js';
import type { RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { RowidRange } from '../source/stored/leaf-scan.js';
import type { StoredPageBounds } from '../source/stored/stored-page.js';
import type { BulkTarget, PlacedRun } from '../cache/bulk/bulk-file.js';
import type { PageRange } from '../cache/bulk/bulk-tree.js';
import type { KeyBounds, PackedKeys } from './key-ranges.js';

/** Where records wait for their turn, and pages go: shared by all threads of a load. */
export interface SpoolRef {
  /** The generation's. */
  readonly dir: string;
  readonly target: BulkTarget;
  /** Bytes of each logical file that are taken. */
  readonly taken: BigInt64Array<SharedArrayBuffer>;
  /** The first pages of each file's segments, in their order; 0 for those that it does not have yet. */
  readonly places: Int32Array<SharedArrayBuffer>;
  /** Of `Segments`. */
  readonly segments: SharedArrayBuffer;
}

/** Records that one task has spooled. */
export interface SpooledGroups {
  /** Where they begin in each file. */
  readonly starts: Float64Array<ArrayBuffer>;
  /** Bytes of each range of keys. */
  readonly sizes: Uint32Array<ArrayBuffer>;
}

/** What a load asks of a reader thread. */
export interface LoadTasks {
  /** Looks at a table of a file. Null for one that cannot be loaded. */
  readonly outline: {
    readonly request: {
      readonly source: SourceRef;
      readonly plan: TablePlan;
      readonly looking: Looking;
    };
    readonly response: {
      /** With the keys of some rows, taken evenly over all of them. */
      readonly outline: (TableOutline & { readonly keys: PackedKeys }) | null;
    };
  };
  /** Reads rows in the order in which they are stored, and writes their records to a spool. */
  readonly spool: {
    readonly request: {
      readonly source: SourceRef;
      readonly plan: TablePlan;
      readonly range: RowidRange;
      readonly bounds: StoredPageBounds;
      /** The keys at which the ranges of the cache begin, but for the first. */
      readonly keys: KeyBounds;
      readonly spool: SpoolRef;
    };
    /** Null where the rows cannot be read so. */
    readonly response: { readonly spooled: SpooledRows | null };
  };
  /** Takes the records of one range of keys from a spool, and writes them as pages in the order of their keys. */
  readonly pack: {
    readonly request: {
      readonly source: SourceRef;
      readonly spool: SpoolRef;
      readonly file: number;
      /** Of `partsOfRange`. */
      readonly parts: Float64Array<ArrayBuffer>;
    };
    /** Null where two records have one key, or where they are too many bytes. */
    readonly response: { readonly runs: readonly PlacedRun[] | null };
  };
}

export interface SpooledRows {
  readonly groups: SpooledGroups;
  readonly rows: number;
  /** Bytes of keys and values. */
  readonly bytes: number;
  readonly rejected: readonly RejectedRow[];
  readonly sourceRows: number;
  readonly rest: RowidRange | null;
  /** Pages that were written for values too long for a leaf. */
  readonly values: readonly PageRange[];
}
