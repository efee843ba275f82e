import {
  CacheError,
  CaptureError,
  ConfigError,
  LossError,
  RowRejectedError,
  SourceError,
  StorageSyncError,
  SyncAbortedError,
  WorkerError,
  type CacheErrorCode,
  type CaptureErrorCode,
  type ErrorCode,
  type ErrorContext,
  type SourceErrorCode,
} from '../errors.js';

/** An error as plain data. Structured cloning keeps only the message of a custom error. */
export interface EncodedError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | number | undefined;
  readonly context: ErrorContext | undefined;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly cause: EncodedError | undefined;
}

const MAX_CAUSES = 8;

export function encodeError(error: unknown, depth = 0): EncodedError {
  if (!(error instanceof Error)) {
    return { ...encodeError(new Error(String(error))), stack: undefined };
  }
  const own = error instanceof StorageSyncError ? error : undefined;
  const code = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    context: own?.context,
    hint: own?.hint,
    retryAfterMs: error instanceof SourceError ? error.retryAfterMs : undefined,
    cause:
      error.cause !== undefined && depth < MAX_CAUSES
        ? encodeError(error.cause, depth + 1)
        : undefined,
  };
}

/** The counterpart of {@link encodeError}: an error of the same class, with the stack of where it happened. */
export function decodeError(encoded: EncodedError): Error {
  const error = rebuild(encoded);
  if (encoded.stack !== undefined) error.stack = encoded.stack;
  return error;
}

function rebuild(encoded: EncodedError): Error {
  const { name, message } = encoded;
  const code = encoded.code as ErrorCode;
  const options = {
    ...(encoded.cause === undefined ? {} : { cause: decodeError(encoded.cause) }),
    ...(encoded.context === undefined ? {} : { context: encoded.context }),
    ...(encoded.hint === undefined ? {} : { hint: encoded.hint }),
    ...(encoded.retryAfterMs === undefined ? {} : { retryAfterMs: encoded.retryAfterMs }),
  };
  switch (name) {
    case 'ConfigError':
      return new ConfigError(message, options);
    case 'SourceError':
      return new SourceError(code as SourceErrorCode, message, options);
    case 'CacheError':
      return new CacheError(code as CacheErrorCode, message, options);
    case 'CaptureError':
      return new CaptureError(code as CaptureErrorCode, message, options);
    case 'LossError':
      return new LossError(message, options);
    case 'RowRejectedError':
      return new RowRejectedError(message, options);
    case 'SyncAbortedError':
      return new SyncAbortedError(message);
    case 'WorkerError':
      return new WorkerError(message, options);
    case 'StorageSyncError':
      return new StorageSyncError(code, message, options);
    default: {
      const error = new Error(message, options);
      error.name = name;
      return encoded.code === undefined ? error : Object.assign(error, { code: encoded.code });
    }
  }
}
