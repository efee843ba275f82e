import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { checkAuth } from './auth.js';
import type { ServedDatabase, StreamConnection } from './database.js';
import { ProtocolError, ResponseError } from './errors.js';
import type { FaultRules } from './faults.js';
import { sqlText } from './http.js';
import type { ResolvedOptions } from './options.js';
import type {
  ClientMsg,
  CursorEntry,
  HranaEncoding,
  HranaVersion,
  ServerMsg,
  WsRequest,
  WsResponse,
} from './protocol.js';
import { decodeClientMsg as decodeJson, writeServerMsg } from './protocol-json.js';
import { decodeClientMsg as decodeProtobuf, encodeServerMsg } from './protocol-protobuf.js';
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

/** Limit of ws/session.rs. */
const MAX_SQL_COUNT = 150;
/** RFC 6455, section 5.5: a close frame's reason has room for this much. */
const MAX_REASON_BYTES = 123;

interface Subprotocol {
  readonly version: HranaVersion;
  readonly encoding: HranaEncoding;
}

/** In the order the server prefers them (ws/handshake.rs). */
const SUBPROTOCOLS: ReadonlyMap<string, Subprotocol> = new Map([
  ['hrana3-protobuf', { version: 3, encoding: 'protobuf' }],
  ['hrana3', { version: 3, encoding: 'json' }],
  ['hrana2', { version: 2, encoding: 'json' }],
  ['hrana1', { version: 1, encoding: 'json' }],
]);

export interface WebSocketParts {
  readonly options: ResolvedOptions;
  readonly database: ServedDatabase;
  readonly faults: FaultRules;
  readonly stats: StatsCollector;
}

/** Hrana over WebSocket, versions 1 to 3: mirrors libsql-server/src/hrana/ws. */
export class WebSocketHandler {
  readonly #parts: WebSocketParts;
  readonly #server: WebSocketServer;
  readonly #supported: readonly string[];

  constructor(parts: WebSocketParts) {
    this.#parts = parts;
    const { v3, v3Protobuf } = parts.options.versions;
    this.#supported = [...SUBPROTOCOLS.keys()].filter(
      (name) => (name !== 'hrana3-protobuf' || v3Protobuf) && (name !== 'hrana3' || v3),
    );
    this.#server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: (offered) => this.#select([...offered]) ?? false,
    });
  }

  async upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { faults, options, stats } = this.#parts;
    const path = new URL(req.url ?? '/', 'http://localhost').pathname;
    stats.request(path);
    socket.on('error', () => socket.destroy());
    const { latencyMs, action } = faults.strike({ transport: 'ws-upgrade', path, sqls: [] });
    const delayMs = options.latencyMs + latencyMs;
    if (delayMs > 0) {
      await sleep(delayMs);
    }
    switch (action?.kind) {
      case undefined:
        break;
      case 'status':
        refuse(socket, action.status, action.body ?? '', action.retryAfter);
        return;
      case 'stall':
        return;
      default:
        socket.destroy();
        return;
    }
    if (path !== '/' || !options.versions.ws) {
      refuse(socket, 404, '');
      return;
    }
    const offered = req.headers['sec-websocket-protocol'];
    if (
      offered !== undefined &&
      this.#select(offered.split(',').map((p) => p.trim())) === undefined
    ) {
      refuse(
        socket,
        400,
        `Only these WebSocket subprotocols are supported: ${this.#supported.join(' ')}`,
      );
      return;
    }
    this.#server.handleUpgrade(req, socket, head, (ws) => {
      stats.wsConnections++;
      // Without the header, a client is taken to speak the first version.
      const subprotocol = SUBPROTOCOLS.get(ws.protocol) ?? { version: 1, encoding: 'json' };
      new WebSocketSession(ws, this.#parts, subprotocol).start();
    });
  }

  /** Breaks every connection, as a server that goes down does. */
  close(): void {
    for (const ws of this.#server.clients) {
      ws.terminate();
    }
    this.#server.close();
  }

  #select(offered: readonly string[]): string | undefined {
    const lower = offered.map((name) => name.toLowerCase());
    return this.#supported.find((name) => lower.includes(name));
  }
}

