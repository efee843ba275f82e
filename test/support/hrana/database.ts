import Database from 'libsql';
import { EngineConnection } from './engine.js';

const MAX_SPARE_CONNECTIONS = 16;

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
  readonly #spare: EngineConnection[] = [];
  #frameNo = 0n;
  #isClosed = false;

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
      () => this.#spare.pop() ?? new EngineConnection(this.#file, this.#parsed),
      (engine) => {
        this.#connections.delete(connection);
        this.#retire(engine);
      },
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
    this.#isClosed = true;
    for (const connection of this.#connections) {
      connection.close();
    }
    for (const engine of this.#spare.splice(0)) {
      engine.close();
    }
  }

  /**
   * Keeps a connection for the next stream where no stream could tell: the file descriptors of
   * a closed one stay open until its statements are collected.
   */
  #retire(engine: EngineConnection | undefined): void {
    if (engine === undefined) {
      return;
    }
    if (!this.#isClosed && engine.isFresh && this.#spare.length < MAX_SPARE_CONNECTIONS) {
      this.#spare.push(engine);
    } else {
      engine.close();
    }
  }
}

/** The engine connection of one stream, opened at its first use. */
export class StreamConnection {
  readonly #connect: () => EngineConnection;
  readonly #onClose: (engine: EngineConnection | undefined) => void;
  #engine: EngineConnection | undefined;
  #closed = false;
  #turn: Promise<void> = Promise.resolve();
  #writingSince: number | undefined;
  /** Rolled back for another writer's sake: the next program is told so, once. */
  #timedOut = false;

  constructor(
    connect: () => EngineConnection,
    onClose: (engine: EngineConnection | undefined) => void,
  ) {
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
      this.#writingSince = undefined;
      this.#onClose(this.#engine);
      this.#engine = undefined;
    }
  }
}
