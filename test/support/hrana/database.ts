import Database from 'libsql';
import { EngineConnection } from './engine.js';

export interface DatabaseLimits {
  /** A transaction that blocks a writer for longer is rolled back (5 s in sqld). */
  readonly transactionTimeoutMs: number;
  /** Most bytes of one execute or batch result, counted as sqld counts them (10 MB there). */
  readonly maxResponseBytes: number;
  /** False answers `replication_index: null`, as a server without a replication log does. */
  readonly replicationIndex: boolean;
}

/** What a run of statements did, for the statistics of the server. */
export interface DatabaseObserver {
  statement(sql: string): void;
  rows(count: number): void;
}

/** The served database file and the connections that streams have opened on it. */
export class ServedDatabase {
  readonly limits: DatabaseLimits;
  readonly observer: DatabaseObserver;
  readonly #file: string;
  readonly #connections = new Set<StreamConnection>();
  readonly #parsed = new Set<string>();
  #frameNo = 0n;

  constructor(file: string, limits: DatabaseLimits, observer: DatabaseObserver) {
    this.#file = file;
    this.limits = limits;
    this.observer = observer;
    // sqld always serves a database in WAL mode: readers do not block writers.
    const database = new Database(file);
    database.exec('PRAGMA journal_mode = WAL');
    database.close();
  }

  open(): StreamConnection {
    const connection = new StreamConnection(
      () => new EngineConnection(this.#file, this.#parsed),
      () => this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    return connection;
  }

  get replicationIndex(): bigint | null {
    return this.limits.replicationIndex ? this.#frameNo : null;
  }

  /** Stands in for the frames a write appends to the replication log. */
  wrote(): void {
    this.#frameNo++;
  }

  /** Another stream of this server in a transaction that has written. */
  writerOtherThan(connection: StreamConnection): StreamConnection | undefined {
    for (const other of this.#connections) {
      if (other !== connection && other.holdsWriteLock) {
        return other;
      }
    }
    return undefined;
  }

  close(): void {
    for (const connection of this.#connections) {
      connection.close();
    }
  }
}

/** The engine connection of one stream, opened at its first use. */
export class StreamConnection {
  readonly #connect: () => EngineConnection;
  readonly #onClose: () => void;
  #engine: EngineConnection | undefined;
  #closed = false;
  #turn: Promise<void> = Promise.resolve();
  #writingSince: number | undefined;
  /** Rolled back for another writer's sake: the next program is told so, once. */
  #timedOut = false;

  constructor(connect: () => EngineConnection, onClose: () => void) {
    this.#connect = connect;
    this.#onClose = onClose;
  }

  get engine(): EngineConnection {
    if (this.#closed) {
      throw new Error('connection is closed');
    }
    this.#engine ??= this.#connect();
    return this.#engine;
  }

  get isAutocommit(): boolean {
    return this.#engine?.isAutocommit ?? true;
  }

  get holdsWriteLock(): boolean {
    return this.#writingSince !== undefined;
  }

  get writingMs(): number {
    return this.#writingSince === undefined ? 0 : performance.now() - this.#writingSince;
  }

  /** Notes, after a statement, whether the connection still holds a write transaction. */
  noteWrite(isWrite: boolean): void {
    if (this.isAutocommit) {
      this.#writingSince = undefined;
    } else if (isWrite) {
      this.#writingSince ??= performance.now();
    }
  }

  forceRollback(): void {
    this.engine.rollback();
    this.#writingSince = undefined;
    this.#timedOut = true;
  }

  takeTimeout(): boolean {
    const timedOut = this.#timedOut;
    this.#timedOut = false;
    return timedOut;
  }

  /** Waits for the connection's earlier work, such as a cursor that still runs. */
  async acquire(): Promise<() => void> {
    const previous = this.#turn;
    let release = (): void => undefined;
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await previous;
    return release;
  }

  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#onClose();
      this.#writingSince = undefined;
      this.#engine?.close();
    }
  }
}
