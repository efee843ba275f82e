import { ProtocolError } from './errors.js';
import {
  ProtobufWriter,
  readDouble,
  readFields,
  readInt32,
  readMessage,
  readSint64,
  readString,
  readUint32,
} from './protobuf-wire.js';
import type {
  Batch,
  BatchCond,
  BatchResult,
  BatchStep,
  ClientMsg,
  Col,
  CursorEntry,
  CursorReqBody,
  CursorRespBody,
  DescribeResult,
  HranaError,
  NamedArg,
  PipelineReqBody,
  PipelineRespBody,
  Row,
  ServerMsg,
  SqlRef,
  SqlValue,
  Stmt,
  StmtResult,
  StreamRequest,
  StreamResponse,
  WsRequest,
  WsResponse,
} from './protocol.js';

/**
 * The Protobuf encoding of Hrana 3 ("Protobuf schema" of the specification, and the fields the
 * reference adds in libsql-hrana/src/proto.rs). A missing required message counts as empty.
 */

function readValue(bytes: Uint8Array): SqlValue {
  let value: SqlValue | undefined;
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        value = null;
        break;
      case 2:
        value = readSint64(field);
        break;
      case 3:
        value = readDouble(field);
        break;
      case 4:
        value = readString(field);
        break;
      case 5:
        value = readMessage(field);
        break;
    }
  }
  if (value === undefined) {
    throw new ProtocolError('Value type not recognized');
  }
  return value;
}

function readNamedArg(bytes: Uint8Array): NamedArg {
  let name = '';
  let value: Uint8Array = new Uint8Array();
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      name = readString(field);
    } else if (field.number === 2) {
      value = readMessage(field);
    }
  }
  return { name, value: readValue(value) };
}

function readStmt(bytes: Uint8Array): Stmt {
  let sql: string | undefined;
  let sqlId: number | undefined;
  let wantRows = true;
  const args: SqlValue[] = [];
  const namedArgs: NamedArg[] = [];
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        sql = readString(field);
        break;
      case 2:
        sqlId = readInt32(field);
        break;
      case 3:
        args.push(readValue(readMessage(field)));
        break;
      case 4:
        namedArgs.push(readNamedArg(readMessage(field)));
        break;
      case 5:
        wantRows = readUint32(field) !== 0;
        break;
    }
  }
  return { sql, sqlId, args, namedArgs, wantRows };
}

/** The last field of a oneof counts. */
function readCond(bytes: Uint8Array): BatchCond {
  let cond: BatchCond | undefined;
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        cond = { type: 'ok', step: readUint32(field) };
        break;
      case 2:
        cond = { type: 'error', step: readUint32(field) };
        break;
      case 3:
        cond = { type: 'not', cond: readCond(readMessage(field)) };
        break;
      case 4:
        cond = { type: 'and', conds: readCondList(readMessage(field)) };
        break;
      case 5:
        cond = { type: 'or', conds: readCondList(readMessage(field)) };
        break;
      case 6:
        cond = { type: 'is_autocommit' };
        break;
    }
  }
  if (cond === undefined) {
    throw new ProtocolError('BatchCond type not recognized');
  }
  return cond;
}

function readCondList(bytes: Uint8Array): BatchCond[] {
  const conds: BatchCond[] = [];
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      conds.push(readCond(readMessage(field)));
    }
  }
  return conds;
}

function readStep(bytes: Uint8Array): BatchStep {
  let condition: BatchCond | undefined;
  let stmt = readStmt(new Uint8Array());
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      condition = readCond(readMessage(field));
    } else if (field.number === 2) {
      stmt = readStmt(readMessage(field));
    }
  }
  return { condition, stmt };
}

function readBatch(bytes: Uint8Array): Batch {
  const steps: BatchStep[] = [];
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      steps.push(readStep(readMessage(field)));
    }
  }
  return { steps };
}

/** `sql` and `sql_id`, whose field numbers differ between HTTP and WebSocket messages. */
function readSqlRef(bytes: Uint8Array, sqlField: number): SqlRef {
  let sql: string | undefined;
  let sqlId: number | undefined;
  for (const field of readFields(bytes)) {
    if (field.number === sqlField) {
      sql = readString(field);
    } else if (field.number === sqlField + 1) {
      sqlId = readInt32(field);
    }
  }
  return { sql, sqlId };
}

