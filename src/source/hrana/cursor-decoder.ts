import type { Statement } from '../connection.js';
import type { TakenEntries } from '../entry-taker.js';
import type { WireRow } from './wire-row.js';

/** What {@link CursorDecoder.next} has found. */
export const CURSOR_ROW = 0;
/** More bytes have to come first. */
export const CURSOR_MORE = 1;
/** The statement has given all its rows. */
export const CURSOR_END = 2;
export type CursorState = typeof CURSOR_ROW | typeof CURSOR_MORE | typeof CURSOR_END;

/** Where a server wants the following requests of a stream, and by what it knows the stream. */
export interface StreamHead {
  readonly baton: string | null;
  readonly baseUrl: string | null;
}

/** Takes entries that are between two places of some bytes. */
export type TakeEntries = (
  bytes: Uint8Array,
  at: number,
  end: number,
  maxEntryBytes: number,
) => TakenEntries | null;

/** Reads the entries of a cursor of one statement out of bytes that come in pieces of any size. */
export interface CursorDecoder {
  /** The row that was met last. */
  readonly row: WireRow;
  /** The row that was met before it: rows are two, and take turns. */
  readonly previous: WireRow;
  /** Null until it was read. */
  readonly head: StreamHead | null;
  /** Adds bytes behind those added before. They belong to the decoder afterwards, which may write over them. */
  feed(bytes: Buffer): void;
  /** @throws {SourceError} for what is not of the protocol, and for an error that the server tells. */
  next(): CursorState;
  /**
   * Lets others take the first ones of the entries that have come. The row is then the last one that they took.
   *
   * @returns null where entries cannot be taken so, or none has come.
   */
  takeEntries?(take: TakeEntries): TakenEntries | null;
}

/** One encoding of Hrana's cursors over HTTP. */
export interface CursorEncoding {
  readonly transport: 'http-protobuf-cursor' | 'http-json-cursor';
  /** Behind the base URL, without a slash before it. */
  readonly path: string;
  readonly pipelinePath: string;
  readonly contentType: string;
  readonly losesInfinities: boolean;
  /** The body that asks for one statement's rows. */
  request(statement: Statement): Buffer;
  /** The body that closes the stream of a cursor. */
  closing(baton: string): Buffer;
  /** @param maxEntryBytes a longer entry is refused. */
  decoder(maxEntryBytes: number): CursorDecoder;
}
