import { LibsqlError } from '@libsql/client';
import { ConfigError, SourceError } from '../errors.js';
import { notADatabase, systemCodeOf, unauthorized } from './source-errors.js';

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
  const { code } = error;
  const context = { sqliteCode: code };
  const cause = error.cause;
  const status =
    cause instanceof Error && 'status' in cause && typeof cause.status === 'number'
      ? cause.status
      : undefined;
  if (code.startsWith('URL_')) return new ConfigError(plainMessage(error));
  if (code.startsWith('SQLITE_NOTADB')) return notADatabase(error, context);
  if (code === 'RESPONSE_TOO_LARGE') {
    return new SourceError(
      'SOURCE_RESPONSE_TOO_LARGE',
      'The answer is larger than the server sends.',
      { cause: error, context },
    );
  }
  if (code.startsWith('AUTH') || status === 401 || status === 403) {
    return unauthorized(status ?? 401, error);
  }
  if (
    /^(SQLITE_(BUSY|LOCKED)|HRANA_(WEBSOCKET|CLOSED)_ERROR|STREAM_EXPIRED|STREAM_BATON|TRANSACTION_(TIMEOUT|BUSY|CLOSED)|SERVER_ERROR|CLIENT_CLOSED)/.test(
      code,
    )
  ) {
    return new SourceError(
      'SOURCE_UNAVAILABLE',
      `The source cannot answer now: ${plainMessage(error)}`,
      {
        cause: error,
        // A server that fails inside closes the WebSocket; over HTTP it says 500.
        context: { ...context, serverFailed: /^HRANA_(WEBSOCKET|CLOSED)_ERROR/.test(code) },
      },
    );
  }
  if (/^HRANA_PROTO_ERROR|^PROTOCOL_VERSION_ERROR/.test(code)) {
    return new SourceError(
      'SOURCE_PROTOCOL',
      `The source broke the protocol: ${plainMessage(error)}`,
      {
        cause: error,
        context,
      },
    );
  }
  return new SourceError('SOURCE_SQL', `The source refused a statement: ${plainMessage(error)}`, {
    cause: error,
    context,
  });
}

/** The client's message without the code before it, and without any URL in it, which may hold a token. */
function plainMessage(error: LibsqlError): string {
  const message = error.message.startsWith(`${error.code}: `)
    ? error.message.slice(error.code.length + 2)
    : error.message;
  return message.replace(/[a-z]+:\/\/[^\s"']+[?@][^\s"']*/gi, '<url>');
}
