import { SourceError } from '../errors.js';
import { parseAnswer } from './hrana-answer.js';
import {
  answerTooLarge,
  connectionFailed,
  readErrorBody,
  refusedRequest,
  timedOut,
} from './http-errors.js';

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
      if (!response.ok) {
        const retryAfter = response.headers.get('retry-after');
        throw refusedRequest(response.status, retryAfter, readErrorBody(body, redact));
      }
      return parsedResponse(parseAnswer(body), response);
    } catch (error) {
      if (error instanceof SourceError) throw error;
      throw timeout.aborted
        ? timedOut(timeoutMs, error)
        : connectionFailed(error, new URL(request.url).host);
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
      throw answerTooLarge(maxBytes);
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
