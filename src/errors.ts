/** Every error this package throws on purpose has one of these codes: `docs/errors.md` says what to do about each. */
export type ErrorCode =
  | 'CONFIG_INVALID'
  | 'SOURCE_UNAVAILABLE'
  | 'SOURCE_TIMEOUT'
  | 'SOURCE_UNAUTHORIZED'
  | 'SOURCE_REQUEST_REJECTED'
  | 'SOURCE_RESPONSE_TOO_LARGE'
  | 'SOURCE_PROTOCOL'
  | 'SOURCE_SQL'
  | 'SOURCE_SCHEMA_CHANGED'
  | 'SOURCE_NOT_FOUND'
  | 'SOURCE_NOT_A_DATABASE'
  | 'TABLE_NOT_FOUND'
  | 'TABLE_NOT_SUPPORTED'
  | 'COLUMN_NOT_FOUND'
  | 'KEY_NOT_UNIQUE'
  | 'ROW_REJECTED'
  | 'ROW_INVALID'
  | 'LOSS_SUSPECTED'
  | 'CACHE_EMPTY'
  | 'CACHE_LOCKED'
  | 'CACHE_FORMAT_UNSUPPORTED'
  | 'CACHE_DEFINITION_MISMATCH'
  | 'CACHE_CORRUPT'
  | 'CACHE_IO'
  | 'CACHE_FULL'
  | 'CACHE_CLOSED'
  | 'CACHE_SNAPSHOT_HELD'
  | 'CACHE_READERS_FULL'
  | 'CACHE_UNSAFE'
  | 'CACHE_INDEX_BUILDING'
  | 'CACHE_INDEX_VIOLATED'
  | 'KEY_INVALID'
  | 'CAPTURE_NOT_INSTALLED'
  | 'CAPTURE_FORMAT_UNSUPPORTED'
  | 'CAPTURE_UNSAFE'
  | 'ABORTED'
  | 'WORKER_FAILED';

/** Facts about an error that a program may act on. All of them survive a thread boundary. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** What an error carries besides its message. */
export interface StorageSyncErrorOptions {
  readonly cause?: unknown;
  readonly context?: ErrorContext;
  /** What the reader of the message should do next. Shown after the message. */
  readonly hint?: string;
}

/** The base of all errors thrown on purpose. `code` is stable; `message` is for people and may change. */
export class StorageSyncError extends Error {
  override readonly name: string = 'StorageSyncError';
  /** What kind of error it is. Stable. */
  readonly code: ErrorCode;
  /** What it is about: the table, the key, the counts. Depends on the code. */
  readonly context: ErrorContext;
  /** What to do next, for people. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: StorageSyncErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.context = options.context ?? {};
    this.hint = options.hint;
  }
}

/** The options, the configuration file or the command line are wrong. Nothing was started. */
export class ConfigError extends StorageSyncError {
  override readonly name = 'ConfigError';
  constructor(message: string, options?: StorageSyncErrorOptions) {
    super('CONFIG_INVALID', message, options);
  }
}

/** The codes of {@link SourceError}. */
export type SourceErrorCode = Extract<
  ErrorCode,
  `SOURCE_${string}` | `TABLE_${string}` | 'COLUMN_NOT_FOUND' | 'KEY_NOT_UNIQUE'
>;

/** What a {@link SourceError} carries besides its message. */
export interface SourceErrorOptions extends StorageSyncErrorOptions {
  /** How long the server asked to wait before the next try. */
  readonly retryAfterMs?: number;
}

/** The source could not be reached, refused, or answered something that cannot be used. */
export class SourceError extends StorageSyncError {
  override readonly name = 'SourceError';
  declare readonly code: SourceErrorCode;
  /** How long the server asked to wait before the next try; undefined where it did not. */
  readonly retryAfterMs: number | undefined;

  constructor(code: SourceErrorCode, message: string, options: SourceErrorOptions = {}) {
    super(code, message, options);
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same request may succeed later without anybody changing anything. */
  get retryable(): boolean {
    return (
      this.code === 'SOURCE_UNAVAILABLE' ||
      this.code === 'SOURCE_TIMEOUT' ||
      this.code === 'SOURCE_PROTOCOL'
    );
  }
}

/** The codes of {@link CacheError}. */
export type CacheErrorCode = Extract<ErrorCode, `CACHE_${string}` | 'KEY_INVALID'>;

/** The cache directory or a record in it cannot be used as asked. */
export class CacheError extends StorageSyncError {
  override readonly name = 'CacheError';
  declare readonly code: CacheErrorCode;
  constructor(code: CacheErrorCode, message: string, options?: StorageSyncErrorOptions) {
    super(code, message, options);
  }
}

/** The codes of {@link CaptureError}. */
export type CaptureErrorCode = Extract<ErrorCode, `CAPTURE_${string}`>;

/** The change log in the source cannot be kept or used as asked. */
export class CaptureError extends StorageSyncError {
  override readonly name = 'CaptureError';
  declare readonly code: CaptureErrorCode;
  constructor(code: CaptureErrorCode, message: string, options?: StorageSyncErrorOptions) {
    super(code, message, options);
  }
}

/** A row of the source cannot be cached, and the policy is to stop. The table and the key are in `context`. */
export class RowRejectedError extends StorageSyncError {
  override readonly name = 'RowRejectedError';
  constructor(message: string, options?: StorageSyncErrorOptions) {
    super('ROW_REJECTED', message, options);
  }
}

/** What is wrong with a value of a row: where it stands in the row, and why it does not fit. */
export interface RowIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** A row of the cache does not fit the `schema` of its definition. The table and the key are in `context`. */
export class RowInvalidError extends StorageSyncError {
  override readonly name = 'RowInvalidError';
  /** What is wrong with it, by the schema. */
  readonly issues: readonly RowIssue[];

  constructor(message: string, issues: readonly RowIssue[], options?: StorageSyncErrorOptions) {
    super('ROW_INVALID', message, options);
    this.issues = issues;
  }
}

/** A table would lose more rows than is likely. The table and the counts are in `context`. */
export class LossError extends StorageSyncError {
  override readonly name = 'LossError';
  constructor(message: string, options?: StorageSyncErrorOptions) {
    super('LOSS_SUSPECTED', message, options);
  }
}

/** The caller's `AbortSignal` fired. What was committed stays, and the next sync goes on from there. */
export class SyncAbortedError extends StorageSyncError {
  override readonly name = 'SyncAbortedError';
  constructor(
    message = 'The sync was aborted; what was committed is kept and the next sync resumes from it.',
  ) {
    super('ABORTED', message);
  }
}

/** A worker thread failed in a way that is not an answer to a request. */
export class WorkerError extends StorageSyncError {
  override readonly name = 'WorkerError';
  constructor(message: string, options?: StorageSyncErrorOptions) {
    super('WORKER_FAILED', message, options);
  }
}

/** The message and the hint of an error, for people; the causes' messages follow. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = error instanceof StorageSyncError && error.hint ? ` ${error.hint}` : '';
  const cause = error.cause instanceof Error ? ` (${describeError(error.cause)})` : '';
  return `${error.message}${hint}${cause}`;
}
