import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as yieldThread, setTimeout as sleep } from 'node:timers/promises';
import { checkAuth } from './auth.js';
import { BodySink, FLUSH_MS } from './body-sink.js';
import type { ServedDatabase } from './database.js';
import { ProtocolError, ResponseError, ServerError, StreamExpiredError } from './errors.js';
import type { FaultRules, Strike } from './faults.js';
import { HTTP_CODECS, type HttpCodec } from './http-codec.js';
import type { ResolvedOptions } from './options.js';
import type {
  CursorReqBody,
  HranaEncoding,
  HranaVersion,
  PipelineReqBody,
  SqlRef,
  StreamRequest,
  StreamResponse,
  StreamResult,
} from './protocol.js';
import {
  describe,
  executeBatch,
  executeSequence,
  executeStmt,
  openCursor,
  type RequestContext,
  requireVersion,
} from './requests.js';
import type { StatsCollector } from './stats.js';
import type { HttpStream, HttpStreams } from './streams.js';

/** Limits of http/request.rs. */
const MAX_SQL_COUNT = 50;
const MAX_STORED_SQL_BYTES = 5_000;
/** A long cursor lets other requests run after this many chunks. */
const CHUNKS_PER_TURN = 32;
const INDEX_TEXT = 'Hello, this is HTTP API v2 (Hrana over HTTP)';

interface Route {
  readonly kind: 'index' | 'pipeline' | 'cursor';
  readonly version: HranaVersion;
  readonly encoding: HranaEncoding;
}

type DecodedRequest =
  | { readonly kind: 'pipeline'; readonly body: PipelineReqBody }
  | { readonly kind: 'cursor'; readonly body: CursorReqBody };

interface RecordedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body; of a cursor, what follows its head, which holds a baton and is made anew. */
  readonly chunks: readonly Uint8Array[];
  readonly statements: readonly string[];
  readonly rows: number;
}

export interface HttpParts {
  readonly options: ResolvedOptions;
  readonly database: ServedDatabase;
  readonly streams: HttpStreams;
  readonly faults: FaultRules;
  readonly stats: StatsCollector;
}

/** Hrana over HTTP, versions 2 and 3: mirrors libsql-server/src/hrana/http. */
export class HttpHandler {
  readonly #parts: HttpParts;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #recorded = new Map<string, RecordedAnswer>();

