import type { CatalogTable, IndexState, SyncRecord, TableState } from '../cache/catalog.js';
import type { GenerationRef, SourceRef } from '../pipeline/messages.js';
import type { ValidatedTable } from '../memory/validation.js';
import type { ValidationCheck } from '../report.js';
import type { LogWindow } from '../source/changes.js';
import type { PageBounds } from '../source/page.js';
import type { RowidRange } from '../source/stored/leaf-scan.js';
import type { StoredPageBounds } from '../source/stored/stored-page.js';
import type { TablePlan } from '../source/plan.js';
import type { Batch } from '../transform/batch.js';
import type { DifferenceKind } from './report.js';

/** A table of the cache as a verify finds it. */
export interface InspectedTable {
  readonly table: CatalogTable;
  readonly state: TableState;
  /** Records that LMDB says there are. */
  readonly entries: number;
  /** Rows that syncs have set aside. */
  readonly quarantined: number;
  /** How each index stands; null for one that was never begun. */
  readonly indexes: readonly (IndexState | null)[];
  /** Index entries that LMDB says there are, those of dropped indexes among them. */
  readonly indexEntries: number;
}

/** A row that may not be the same on both sides. */
export interface Candidate {
  readonly key: Uint8Array;
  /** The checksum of the source's row, null where the source gave none, undefined where it was not asked. */
  readonly seen: bigint | null | undefined;
}

/** The change log of a table, where it tells all that the cache does not have yet. */
export interface LogRef {
  /** Behind the version up to which the cache has all changes. */
  readonly own: LogWindow;
  /** The same of the logs of its scopes, in the order of the plan's. */
  readonly scopes: readonly LogWindow[];
}

/** The cursor of a table that is followed by it. */
export interface CursorRef {
  /** Opaque: the next sync reads all rows from this value on, and those without one. Null for all rows. */
  readonly from: Uint8Array | null;
}

/** What tells which changes of a table the next sync brings. */
export interface PendingRefs {
  readonly log: LogRef | null;
  readonly cursor: CursorRef | null;
}

/** Sums over the keys that a scan has seen. See `SeenKeys`. */
export type KeySums = BigUint64Array<ArrayBuffer>;

/** Which table to look at, on both sides. */
export interface VerifyTarget {
  readonly source: SourceRef;
  readonly generation: GenerationRef;
  readonly tableId: number;
  readonly plan: TablePlan;
}

/** How rows are looked at again. */
export interface LookOptions extends PendingRefs {
  readonly bounds: PageBounds;
  /** What a repair needs, or null where there is none. */
  readonly repair: { readonly removesUncacheable: boolean } | null;
}

/** What is to be done about differences. */
export interface RowRepairs {
  /** The source's rows to write, or null. */
  readonly batch: Batch | null;
  /** Keys of rows to remove. */
  readonly remove: readonly Uint8Array[];
}

/** What became of candidates at a second look. */
export interface Findings {
  readonly differences: Readonly<Record<DifferenceKind, number>>;
  readonly pending: number;
  readonly moving: number;
  /** The first differences, and what a repair is to do about each. */
  readonly found: readonly {
    readonly key: string;
    readonly kind: DifferenceKind;
    readonly repair: 'write' | 'remove' | null;
  }[];
  /** The keys of the first and the last difference. */
  readonly range: { readonly first: string; readonly last: string } | null;
  /** Rows read from the source. */
  readonly rows: number;
}

/** Rows of the source, held against the cache as they are stored. */
export interface StoredRows {
  /** Rows looked at, and those among them that cannot be cached. */
  readonly compared: number;
  readonly rejected: number;
  /** Rows of whose keys the cache has one. */
  readonly present: number;
  /** Keys of rows that are another in the cache, or not there; null where they are many. */
  readonly different: readonly Uint8Array[] | null;
  readonly sourceRows: number;
  readonly bytes: number;
  /** What is left of the range. */
  readonly rest: RowidRange | null;
  /** The thread that has the connection. */
  readonly thread: number;
  /**
   * Of the source: `PRAGMA data_version` on this connection, and instants before and after it was taken, in nanoseconds
   * of the process's clock.
   */
  readonly snapshot: {
    readonly version: number | null;
    readonly before: bigint;
    readonly after: bigint;
  };
}

