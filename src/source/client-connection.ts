import { createClient, type Client, type InValue, type ResultSet } from '@libsql/client';
import { SourceError } from '../errors.js';
import { InvalidText, type Cell, type SqlValue } from '../values.js';
import { Secrets } from '../secrets.js';
import { classify } from './client-errors.js';
import type { Batch, Query, RawRow, SourceConnection, Statement } from './connection.js';
import { guardedFetch } from './guarded-fetch.js';
import { SERVER_RESPONSE_LIMIT } from './page.js';
import { RetryPolicy, type RetryOptions } from './retry.js';
import { StoredTables } from './stored/stored-tables.js';

export interface ClientConnectionOptions extends RetryOptions {
  readonly url: string;
  readonly authToken: string | undefined;
  readonly requestTimeoutMs: number;
}

/** How long a file's lock is waited for. The driver waits in the calling thread, which may be the host's; then comes a retry. */
const BUSY_TIMEOUT_MS = 500;

/**
 * Reads any source that `@libsql/client` can reach. The general path: every other one must give the same rows.
 *
 * Over HTTP the timeout, the size limit and the classification of failures sit in `fetch`. Over WebSocket the client
 * has no such seam: each answer is awaited with a timeout, and after a failure the connection is made anew.
 */
export class ClientConnection implements SourceConnection {
  readonly transport = 'client';
  readonly stored: StoredTables | null;
  readonly losesInfinities: boolean;
  readonly maxResponseBytes: number | null;
  readonly #options: ClientConnectionOptions;
  readonly #retry: RetryPolicy;
  readonly #secrets = new Secrets();
  #client: Client;
  #closed = false;

  constructor(options: ClientConnectionOptions) {
    this.#options = options;
    this.#secrets.add(options.authToken);
    this.#secrets.addUrl(options.url);
    this.#retry = new RetryPolicy(options);
    const local = /^file:/i.test(options.url);
    this.stored = local ? new StoredTables(false) : null;
    this.losesInfinities = !local;
    this.maxResponseBytes = local ? null : SERVER_RESPONSE_LIMIT;
    this.#client = this.#connect();
  }

  get retries(): number {
    return this.#retry.retries;
  }

  readonly query: Query = async (sql, params = []) =>
    await this.#retry.run(async () => {
      const result = await this.#guard(this.#client.execute({ sql, args: params.map(bind) }));
      return toRows(result);
    }, this.#signal);

  readonly batch: Batch = async ([first, ...others]) => {
    if (first === undefined) return [];
    const run = async ({ sql, params }: Statement) => await this.query(sql, params);
    return [await run(first), ...(await Promise.all(others.map(run)))];
  };

  async snapshot<T>(read: (query: Query) => Promise<T>): Promise<T> {
    return await this.#retry.run(async () => {
      const transaction = await this.#guard(this.#client.transaction('read'));
      try {
        return await read(async (sql, params = []) =>
          toRows(await this.#guard(transaction.execute({ sql, args: params.map(bind) }))),
        );
      } finally {
        transaction.close();
      }
    }, this.#signal);
  }

  /**
   * Runs statements in one transaction that writes, all or none. Sent again after a failure that may have come after
   * the commit: only for what does no harm when it runs twice.
   */
  async write(statements: readonly Statement[]): Promise<number[]> {
    return await this.#retry.run(async () => {
      const batch = statements.map(({ sql, params = [] }) => ({ sql, args: params.map(bind) }));
      const results = await this.#guard(this.#client.batch(batch, 'write'));
      return results.map((result) => result.rowsAffected);
    }, this.#signal);
  }

  wire(): Promise<null> {
    return Promise.resolve(null);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#abort.abort(new SourceError('SOURCE_UNAVAILABLE', 'The connection was closed.'));
    this.#client.close();
    return Promise.resolve();
  }

  readonly #abort = new AbortController();

  get #signal(): AbortSignal {
    return this.#abort.signal;
  }

  #connect(): Client {
    const { url, authToken, requestTimeoutMs } = this.#options;
    try {
      return createClient({
        url,
        intMode: 'bigint',
        timeout: BUSY_TIMEOUT_MS,
        ...(authToken === undefined ? {} : { authToken }),
        fetch: guardedFetch({
          timeoutMs: requestTimeoutMs,
          redact: (text) => this.#secrets.redact(text),
        }),
      });
    } catch (error) {
      throw this.#secrets.redactError(classify(error));
    }
  }

  /** Waits for an answer for at most the timeout, and gives failures their codes. */
  async #guard<T>(answer: Promise<T>): Promise<T> {
    const { requestTimeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await Promise.race([
        answer,
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => {
            reject(
              new SourceError(
                'SOURCE_TIMEOUT',
                `The source did not answer within ${requestTimeoutMs} ms.`,
                { hint: 'Raise the request timeout, or check the network.' },
              ),
            );
            // `fetch` has the same timeout and reports where it stood; this one is for WebSockets and comes second.
          }, requestTimeoutMs + 250);
        }),
      ]);
    } catch (error) {
      const classified = this.#secrets.redactError(classify(error));
      if (classified instanceof SourceError && classified.retryable) this.#reconnect();
      throw classified;
    } finally {
      clearTimeout(timer);
    }
  }

  #reconnect(): void {
    if (this.#closed || /^https?:|^file:/i.test(this.#options.url)) return;
    this.#client.close();
    this.#client = this.#connect();
  }
}

function bind(value: Cell): InValue {
  if (value instanceof InvalidText) return value.bytes;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  return value;
}

function toRows(result: ResultSet): RawRow[] {
  const width = result.columns.length;
  return result.rows.map((row) => {
    if (row.length !== width)
      throw outOfShape(`a row of ${row.length} values for ${width} columns`);
    const cells: SqlValue[] = [];
    for (let i = 0; i < width; i++) {
      const value = row[i]!;
      if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) {
        throw outOfShape('an INTEGER of more than 64 bits');
      }
      cells.push(value instanceof ArrayBuffer ? new Uint8Array(value) : value);
    }
    return cells;
  });
}

/** What the client lets pass of an answer over a WebSocket, which nobody else gets to see. */
function outOfShape(what: string): SourceError {
  return new SourceError('SOURCE_PROTOCOL', `The source answered out of protocol: ${what}.`, {
    hint: 'Try again. If it stays so, check what lies between here and the server.',
  });
}
