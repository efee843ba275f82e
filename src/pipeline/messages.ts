import type {
  CursorPosition,
  LaneBoundary,
  SyncRecord,
  TableCheckpoint,
} from '../cache/catalog.js';
import type { IndexBuildProgress } from '../cache/index-build.js';
import type { FetchedRows } from '../cache/fetched-rows.js';
import type { EntryRepair, RowRepair } from '../cache/repair.js';
import type { UniqueVerdict } from '../cache/table-indexes.js';
import type {
  BatchWrite,
  CursorState,
  CursorStep,
  EncodedChanges,
  LoadedTable,
  MissedRows,
  Preparation,
  PreparedTable,
  RowsBefore,
  SweepProgress,
} from '../cache/generation-writer.js';
import type { BulkTarget, PlacedRun } from '../cache/bulk/bulk-file.js';
import type { PageRange } from '../cache/bulk/bulk-tree.js';
import type { LoadTasks } from '../load/tasks.js';
import type { TransportName } from '../source/connection.js';
import type { SourceSchema } from '../source/introspection.js';
import type { LogState } from '../source/log-state.js';
import type { ConnectionConfig } from '../source/open-source.js';
import type { PageBounds, RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { LogWindow } from '../source/changes.js';
import type { Batch } from '../transform/batch.js';
import type { VerifyTasks } from '../verify/tasks.js';
import type { EncodedError } from './error-codec.js';

/** Memory of a batch that may be used for the next one. */
export type SpareMemory = Pick<Batch, 'arena' | 'spans'>;

/** Which source to ask, and for whom: a session's connections are closed when it ends. */
export interface SourceRef {
  readonly session: string;
  readonly connection: ConnectionConfig;
}

export interface EncodedPage {
  readonly batch: Batch;
  readonly rejected: readonly RejectedRow[];
  /** Opaque: the position behind which the next page begins. */
  readonly position: Uint8Array | null;
  /** True when nothing lies behind, or nothing more in the range. */
  readonly done: boolean;
  /** Rows that the source gave for it. */
  readonly sourceRows: number;
  readonly nextMaxRows: number;
  /** Requests sent again since the last page of this thread. */
  readonly retries: number;
}

/** A page of a lane. */
export interface LanePage extends EncodedPage {
  /** The share of the time it took in which its thread had nothing to do but wait. */
  readonly idleShare: number;
}

/** Everything a reader thread can be asked. */
export interface ReaderTasks extends SyncReaderTasks, VerifyTasks, LoadTasks {}

/** What a sync asks of a reader thread. */
export interface SyncReaderTasks {
  readonly schema: {
    readonly request: { readonly source: SourceRef };
    readonly response: {
      readonly schema: SourceSchema;
      readonly transport: TransportName;
      /** The change logs that can be relied on, with their newest versions. */
      readonly logs: readonly LogState[];
      /** Rows that the source gave to tell all this. */
      readonly sourceRows: number;
      /** Requests sent again for it. */
      readonly retries: number;
    };
  };
  /** The version of the schema: see `SourceSchema`. */
  readonly schemaVersion: {
    readonly request: { readonly source: SourceRef };
    readonly response: { readonly version: number | null; readonly sourceRows: number };
  };
  readonly count: {
    readonly request: { readonly source: SourceRef; readonly plan: TablePlan };
    readonly response: { readonly rows: number };
  };
  /** The position at which a range of about so many rows behind another position ends; null behind the last row. */
  readonly boundary: {
    readonly request: {
      readonly source: SourceRef;
      readonly plan: TablePlan;
      readonly position: Uint8Array | null;
      readonly rows: number;
    };
    readonly response: { readonly position: Uint8Array | null };
  };
  readonly page: {
    readonly request: {
      readonly source: SourceRef;
      readonly plan: TablePlan;
      readonly position: Uint8Array | null;
      /** Where the range to read ends, or null for the table's end. */
      readonly upTo: Uint8Array | null;
      readonly bounds: PageBounds;
      readonly spare: SpareMemory | null;
    };
    readonly response: LanePage;
  };
  /** Where what lies behind a position can be divided into parts of about as many rows. */
  readonly divisions: {
    readonly request: {
      readonly source: SourceRef;
      readonly plan: TablePlan;
      readonly position: Uint8Array | null;
      readonly parts: number;
    };
    readonly response: {
      readonly boundaries: readonly LaneBoundary[];
      /** The share of the table's rows that lies behind the position. */
      readonly shareBehind: number;
      readonly sourceRows: number;
    };
  };
  readonly changes: {
    readonly request: {
      readonly source: SourceRef;
      readonly tables: readonly FollowedTable[];
      readonly bounds: PageBounds;
    };
    readonly response: EncodedRound;
  };
  /** How cursors stand. Asked before any row is read. */
  readonly cursors: {
    readonly request: { readonly source: SourceRef; readonly plans: readonly TablePlan[] };
    readonly response: {
      readonly looks: readonly EncodedCursorLook[];
      readonly sourceRows: number;
    };
  };
  /** Steps of rounds that are under way, all of one snapshot of the source. */
  readonly cursorSteps: {
    readonly request: {
      readonly source: SourceRef;
      readonly tables: readonly CursorTable[];
      readonly bounds: PageBounds;
    };
    readonly response: { readonly steps: readonly EncodedStep[]; readonly retries: number };
  };
  /** The rows that there are of some keys, behind a position. */
  readonly rowsByKey: {
    readonly request: RowsByKey;
    readonly response: EncodedPage;
  };
  /** The rows that the source has of some keys, behind a position, within the plan's limit and references or not. */
  readonly lookUp: {
    readonly request: RowsByKey;
    readonly response: EncodedPage;
  };
  /** Tells change logs how far a cache has come. The one thing that is ever written to a source by a sync. */
  readonly acknowledge: {
    readonly request: {
      readonly source: SourceRef;
      readonly reader: string;
      readonly positions: readonly { readonly log: number; readonly version: number }[];
    };
    readonly response: Record<string, never>;
  };
}

/** Rows of some keys that are asked for, behind a position. */
export interface RowsByKey {
  readonly source: SourceRef;
  readonly plan: TablePlan;
  readonly keys: readonly Uint8Array[];
  readonly position: Uint8Array | null;
  readonly bounds: PageBounds;
}

/** A table that is brought up to date by its change log. */
export interface FollowedTable {
  readonly plan: TablePlan;
  readonly tableId: number;
  /** The log behind the version up to which the cache has all changes. */
  readonly own: LogWindow;
  /** The same of the logs of its scopes. */
  readonly scopes: readonly LogWindow[];
}

/** How a table's cursor stands: see `CursorLook`. */
export interface EncodedCursorLook extends CursorState {
  readonly last: Uint8Array | null;
  readonly hasNulls: boolean;
  readonly indexed: boolean;
}

/** A table that is brought up to date by its cursor. */
export interface CursorTable {
  readonly plan: TablePlan;
  readonly tableId: number;
  readonly cursor: CursorPosition;
}

/** A step as a reader gives it. */
export type EncodedStep = Omit<CursorStep, keyof RowsBefore>;

/** Changes of several tables, all of one snapshot of the source. */
export interface EncodedRound {
  /** In the order of the tables asked for. Null for one whose changes cannot be told: it is to be read in full. */
  readonly changes: readonly (EncodedChanges | null)[];
  /** True when no change lies behind, in any of the tables. */
  readonly complete: boolean;
  /** Rows that the source gave beside those of the tables and their logs. */
  readonly sourceRows: number;
  readonly retries: number;
}

/** A generation to write, opened by the first request that names it. */
export interface GenerationRef {
  readonly dir: string;
  /** True for a generation that is not served yet. */
  readonly unpublished: boolean;
  /** True when the generation has no file yet. */
  readonly create: boolean;
}

/** Everything a writer thread can be asked. */
/** A load under way. */
interface LoadRef {
  readonly generation: GenerationRef;
  readonly target: BulkTarget;
  /** Of `Segments`. */
  readonly segments: SharedArrayBuffer;
}

export interface WriterTasks {
  readonly open: {
    readonly request: { readonly generation: GenerationRef };
    readonly response: {
      readonly source: string | null;
      /** True when the file was damaged, and set back to the transaction before its last. */
      readonly setBack: boolean;
    };
  };
  readonly prepare: {
    readonly request: {
      readonly generation: GenerationRef;
    } & Omit<Preparation, 'unpublished'>;
    readonly response: { readonly tables: readonly PreparedTable[] };
  };
  /** One step towards the indexes that are declared now. */
  readonly index: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: IndexBuildProgress;
  };
  readonly write: {
    readonly request: { readonly generation: GenerationRef; readonly write: BatchWrite };
    readonly response: { readonly checkpoint: TableCheckpoint; readonly spare: SpareMemory };
  };
  /** Divides what is left of a table among lanes. */
  readonly divide: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly tableId: number;
      readonly boundaries: readonly LaneBoundary[];
    };
    readonly response: { readonly checkpoint: TableCheckpoint };
  };
  /** Commits a round of changes in one transaction, so that all of it becomes visible together. */
  readonly apply: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly changes: readonly (EncodedChanges & RowsBefore)[];
      readonly maxLossShare: number;
    };
    readonly response: { readonly checkpoints: readonly TableCheckpoint[] };
  };
  /** Begins to read a table in full that could not be followed. */
  readonly restart: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly tableId: number;
      readonly logs: readonly LogState[];
    };
    readonly response: { readonly checkpoint: TableCheckpoint };
  };
  /** Commits steps of cursors in one transaction. */
  readonly follow: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly steps: readonly CursorStep[];
      readonly maxLossShare: number;
    };
    readonly response: { readonly checkpoints: readonly TableCheckpoint[] };
  };
  /** Begins a reading of all keys of a table, or goes on with it. Its batches are written as any other. */
  readonly beginSweep: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: { readonly checkpoint: TableCheckpoint };
  };
  /** Which keys of a batch have no row. The batch comes back. */
  readonly absentKeys: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly tableId: number;
      readonly batch: Batch;
    };
    readonly response: { readonly absent: readonly Uint8Array[]; readonly batch: Batch };
  };
  /** Commits rows that a sweep of keys found missing. */
  readonly insertMissed: {
    readonly request: { readonly generation: GenerationRef; readonly rows: MissedRows };
    readonly response: Record<string, never>;
  };
  /** Closes a generation's file, so that the pages of an empty table can be written behind it. */
  readonly beginLoad: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: { readonly target: BulkTarget };
  };
  /** Cuts off what was written since. */
  readonly abandonLoad: {
    readonly request: { readonly generation: GenerationRef; readonly target: BulkTarget };
    readonly response: Record<string, never>;
  };
  /** Takes pages that were written since, in the order of their keys. */
  readonly addRuns: {
    readonly request: LoadRef & { readonly tableId: number; readonly runs: readonly PlacedRun[] };
    readonly response: Record<string, never>;
  };
  /** Lets the table have those pages, and those of values, and counts the rows in them. */
  readonly endLoad: {
    readonly request: LoadRef & LoadedTable & { readonly values: readonly PageRange[] };
    readonly response: { readonly checkpoint: TableCheckpoint };
  };
  readonly sweep: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: SweepProgress;
  };
  /** What a sweep would leave. */
  readonly previewSweep: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: { readonly before: number; readonly after: number };
  };
  readonly abandon: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: Record<string, never>;
  };
  readonly complete: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly record: SyncRecord;
      readonly tableIds: readonly number[];
      readonly dropOthers: boolean;
    };
    readonly response: {
      readonly counts: readonly {
        readonly tableId: number;
        readonly stored: number;
        readonly counted: number;
      }[];
      /** Unique indexes that the rows violate. */
      readonly violations: readonly UniqueVerdict[];
    };
  };
  /** Puts rows right that a verify found to be wrong, in one transaction. */
  readonly repairRows: {
    readonly request: { readonly generation: GenerationRef } & RowRepair;
    readonly response: Record<string, never>;
  };
  readonly repairEntries: {
    readonly request: { readonly generation: GenerationRef } & EntryRepair;
    readonly response: Record<string, never>;
  };
  readonly repairCount: {
    readonly request: { readonly generation: GenerationRef; readonly tableId: number };
    readonly response: Record<string, never>;
  };
  /** Adds rows that reads have fetched, to tables in which no sync has come further since. */
  readonly addFetched: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly fetched: readonly FetchedRows[];
    };
    /** How many of each were added; null where the table takes none. */
    readonly response: { readonly added: readonly (number | null)[] };
  };
  /** Closes the generation. An unpublished one is forced to disk. */
  readonly close: {
    readonly request: { readonly generation: GenerationRef };
    readonly response: Record<string, never>;
  };
}

export type TaskMap = {
  readonly [name: string]: { readonly request: object; readonly response: object };
};

/** A request as it crosses to a worker. */
export type TaskMessage<Tasks> = {
  [Name in keyof Tasks & string]: {
    readonly task: Name;
    readonly request: Tasks[Name] extends { readonly request: infer Request } ? Request : never;
  };
}[keyof Tasks & string];

/** What comes back: an answer, or an error that kept its fields. */
export type TaskResult<Response> =
  | { readonly ok: true; readonly response: Response }
  | { readonly ok: false; readonly error: EncodedError };

/** Said to all reader threads at once: nobody waits for this session's answers any more. */
export interface SessionEnded {
  readonly session: string;
}
