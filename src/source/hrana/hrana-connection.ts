import { SourceError } from '../../errors.js';
import { Secrets } from '../../secrets.js';
import type { Batch, Query, RawRow, SourceConnection, Statement } from '../connection.js';
import { SERVER_RESPONSE_LIMIT } from '../page.js';
import { RetryPolicy, type RetryOptions } from '../retry.js';
import { CURSOR_END, CURSOR_MORE, type CursorEncoding } from './cursor-decoder.js';
import { HttpExchange } from './http-exchange.js';
import { JSON_CURSOR } from './json-cursor.js';
import { OpenCursors } from './open-cursors.js';
import { PipelineStream } from './pipeline.js';
import { PROTOBUF_CURSOR } from './protobuf-cursor.js';
import { RowCursor } from './row-cursor.js';
import type { ServerAddress } from './server-url.js';

export type HranaTransport = CursorEncoding['transport'] | 'http-pipeline';

export interface HranaConnectionOptions extends RetryOptions {
  readonly server: ServerAddress;
  /** Where the URL holds none. */
  readonly authToken: string | undefined;
  readonly requestTimeoutMs: number;
  /** Null to take the best that the server offers. */
  readonly transport: HranaTransport | null;
}

/** The ways to read rows without making values of them, the best first. */
const CURSORS: readonly CursorEncoding[] = [PROTOBUF_CURSOR, JSON_CURSOR];
/** Gives no row, which would be one more that the source gave. */
const PROBE: Statement = { sql: 'SELECT 1 LIMIT 0' };
const MAX_PROBE_BYTES = 4096;
/** As `@libsql/client` begins a transaction that reads: it gets no lock, and may run on a replica. */
const BEGIN: Statement = { sql: 'BEGIN TRANSACTION READONLY' };

/**
 * Reads a server that speaks Hrana over HTTP: single statements and snapshots by pipelines, and the rows of pages by
 * cursors where the server has them.
 */
export class HranaConnection implements SourceConnection {
  readonly stored = null;
  readonly losesInfinities = true;
  readonly maxResponseBytes = SERVER_RESPONSE_LIMIT;
  readonly #options: HranaConnectionOptions;
  readonly #secrets = new Secrets();
  readonly #retry: RetryPolicy;
  readonly #exchange: HttpExchange;
  readonly #abort = new AbortController();
  readonly #cursors: Promise<WireSource | null>;
  #transport: HranaTransport;