  constructor(parts: HttpParts) {
    this.#parts = parts;
    this.#routes = routes(parts.options.versions);
  }

  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { faults, options, stats } = this.#parts;
    const path = new URL(req.url ?? '/', 'http://localhost').pathname;
    stats.request(path);
    const body = await readBody(req);
    stats.bytesReceived += body.byteLength;
    const route = this.#routes.get(path);
    const decoded = route === undefined ? undefined : decode(route, body);
    const sqls = decoded === undefined ? [] : this.#sqlsOf(decoded);
    const strike = faults.strike({ transport: 'http', path, sqls });
    const delayMs = options.latencyMs + strike.latencyMs;
    if (delayMs > 0) {
      await sleep(delayMs);
    }
    const sink = new BodySink(res, stats, strike.action, options.bytesPerSecond);
    if (await answerFault(strike.action, 'before', res, sink)) {
      return;
    }
    try {
      await this.#answer(req, res, sink, { path, route, body, decoded, sqls }, strike.action);
    } catch (error) {
      await answerError(error, route, sink, res);
    }
  }

  async #answer(
    req: IncomingMessage,
    res: ServerResponse,
    sink: BodySink,
    request: {
      readonly path: string;
      readonly route: Route | undefined;
      readonly body: Uint8Array;
      readonly decoded: DecodedRequest | ProtocolError | undefined;
      readonly sqls: readonly string[];
    },
    action: Strike['action'],
  ): Promise<void> {
    const { decoded, route } = request;
    if (route === undefined) {
      await respond(sink, request.path === '/health' ? 200 : 404, {}, '');
      return;
    }
    if (req.method !== (route.kind === 'index' ? 'GET' : 'POST')) {
      await respond(sink, 405, {}, '');
      return;
    }
    if (route.kind === 'index') {
      await respond(sink, 200, { 'content-type': 'text/plain' }, INDEX_TEXT);
      return;
    }
    try {
      checkAuth(this.#parts.options.token, req.headers.authorization);
    } catch (error) {
      throw error instanceof ResponseError
        ? new ServerError(`Unauthorized: \`${error.message}\``, 401)
        : error;
    }
    if (decoded instanceof ProtocolError) {
      throw decoded;
    }
    const key = this.#replayKey(request.path, request.body, decoded);
    const recorded = key === undefined ? undefined : this.#recorded.get(key);
    const codec = HTTP_CODECS[route.encoding];
    if (recorded !== undefined && decoded !== undefined) {
      await this.#replay(recorded, decoded.kind, codec, sink);
    } else if (decoded?.kind === 'pipeline') {
      await this.#pipeline(res, sink, route, codec, decoded.body, action, key, request.sqls);
    } else if (decoded?.kind === 'cursor') {
      await this.#cursor(res, sink, route, codec, decoded.body, action, key, request.sqls);
    }
  }

  async #pipeline(
    res: ServerResponse,
    sink: BodySink,
    route: Route,
    codec: HttpCodec,
    body: PipelineReqBody,
    action: Strike['action'],
    key: string | undefined,
    sqls: readonly string[],
  ): Promise<void> {
    const { streams } = this.#parts;
    const stream = streams.acquire(body.baton);
    const results: StreamResult[] = [];
    let baton: string | null;
    try {
      const release = await stream.connection.acquire();
      try {
        for (const request of body.requests) {
          results.push(await this.#streamResult(stream, request, route.version));
        }
      } finally {
        release();
      }
      baton = streams.release(stream);
    } catch (error) {
      // An error of the protocol or the server ends the stream, and its transaction.
      streams.drop(stream);
      throw error;
    }
    if (await answerFault(action, 'after', res, sink)) {
      return;
    }
    const chunk = codec.pipeline({ baton, baseUrl: null, results });
    const headers = { 'content-type': codec.contentType };
    if (key !== undefined && baton === null) {
      this.#recorded.set(key, {
        status: 200,
        headers,
        chunks: [chunk],
        statements: sqls,
        rows: countRows(results),
      });
    }
    await respond(sink, 200, headers, chunk);
  }

  async #streamResult(
    stream: HttpStream,
    request: StreamRequest,
    version: HranaVersion,
  ): Promise<StreamResult> {
    try {
      return { type: 'ok', response: await this.#streamResponse(stream, request, version) };
    } catch (error) {
      if (error instanceof ResponseError) {
        return { type: 'error', error: error.toHrana() };
      }
      throw error;
    }
  }

  async #streamResponse(
    stream: HttpStream,
    request: StreamRequest,
    version: HranaVersion,
  ): Promise<StreamResponse> {
    const { type } = request;
    switch (type) {
      case 'close':
        stream.isClosed = true;
        return { type };
      case 'store_sql':
        storeSql(stream.sqls, request.sqlId, request.sql);
        return { type };
      case 'close_sql':
        stream.sqls.delete(request.sqlId);
        return { type };
      default:
        break;
    }
    if (type === 'get_autocommit') {
      requireVersion(version, 3, 'The `get_autocommit` request');
    }
    const ctx = this.#context(stream, version);
    switch (type) {
      case 'execute':
        return { type, result: await executeStmt(ctx, request.stmt) };
      case 'batch':
        return { type, result: await executeBatch(ctx, request.batch) };
      case 'sequence':
        await executeSequence(ctx, request);
        return { type };
      case 'describe':
        return { type, result: describe(ctx, request) };
      case 'get_autocommit':
        return { type, isAutocommit: stream.connection.isAutocommit };
    }
  }

  #context(stream: HttpStream, version: HranaVersion): RequestContext {
    if (stream.isClosed) {
      throw new ProtocolError('Stream for this baton was closed');
    }
    const { database } = this.#parts;
    return { database, connection: stream.connection, sqls: stream.sqls, version };
  }

  /** Sends a batch's entries as they are made; the stream's next request waits for the last. */
  async #cursor(
    res: ServerResponse,
    sink: BodySink,
    route: Route,
    codec: HttpCodec,
    body: CursorReqBody,
    action: Strike['action'],
    key: string | undefined,
    sqls: readonly string[],
  ): Promise<void> {
    const { options, streams } = this.#parts;
    const stream = streams.acquire(body.baton);
    const releaseTurn = await stream.connection.acquire();
    try {
      let entries: ReturnType<typeof openCursor>;
      try {
        entries = openCursor(this.#context(stream, route.version), body.batch);
      } catch (error) {
        streams.drop(stream);
        // Unlike a pipeline, a cursor has no place for an error before its batch runs.
        throw error instanceof ResponseError
          ? new ServerError(`Internal Error: \`${error.message}\``)
          : error;
      }
      const baton = streams.release(stream);
      if (await answerFault(action, 'after', res, sink)) {
        await entries.return();
        return;
      }
      const headers = { 'content-type': codec.cursorContentType };
      sink.head(200, headers);
      const recorded: Uint8Array[] = [];
      let pending: Uint8Array[] = [codec.cursorHead({ baton, baseUrl: null })];
      let isHead = true;
      let pendingBytes = 0;
      let rows = 0;
      let chunks = 0;
      const flush = async (): Promise<void> => {
        const chunk = Buffer.concat(pending);
        if (key !== undefined) {
          recorded.push(isHead ? Buffer.concat(pending.slice(1)) : chunk);
        }
        isHead = false;
        pending = [];
        pendingBytes = 0;
        await sink.write(chunk);
        if (++chunks % CHUNKS_PER_TURN === 0) {
          await yieldThread();
        }
      };
      try {
        for await (const some of entries) {
          const encoded = codec.cursorEntries(some);
          rows += some[0]?.type === 'row' ? some.length : 0;
          pending.push(encoded);
          pendingBytes += encoded.byteLength;
          if (pendingBytes >= options.cursorChunkBytes) {
            await flush();
            if (!sink.isOpen) {
              break;
            }
          }
        }
      } catch (error) {
        if (sink.isOpen) {
          await flush();
        }
        // The reference ends the body with an error, which the client sees as a reset.
        await sleep(FLUSH_MS);
        res.destroy(error instanceof Error ? error : undefined);
        return;
      }
      if (sink.isOpen) {
        await flush();
      }
      if (sink.isOpen && key !== undefined) {
        this.#recorded.set(key, { status: 200, headers, chunks: recorded, statements: sqls, rows });
      }
      sink.end();
    } finally {
      releaseTurn();
    }
  }

  async #replay(
    recorded: RecordedAnswer,
    kind: DecodedRequest['kind'],
    codec: HttpCodec,
    sink: BodySink,
  ): Promise<void> {
    const { stats, streams } = this.#parts;
    stats.replayed++;
    stats.rows(recorded.rows);
    for (const sql of recorded.statements) {
      stats.statement(sql);
    }
    if (kind === 'pipeline') {
      const [chunk = new Uint8Array()] = recorded.chunks;
      await respond(sink, recorded.status, recorded.headers, chunk);
      return;
    }
    // The stream is real, so that a client can close it; only the entries are old.
    const baton = streams.release(streams.acquire(undefined));
    sink.head(recorded.status, recorded.headers);
    await sink.write(codec.cursorHead({ baton, baseUrl: null }));
    for (const chunk of recorded.chunks) {
      await sink.write(chunk);
    }
    sink.end();
  }

  #replayKey(
    path: string,
    body: Uint8Array,
    decoded: DecodedRequest | undefined,
  ): string | undefined {
    return this.#parts.options.replayIdentical && decoded?.body.baton === undefined
      ? `${path}\n${Buffer.from(body).toString('latin1')}`
      : undefined;
  }

  /** SQL texts of a request, looked up where it names stored ones. */
  #sqlsOf(decoded: DecodedRequest | ProtocolError): string[] {
    if (decoded instanceof ProtocolError) {
      return [];
    }
    const sqls = new Map(this.#parts.streams.peekSqls(decoded.body.baton));
    if (decoded.kind === 'cursor') {
      return decoded.body.batch.steps.flatMap(({ stmt }) => sqlText(stmt, sqls));
    }
    return decoded.body.requests.flatMap((request) => {
      switch (request.type) {
        case 'store_sql':
          sqls.set(request.sqlId, request.sql);
          return [];
        case 'execute':
          return sqlText(request.stmt, sqls);
        case 'batch':
          return request.batch.steps.flatMap(({ stmt }) => sqlText(stmt, sqls));
        case 'sequence':
        case 'describe':
          return sqlText(request, sqls);
        default:
          return [];
      }
    });
  }
}

