import {
  inTurn,
  type Batch,
  type Query,
  type SourceConnection,
} from '../../../src/source/connection.js';
import { reachAsync } from './fault.js';

type Wrap = (query: Query) => Query;

/** A connection whose every statement goes through a wrapper. */
export class WrappedConnection implements SourceConnection {
  readonly #inner: SourceConnection;
  readonly #wrap: Wrap;
  readonly query: Query;
  readonly batch: Batch;

  constructor(inner: SourceConnection, wrap: Wrap) {
    this.#inner = inner;
    this.#wrap = wrap;
    this.query = wrap(inner.query);
    this.batch = inTurn(this.query);
  }

  get transport(): SourceConnection['transport'] {
    return this.#inner.transport;
  }

  get stored(): SourceConnection['stored'] {
    return this.#inner.stored;
  }

  get losesInfinities(): boolean {
    return this.#inner.losesInfinities;
  }

  get maxResponseBytes(): number | null {
    return this.#inner.maxResponseBytes;
  }

  get retries(): number {
    return this.#inner.retries;
  }

  async snapshot<T>(read: (query: Query) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.#inner.snapshot(async (query) => await read(this.#wrap(query)), signal);
  }

  async wire(): ReturnType<SourceConnection['wire']> {
    const inner = await this.#inner.wire();
    if (inner === null) return null;
    const open: typeof inner.open = async (statement, maxRowBytes) => {
      let cursor: Awaited<ReturnType<typeof inner.open>> | undefined;
      const query = this.#wrap(async (sql, params = []) => {
        cursor = await inner.open({ sql, params }, maxRowBytes);
        return [];
      });
      await query(statement.sql, statement.params);
      return cursor!;
    };
    return { ...inner, open };
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

/** Puts a point before and after each statement: `page:…` for rows of a table, else `schema:…`. */
export function watched(query: Query): Query {
  return async (sql, params) => {
    const isPage = / ORDER BY .* LIMIT \d/s.test(sql) && !/^SELECT count\(/i.test(sql);
    await reachAsync(isPage ? 'page:before-read' : 'schema:before-read');
    const rows = await query(sql, params);
    await reachAsync(isPage ? 'page:after-read' : 'schema:after-read');
    return rows;
  };
}