function readStoreSql(bytes: Uint8Array): { sqlId: number; sql: string } {
  let sqlId = 0;
  let sql = '';
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      sqlId = readInt32(field);
    } else if (field.number === 2) {
      sql = readString(field);
    }
  }
  return { sqlId, sql };
}

function readInt(bytes: Uint8Array, number: number): number {
  let value = 0;
  for (const field of readFields(bytes)) {
    if (field.number === number) {
      value = readInt32(field);
    }
  }
  return value;
}

function readSub(bytes: Uint8Array, number: number): Uint8Array {
  let value: Uint8Array = new Uint8Array();
  for (const field of readFields(bytes)) {
    if (field.number === number) {
      value = readMessage(field);
    }
  }
  return value;
}

function readStreamRequest(bytes: Uint8Array): StreamRequest {
  let request: StreamRequest | undefined;
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        request = { type: 'close' };
        break;
      case 2:
        request = { type: 'execute', stmt: readStmt(readSub(readMessage(field), 1)) };
        break;
      case 3:
        request = { type: 'batch', batch: readBatch(readSub(readMessage(field), 1)) };
        break;
      case 4:
        request = { type: 'sequence', ...readSqlRef(readMessage(field), 1) };
        break;
      case 5:
        request = { type: 'describe', ...readSqlRef(readMessage(field), 1) };
        break;
      case 6:
        request = { type: 'store_sql', ...readStoreSql(readMessage(field)) };
        break;
      case 7:
        request = { type: 'close_sql', sqlId: readInt(readMessage(field), 1) };
        break;
      case 8:
        request = { type: 'get_autocommit' };
        break;
    }
  }
  if (request === undefined) {
    throw new ProtocolError('StreamRequest type not recognized');
  }
  return request;
}

export function decodePipelineRequest(body: Uint8Array): PipelineReqBody {
  let baton: string | undefined;
  const requests: StreamRequest[] = [];
  for (const field of readFields(body)) {
    if (field.number === 1) {
      baton = readString(field);
    } else if (field.number === 2) {
      requests.push(readStreamRequest(readMessage(field)));
    }
  }
  return { baton, requests };
}

export function decodeCursorRequest(body: Uint8Array): CursorReqBody {
  let baton: string | undefined;
  for (const field of readFields(body)) {
    if (field.number === 1) {
      baton = readString(field);
    }
  }
  return { baton, batch: readBatch(readSub(body, 2)) };
}

function readWsRequest(number: number, bytes: Uint8Array): WsRequest | undefined {
  const streamId = (): number => readInt(bytes, 1);
  switch (number) {
    case 2:
      return { type: 'open_stream', streamId: streamId() };
    case 3:
      return { type: 'close_stream', streamId: streamId() };
    case 4:
      return { type: 'execute', streamId: streamId(), stmt: readStmt(readSub(bytes, 2)) };
    case 5:
      return { type: 'batch', streamId: streamId(), batch: readBatch(readSub(bytes, 2)) };
    case 6:
      return {
        type: 'open_cursor',
        streamId: streamId(),
        cursorId: readInt(bytes, 2),
        batch: readBatch(readSub(bytes, 3)),
      };
    case 7:
      return { type: 'close_cursor', cursorId: readInt(bytes, 1) };
    case 8:
      return {
        type: 'fetch_cursor',
        cursorId: readInt(bytes, 1),
        maxCount: readInt(bytes, 2) >>> 0,
      };
    case 9:
      return { type: 'sequence', streamId: streamId(), ...readSqlRef(bytes, 2) };
    case 10:
      return { type: 'describe', streamId: streamId(), ...readSqlRef(bytes, 2) };
    case 11:
      return { type: 'store_sql', ...readStoreSql(bytes) };
    case 12:
      return { type: 'close_sql', sqlId: readInt(bytes, 1) };
    case 13:
      return { type: 'get_autocommit', streamId: streamId() };
    default:
      return undefined;
  }
}