export function sqlText({ sql, sqlId }: SqlRef, sqls: ReadonlyMap<number, string>): string[] {
  const text = sql ?? (sqlId === undefined ? undefined : sqls.get(sqlId));
  return text === undefined ? [] : [text];
}

function routes(versions: ResolvedOptions['versions']): Map<string, Route> {
  const table = new Map<string, Route>();
  const add = (
    prefix: string,
    kinds: readonly Route['kind'][],
    version: HranaVersion,
    encoding: HranaEncoding,
  ): void => {
    for (const kind of kinds) {
      table.set(kind === 'index' ? prefix : `${prefix}/${kind}`, { kind, version, encoding });
    }
  };
  if (versions.v2) {
    add('/v2', ['index', 'pipeline'], 2, 'json');
  }
  if (versions.v3) {
    add('/v3', ['index', 'pipeline', 'cursor'], 3, 'json');
  }
  if (versions.v3Protobuf) {
    add('/v3-protobuf', ['index', 'pipeline', 'cursor'], 3, 'protobuf');
  }
  return table;
}

async function readBody(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of req as AsyncIterable<Buffer>) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode(route: Route, body: Uint8Array): DecodedRequest | ProtocolError | undefined {
  const codec = HTTP_CODECS[route.encoding];
  try {
    switch (route.kind) {
      case 'pipeline':
        return { kind: 'pipeline', body: codec.decodePipeline(body) };
      case 'cursor':
        return { kind: 'cursor', body: codec.decodeCursor(body) };
      case 'index':
        return undefined;
    }
  } catch (error) {
    if (error instanceof ProtocolError) {
      return error;
    }
    throw error;
  }
}

