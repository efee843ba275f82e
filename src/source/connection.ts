import type { WireSource } from './hrana/hrana-connection.js';
import type { Transport } from '../transports.js';
import type { StoredTables } from './stored/stored-tables.js';
import { InvalidText, type Cell, type SqlValue } from '../values.js';

/** One row of an answer, by position. INTEGERs may come as `bigint` even where a `number` would do. */
export type RawRow = readonly SqlValue[];

/** Runs one read-only statement and gives all its rows. */
export type Query = (sql: string, params?: readonly Cell[]) => Promise<RawRow[]>;

/**
 * Runs read-only statements, each in a snapshot of its own, and gives the rows of each, in order. None of them begins
 * before the first has ended. Fails as the first that fails.
 */
export type Batch = (statements: readonly Statement[]) => Promise<RawRow[][]>;

/** A batch of statements that run one after the other. */
export function inTurn(query: Query): Batch {
  return async (statements) => {
    const answers: RawRow[][] = [];
    for (const { sql, params } of statements) answers.push(await query(sql, params));
    return answers;
  };
}

/** The ways that there are to read a source. */
export type TransportName = Exclude<Transport, 'auto'>;

/**
 * A way to ask the source. All of storage-sync's reading goes through this seam, and every implementation passes the
 * same conformance tests.
 */
export interface SourceConnection {
  readonly transport: TransportName;
  /**
   * The tables as a file stores them, where the source is one; null elsewhere. Where it is set, `snapshot` gives true
   * snapshots, and TEXT must not be read as it is: the driver ends the process at TEXT that is not valid UTF-8, and
   * cuts it at its first NUL.
   */
  readonly stored: StoredTables | null;
  /** True when a REAL infinity cannot cross the wire as a number. */
  readonly losesInfinities: boolean;
  /** Answers larger than this are refused by the server, or null when there is no such limit. */
  readonly maxResponseBytes: number | null;
  /** Requests sent again after a failure, since the connection was made. */
  readonly retries: number;

  /** One statement, one snapshot. Retried inside when that may help. */
  query: Query;
  /** Statements that need nothing of each other's answers: one request where that can be, retried as a whole. */
  batch: Batch;
  /** Runs several statements under one snapshot of the source. May call `read` again from the start after a failure. */
  snapshot<T>(read: (query: Query) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Rows as the wire carries them, without values made of them; null where there are none such. */
  wire(): Promise<WireSource | null>;
  close(): Promise<void>;
}

/** A statement with its parameters. */
export interface Statement {
  readonly sql: string;
  readonly params?: readonly Cell[];
}

/** A value in a statement: its SQL, and what is bound to it. */
export interface Operand {
  readonly sql: string;
  readonly params: readonly Cell[];
}

/**
 * How a value is written into a statement. TEXT that no string can hold is a literal of its bytes, which are those of
 * the database's encoding; bound bytes would be taken for UTF-8. An infinity, which `@libsql/client` does not bind, is
 * a literal too.
 */
export function operand(value: Cell): Operand {
  if (value === Infinity) return { sql: '9e999', params: [] };
  if (value === -Infinity) return { sql: '-9e999', params: [] };
  if (!(value instanceof InvalidText)) return { sql: '?', params: [value] };
  return { sql: `CAST(x'${Buffer.from(value.bytes).toString('hex')}' AS TEXT)`, params: [] };
}
