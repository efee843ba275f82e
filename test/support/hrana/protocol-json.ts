import { ProtocolError } from './errors.js';
import { formatFloat } from './json-float.js';
import type {
  Batch,
  BatchCond,
  BatchResult,
  ClientMsg,
  Col,
  CursorEntry,
  CursorReqBody,
  CursorRespBody,
  DescribeResult,
  HranaError,
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
 * The JSON encoding of Hrana 2 and 3. Written out by hand in the key order of the reference,
 * because JSON.stringify loses what it must keep: `-0.0` and the exact form of a float.
 */

type JsonObject = Readonly<Record<string, unknown>>;

function fail(reason: string): never {
  throw new ProtocolError(`Cannot deserialize client message from JSON: ${reason}`, 1007);
}

function parse(body: Uint8Array | string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString('utf8'));
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  return asObject(value, 'body');
}

function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(`invalid type for \`${what}\`, expected an object`);
  }
  return value as JsonObject;
}

function asArray(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : fail(`invalid type for \`${what}\`, expected a sequence`);
}

function asString(value: unknown, what: string): string {
  return typeof value === 'string'
    ? value
    : fail(`invalid type for \`${what}\`, expected a string`);
}

function optional<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): T | undefined {
  return value === undefined || value === null ? undefined : read(value, what);
}

function asInt32(value: unknown, what: string): number {
  return Number.isInteger(value) && (value as number) === ((value as number) | 0)
    ? (value as number)
    : fail(`invalid value for \`${what}\`, expected i32`);
}

