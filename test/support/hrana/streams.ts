import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ServedDatabase, StreamConnection } from './database.js';
import { ProtocolError, StreamExpiredError } from './errors.js';

/** For how long a server remembers that a stream has expired (CLEANUP of http/stream.rs). */
const REMEMBER_EXPIRED_MS = 300_000;
const U64_MASK = 2n ** 64n - 1n;

/** A stream of Hrana over HTTP: an engine connection, stored SQL texts, and its next baton. */
export class HttpStream {
  readonly id: bigint;
  readonly sqls = new Map<number, string>();
  readonly connection: StreamConnection;
  sequence: bigint;
  isClosed = false;

  constructor(id: bigint, sequence: bigint, connection: StreamConnection) {
    this.id = id;
    this.sequence = sequence;
    this.connection = connection;
  }
}

type Handle =
  | { readonly state: 'available'; readonly stream: HttpStream; readonly timer: NodeJS.Timeout }
  | { readonly state: 'acquired'; readonly stream: HttpStream }
  | { readonly state: 'expired'; readonly timer: NodeJS.Timeout };

/**
 * Streams by their ids, and the batons that lead to them: mirrors
 * libsql-server/src/hrana/http/stream.rs. A baton is used once; a stream that nobody uses
 * expires, and its transaction is rolled back with it.
 */
export class HttpStreams {
  readonly #database: ServedDatabase;
  readonly #idleMs: number;
  readonly #key = randomBytes(32);
  readonly #handles = new Map<bigint, Handle>();
  #expiredCount = 0;

  constructor(database: ServedDatabase, idleMs: number) {
    this.#database = database;
    this.#idleMs = idleMs;
  }

  get openCount(): number {
    return [...this.#handles.values()].filter(({ state }) => state !== 'expired').length;
  }

  get expiredCount(): number {
    return this.#expiredCount;
  }

  /** The stream of a baton, or a new one; it is this request's alone until it is released. */
  acquire(baton: string | undefined): HttpStream {
    if (baton === undefined) {
      const stream = new HttpStream(
        randomBytes(8).readBigUInt64BE(),
        randomBytes(8).readBigUInt64BE(),
        this.#database.open(),
      );
      this.#handles.set(stream.id, { state: 'acquired', stream });
      return stream;
    }
    const { id, sequence } = this.#decodeBaton(baton);
    const handle = this.#handles.get(id);
    if (handle === undefined) {
      throw new ProtocolError('Received an invalid baton');
    }
    if (handle.state === 'expired') {
      throw new StreamExpiredError();
    }
    if (handle.state === 'acquired' || handle.stream.sequence !== sequence) {
      throw new ProtocolError('Received a baton that has already been used');
    }
    const { stream } = handle;
    clearTimeout(handle.timer);
    this.#handles.set(id, { state: 'acquired', stream });
    stream.sequence = (stream.sequence + 1n) & U64_MASK;
    return stream;
  }

  /** Makes the stream available under a new baton; null when the request has closed it. */
  release(stream: HttpStream): string | null {
    if (stream.isClosed) {
      this.drop(stream);
      return null;
    }
    const timer = setTimeout(() => this.#expire(stream), this.#idleMs);
    this.#handles.set(stream.id, { state: 'available', stream, timer });
    return this.#encodeBaton(stream.id, stream.sequence);
  }

  drop(stream: HttpStream): void {
    stream.isClosed = true;
    this.#handles.delete(stream.id);
    stream.connection.close();
  }

  /** Stored SQL texts of the stream behind a baton, for fault rules that look at SQL. */
  peekSqls(baton: string | undefined): ReadonlyMap<number, string> {
    const id = baton === undefined ? undefined : this.#peekId(baton);
    const handle = id === undefined ? undefined : this.#handles.get(id);
    return handle === undefined || handle.state === 'expired' ? new Map() : handle.stream.sqls;
  }

  close(): void {
    for (const handle of this.#handles.values()) {
      if (handle.state !== 'acquired') {
        clearTimeout(handle.timer);
      }
      if (handle.state !== 'expired') {
        handle.stream.isClosed = true;
        handle.stream.connection.close();
      }
    }
    this.#handles.clear();
  }

  #expire(stream: HttpStream): void {
    // A cursor that still runs holds the connection: it is closed behind it.
    void stream.connection.acquire().then((release) => {
      stream.connection.close();
      release();
    });
    this.#expiredCount++;
    const timer = setTimeout(() => this.#handles.delete(stream.id), REMEMBER_EXPIRED_MS);
    timer.unref();
    this.#handles.set(stream.id, { state: 'expired', timer });
  }

  #encodeBaton(id: bigint, sequence: bigint): string {
    const payload = Buffer.alloc(16);
    payload.writeBigUInt64BE(id, 0);
    payload.writeBigUInt64BE(sequence, 8);
    return Buffer.concat([payload, this.#mac(payload)])
      .toString('base64')
      .replace(/=+$/, '');
  }

  #decodeBaton(baton: string): { id: bigint; sequence: bigint } {
    const data = Buffer.from(baton, 'base64');
    const payload = data.subarray(0, 16);
    if (data.length !== 48 || !timingSafeEqual(data.subarray(16), this.#mac(payload))) {
      throw new ProtocolError('Received an invalid baton');
    }
    return { id: payload.readBigUInt64BE(0), sequence: payload.readBigUInt64BE(8) };
  }

  #peekId(baton: string): bigint | undefined {
    try {
      return this.#decodeBaton(baton).id;
    } catch {
      return undefined;
    }
  }

  #mac(payload: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(payload).digest();
  }
}
