import { ConfigError, SourceError } from '../errors.js';
import { notADatabase, unauthorized } from './source-errors.js';

/**
 * The error for a statement that a server, or the client before it, did not run. Decided from the code that it gave,
 * never from the message.
 *
 * @param status of the HTTP answer, where there was one of its own.
 */
export function refusedStatement(
  code: string,
  said: string,
  cause?: unknown,
  status?: number,
): Error {
  const context = { sqliteCode: code };
  const message = withoutUrls(said);
  if (code.startsWith('URL_')) return new ConfigError(message);
  if (code.startsWith('SQLITE_NOTADB')) return notADatabase(cause, context);
  if (code === 'RESPONSE_TOO_LARGE') {
    return new SourceError(
      'SOURCE_RESPONSE_TOO_LARGE',
      'The answer is larger than the server sends.',
      { cause, context },
    );
  }
  if (code.startsWith('AUTH') || status === 401 || status === 403) {
    return unauthorized(status ?? 401, cause);
  }
  if (
    /^(SQLITE_(BUSY|LOCKED)|HRANA_(WEBSOCKET|CLOSED)_ERROR|STREAM_EXPIRED|STREAM_BATON|TRANSACTION_(TIMEOUT|BUSY|CLOSED)|SERVER_ERROR|CLIENT_CLOSED)/.test(
      code,
    )
  ) {
    return new SourceError('SOURCE_UNAVAILABLE', `The source cannot answer now: ${message}`, {
      cause,
      // A server that fails inside closes the WebSocket; over HTTP it says 500.
      context: { ...context, serverFailed: /^HRANA_(WEBSOCKET|CLOSED)_ERROR/.test(code) },
    });
  }
  if (/^HRANA_PROTO_ERROR|^PROTOCOL_VERSION_ERROR/.test(code)) {
    return new SourceError('SOURCE_PROTOCOL', `The source broke the protocol: ${message}`, {
      cause,
      context,
    });
  }
  return new SourceError('SOURCE_SQL', `The source refused a statement: ${message}`, {
    cause,
    context,
  });
}

/** A message without any URL in it, which may hold a token. */
function withoutUrls(message: string): string {
  return message.replace(/[a-z]+:\/\/[^\s"']+[?@][^\s"']*/gi, '<url>');
}
