import { StorageSyncError, type ErrorCode } from '../errors.js';

/** What the command's exit says to a script. A run stopped by a signal exits with 128 + the signal's number. */
export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_DIFFERENCES = 3;
export const EXIT_SOURCE_UNAVAILABLE = 4;
export const EXIT_SIGINT = 130;
export const EXIT_SIGTERM = 143;

/** The failures that whoever typed the command can mend by typing it differently, and the outages. */
const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: EXIT_USAGE,
  TABLE_NOT_FOUND: EXIT_USAGE,
  TABLE_NOT_SUPPORTED: EXIT_USAGE,
  COLUMN_NOT_FOUND: EXIT_USAGE,
  KEY_NOT_UNIQUE: EXIT_USAGE,
  KEY_INVALID: EXIT_USAGE,
  CAPTURE_NOT_INSTALLED: EXIT_USAGE,
  SOURCE_NOT_FOUND: EXIT_USAGE,
  SOURCE_UNAVAILABLE: EXIT_SOURCE_UNAVAILABLE,
  SOURCE_TIMEOUT: EXIT_SOURCE_UNAVAILABLE,
  ABORTED: EXIT_SIGINT,
};

export function exitCodeOf(error: unknown): number {
  return error instanceof StorageSyncError ? (EXIT_CODES[error.code] ?? EXIT_FAILED) : EXIT_FAILED;
}