  constructor(options: HranaConnectionOptions) {
    this.#options = options;
    const { server, requestTimeoutMs, transport } = options;
    const authToken = server.authToken ?? options.authToken;
    this.#secrets.add(authToken);
    this.#retry = new RetryPolicy(options);
    this.#exchange = new HttpExchange({
      authToken,
      timeoutMs: requestTimeoutMs,
      redact: (text) => this.#secrets.redact(text),
    });
    this.#transport = transport ?? 'http-pipeline';
    this.#cursors = this.#chooseCursor();
    // Whoever needs to know is told.
    this.#cursors.catch(() => undefined);
  }

  /** What was asked for; else, once a statement was answered, the best that the server offers. */
  get transport(): HranaTransport {
    return this.#transport;
  }

  get retries(): number {
    return this.#retry.retries;
  }

  readonly query: Query = async (sql, params = []) => {
    const [rows] = await this.batch([{ sql, params }]);
    return rows!;
  };

  readonly batch: Batch = async (statements) => {
    const [answers] = await Promise.all([
      this.#try(async () => await this.#newStream().run(statements, true)),
      this.#cursors,
    ]);
    return answers;
  };

  async snapshot<T>(read: (query: Query) => Promise<T>): Promise<T> {
    return await this.#try(async () => {
      const stream = this.#newStream();
      let begun = false;
      const query: Query = async (sql, params = []): Promise<RawRow[]> => {
        const statement = { sql, params };
        const statements = begun ? [statement] : [BEGIN, statement];
        begun = true;
        const answers = await this.#guard(stream.run(statements, false));
        return answers.at(-1)!;
      };
      try {
        return await read(query);
      } finally {
        stream.close();
      }
    });
  }

  async wire(): Promise<WireSource | null> {
    return await this.#cursors;
  }

  close(): Promise<void> {
    const reason = new SourceError('SOURCE_UNAVAILABLE', 'The connection was closed.');
    this.#abort.abort(reason);
    this.#exchange.close(reason);
    return Promise.resolve();
  }

  #newStream(): PipelineStream {
    return new PipelineStream(this.#exchange, this.#options.server.base);
  }

  async #try<T>(attempt: () => Promise<T>): Promise<T> {
    return await this.#retry.run(async () => await this.#guard(attempt()), this.#abort.signal);
  }

  /** Takes the token out of what is told of a failure. */
  async #guard<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#secrets.redactError(error);
    }
  }

  async #chooseCursor(): Promise<WireSource | null> {
    const { transport } = this.#options;
    for (const encoding of CURSORS) {
      const isAsked = transport === encoding.transport;
      if (isAsked || (transport === null && (await this.#try(() => this.#offers(encoding))))) {
        this.#transport = encoding.transport;
        return this.#wireSource(encoding);
      }
    }
    return null;
  }

  /**
   * Whether the server answers by a cursor. Asked by a statement that reads nothing, not by the GET that the
   * specification has for it: not every server that has cursors answers that, and some answer it for everything.
   */
  async #offers(encoding: CursorEncoding): Promise<boolean> {
    let cursor: RowCursor | null = null;
    try {
      cursor = await this.#openCursor(encoding, PROBE, MAX_PROBE_BYTES);
      const until = performance.now() + this.#options.requestTimeoutMs;
      let state = cursor.next();
      for (; state === CURSOR_MORE; state = cursor.next()) await cursor.wait(until);
      if (state === CURSOR_END) cursor.end();
      else cursor.drop();
      return state === CURSOR_END;
    } catch (error) {
      cursor?.drop();
      if (error instanceof SourceError && isRefusal(error)) return false;
      throw error;
    }
  }

  #wireSource(encoding: CursorEncoding): WireSource {
    const { requestTimeoutMs } = this.#options;
    return {
      losesInfinities: encoding.losesInfinities,
      timeoutMs: requestTimeoutMs,
      open: async (statement, maxRowBytes) =>
        await this.#openCursor(encoding, statement, maxRowBytes),
      try: async (attempt) => await this.#try(attempt),
      kept: new OpenCursors(),
    };
  }

  async #openCursor(
    encoding: CursorEncoding,
    statement: Statement,
    maxRowBytes: number,
  ): Promise<RowCursor> {
    const { base } = this.#options.server;
    return await RowCursor.open(this.#exchange, base, encoding, statement, maxRowBytes);
  }
}

/** Rows as the wire carries them. */
export interface WireSource {
  /** True when a REAL infinity cannot cross the wire as a number. */
  readonly losesInfinities: boolean;
  /** How long to wait for the next row. */
  readonly timeoutMs: number;
  /** Cursors that stand behind a page, for who reads the next one. */
  readonly kept: OpenCursors;
  /** Sends a statement. Its rows come with the cursor, which must be ended or dropped. Not tried again by itself. */
  open(statement: Statement, maxRowBytes: number): Promise<RowCursor>;
  /** Tries again what may succeed the second time. */
  try<T>(attempt: () => Promise<T>): Promise<T>;
}

/** Whether a failure says that the server does not know what it was asked for, whatever it says it by. */
function isRefusal({ code, context }: SourceError): boolean {
  if (code === 'SOURCE_UNAUTHORIZED' || code === 'SOURCE_TIMEOUT') return false;
  if (code !== 'SOURCE_UNAVAILABLE') return true;
  const { status } = context;
  return typeof status === 'number' && ![408, 429, 503].includes(status);
}
