import { SourceError, type ErrorContext } from '../errors.js';

/** The error for a file that is no database. */
export function notADatabase(cause: unknown, context: ErrorContext): SourceError {
  return new SourceError('SOURCE_NOT_A_DATABASE', 'The source is not a SQLite database.', {
    cause,
    context,
    hint: 'The file may be encrypted, or of another kind.',
  });
}

/** The error for a missing or refused token. */
export function unauthorized(status: number, cause?: unknown): SourceError {
  return new SourceError('SOURCE_UNAUTHORIZED', `The source refused the token (${status}).`, {
    cause,
    context: { status },
    hint: 'Check TURSO_AUTH_TOKEN or --auth-token: it may be missing, expired, or for another database.',
  });
}

/** The system's error code on an error or on one of its causes: `ECONNREFUSED`, `UND_ERR_SOCKET`. */
export function systemCodeOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (
      'code' in at &&
      typeof at.code === 'string' &&
      /^(E[A-Z]+|UND_ERR_|CERT_|ERR_TLS|DEPTH_|SELF_)/.test(at.code)
    )
      return at.code;
    if (at instanceof AggregateError && at.errors.length > 0) return systemCodeOf(at.errors[0]);
  }
  return undefined;
}