/** What a verify asks of a reader thread. All of it only reads. */
export interface VerifyTasks {
  readonly inspectCache: {
    readonly request: Pick<VerifyTarget, 'source' | 'generation'>;
    readonly response: {
      readonly tables: readonly InspectedTable[];
      readonly record: SyncRecord | null;
      /** The number of the last transaction that was committed. */
      readonly transaction: number;
    };
  };
  /** Holds rows against the cache in the order in which a file stores them. Null where they cannot be read so. */
  readonly compareStored: {
    readonly request: VerifyTarget & {
      readonly range: RowidRange;
      readonly bounds: StoredPageBounds;
    };
    readonly response: { readonly rows: StoredRows | null };
  };
  /** Keys of a table in the cache, each so many behind the one before; fewer where the table ends. */
  readonly keysAt: {
    readonly request: VerifyTarget & {
      readonly after: Uint8Array | null;
      readonly steps: readonly number[];
    };
    readonly response: { readonly keys: readonly Uint8Array[]; readonly done: boolean };
  };
  /** Which of some keys have a damaged record. */
  readonly damagedKeys: {
    readonly request: Pick<VerifyTarget, 'source' | 'generation' | 'tableId'> & {
      readonly keys: readonly Uint8Array[];
    };
    readonly response: {
      readonly damaged: readonly Uint8Array[];
      /** Whether a record stands where it is not found by its key. */
      readonly displaced: boolean;
    };
  };
  /** Reads a page of the source, holds it against the cache, and looks again at what differs. */
  readonly comparePage: {
    readonly request: ComparePageRequest;
    readonly response: ComparedPage & RowRepairs;
  };
  /** Looks at rows by key: at both sides, and in the change log. */
  readonly lookAt: {
    readonly request: VerifyTarget &
      LookOptions & {
        readonly candidates: readonly Candidate[];
        /** True to find only rows that the source does not have: others were compared before. */
        readonly onlyExtra: boolean;
      };
    readonly response: Findings & RowRepairs & { readonly retries: number };
  };
  /** The next keys of the cache that may not have been seen in the source. */
  readonly unseenKeys: {
    readonly request: VerifyTarget & {
      readonly sums: KeySums;
      /** True when the cache's own keys were taken off the sums. */
      readonly reduced: boolean;
      readonly after: Uint8Array | null;
    };
    readonly response: {
      readonly sums: KeySums;
      readonly keys: readonly Uint8Array[];
      readonly after: Uint8Array | null;
      readonly done: boolean;
    };
  };
  /** Holds the next stored rows against their index entries. */
  readonly checkEntries: {
    readonly request: IndexRequest;
    readonly response: {
      /** Keys of rows without one of their entries. */
      readonly rows: readonly Uint8Array[];
      readonly missing: number;
      /** Entries that are there. */
      readonly found: number;
      readonly after: Uint8Array | null;
      readonly done: boolean;
    };
  };
  /** The next index entries that no row calls for. */
  readonly danglingEntries: {
    readonly request: IndexRequest;
    readonly response: {
      readonly entries: readonly Uint8Array[];
      readonly after: Uint8Array | null;
      readonly done: boolean;
    };
  };
  /** Index entries of a table that LMDB says there are, those of dropped indexes left out. */
  readonly countEntries: {
    readonly request: Omit<IndexRequest, 'after'>;
    readonly response: { readonly entries: number };
  };
  /** Checks what a sync has left in the cache, at little cost. */
  readonly validate: {
    readonly request: Pick<VerifyTarget, 'source' | 'generation'> & {
      readonly tables: readonly ValidatedTable[];
      readonly preset: 'memory' | undefined;
      readonly bounds: PageBounds;
    };
    readonly response: {
      readonly checks: readonly ValidationCheck[];
      /** Rows that the source gave for them. */
      readonly sourceRows: number;
    };
  };
  /** Counts a table's rows in the source, and what its change log says of the difference. */
  readonly compareCount: {
    readonly request: VerifyTarget & { readonly log: LogRef | null };
    readonly response: ComparedCount;
  };
}

export interface IndexRequest extends Pick<VerifyTarget, 'source' | 'generation'> {
  readonly table: CatalogTable;
  readonly after: Uint8Array | null;
}

/**
 * How the cache is held against a page: by its `range` when the page is in the order of the cache's keys, so that what
 * the cache has besides is found too; by its `keys`; or only by the `presence` of these.
 */
export type CompareBy = 'range' | 'keys' | 'presence';

export interface ComparePageRequest extends VerifyTarget, LookOptions {
  /** Opaque: where the page begins. Without one it begins behind the key `after`. */
  readonly position: Uint8Array | null;
  /** The key of the cache behind which the page's range begins; null for the table's start. */
  readonly after: Uint8Array | null;
  /** The key that ends the range, itself in it; null for the table's end. */
  readonly upTo: Uint8Array | null;
  readonly by: CompareBy;
  /** True for the newest rows: by the limit's column where there is a limit, else the last ones by key. */
  readonly newest: boolean;
  /** Without a range: what to add the page's keys to. */
  readonly sums: KeySums | null;
  /** Rows that may be looked at again. */
  readonly maxLooks: number;
}

export interface ComparedPage {
  readonly findings: Findings;
  /** Rows read from the source. */
  readonly rows: number;
  /** Rows compared: less than were read where looking again would have cost too much. */
  readonly compared: number;
  readonly rejected: number;
  readonly bytes: number;
  readonly position: Uint8Array | null;
  /** The key up to which the range was compared. */
  readonly after: Uint8Array | null;
  /** True at the end of the range. */
  readonly done: boolean;
  /** True when the rows that may be looked at again did not suffice. */
  readonly exhausted: boolean;
  readonly nextMaxRows: number;
  readonly sums: KeySums | null;
  readonly retries: number;
}

export interface ComparedCount {
  /** Rows in the source, within the plan's limit. */
  readonly source: number;
  /** Changed keys behind the cache's version, or null without a log. */
  readonly pendingChanges: number | null;
  /** Rows that these changes add to the cache, or null where they are too many to look at. */
  readonly growth: number | null;
}
