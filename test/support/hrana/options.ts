import type { FaultSpec } from './faults.js';
import type { HranaStats } from './stats.js';

export interface HranaServerOptions {
  /** Path of the database file; made when it does not exist. */
  readonly file: string;
  /** Bearer token that requests must show. Without one, none is asked for. */
  readonly token?: string;
  /** 0, the default, takes a free port; it stays the same over stop and start. */
  readonly port?: number;
  readonly versions?: HranaVersions;
  /** For how long a stream over HTTP may be idle. Default 10 s, as in sqld. */
  readonly streamIdleMs?: number;
  /** For how long a transaction may block other writers. Default 5 s, as in sqld. */
  readonly transactionTimeoutMs?: number;
  /** Largest result of an execute or batch. Default 10 MB, as in sqld. */
  readonly maxResponseBytes?: number;
  /** Added to every answer. Default 0. */
  readonly latencyMs?: number;
  /** How fast each answer's body is sent at most, as over a long way. Default: as fast as it is taken. */
  readonly bytesPerSecond?: number;
  /** Whether answers tell a replication index. Default true. */
  readonly replicationIndex?: boolean;
  /** Least bytes of a cursor's body sent at once; 1 sends each fetch of rows alone. Default 16 KiB. */
  readonly cursorChunkBytes?: number;
  /**
   * Encodes the answers of identical requests once and sends the same bytes again, for
   * benchmarks in which the server must not be what is measured. Only for a database that does
   * not change: a replayed request does not run. Default false.
   */
  readonly replayIdentical?: boolean;
}

/** What the server speaks. Each is on by default; what is off answers 404. */
export interface HranaVersions {
  readonly v2?: boolean;
  readonly v3?: boolean;
  readonly v3Protobuf?: boolean;
  readonly ws?: boolean;
}

export interface ResolvedOptions {
  readonly file: string;
  readonly token: string | undefined;
  readonly port: number;
  readonly versions: Required<HranaVersions>;
  readonly streamIdleMs: number;
  readonly transactionTimeoutMs: number;
  readonly maxResponseBytes: number;
  readonly latencyMs: number;
  readonly bytesPerSecond: number;
  readonly replicationIndex: boolean;
  readonly cursorChunkBytes: number;
  readonly replayIdentical: boolean;
}

export function resolveOptions(options: HranaServerOptions): ResolvedOptions {
  return {
    file: options.file,
    token: options.token,
    port: options.port ?? 0,
    versions: { v2: true, v3: true, v3Protobuf: true, ws: true, ...options.versions },
    streamIdleMs: options.streamIdleMs ?? 10_000,
    transactionTimeoutMs: options.transactionTimeoutMs ?? 5_000,
    maxResponseBytes: options.maxResponseBytes ?? 10_000_000,
    latencyMs: options.latencyMs ?? 0,
    bytesPerSecond: options.bytesPerSecond ?? Infinity,
    replicationIndex: options.replicationIndex ?? true,
    cursorChunkBytes: options.cursorChunkBytes ?? 16_384,
    replayIdentical: options.replayIdentical ?? false,
  };
}

/** What the handle in the test asks of the server's thread: argument and result of each call. */
export interface ServerCalls {
  readonly start: { readonly argument: undefined; readonly result: number };
  readonly stop: { readonly argument: undefined; readonly result: undefined };
  readonly addFault: { readonly argument: FaultSpec; readonly result: number };
  readonly removeFault: { readonly argument: number; readonly result: undefined };
  readonly firedBy: { readonly argument: number; readonly result: number };
  readonly clearFaults: { readonly argument: undefined; readonly result: undefined };
  readonly stats: { readonly argument: undefined; readonly result: HranaStats };
  readonly resetStats: { readonly argument: undefined; readonly result: undefined };
}

export interface CallMessage {
  readonly id: number;
  readonly method: keyof ServerCalls;
  readonly argument: unknown;
}

export type ReplyMessage =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: unknown };