function asUint32(value: unknown, what: string): number {
  return Number.isInteger(value) && (value as number) === (value as number) >>> 0
    ? (value as number)
    : fail(`invalid value for \`${what}\`, expected u32`);
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

function readValue(input: unknown): SqlValue {
  const object = asObject(input, 'value');
  switch (object['type']) {
    case 'null':
      return null;
    case 'integer': {
      const text = asString(object['value'], 'value');
      const integer = /^[+-]?\d+$/.test(text) ? BigInt(text.replace(/^\+/, '')) : undefined;
      return integer !== undefined && integer >= INT64_MIN && integer <= INT64_MAX
        ? integer
        : fail(`invalid value: string "${text}", expected decimal integer as a string`);
    }
    case 'float':
      return typeof object['value'] === 'number' ? object['value'] : fail('expected f64');
    case 'text':
      return asString(object['value'], 'value');
    case 'blob': {
      const text = asString(object['base64'], 'base64').replace(/=+$/, '');
      return /^[A-Za-z0-9+/]*$/.test(text) && text.length % 4 !== 1
        ? Buffer.from(text, 'base64')
        : fail(`invalid value: string "${text}", expected binary data encoded as base64`);
    }
    default:
      return fail(`unknown variant \`${String(object['type'])}\` of Value`);
  }
}

function readSqlRef(object: JsonObject): SqlRef {
  return {
    sql: optional(object['sql'], 'sql', asString),
    sqlId: optional(object['sql_id'], 'sql_id', asInt32),
  };
}

function readStmt(input: unknown): Stmt {
  const object = asObject(input, 'stmt');
  const wantRows = object['want_rows'];
  if (wantRows !== undefined && wantRows !== null && typeof wantRows !== 'boolean') {
    return fail('invalid type for `want_rows`, expected a boolean');
  }
  return {
    ...readSqlRef(object),
    args: object['args'] === undefined ? [] : asArray(object['args'], 'args').map(readValue),
    namedArgs:
      object['named_args'] === undefined
        ? []
        : asArray(object['named_args'], 'named_args').map((arg) => {
            const named = asObject(arg, 'named_args');
            return { name: asString(named['name'], 'name'), value: readValue(named['value']) };
          }),
    wantRows: wantRows ?? true,
  };
}

function readCond(input: unknown): BatchCond {
  const object = asObject(input, 'condition');
  const { type } = object;
  switch (type) {
    case 'ok':
    case 'error':
      return { type, step: asUint32(object['step'], 'step') };
    case 'not':
      return { type, cond: readCond(object['cond']) };
    case 'and':
    case 'or':
      return { type, conds: asArray(object['conds'], 'conds').map(readCond) };
    case 'is_autocommit':
      return { type };
    default:
      return fail(`unknown variant \`${String(type)}\` of BatchCond`);
  }
}

function readBatch(input: unknown): Batch {
  const object = asObject(input, 'batch');
  return {
    steps: asArray(object['steps'], 'steps').map((item) => {
      const step = asObject(item, 'steps');
      return {
        condition: optional(step['condition'], 'condition', readCond),
        stmt: readStmt(step['stmt']),
      };
    }),
  };
}

function readStreamRequest(input: unknown): StreamRequest {
  const object = asObject(input, 'requests');
  const { type } = object;
  switch (type) {
    case 'close':
    case 'get_autocommit':
      return { type };
    case 'execute':
      return { type, stmt: readStmt(object['stmt']) };
    case 'batch':
      return { type, batch: readBatch(object['batch']) };
    case 'sequence':
    case 'describe':
      return { type, ...readSqlRef(object) };
    case 'store_sql':
      return {
        type,
        sqlId: asInt32(object['sql_id'], 'sql_id'),
        sql: asString(object['sql'], 'sql'),
      };
    case 'close_sql':
      return { type, sqlId: asInt32(object['sql_id'], 'sql_id') };
    default:
      return fail(`unknown variant \`${String(type)}\` of StreamRequest`);
  }
}

function readWsRequest(input: unknown): WsRequest {
  const object = asObject(input, 'request');
  const { type } = object;
  const streamId = (): number => asInt32(object['stream_id'], 'stream_id');
  const cursorId = (): number => asInt32(object['cursor_id'], 'cursor_id');
  switch (type) {
    case 'open_stream':
    case 'close_stream':
    case 'get_autocommit':
      return { type, streamId: streamId() };
    case 'open_cursor':
      return {
        type,
        streamId: streamId(),
        cursorId: cursorId(),
        batch: readBatch(object['batch']),
      };
    case 'close_cursor':
      return { type, cursorId: cursorId() };
    case 'fetch_cursor':
      return { type, cursorId: cursorId(), maxCount: asUint32(object['max_count'], 'max_count') };
    case 'execute':
      return { type, streamId: streamId(), stmt: readStmt(object['stmt']) };
    case 'batch':
      return { type, streamId: streamId(), batch: readBatch(object['batch']) };
    case 'sequence':
    case 'describe':
      return { type, streamId: streamId(), ...readSqlRef(object) };
    case 'store_sql':
      return {
        type,
        sqlId: asInt32(object['sql_id'], 'sql_id'),
        sql: asString(object['sql'], 'sql'),
      };
    case 'close_sql':
      return { type, sqlId: asInt32(object['sql_id'], 'sql_id') };
    default:
      return fail(`unknown variant \`${String(type)}\` of Request`);
  }
}

export function decodePipelineRequest(body: Uint8Array): PipelineReqBody {
  const object = parse(body);
  return {
    baton: optional(object['baton'], 'baton', asString),
    requests: asArray(object['requests'], 'requests').map(readStreamRequest),
  };
}

export function decodeCursorRequest(body: Uint8Array): CursorReqBody {
  const object = parse(body);
  return {
    baton: optional(object['baton'], 'baton', asString),
    batch: readBatch(object['batch']),
  };
}

export function decodeClientMsg(text: string): ClientMsg {
  const object = parse(text);
  switch (object['type']) {
    case 'hello':
      return { type: 'hello', jwt: optional(object['jwt'], 'jwt', asString) };
    case 'request':
      return {
        type: 'request',
        requestId: asInt32(object['request_id'], 'request_id'),
        request: readWsRequest(object['request']),
      };
    default:
      return fail(`unknown variant \`${String(object['type'])}\` of ClientMsg`);
  }
}

const text = (value: string | null): string => JSON.stringify(value);
const int64 = (value: bigint | null): string => (value === null ? 'null' : `"${value}"`);
const list = <T>(items: readonly T[], write: (item: T) => string): string =>
  `[${items.map(write).join()}]`;

function writeValue(value: SqlValue): string {
  switch (typeof value) {
    case 'bigint':
      return `{"type":"integer","value":"${value}"}`;
    case 'number':
      return `{"type":"float","value":${formatFloat(value)}}`;
    case 'string':
      return `{"type":"text","value":${text(value)}}`;
    default:
      return value === null ? '{"type":"null"}' : `{"type":"blob","base64":"${base64(value)}"}`;
  }
}

/** Without padding, as the reference writes it. */
function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString('base64')
    .replace(/=+$/, '');
}

