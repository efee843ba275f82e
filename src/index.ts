export { StorageSync, type OpenOptions } from './storage-sync.js';
export type { SyncOptions } from './sync-options.js';
export { SyncRun } from './sync-run.js';
export type { LaneProgress, SyncProgress } from './progress.js';
export type {
  SchemaChange,
  SyncMode,
  SyncReport,
  TableCounters,
  TableMode,
  TableReport,
  ValidationCheck,
  ValidationReport,
} from './report.js';
export {
  DEFAULT_BATCH_SIZE,
  DEFAULT_CONCURRENCY,
  DEFAULT_LANES,
  DEFAULT_MAX_HELD_SHARE,
  DEFAULT_MAX_LOSS_SHARE,
  DEFAULT_MAX_BYTES_IN_FLIGHT,
  DEFAULT_MAX_PAGE_BYTES,
  DEFAULT_MAX_ROW_BYTES,
  DEFAULT_REQUEST_TIMEOUT_MS,
  DEFAULT_RETRIES,
  DEFAULT_RETRY_INITIAL_MS,
  DEFAULT_RETRY_MAX_MS,
  DEFAULT_STALE_AFTER_FAILURES,
  DEFAULT_STALE_AFTER_MS,
  DEFAULT_THREAD_NICENESS,
  type RowErrorPolicy,
  type SourceOptions,
  type StorageSyncOptions,
  type Transport,
} from './options.js';
export {
  defineTable,
  type ColumnType,
  type ColumnTypes,
  type CursorDefinition,
  type ColumnNameOf,
  type ColumnValues,
  type IndexColumn,
  type IndexDefinition,
  type IndexDefinitions,
  type IndexName,
  type IndexValues,
  type IndexesOf,
  type ModeChoice,
  type ReferenceDefinition,
  type RowOf,
  type SoftDeleteDefinition,
  type StoredRowOf,
  type StoredValue,
  type TableDefinition,
  type TableLimit,
  type ValueOf,
} from './table-definition.js';
export type { RowSchema } from './row-schema.js';
export { InvalidText, type Cell, type SourceRow, type SqlValue } from './values.js';
export {
  CacheError,
  CaptureError,
  ConfigError,
  LossError,
  RowInvalidError,
  RowRejectedError,
  SourceError,
  StorageSyncError,
  SyncAbortedError,
  WorkerError,
  describeError,
  type CacheErrorCode,
  type CaptureErrorCode,
  type ErrorCode,
  type ErrorContext,
  type RowIssue,
  type StorageSyncErrorOptions,
  type SourceErrorCode,
  type SourceErrorOptions,
} from './errors.js';
export {
  CacheReader,
  CacheSnapshot,
  TableReader,
  openCache,
  type CachedIndex,
  type CachedTable,
  type CacheReaderOptions,
  type IndexBound,
  type IndexRangeOptions,
  type IndexStreamOptions,
  type KeyArgument,
  type Leading,
  type RangeOptions,
  type StreamOptions,
} from './cache/reader.js';
export type { CacheReads } from './cache/read-window.js';
export { ReadThrough, type ReadThroughStats } from './read-through/read-through.js';
export {
  DEFAULT_KEPT_TTL_MS,
  DEFAULT_MAX_KEPT_BYTES,
  DEFAULT_MAX_NEGATIVES,
  DEFAULT_NEGATIVE_TTL_MS,
  type ReadThroughOptions,
} from './read-through/options.js';
export {
  CACHE_STATES,
  readStatus,
  type CacheState,
  type CacheStatus,
  type CheckpointStatus,
  type StatusOptions,
  type TableStatus,
} from './cache/status.js';
export type { HeldSnapshot } from './cache/held-snapshot.js';
export type { TablePhase } from './cache/catalog.js';
export type { LastError } from './cache/state-file.js';
export type { LockHolder } from './cache/lock.js';
export { DEFAULT_VERIFY_LEVEL } from './verify/options.js';
export type {
  Difference,
  DifferenceKind,
  DifferentRange,
  VerifyCheck,
  VerifyLevel,
  VerifyOptions,
  VerifyReport,
  VerifyTableReport,
} from './verify/report.js';
export { WorkerPool, type WorkerPoolOptions } from './pipeline/worker-pool.js';
export {
  openChangeLog,
  type ChangeLog,
  type ChangeLogOptions,
  type ChangeLogStatus,
  type CompactOptions,
  type CompactReport,
  type CompactedTable,
  type InstallReport,
  type InstalledTable,
  type UninstallReport,
} from './source/change-log/change-log.js';
export type { CaptureReader, CaptureStatus } from './source/change-log/capture-status.js';
export {
  openSource,
  type OpenSourceOptions,
  type PagesOptions,
  type Source,
  type SourceTable,
} from './source/source.js';
export type { Page, RejectedRow } from './source/page.js';
export type { RowsPage } from './source/page-reader.js';
export {
  DEFAULT_SYNC_CONFIG,
  SPLIT_EMBEDDINGS,
  embeddings,
  embeddingsTable,
  episodes,
  heuristics,
  memoryPreset,
  patterns,
  type SyncConfig,
} from './memory/preset.js';
export type { Logger } from './logger.js';
export { Watch, type RequestedSync, type RequestedVerify } from './watch/watch.js';
export {
  DEFAULT_WATCH_INTERVAL_MS,
  DEFAULT_WATCH_JITTER,
  type WatchOptions,
} from './watch/watch-options.js';
export {
  MAX_ROUNDS_KEPT,
  type RoundError,
  type RoundOutcome,
  type RunningRound,
  type VerifySummary,
  type WatchJob,
  type WatchReason,
  type WatchRound,
  type WatchState,
  type WatchStatus,
} from './watch/watch-status.js';
export {
  defineConfig,
  type ConfigFile,
  type ConfigSource,
  type LogLevel,
  type WatchConfig,
} from './config.js';
export { diagnose, type Diagnosis } from './doctor/diagnose.js';
export type { Finding, FindingStatus } from './doctor/finding.js';
