import {
  DEFAULT_BATCH_SIZE,
  DEFAULT_MAX_PAGE_BYTES,
  DEFAULT_MAX_ROW_BYTES,
  DEFAULT_REQUEST_TIMEOUT_MS,
  DEFAULT_RETRIES,
  DEFAULT_RETRY_INITIAL_MS,
  DEFAULT_RETRY_MAX_MS,
  type SourceOptions,
} from '../options.js';
import type { TableDefinition } from '../table-definition.js';
import type { Cell } from '../values.js';
import type { SourceConnection } from './connection.js';
import { introspect, type SourceSchema } from './introspection.js';
import { connect, type ConnectionConfig } from './open-source.js';
import type { PageBounds } from './page.js';
import { readPages, type RowsPage } from './page-reader.js';
import { planTables } from './plan.js';

export interface OpenSourceOptions
  extends SourceOptions, Partial<Omit<ConnectionConfig, 'url' | 'authToken'>> {}

/** A table of the source as storage-sync would sync it. */
export interface SourceTable {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly declaredType: string }[];
  /** The key's columns; empty where the rowid is the key. */
  readonly key: readonly string[];
  readonly withoutRowid: boolean;
}

export interface PagesOptions extends Partial<PageBounds> {
  /** Read what lies behind this position: that of an earlier page. */
  readonly after?: readonly Cell[] | null;
  readonly signal?: AbortSignal;
}

/**
 * Opens a source for reading in this thread: its schema and its tables, page by page. A sync does this in threads of
 * its own.
 */
export async function openSource(options: OpenSourceOptions): Promise<Source> {
  return new Source(
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

  constructor(connection: SourceConnection) {
    this.#connection = connection;
  }

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
