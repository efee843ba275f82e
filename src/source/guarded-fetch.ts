import { SourceError } from '../errors.js';
import { parseAnswer } from './hrana-answer.js';
import { systemCodeOf, unauthorized } from './source-errors.js';

export interface GuardedFetchOptions {
  /** For the whole exchange: connection, headers and body. */
  readonly timeoutMs: number;
  /** An answer larger than this is given up, whatever it says of its length. */
  readonly maxAnswerBytes?: number;
  /** Takes out of a server's words what must not be told. */
  readonly redact?: (text: string) => string;
}

/** Far above what any server that keeps to the protocol sends for one page. */
export const DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * A `fetch` for `@libsql/client`, which has no timeout, no limit and no classification of its own. Answers are read
 * whole before they are handed on, so that every failure, a body cut short included, surfaces here with its code.
 */
export function guardedFetch(
  options: GuardedFetchOptions,
): (request: Request) => Promise<Response> {
  const { timeoutMs, maxAnswerBytes = DEFAULT_MAX_ANSWER_BYTES } = options;
  const redact = options.redact ?? ((text: string) => text);
  return async (request) => {
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await fetch(request, { signal: AbortSignal.any([timeout, request.signal]) });
      const body = await readBody(response, maxAnswerBytes);
      if (!response.ok) throw refused(response, errorBody(body, redact));
      return parsedResponse(parseAnswer(body), response);
    } catch (error) {
      if (error instanceof SourceError) throw error;
      if (timeout.aborted) {
        throw new SourceError(
          'SOURCE_TIMEOUT',
          `The source did not answer within ${timeoutMs} ms.`,
          {
            cause: error,
            hint: 'Raise the request timeout, or check the network.',
          },
        );
      }
      const systemCode = systemCodeOf(error);
      throw new SourceError(
        'SOURCE_UNAVAILABLE',
        `The connection to the source failed${systemCode ? ` (${systemCode})` : ''}.`,
        { cause: error, context: { systemCode }, hint: 'Check the URL and the network.' },
      );
    }
  };
}

/** An answer that was parsed already: the client asks for nothing else of it. */
function parsedResponse(answer: unknown, { status, statusText, headers }: Response): Response {
  const response = new Response(null, { status, statusText, headers });
  return Object.assign(response, { json: () => Promise.resolve(answer) });
}

async function readBody(response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  if (response.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new SourceError(
        'SOURCE_RESPONSE_TOO_LARGE',
        `The source sent more than ${maxBytes} bytes in one answer.`,
      );
    }
    chunks.push(chunk);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

/** The error for an HTTP status that is not 2xx. Which ones are worth another try: 408, 429 and 5xx. */
function refused(response: Response, { code, message }: ErrorBody): SourceError {
  const { status } = response;
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
    const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'));
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

interface ErrorBody {
  readonly code: string | undefined;
  readonly message: string;
}

function errorBody(body: Uint8Array, redact: (text: string) => string): ErrorBody {
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