function refuse(socket: Duplex, status: number, body: string, retryAfter?: string): void {
  const headers = [
    `HTTP/1.1 ${status} Refused`,
    'Connection: close',
    'Content-Type: text/plain',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
  ];
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
}

interface SessionStream {
  readonly connection: StreamConnection;
  /** The stream's requests run one after another. */
  tail: Promise<void>;
  cursorId: number | undefined;
  cursor: SessionCursor | undefined;
}

interface SessionCursor {
  readonly entries: AsyncGenerator<CursorEntry[], void>;
  ready: CursorEntry[];
}

/** One connection: authentication, streams, stored SQL texts and cursors. */
class WebSocketSession {
  readonly #ws: WebSocket;
  readonly #parts: WebSocketParts;
  readonly #subprotocol: Subprotocol;
  readonly #streams = new Map<number, SessionStream>();
  readonly #sqls = new Map<number, string>();
  /** The stream of each open cursor. */
  readonly #cursors = new Map<number, number>();
  #isAuthenticated = false;
  #isOver = false;

  constructor(ws: WebSocket, parts: WebSocketParts, subprotocol: Subprotocol) {
    this.#ws = ws;
    this.#parts = parts;
    this.#subprotocol = subprotocol;
  }

  start(): void {
    this.#ws.on('error', () => this.#ws.terminate());
    this.#ws.on('close', () => this.#end());
    this.#ws.on('message', (data, isBinary) => this.#receive(data, isBinary));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#isOver) {
      return;
    }
    const bytes = Buffer.isBuffer(data)
      ? data
      : Array.isArray(data)
        ? Buffer.concat(data)
        : Buffer.from(data);
    this.#parts.stats.wsMessages++;
    this.#parts.stats.bytesReceived += bytes.byteLength;
    try {
      this.#handle(this.#decode(bytes, isBinary));
    } catch (error) {
      this.#fail(error);
    }
  }

  #decode(bytes: Buffer, isBinary: boolean): ClientMsg {
    if (isBinary !== (this.#subprotocol.encoding === 'protobuf')) {
      throw new ProtocolError(
        `Received a ${isBinary ? 'binary' : 'text'} WebSocket message, which is not supported in this encoding`,
        1003,
      );
    }
    return isBinary ? decodeProtobuf(bytes) : decodeJson(bytes.toString('utf8'));
  }

  #handle(msg: ClientMsg): void {
    if (msg.type === 'hello') {
      this.#hello(msg.jwt);
      return;
    }
    if (!this.#isAuthenticated) {
      throw new ProtocolError('Received a request before hello message');
    }
    const { requestId, request } = msg;
    const { latencyMs, action } = this.#parts.faults.strike({
      transport: 'ws',
      path: '/',
      sqls: this.#sqlsOf(request),
    });
    switch (action?.kind) {
      case undefined:
        break;
      case 'close':
        this.#close(action.code ?? 1011, action.reason ?? 'fault');
        return;
      case 'stall':
        return;
      case 'bad-json':
      case 'bad-protobuf':
        this.#sendRaw(
          this.#subprotocol.encoding === 'json' ? '{"type":"response_ok",' : Buffer.from([0x0f]),
        );
        return;
      case 'reset':
        if (action.when === 'after') {
          void this.#thenBreak(this.#request(request));
          return;
        }
        this.#break();
        return;
      default:
        this.#break();
        return;
    }
    const delayMs = this.#parts.options.latencyMs + latencyMs;
    void this.#respond(requestId, delayMs, this.#request(request));
  }

  #hello(jwt: string | undefined): void {
    if (this.#isAuthenticated) {
      requireVersion(this.#subprotocol.version, 2, 'Repeated hello message');
    }
    try {
      checkAuth(this.#parts.options.token, jwt === undefined ? undefined : `Bearer ${jwt}`);
    } catch (error) {
      if (!(error instanceof ResponseError)) {
        throw error;
      }
      this.#send({
        type: 'hello_error',
        error: { message: `Authentication failed: ${error.message}`, code: error.code },
      });
      this.#close(1000, 'Thank you for using sqld');
      return;
    }
    this.#isAuthenticated = true;
    this.#send({ type: 'hello_ok' });
  }

  async #respond(
    requestId: number,
    delayMs: number,
    response: WsResponse | Promise<WsResponse>,
  ): Promise<void> {
    let msg: ServerMsg;
    try {
      msg = { type: 'response_ok', requestId, response: await response };
    } catch (error) {
      if (!(error instanceof ResponseError)) {
        this.#fail(error);
        return;
      }
      msg = { type: 'response_error', requestId, error: error.toHrana() };
    }
    if (delayMs > 0) {
      await sleep(delayMs);
    }
    this.#send(msg);
  }

  /** Starts a request. What needs no stream is done at once, in the order of the messages. */
  #request(request: WsRequest): WsResponse | Promise<WsResponse> {
    const { version } = this.#subprotocol;
    switch (request.type) {
      case 'open_stream':
        if (this.#streams.has(request.streamId)) {
          throw new ProtocolError(`Stream ${request.streamId} already exists`);
        }
        this.#streams.set(request.streamId, {
          connection: this.#parts.database.open(),
          tail: Promise.resolve(),
          cursorId: undefined,
          cursor: undefined,
        });
        return { type: 'open_stream' };
      case 'close_stream':
        return this.#closeStream(request.streamId);
      case 'store_sql':
        requireVersion(version, 2, 'The `store_sql` request');
        if (this.#sqls.has(request.sqlId)) {
          throw new ProtocolError(`SQL text ${request.sqlId} already exists`);
        }
        if (this.#sqls.size >= MAX_SQL_COUNT) {
          return Promise.reject(
            new ResponseError(
              `The server already stores ${this.#sqls.size} SQL texts, it cannot store more`,
              'SQL_STORE_TOO_MANY',
            ),
          );
        }
        this.#sqls.set(request.sqlId, request.sql);
        return { type: 'store_sql' };
      case 'close_sql':
        requireVersion(version, 2, 'The `close_sql` request');
        this.#sqls.delete(request.sqlId);
        return { type: 'close_sql' };
      case 'open_cursor':
        return this.#openCursor(request);
      case 'close_cursor':
        return this.#closeCursor(request.cursorId);
      case 'fetch_cursor':
        return this.#fetchCursor(request.cursorId, request.maxCount);
      default:
        return this.#streamRequest(request);
    }
  }

  #streamRequest(
    request: Extract<
      WsRequest,
      { readonly type: 'execute' | 'batch' | 'sequence' | 'describe' | 'get_autocommit' }
    >,
  ): Promise<WsResponse> {
    const { version } = this.#subprotocol;
    const { type } = request;
    if (type === 'sequence' || type === 'describe') {
      requireVersion(version, 2, `The \`${type}\` request`);
    } else if (type === 'get_autocommit') {
      requireVersion(version, 3, 'The `get_autocommit` request');
    }
    const stream = this.#stream(request.streamId);
    // Texts as they are now: a later close_sql must not reach back.
    const ctx = this.#context(stream);
    return this.#enqueue(stream, async () => {
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
    });
  }

  #closeStream(streamId: number): Promise<WsResponse> {
    const stream = this.#stream(streamId);
    this.#streams.delete(streamId);
    if (stream.cursorId !== undefined) {
      this.#cursors.delete(stream.cursorId);
    }
    return this.#enqueue(stream, async () => {
      await endCursor(stream);
      stream.connection.close();
      return { type: 'close_stream' };
    });
  }

  #openCursor(request: Extract<WsRequest, { readonly type: 'open_cursor' }>): Promise<WsResponse> {
    requireVersion(this.#subprotocol.version, 3, 'The `open_cursor` request');
    const stream = this.#stream(request.streamId);
    if (stream.cursorId !== undefined) {
      throw new ProtocolError(`Stream ${request.streamId} already has an open cursor`);
    }
    if (this.#cursors.has(request.cursorId)) {
      throw new ProtocolError(`Cursor ${request.cursorId} already exists`);
    }
    const ctx = this.#context(stream);
    let entries: AsyncGenerator<CursorEntry[], void>;
    try {
      entries = openCursor(ctx, request.batch);
    } catch (error) {
      if (error instanceof ResponseError) {
        return Promise.reject(error);
      }
      throw error;
    }
    stream.cursorId = request.cursorId;
    this.#cursors.set(request.cursorId, request.streamId);
    return this.#enqueue(stream, () => {
      stream.cursor = { entries, ready: [] };
      return Promise.resolve({ type: 'open_cursor' });
    });
  }

  #closeCursor(cursorId: number): Promise<WsResponse> {
    requireVersion(this.#subprotocol.version, 3, 'The `close_cursor` request');
    const stream = this.#cursorStream(cursorId);
    this.#cursors.delete(cursorId);
    stream.cursorId = undefined;
    return this.#enqueue(stream, async () => {
      await endCursor(stream);
      return { type: 'close_cursor' };
    });
  }

  #fetchCursor(cursorId: number, maxCount: number): Promise<WsResponse> {
    requireVersion(this.#subprotocol.version, 3, 'The `fetch_cursor` request');
    const stream = this.#cursorStream(cursorId);
    return this.#enqueue(stream, async () => {
      const { cursor } = stream;
      if (cursor === undefined) {
        throw new ResponseError(`Cursor ${cursorId} has failed to open`, 'CURSOR_NOT_OPEN');
      }
      let done = false;
      while (cursor.ready.length < maxCount && !done) {
        const next = await cursor.entries.next();
        done = next.done === true;
        cursor.ready.push(...(next.value ?? []));
      }
      const entries = cursor.ready.splice(0, maxCount);
      return { type: 'fetch_cursor', entries, done: done && cursor.ready.length === 0 };
    });
  }

  #enqueue(stream: SessionStream, job: () => Promise<WsResponse>): Promise<WsResponse> {
    const result = stream.tail.then(job);
    stream.tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  #stream(streamId: number): SessionStream {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      throw new ProtocolError(`Stream ${streamId} not found`);
    }
    return stream;
  }

  #cursorStream(cursorId: number): SessionStream {
    const streamId = this.#cursors.get(cursorId);
    const stream = streamId === undefined ? undefined : this.#streams.get(streamId);
    if (stream === undefined) {
      throw new ProtocolError(`Cursor ${cursorId} not found`);
    }
    return stream;
  }

  #context(stream: SessionStream): RequestContext {
    return {
      database: this.#parts.database,
      connection: stream.connection,
      sqls: new Map(this.#sqls),
      version: this.#subprotocol.version,
    };
  }

  #sqlsOf(request: WsRequest): string[] {
    switch (request.type) {
      case 'execute':
        return sqlText(request.stmt, this.#sqls);
      case 'batch':
      case 'open_cursor':
        return request.batch.steps.flatMap(({ stmt }) => sqlText(stmt, this.#sqls));
      case 'sequence':
      case 'describe':
        return sqlText(request, this.#sqls);
      default:
        return [];
    }
  }

  #send(msg: ServerMsg): void {
    this.#sendRaw(
      this.#subprotocol.encoding === 'json' ? writeServerMsg(msg) : encodeServerMsg(msg),
    );
  }

  #sendRaw(data: string | Uint8Array): void {
    if (!this.#isOver) {
      this.#parts.stats.bytesSent += Buffer.byteLength(data);
      this.#ws.send(data);
    }
  }

  /** A protocol error closes the connection with its own code, anything else with 1011. */
  #fail(error: unknown): void {
    if (error instanceof ProtocolError) {
      this.#close(error.closeCode, error.message);
    } else {
      this.#close(1011, 'Internal server error');
    }
  }

  #close(code: number, reason: string): void {
    if (!this.#isOver) {
      const bytes = Buffer.from(reason).subarray(0, MAX_REASON_BYTES);
      this.#ws.close(code, bytes.toString('utf8').replace(/\uFFFD+$/, ''));
      this.#end();
    }
  }

  async #thenBreak(response: WsResponse | Promise<WsResponse>): Promise<void> {
    await Promise.allSettled([response]);
    this.#break();
  }

  #break(): void {
    this.#end();
    this.#ws.terminate();
  }

  #end(): void {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    for (const stream of this.#streams.values()) {
      void stream.tail.then(async () => {
        await endCursor(stream);
        stream.connection.close();
      });
    }
    this.#streams.clear();
  }
}

async function endCursor(stream: SessionStream): Promise<void> {
  await stream.cursor?.entries.return();
  stream.cursor = undefined;
}
