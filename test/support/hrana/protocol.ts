/**
 * The structures of Hrana 2 and 3, independent of their encoding.
 * Source: docs/HRANA_3_SPEC.md ("Shared structures", "Hrana over HTTP", "Hrana over WebSocket")
 * and the reference server's libsql-hrana/src/proto.rs for the fields the specification omits.
 */

export type HranaVersion = 1 | 2 | 3;
export type HranaEncoding = 'json' | 'protobuf';

/** NULL, INTEGER, REAL, TEXT and BLOB. An INTEGER is always a bigint, a REAL always a number. */
export type SqlValue = null | bigint | number | string | Uint8Array;

export interface NamedArg {
  readonly name: string;
  readonly value: SqlValue;
}

export interface SqlRef {
  readonly sql: string | undefined;
  readonly sqlId: number | undefined;
}

export interface Stmt extends SqlRef {
  readonly args: readonly SqlValue[];
  readonly namedArgs: readonly NamedArg[];
  readonly wantRows: boolean;
}

export type BatchCond =
  | { readonly type: 'ok'; readonly step: number }
  | { readonly type: 'error'; readonly step: number }
  | { readonly type: 'not'; readonly cond: BatchCond }
  | { readonly type: 'and'; readonly conds: readonly BatchCond[] }
  | { readonly type: 'or'; readonly conds: readonly BatchCond[] }
  | { readonly type: 'is_autocommit' };

export interface BatchStep {
  readonly condition: BatchCond | undefined;
  readonly stmt: Stmt;
}

export interface Batch {
  readonly steps: readonly BatchStep[];
}

export type StreamRequest =
  | { readonly type: 'close' }
  | { readonly type: 'execute'; readonly stmt: Stmt }
  | { readonly type: 'batch'; readonly batch: Batch }
  | ({ readonly type: 'sequence' } & SqlRef)
  | ({ readonly type: 'describe' } & SqlRef)
  | { readonly type: 'store_sql'; readonly sqlId: number; readonly sql: string }
  | { readonly type: 'close_sql'; readonly sqlId: number }
  | { readonly type: 'get_autocommit' };

export interface HranaError {
  readonly message: string;
  readonly code: string;
}

export interface Col {
  readonly name: string;
  readonly decltype: string | null;
}

export type Row = readonly SqlValue[];

export interface StmtResult {
  readonly cols: readonly Col[];
  readonly rows: readonly Row[];
  readonly affectedRowCount: number;
  readonly lastInsertRowid: bigint | null;
  readonly replicationIndex: bigint | null;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly queryDurationMs: number;
}

export interface BatchResult {
  readonly stepResults: readonly (StmtResult | null)[];
  readonly stepErrors: readonly (HranaError | null)[];
  readonly replicationIndex: bigint | null;
}

export interface DescribeResult {
  readonly params: readonly { readonly name: string | null }[];
  readonly cols: readonly Col[];
  readonly isExplain: boolean;
  readonly isReadonly: boolean;
}

export type StreamResponse =
  | { readonly type: 'close' | 'sequence' | 'store_sql' | 'close_sql' }
  | { readonly type: 'execute'; readonly result: StmtResult }
  | { readonly type: 'batch'; readonly result: BatchResult }
  | { readonly type: 'describe'; readonly result: DescribeResult }
  | { readonly type: 'get_autocommit'; readonly isAutocommit: boolean };

export type StreamResult =
  | { readonly type: 'ok'; readonly response: StreamResponse }
  | { readonly type: 'error'; readonly error: HranaError };

export interface PipelineReqBody {
  readonly baton: string | undefined;
  readonly requests: readonly StreamRequest[];
}

export interface PipelineRespBody {
  readonly baton: string | null;
  readonly baseUrl: string | null;
  readonly results: readonly StreamResult[];
}

export interface CursorReqBody {
  readonly baton: string | undefined;
  readonly batch: Batch;
}

export interface CursorRespBody {
  readonly baton: string | null;
  readonly baseUrl: string | null;
}

export type CursorEntry =
  | { readonly type: 'step_begin'; readonly step: number; readonly cols: readonly Col[] }
  | {
      readonly type: 'step_end';
      readonly affectedRowCount: number;
      readonly lastInsertRowid: bigint | null;
    }
  | { readonly type: 'step_error'; readonly step: number; readonly error: HranaError }
  | { readonly type: 'row'; readonly row: Row }
  | { readonly type: 'error'; readonly error: HranaError }
  | { readonly type: 'replication_index'; readonly replicationIndex: bigint | null };

/** Requests of Hrana over WebSocket ("Requests" in the specification). */
export type WsRequest =
  | { readonly type: 'open_stream'; readonly streamId: number }
  | { readonly type: 'close_stream'; readonly streamId: number }
  | { readonly type: 'execute'; readonly streamId: number; readonly stmt: Stmt }
  | { readonly type: 'batch'; readonly streamId: number; readonly batch: Batch }
  | {
      readonly type: 'open_cursor';
      readonly streamId: number;
      readonly cursorId: number;
      readonly batch: Batch;
    }
  | { readonly type: 'close_cursor'; readonly cursorId: number }
  | { readonly type: 'fetch_cursor'; readonly cursorId: number; readonly maxCount: number }
  | ({ readonly type: 'sequence'; readonly streamId: number } & SqlRef)
  | ({ readonly type: 'describe'; readonly streamId: number } & SqlRef)
  | { readonly type: 'store_sql'; readonly sqlId: number; readonly sql: string }
  | { readonly type: 'close_sql'; readonly sqlId: number }
  | { readonly type: 'get_autocommit'; readonly streamId: number };

export type WsResponse =
  | {
      readonly type:
        | 'open_stream'
        | 'close_stream'
        | 'open_cursor'
        | 'close_cursor'
        | 'sequence'
        | 'store_sql'
        | 'close_sql';
    }
  | { readonly type: 'execute'; readonly result: StmtResult }
  | { readonly type: 'batch'; readonly result: BatchResult }
  | { readonly type: 'describe'; readonly result: DescribeResult }
  | { readonly type: 'get_autocommit'; readonly isAutocommit: boolean }
  | {
      readonly type: 'fetch_cursor';
      readonly entries: readonly CursorEntry[];
      readonly done: boolean;
    };

export type ClientMsg =
  | { readonly type: 'hello'; readonly jwt: string | undefined }
  | { readonly type: 'request'; readonly requestId: number; readonly request: WsRequest };

export type ServerMsg =
  | { readonly type: 'hello_ok' }
  | { readonly type: 'hello_error'; readonly error: HranaError }
  | { readonly type: 'response_ok'; readonly requestId: number; readonly response: WsResponse }
  | { readonly type: 'response_error'; readonly requestId: number; readonly error: HranaError };