const writeRow = (row: Row): string => list(row, writeValue);
const writeCol = ({ name, decltype }: Col): string =>
  `{"name":${text(name)},"decltype":${text(decltype)}}`;
export const writeError = ({ message, code }: HranaError): string =>
  `{"message":${text(message)},"code":${text(code)}}`;

function writeStmtResult(result: StmtResult): string {
  return (
    `{"cols":${list(result.cols, writeCol)},"rows":${list(result.rows, writeRow)},` +
    `"affected_row_count":${result.affectedRowCount},` +
    `"last_insert_rowid":${int64(result.lastInsertRowid)},` +
    `"replication_index":${int64(result.replicationIndex)},` +
    `"rows_read":${result.rowsRead},"rows_written":${result.rowsWritten},` +
    `"query_duration_ms":${formatFloat(result.queryDurationMs)}}`
  );
}

function writeBatchResult(result: BatchResult): string {
  return (
    `{"step_results":${list(result.stepResults, (r) => (r === null ? 'null' : writeStmtResult(r)))},` +
    `"step_errors":${list(result.stepErrors, (e) => (e === null ? 'null' : writeError(e)))},` +
    `"replication_index":${int64(result.replicationIndex)}}`
  );
}

function writeDescribeResult(result: DescribeResult): string {
  return (
    `{"params":${list(result.params, ({ name }) => `{"name":${text(name)}}`)},` +
    `"cols":${list(result.cols, writeCol)},` +
    `"is_explain":${result.isExplain},"is_readonly":${result.isReadonly}}`
  );
}

function writeResponse(response: StreamResponse | WsResponse): string {
  switch (response.type) {
    case 'execute':
      return `{"type":"execute","result":${writeStmtResult(response.result)}}`;
    case 'batch':
      return `{"type":"batch","result":${writeBatchResult(response.result)}}`;
    case 'describe':
      return `{"type":"describe","result":${writeDescribeResult(response.result)}}`;
    case 'get_autocommit':
      return `{"type":"get_autocommit","is_autocommit":${response.isAutocommit}}`;
    case 'fetch_cursor':
      return (
        `{"type":"fetch_cursor","entries":${list(response.entries, writeCursorEntry)},` +
        `"done":${response.done}}`
      );
    default:
      return `{"type":"${response.type}"}`;
  }
}

export function writePipelineResponse(body: PipelineRespBody): string {
  const results = list(body.results, (result) =>
    result.type === 'ok'
      ? `{"type":"ok","response":${writeResponse(result.response)}}`
      : `{"type":"error","error":${writeError(result.error)}}`,
  );
  return `{"baton":${text(body.baton)},"base_url":${text(body.baseUrl)},"results":${results}}`;
}

export function writeCursorHead({ baton, baseUrl }: CursorRespBody): string {
  return `{"baton":${text(baton)},"base_url":${text(baseUrl)}}`;
}

export function writeCursorEntry(entry: CursorEntry): string {
  switch (entry.type) {
    case 'step_begin':
      return `{"type":"step_begin","step":${entry.step},"cols":${list(entry.cols, writeCol)}}`;
    case 'step_end':
      // Unlike in StmtResult, the reference writes this rowid as a plain JSON number.
      return (
        `{"type":"step_end","affected_row_count":${entry.affectedRowCount},` +
        `"last_insert_rowid":${entry.lastInsertRowid}}`
      );
    case 'step_error':
      return `{"type":"step_error","step":${entry.step},"error":${writeError(entry.error)}}`;
    case 'row':
      return `{"type":"row","row":${writeRow(entry.row)}}`;
    case 'error':
      return `{"type":"error","error":${writeError(entry.error)}}`;
    case 'replication_index':
      return `{"type":"replication_index","replication_index":${entry.replicationIndex}}`;
  }
}

export function writeServerMsg(msg: ServerMsg): string {
  switch (msg.type) {
    case 'hello_ok':
      return '{"type":"hello_ok"}';
    case 'hello_error':
      return `{"type":"hello_error","error":${writeError(msg.error)}}`;
    case 'response_ok':
      return (
        `{"type":"response_ok","request_id":${msg.requestId},` +
        `"response":${writeResponse(msg.response)}}`
      );
    case 'response_error':
      return (
        `{"type":"response_error","request_id":${msg.requestId},` +
        `"error":${writeError(msg.error)}}`
      );
  }
}
