import {
  DEFAULT_BATCH_SIZE,
  DEFAULT_MAX_PAGE_BYTES,
  DEFAULT_MAX_ROW_BYTES,
  DEFAULT_REQUEST_TIMEOUT_MS,
  DEFAULT_RETRIES,
  DEFAULT_RETRY_INITIAL_MS,
  DEFAULT_RETRY_MAX_MS,
  type SourceOptions,
  type StorageSyncOptions,
} from '../options.js';
import type { TableDefinition } from '../table-definition.js';
import type { Cell } from '../values.js';
import type { SourceConnection } from './connection.js';
import { introspect, type SourceSchema } from './introspection.js';
import { connect } from './open-source.js';
import type { PageBounds } from './page.js';
import { readPages, type RowsPage } from './page-reader.js';
import { planTables } from './plan.js';

/** How a source is opened: see {@link openSource}. The defaults are those of {@link StorageSyncOptions}. */
export interface OpenSourceOptions
  extends
    SourceOptions,
    Pick<
      StorageSyncOptions,
      'requestTimeoutMs' | 'retries' | 'retryInitialMs' | 'retryMaxMs' | 'transport'
    > {}

/** A table of the source as storage-sync would sync it. */
export interface SourceTable {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly declaredType: string }[];
  /** The key's columns; empty where the rowid is the key. */
  readonly key: readonly string[];
  readonly withoutRowid: boolean;
}

/** Where to begin, and how large a page is: see {@link Source.pages}. */
export interface PagesOptions {
  /** Rows in a page at most. Default: {@link DEFAULT_BATCH_SIZE}. */
  readonly maxRows?: number;
  /** Bytes at which a page is cut. Default: {@link DEFAULT_MAX_PAGE_BYTES}. */
  readonly maxBytes?: number;
  /** A larger row is given as `rejected`. Default: {@link DEFAULT_MAX_ROW_BYTES}. */
  readonly maxRowBytes?: number;
  /** Read what lies behind this position: that of an earlier page. */
  readonly after?: readonly Cell[] | null;
  /** Ends the reading with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a source for reading in this thread: its schema and its tables, page by page. A sync does this in threads of
 * its own.
 *
 * @example
 * ```ts
 * await using app = await openSource({ url: 'file:app.db' });
 * for await (const { rows, position } of app.pages('users')) console.log(rows.length, position);
 * ```
 */
export async function openSource(options: OpenSourceOptions): Promise<Source> {
  return Source.over(
    await connect({
      url: options.url,
      authToken: options.authToken,
      requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
      retries: options.retries ?? DEFAULT_RETRIES,
      retryInitialMs: options.retryInitialMs ?? DEFAULT_RETRY_INITIAL_MS,
      retryMaxMs: options.retryMaxMs ?? DEFAULT_RETRY_MAX_MS,
      transport: options.transport ?? 'auto',
    }),
  );
}

/** A source to look at and to read by pages. */
export class Source implements AsyncDisposable {
  readonly #connection: SourceConnection;
  #schema: Promise<SourceSchema> | null = null;

  private constructor(connection: SourceConnection) {
    this.#connection = connection;
  }

  /** @internal */
  static over(connection: SourceConnection): Source {
    return new Source(connection);
  }

  /** How it is read: see {@link Transport}. */
  get transport(): string {
    return this.#connection.transport;
  }

  /** The user's tables, by name. */
  async tables(): Promise<SourceTable[]> {
    const { tables } = await this.#introspect();
    return tables.map(({ name, columns, primaryKey, withoutRowid }) => ({
      name,
      columns: columns.map((column) => ({ name: column.name, declaredType: column.declaredType })),
      key: primaryKey,
      withoutRowid,
    }));
  }

  /** What the source has besides: names of views, virtual, shadow, system and own tables, with which it is. */
  async others(): Promise<ReadonlyMap<string, string>> {
    return (await this.#introspect()).others;
  }

  /**
   * A table's rows as pages in key order (or newest first, for a table with a limit), by keyset. Each page carries the
   * position to go on from.
   */
  async *pages(
    table: string | TableDefinition,
    options: PagesOptions = {},
  ): AsyncGenerator<RowsPage, void, void> {
    const definition = typeof table === 'string' ? { name: table } : table;
    const { plans } = planTables(await this.#introspect(), [definition]);
    const bounds: PageBounds = {
      maxRows: options.maxRows ?? DEFAULT_BATCH_SIZE,
      maxBytes: options.maxBytes ?? DEFAULT_MAX_PAGE_BYTES,
      maxRowBytes: options.maxRowBytes ?? DEFAULT_MAX_ROW_BYTES,
    };
    for (const plan of plans)
      yield* readPages(this.#connection, plan, options.after ?? null, bounds, options.signal);
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #introspect(): Promise<SourceSchema> {
    this.#schema ??= introspect(this.#connection.batch);
    return await this.#schema;
  }
}
