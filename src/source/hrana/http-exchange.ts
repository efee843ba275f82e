import {
  Agent,
  request as requestPlain,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as TlsAgent, request as requestTls } from 'node:https';
import { SourceError } from '../../errors.js';
import {
  answerTooLarge,
  connectionFailed,
  readErrorBody,
  refusedRequest,
  timedOut,
} from '../http-errors.js';
import { malformed } from './protocol-error.js';

/** Bytes that wait to be read before the server is made to wait. */
const HIGH_WATER_BYTES = 512 * 1024;
const MAX_REDIRECTS = 5;
/** What a server says of an error is not read beyond this. */
const MAX_ERROR_BYTES = 64 * 1024;
/** What may come behind the part of a body that was wanted, for its connection to be worth keeping. */
const MAX_REST_BYTES = 64 * 1024;
const REST_TIMEOUT_MS = 1000;

export interface HttpRequest {
  readonly url: URL;
  readonly contentType: string;
  readonly body: Buffer;
}

export interface HttpExchangeOptions {
  readonly authToken: string | undefined;
  /** For an answer to begin, and for each wait within it. */
  readonly timeoutMs: number;
  /** Takes out of a server's words what must not be told. */
  readonly redact: (text: string) => string;
}

/** Sends POST requests over connections that are kept, and gives answers as they come. */
export class HttpExchange {
  readonly #options: HttpExchangeOptions;
  readonly #agents = {
    'http:': new Agent({ keepAlive: true, noDelay: true }),
    'https:': new TlsAgent({ keepAlive: true, noDelay: true }),
  };
  readonly #open = new Set<{ destroy(error?: Error): unknown }>();
  #closed: SourceError | null = null;

  constructor(options: HttpExchangeOptions) {
    this.#options = options;
  }

  /**
   * Sends a request and waits for an answer of 2xx to begin. Redirects that keep the method are followed; the token goes
   * to another origin only over TLS and only where the first was asked over TLS as well.
   *
   * @throws {SourceError} for every other answer, and where none comes.
   */
  async send(request: HttpRequest): Promise<AnswerBody> {
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === request.url.origin;
      const body = await this.#exchange({ ...request, url }, isOwn);
      const { status, location } = body;
      if (status >= 200 && status < 300) return body;
      if ((status === 307 || status === 308) && location && redirects < MAX_REDIRECTS) {
        body.drop();
        url = redirected(location, url);
        continue;
      }
      const said = await body.some(MAX_ERROR_BYTES);
      body.drop();
      throw refusedRequest(status, body.retryAfter, readErrorBody(said, this.#options.redact));
    }
  }

  /** The whole of an answer that is at most so long, in time. */
  async fetch(request: HttpRequest, maxBytes: number): Promise<Buffer> {
    const until = performance.now() + this.#options.timeoutMs;
    const answer = await this.send(request);
    try {
      return await answer.all(maxBytes, until);
    } catch (error) {
      answer.drop();
      throw error;
    }
  }

  /** Breaks all connections. */
  close(reason: SourceError): void {
    this.#closed = reason;
    for (const each of this.#open) each.destroy(reason);
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  async #exchange({ url, contentType, body }: HttpRequest, isOwn: boolean): Promise<AnswerBody> {
    if (this.#closed) throw this.#closed;
    const { authToken, timeoutMs } = this.#options;
    const isTls = url.protocol === 'https:';
    const options: RequestOptions = {
      method: 'POST',
      agent: this.#agents[isTls ? 'https:' : 'http:'],
      headers: {
        'content-type': contentType,
        'content-length': String(body.length),
        accept: '*/*',
        ...(authToken !== undefined && isOwn ? { authorization: `Bearer ${authToken}` } : {}),
      },
    };
    return await new Promise<AnswerBody>((resolve, reject) => {
      const request = (isTls ? requestTls : requestPlain)(url, options);
      let isSent = false;
      let timer: NodeJS.Timeout | undefined;
      const settle = (): void => {
        clearTimeout(timer);
        this.#open.delete(request);
      };
      this.#open.add(request);
      timer = setTimeout(() => request.destroy(timedOut(timeoutMs)), timeoutMs);
      request.on('finish', () => (isSent = true));
      request.on('response', (message) => {
        settle();
        this.#open.add(message);
        message.on('close', () => this.#open.delete(message));
        resolve(new AnswerBody(message, url.host, timeoutMs));
      });
      request.on('error', (error) => {
        settle();
        reject(error instanceof SourceError ? error : connectionFailed(error, url.host, isSent));
      });
      request.end(body);
    });
  }
}

function redirected(location: string, from: URL): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  const isHttp = to !== null && /^https?:$/.test(to.protocol);
  if (!isHttp || (from.protocol === 'https:' && to.protocol !== 'https:')) {
    throw malformed('it redirects to where no request may go');
  }
  return to;
}

/** The body of an answer, as it comes. Whoever does not read makes the server wait. */
export class AnswerBody {
  readonly status: number;
  readonly location: string | undefined;
  readonly retryAfter: string | null;
  readonly #message: IncomingMessage;
  readonly #timeoutMs: number;
  #pieces: Buffer[] = [];
  #next = 0;
  #waiting = 0;
  #ended = false;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(message: IncomingMessage, host: string, timeoutMs: number) {
    this.status = message.statusCode ?? 0;
    this.location = message.headers.location;
    this.retryAfter = message.headers['retry-after'] ?? null;
    this.#message = message;
    this.#timeoutMs = timeoutMs;
    message.on('data', (piece: Buffer) => {
      this.#pieces.push(piece);
      this.#waiting += piece.length;
      if (this.#waiting > HIGH_WATER_BYTES) message.pause();
      this.#wakeUp();
    });
    message.on('end', () => {
      this.#ended = true;
      this.#wakeUp();
    });
    message.on('error', (error) => {
      this.#failure ??= error instanceof SourceError ? error : connectionFailed(error, host, true);
      this.#wakeUp();
    });
    message.on('close', () => {
      if (!this.#ended) this.#failure ??= connectionFailed(undefined, host, true);
      this.#wakeUp();
    });
  }

  /** The next piece if it is there already. */
  poll(): Buffer | null {
    const piece = this.#pieces[this.#next];
    if (piece === undefined) return null;
    this.#next++;
    this.#waiting -= piece.length;
    if (this.#next === this.#pieces.length) {
      this.#pieces = [];
      this.#next = 0;
      if (this.#message.isPaused()) this.#message.resume();
    }
    return piece;
  }

  /**
   * The next piece, or null at the end.
   *
   * @param until when to give up, as `performance.now()` tells it.
   * @throws {SourceError} when the body breaks off, or nothing comes in time.
   */
  async piece(until: number): Promise<Buffer | null> {
    for (;;) {
      const piece = this.poll();
      if (piece !== null) return piece;
      if (this.#failure) throw this.#failure;
      if (this.#ended) return null;
      await this.#wait(until);
    }
  }

  async all(maxBytes: number, until: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let size = 0;
    for (let piece = await this.piece(until); piece !== null; piece = await this.piece(until)) {
      size += piece.length;
      if (size > maxBytes) throw answerTooLarge(maxBytes);
      pieces.push(piece);
    }
    return Buffer.concat(pieces, size);
  }

  /** The beginning, at most so long, of a body that may break off. */
  async some(maxBytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let size = 0;
    const until = performance.now() + this.#timeoutMs;
    try {
      for (let piece = await this.piece(until); piece !== null; piece = await this.piece(until)) {
        pieces.push(piece);
        size += piece.length;
        if (size >= maxBytes) break;
      }
    } catch {
      // What did come has to do.
    }
    return Buffer.concat(pieces, size).subarray(0, maxBytes);
  }

  /** Gives up a body. Its connection is lost, unless all of it has come. */
  drop(): void {
    if (!this.#message.complete) this.#message.destroy();
    else this.#message.resume();
  }

  /** Reads what is left of a body, if that is little, so that its connection can be used again. */
  async finish(): Promise<void> {
    const until = performance.now() + REST_TIMEOUT_MS;
    try {
      await this.all(MAX_REST_BYTES, until);
    } catch {
      this.drop();
    }
  }

  async #wait(until: number): Promise<void> {
    const left = until - performance.now();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      timer = setTimeout(
        () => {
          const error = timedOut(this.#timeoutMs);
          this.#message.destroy();
          reject(error);
        },
        Math.max(0, left),
      );
    }).finally(() => {
      clearTimeout(timer);
      this.#wake = null;
    });
  }

  #wakeUp(): void {
    this.#wake?.();
  }
}