export function decodeClientMsg(bytes: Uint8Array): ClientMsg {
  let msg: ClientMsg | undefined;
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      const [jwt] = [...readFields(readMessage(field))].filter(({ number }) => number === 1);
      msg = { type: 'hello', jwt: jwt === undefined ? undefined : readString(jwt) };
    } else if (field.number === 2) {
      msg = readRequestMsg(readMessage(field));
    }
  }
  if (msg === undefined) {
    throw new ProtocolError('ClientMsg type not recognized');
  }
  return msg;
}

function readRequestMsg(bytes: Uint8Array): ClientMsg {
  let requestId = 0;
  let request: WsRequest | undefined;
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      requestId = readInt32(field);
    } else {
      request = readWsRequest(field.number, readMessage(field)) ?? request;
    }
  }
  if (request === undefined) {
    throw new ProtocolError('Request type not recognized');
  }
  return { type: 'request', requestId, request };
}

function writeValue(w: ProtobufWriter, value: SqlValue): void {
  switch (typeof value) {
    case 'bigint':
      w.sint64(2, value);
      break;
    case 'number':
      w.double(3, value);
      break;
    case 'string':
      w.string(4, value);
      break;
    default:
      if (value === null) {
        w.message(1, () => undefined);
      } else {
        w.bytes(5, value);
      }
  }
}

function writeRow(w: ProtobufWriter, row: Row): void {
  for (const value of row) {
    w.message(1, () => writeValue(w, value));
  }
}

function writeCols(w: ProtobufWriter, number: number, cols: readonly Col[]): void {
  for (const { name, decltype } of cols) {
    w.message(number, () => {
      w.string(1, name);
      if (decltype !== null) {
        w.string(2, decltype);
      }
    });
  }
}

function writeError(w: ProtobufWriter, { message, code }: HranaError): void {
  if (message !== '') {
    w.string(1, message);
  }
  if (code !== '') {
    w.string(2, code);
  }
}

function writeStmtResult(w: ProtobufWriter, result: StmtResult): void {
  writeCols(w, 1, result.cols);
  for (const row of result.rows) {
    w.message(2, () => writeRow(w, row));
  }
  w.uint(3, result.affectedRowCount);
  if (result.lastInsertRowid !== null) {
    w.sint64(4, result.lastInsertRowid);
  }
  if (result.replicationIndex !== null) {
    w.uintOptional(5, result.replicationIndex);
  }
  w.uint(6, result.rowsRead);
  w.uint(7, result.rowsWritten);
  if (result.queryDurationMs !== 0) {
    w.double(8, result.queryDurationMs);
  }
}

/** Two maps from the index of a step (`vec_as_map` of the reference). */
function writeBatchResult(w: ProtobufWriter, result: BatchResult): void {
  const entry = (number: number, index: number, write: () => void): void => {
    w.message(number, () => {
      w.uintOptional(1, index);
      w.message(2, write);
    });
  };
  for (const [index, stepResult] of result.stepResults.entries()) {
    if (stepResult !== null) {
      entry(1, index, () => writeStmtResult(w, stepResult));
    }
  }
  for (const [index, error] of result.stepErrors.entries()) {
    if (error !== null) {
      entry(2, index, () => writeError(w, error));
    }
  }
}

function writeDescribeResult(w: ProtobufWriter, result: DescribeResult): void {
  for (const { name } of result.params) {
    w.message(1, () => {
      if (name !== null) {
        w.string(1, name);
      }
    });
  }
  for (const { name, decltype } of result.cols) {
    w.message(2, () => {
      if (name !== '') {
        w.string(1, name);
      }
      if (decltype !== null) {
        w.string(2, decltype);
      }
    });
  }
  w.bool(3, result.isExplain);
  w.bool(4, result.isReadonly);
}

function writeResponseBody(w: ProtobufWriter, response: StreamResponse | WsResponse): void {
  switch (response.type) {
    case 'execute':
      w.message(1, () => writeStmtResult(w, response.result));
      break;
    case 'batch':
      w.message(1, () => writeBatchResult(w, response.result));
      break;
    case 'describe':
      w.message(1, () => writeDescribeResult(w, response.result));
      break;
    case 'get_autocommit':
      w.bool(1, response.isAutocommit);
      break;
    case 'fetch_cursor':
      for (const entry of response.entries) {
        w.message(1, () => writeCursorEntry(w, entry));
      }
      w.bool(2, response.done);
      break;
    default:
      break;
  }
}

