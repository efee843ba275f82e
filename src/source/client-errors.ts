import { LibsqlError } from '@libsql/client';
import { ConfigError, SourceError } from '../errors.js';
import { refusedStatement } from './refused-statement.js';
import { systemCodeOf } from './source-errors.js';

/** Gives a failure of the client its code. Decided from fields, never from the message. */
export function classify(error: unknown): unknown {
  if (error instanceof SourceError || error instanceof ConfigError || !(error instanceof Error))
    return error;
  if (error instanceof LibsqlError) return classifyLibsql(error);
  if (error instanceof SyntaxError) {
    return new SourceError(
      'SOURCE_PROTOCOL',
      'The source answered something that is not valid JSON.',
      { cause: error },
    );
  }
  const systemCode = systemCodeOf(error);
  if (error instanceof TypeError || systemCode !== undefined) {
    return new SourceError(
      'SOURCE_UNAVAILABLE',
      `The source cannot be reached${systemCode ? ` (${systemCode})` : ''}.`,
      {
        cause: error,
        context: { systemCode },
        hint: 'Check the URL and the network.',
      },
    );
  }
  return error;
}

function classifyLibsql(error: LibsqlError): Error {
  const { cause } = error;
  const status =
    cause instanceof Error && 'status' in cause && typeof cause.status === 'number'
      ? cause.status
      : undefined;
  const { code } = error;
  const message = error.message.startsWith(`${code}: `)
    ? error.message.slice(code.length + 2)
    : error.message;
  return refusedStatement(code, message, error, status);
}
