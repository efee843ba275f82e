import { SourceError } from '../errors.js';
import { systemCodeOf, unauthorized } from './source-errors.js';

/** The error for an exchange that took too long. */
export function timedOut(timeoutMs: number, cause?: unknown): SourceError {
  return new SourceError('SOURCE_TIMEOUT', `The source did not answer within ${timeoutMs} ms.`, {
    cause,
    hint: 'Raise the request timeout, or check the network.',
  });
}

/**
 * The error for a connection that could not be made, or that broke.
 *
 * @param to the host and port that were asked.
 * @param serverFailed true where the server may have broken it because it failed inside.
 */
export function connectionFailed(cause: unknown, to: string, serverFailed = false): SourceError {
  const systemCode = systemCodeOf(cause);
  const why = [to, ...(systemCode ? [systemCode] : [])].join(', ');
  return new SourceError('SOURCE_UNAVAILABLE', `The connection to the source failed (${why}).`, {
    cause,
    context: { host: to, systemCode, ...(serverFailed ? { serverFailed } : {}) },
    hint: 'Check the URL and the network.',
  });
}

/** The error for more bytes than anybody has to take. */
export function answerTooLarge(maxBytes: number): SourceError {
  return new SourceError(
    'SOURCE_RESPONSE_TOO_LARGE',
    `The source sent more than ${maxBytes} bytes in one answer.`,
  );
}

/** The error for an HTTP status that is not 2xx. Which ones are worth another try: 408, 429 and 5xx. */
export function refusedRequest(
  status: number,
  retryAfter: string | null,
  { code, message }: ErrorBody,
): SourceError {
  const context = { status, serverCode: code, serverFailed: status === 500 };
  if (status === 401 || status === 403) return unauthorized(status);
  if (code === 'RESPONSE_TOO_LARGE') {
    return new SourceError(
      'SOURCE_RESPONSE_TOO_LARGE',
      'The answer is larger than the server sends.',
      { context },
    );
  }
  if (status === 408 || status === 429 || status >= 500) {
    const retryAfterMs = parseRetryAfter(retryAfter);
    return new SourceError(
      'SOURCE_UNAVAILABLE',
      `The source answered with status ${status}${message}.`,
      {
        context,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        hint:
          status === 429
            ? 'It asks for fewer requests: lower the concurrency.'
            : 'Try again later.',
      },
    );
  }
  if (/^(STREAM_EXPIRED|BATON)/.test(code ?? '')) {
    return new SourceError('SOURCE_UNAVAILABLE', `The server ended the stream${message}.`, {
      context,
    });
  }
  return new SourceError(
    'SOURCE_REQUEST_REJECTED',
    `The source refused the request with status ${status}${message}.`,
    {
      context,
      hint: status === 404 ? 'Check the URL: no database answers there.' : 'Check the URL.',
    },
  );
}

export interface ErrorBody {
  readonly code: string | undefined;
  readonly message: string;
}

/** What a server says in the body of an answer that is no 2xx. */
export function readErrorBody(body: Uint8Array, redact: (text: string) => string): ErrorBody {
  // Before anything is cut off: half a token is one too many.
  const text = redact(
    Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, 65536)).toString(),
  );
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) {
      const { code, message, error } = parsed as Record<string, unknown>;
      const said = typeof message === 'string' ? message : typeof error === 'string' ? error : '';
      return {
        code: typeof code === 'string' ? code : undefined,
        message: said ? `: ${said.slice(0, 200)}` : '',
      };
    }
  } catch {
    // Not JSON: servers and the proxies before them also answer with plain text or a page.
  }
  const line = text.trim().split('\n')[0] ?? '';
  return {
    code: undefined,
    message: line && !line.startsWith('<') ? `: ${line.slice(0, 200)}` : '',
  };
}

/** `Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3). */
function parseRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds) && seconds >= 0) return Math.ceil(seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