function storeSql(sqls: Map<number, string>, sqlId: number, sql: string): void {
  if (sqls.has(sqlId)) {
    throw new ProtocolError(`SQL text ${sqlId} already exists`);
  }
  if (sqls.size >= MAX_SQL_COUNT) {
    throw new ResponseError(
      `The server already stores ${sqls.size} SQL texts, it cannot store more`,
      'SQL_STORE_TOO_MANY',
    );
  }
  const bytes = Buffer.byteLength(sql);
  if (bytes > MAX_STORED_SQL_BYTES) {
    throw new ResponseError(
      `The statement is too large to be stored: ${(bytes / 1000).toFixed(1)} KB/5.0 KB`,
      'SQL_STORE_TOO_LARGE',
    );
  }
  sqls.set(sqlId, sql);
}

function countRows(results: readonly StreamResult[]): number {
  let rows = 0;
  for (const result of results) {
    if (result.type === 'ok' && result.response.type === 'execute') {
      rows += result.response.result.rows.length;
    } else if (result.type === 'ok' && result.response.type === 'batch') {
      for (const step of result.response.result.stepResults) {
        rows += step?.rows.length ?? 0;
      }
    }
  }
  return rows;
}

async function respond(
  sink: BodySink,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
): Promise<void> {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  sink.head(status, headers, bytes.byteLength);
  await sink.write(bytes);
  sink.end();
}

/** Answers with a fault instead of the real answer; false leaves the real one to be given. */
async function answerFault(
  action: Strike['action'],
  moment: 'before' | 'after',
  res: ServerResponse,
  sink: BodySink,
): Promise<boolean> {
  switch (action?.kind) {
    case 'reset':
      if ((action.when ?? 'before') !== moment) {
        return false;
      }
      res.socket?.resetAndDestroy();
      return true;
    case 'close':
      res.destroy();
      return true;
    case 'status': {
      if ((action.when ?? 'before') !== moment) {
        return false;
      }
      const headers = {
        'content-type': action.contentType ?? 'text/plain',
        ...(action.retryAfter === undefined ? {} : { 'retry-after': action.retryAfter }),
      };
      await respond(sink, action.status, headers, action.body ?? '');
      return true;
    }
    case 'stall':
      // Without a byte count the statements do not run either, and not even a status is sent.
      return action.afterBytes === undefined;
    case 'bad-json':
      if (moment === 'before') {
        return false;
      }
      await respond(
        sink,
        200,
        { 'content-type': 'application/json' },
        '{"baton":null,"results":[{',
      );
      return true;
    case 'bad-protobuf':
      if (moment === 'before') {
        return false;
      }
      await respond(
        sink,
        200,
        { 'content-type': 'application/x-protobuf' },
        // A field of wire type 7, which there is not, behind a length that is too long.
        Buffer.from([0xff, 0xff, 0xff, 0x7f, 0x0f]),
      );
      return true;
    default:
      return false;
  }
}

async function answerError(
  error: unknown,
  route: Route | undefined,
  sink: BodySink,
  res: ServerResponse,
): Promise<void> {
  if (res.headersSent) {
    res.destroy();
  } else if (error instanceof ProtocolError) {
    await respond(sink, 400, { 'content-type': 'text/plain' }, error.message);
  } else if (error instanceof StreamExpiredError) {
    const codec = HTTP_CODECS[route?.encoding ?? 'json'];
    await respond(
      sink,
      400,
      { 'content-type': codec.contentType },
      codec.error({ message: error.message, code: error.code }),
    );
  } else {
    const status = error instanceof ServerError ? error.status : 500;
    const message = error instanceof Error ? error.message : String(error);
    await respond(
      sink,
      status,
      { 'content-type': 'application/json' },
      JSON.stringify({ error: message }),
    );
  }
}
