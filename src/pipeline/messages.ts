import type { SyncRecord, TableCheckpoint } from '../cache/catalog.js';
import type { IndexBuildProgress } from '../cache/index-build.js';
import type { UniqueVerdict } from '../cache/table-indexes.js';
import type {
  BatchWrite,
  EncodedChanges,
  Preparation,
  PreparedTable,
  SweepProgress,
} from '../cache/generation-writer.js';
import type { SourceSchema } from '../source/introspection.js';
import type { LogState } from '../source/log-state.js';
import type { ConnectionConfig } from '../source/open-source.js';
import type { PageBounds, RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import type { Batch } from '../transform/batch.js';
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
  readonly nextMaxRows: number;
  /** Requests sent again since the last page of this thread. */
  readonly retries: number;
}

/** Everything a reader thread can be asked. */
export interface ReaderTasks {
  readonly schema: {
    readonly request: { readonly source: SourceRef };
    readonly response: {
      readonly schema: SourceSchema;
      readonly transport: string;
      /** The change logs that can be relied on, with their newest versions. */
      readonly logs: readonly LogState[];
    };
  };
  /** The version of the schema: see `SourceSchema`. */
  readonly schemaVersion: {
    readonly request: { readonly source: SourceRef };
    readonly response: { readonly version: number | null };
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
    readonly response: EncodedPage;
  };
  readonly changes: {
    readonly request: {
      readonly source: SourceRef;
      readonly tables: readonly FollowedTable[];
      readonly bounds: PageBounds;
    };
    readonly response: EncodedRound;
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

/** A table that is brought up to date by its change log. */
export interface FollowedTable {
  readonly plan: TablePlan;
  readonly tableId: number;
  readonly log: number;
  /** The version up to which the cache has all changes. */
  readonly after: number;
}

/** Changes of several tables, all of one snapshot of the source. */
export interface EncodedRound {
  readonly changes: readonly EncodedChanges[];
  /** True when no change lies behind, in any of the tables. */
  readonly complete: boolean;
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
export interface WriterTasks {
  readonly open: {
    readonly request: { readonly generation: GenerationRef };
    readonly response: { readonly source: string | null };
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
  /** Commits a round of changes in one transaction, so that all of it becomes visible together. */
  readonly apply: {
    readonly request: {
      readonly generation: GenerationRef;
      readonly changes: readonly EncodedChanges[];
    };
    readonly response: { readonly checkpoints: readonly TableCheckpoint[] };
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