const STREAM_RESPONSE_FIELDS: Readonly<Record<StreamResponse['type'], number>> = {
  close: 1,
  execute: 2,
  batch: 3,
  sequence: 4,
  describe: 5,
  store_sql: 6,
  close_sql: 7,
  get_autocommit: 8,
};

const WS_RESPONSE_FIELDS: Readonly<Record<WsResponse['type'], number>> = {
  open_stream: 2,
  close_stream: 3,
  execute: 4,
  batch: 5,
  open_cursor: 6,
  close_cursor: 7,
  fetch_cursor: 8,
  sequence: 9,
  describe: 10,
  store_sql: 11,
  close_sql: 12,
  get_autocommit: 13,
};

function writeHead(w: ProtobufWriter, { baton, baseUrl }: CursorRespBody): void {
  if (baton !== null) {
    w.string(1, baton);
  }
  if (baseUrl !== null) {
    w.string(2, baseUrl);
  }
}

export function encodePipelineResponse(body: PipelineRespBody): Uint8Array {
  const w = new ProtobufWriter();
  writeHead(w, body);
  for (const result of body.results) {
    w.message(3, () => {
      if (result.type === 'ok') {
        w.message(1, () => {
          w.message(STREAM_RESPONSE_FIELDS[result.response.type], () =>
            writeResponseBody(w, result.response),
          );
        });
      } else {
        w.message(2, () => writeError(w, result.error));
      }
    });
  }
  return w.finish();
}

export function encodeError(error: HranaError): Uint8Array {
  const w = new ProtobufWriter();
  writeError(w, error);
  return w.finish();
}

export function encodeCursorHead(head: CursorRespBody): Uint8Array {
  const w = new ProtobufWriter();
  w.delimited(() => writeHead(w, head));
  return w.finish();
}

function writeCursorEntry(w: ProtobufWriter, entry: CursorEntry): void {
  switch (entry.type) {
    case 'step_begin':
      w.message(1, () => {
        w.uint(1, entry.step);
        writeCols(w, 2, entry.cols);
      });
      break;
    case 'step_end':
      w.message(2, () => {
        w.uint(1, entry.affectedRowCount);
        if (entry.lastInsertRowid !== null) {
          w.sint64(2, entry.lastInsertRowid);
        }
      });
      break;
    case 'step_error':
      w.message(3, () => {
        w.uint(1, entry.step);
        w.message(2, () => writeError(w, entry.error));
      });
      break;
    case 'row':
      w.message(4, () => writeRow(w, entry.row));
      break;
    case 'error':
      w.message(5, () => writeError(w, entry.error));
      break;
    case 'replication_index': {
      // Not in the specification: a wrapped u64, or nothing at all, which makes an empty entry.
      const { replicationIndex } = entry;
      if (replicationIndex !== null) {
        w.message(6, () => w.uint(1, replicationIndex));
      }
      break;
    }
  }
}

export function encodeCursorEntries(entries: readonly CursorEntry[]): Uint8Array {
  const w = new ProtobufWriter();
  for (const entry of entries) {
    w.delimited(() => writeCursorEntry(w, entry));
  }
  return w.finish();
}

export function encodeServerMsg(msg: ServerMsg): Uint8Array {
  const w = new ProtobufWriter();
  switch (msg.type) {
    case 'hello_ok':
      w.message(1, () => undefined);
      break;
    case 'hello_error':
      w.message(2, () => w.message(1, () => writeError(w, msg.error)));
      break;
    case 'response_ok':
      w.message(3, () => {
        w.uint(1, BigInt(msg.requestId));
        w.message(WS_RESPONSE_FIELDS[msg.response.type], () => writeResponseBody(w, msg.response));
      });
      break;
    case 'response_error':
      w.message(4, () => {
        w.uint(1, BigInt(msg.requestId));
        w.message(2, () => writeError(w, msg.error));
      });
      break;
  }
  return w.finish();
}
