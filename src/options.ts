import * as v from 'valibot';
import { checkOptions, flag, integerBetween, share, text } from './check-options.js';
import { parseDuration } from './duration.js';
import { ConfigError } from './errors.js';
import { isRowSchema, NO_ROW_SCHEMA, type RowSchema } from './row-schema.js';
import type { TableDefinition } from './table-definition.js';
import { TRANSPORTS, type Transport } from './transports.js';

/** Rows in a page at most. */
export const DEFAULT_BATCH_SIZE = 20_000;
/** Encoded bytes in a page at which it is cut. */
export const DEFAULT_MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** Encoded bytes read but not yet committed, over all tables. */
export const DEFAULT_MAX_BYTES_IN_FLIGHT = 48 * 1024 * 1024;
/** A row larger than this is a bad row. */
export const DEFAULT_MAX_ROW_BYTES = 64 * 1024 * 1024;
/** Outstanding operations (reads and writes handed to the pool). */
export const DEFAULT_CONCURRENCY = 10;
/** Lanes that a large table on a server may be divided into. */
export const DEFAULT_LANES = 4;
/** How much less the threads ask for a processor than the host's own: see `nice(1)`. */
export const DEFAULT_THREAD_NICENESS = 10;
/** One request to the source, answer included. */
export const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
/** Further tries of a request that failed in a way worth retrying. */
export const DEFAULT_RETRIES = 5;
/** The first wait between tries; it doubles, with jitter. */
export const DEFAULT_RETRY_INITIAL_MS = 200;
/** The longest wait between tries, also where the server asks for a longer one. */
export const DEFAULT_RETRY_MAX_MS = 30_000;
/** A cache older than this is stale. */
export const DEFAULT_STALE_AFTER_MS = 15 * 60_000;
/** Syncs in a row that failed before a cache is stale, whatever its age. */
export const DEFAULT_STALE_AFTER_FAILURES = 1;
/** What held snapshots may keep from being used again, as a share of what the data take, before the cache is built anew. */
export const DEFAULT_MAX_HELD_SHARE = 1;
/** A sync that would take more than this share of a table's rows is refused. */
export const DEFAULT_MAX_LOSS_SHARE = 0.5;

/** Where the source is, and what it is opened with. */
export interface SourceOptions {
  /** Any URL that `@libsql/client` takes: `file:`, `http:`, `https:`, `libsql:`, `ws:`, `wss:`. */
  readonly url: string;
  /** The database's token. It is kept out of errors and logs. */
  readonly authToken?: string | undefined;
}

/** What becomes of a row that cannot be cached: it fails the sync, or is set aside and reported. */
export type RowErrorPolicy = 'fail' | 'quarantine';

export type { Transport };

/** What a cache is of, and how it is kept. Every field but the first two has a default. */
export interface StorageSyncOptions {
  /** The database to copy. */
  readonly source: SourceOptions;
  /** The directory that storage-sync owns. Made if missing. */
  readonly cacheDir: string;
  /** What to sync: definitions or names. Default: every user table of the source. */
  readonly tables?: readonly (TableDefinition | string)[] | undefined;
  /** Rows in a page, and so in a transaction, at most. Default: {@link DEFAULT_BATCH_SIZE}. */
  readonly batchSize?: number | undefined;
  /** Encoded bytes at which a page is cut. Default: {@link DEFAULT_MAX_PAGE_BYTES}. */
  readonly maxPageBytes?: number | undefined;
  /** Encoded bytes read and not yet committed, over all tables. Default: {@link DEFAULT_MAX_BYTES_IN_FLIGHT}. */
  readonly maxBytesInFlight?: number | undefined;
  /** A larger row cannot be cached: see `onRowError`. Default: {@link DEFAULT_MAX_ROW_BYTES}. */
  readonly maxRowBytes?: number | undefined;
  /** Outstanding reads and writes at most. Default: {@link DEFAULT_CONCURRENCY}. */
  readonly concurrency?: number | undefined;
  /**
   * Parts of one large table on a server that may be read at a time, each over a connection of its own, where its rows come
   * more slowly than they can be taken. 1 for one after the other. Default: {@link DEFAULT_LANES}.
   */
  readonly lanes?: number | undefined;
  /** Threads that read and encode. Default: one for each core, 2 to 4. */
  readonly readerThreads?: number | undefined;
  /**
   * By how much less the threads ask for a processor than the rest of the process: 0 to 19 (`nice`). On Linux alone, where
   * each thread has its own. A pool that is given has its own. Default: 10.
   */
  readonly threadNiceness?: number | undefined;
  /** For one request, answer included; of a cursor, for each row. Default: {@link DEFAULT_REQUEST_TIMEOUT_MS}. */
  readonly requestTimeoutMs?: number | undefined;
  /** Further tries of a request that failed in a way worth it. Default: {@link DEFAULT_RETRIES}. */
  readonly retries?: number | undefined;
  /** The first wait between tries; it doubles, with jitter. Default: {@link DEFAULT_RETRY_INITIAL_MS}. */
  readonly retryInitialMs?: number | undefined;
  /** The longest wait between tries. Default: {@link DEFAULT_RETRY_MAX_MS}. */
  readonly retryMaxMs?: number | undefined;
  /** A cache that is older is `stale` in the status. Default: {@link DEFAULT_STALE_AFTER_MS}. */
  readonly staleAfterMs?: number | undefined;
  /** Failed syncs in a row after which it is `stale`. Default: {@link DEFAULT_STALE_AFTER_FAILURES}. */
  readonly staleAfterFailures?: number | undefined;
  /**
   * A sync that would take more than this share of a table's rows (of 100 or more) is refused, unless it is told
   * `allowLoss`. Default: {@link DEFAULT_MAX_LOSS_SHARE}.
   */
  readonly maxLossShare?: number | undefined;
  /**
   * While a reader holds a snapshot, what is written after it cannot take the place of what the snapshot sees. A sync that
   * finds more held so than this share of what the data take, and than 16 MiB, builds the cache anew beside it; without
   * `autoRebuild` it fails with `CACHE_SNAPSHOT_HELD`. Default: 1.
   */
  readonly maxHeldShare?: number | undefined;
  /** A sync that finds the cache damaged builds it anew. Default: true; without it, that sync fails. */
  readonly autoRebuild?: boolean | undefined;
  /** What to do with a row that cannot be cached: stop the sync (default), or set it aside and report it. */
  readonly onRowError?: RowErrorPolicy | undefined;
  /** Verify each record's checksum when it is read. Default: false. */
  readonly validateChecksums?: boolean | undefined;
  /** How to read the source. `auto` takes the fastest that the URL allows. */
  readonly transport?: Transport | undefined;
  /** Marks the agent-memory preset in reports. Set by `memoryPreset`. */
  readonly preset?: 'memory' | undefined;
}

/** {@link StorageSyncOptions} with every default filled in. */
export interface ResolvedOptions {
  readonly source: { readonly url: string; readonly authToken: string | undefined };
  readonly cacheDir: string;
  readonly tables: readonly TableDefinition[] | undefined;
  readonly batchSize: number;
  readonly maxPageBytes: number;
  readonly maxBytesInFlight: number;
  readonly maxRowBytes: number;
  readonly concurrency: number;
  readonly lanes: number;
  readonly readerThreads: number | undefined;
  readonly threadNiceness: number;
  readonly requestTimeoutMs: number;
  readonly retries: number;
  readonly retryInitialMs: number;
  readonly retryMaxMs: number;
  readonly staleAfterMs: number;
  readonly staleAfterFailures: number;
  readonly maxLossShare: number;
  readonly maxHeldShare: number;
  readonly autoRebuild: boolean;
  readonly onRowError: RowErrorPolicy;
  readonly validateChecksums: boolean;
  readonly transport: Transport;
  readonly preset: 'memory' | undefined;
}

const columnTypes = v.record(
  text,
  v.pipe(
    v.string('must be a column type'),
    v.regex(
      /^(integer|real|text|blob|any)\??$/,
      'must be one of integer, real, text, blob or any, with a trailing ? when it may be NULL',
    ),
  ),
);

const indexColumn = v.strictObject({
  column: text,
  descending: v.optional(flag),
});

const overlap = v.custom<number | string>(
  (value) =>
    typeof value === 'string' ? isDuration(value) : Number.isFinite(value) && Number(value) >= 0,
  'must be a number of at least 0, or a duration such as "90s"',
);

const cursor = v.strictObject({
  column: text,
  overlap: v.optional(overlap),
  sweepEveryMs: v.optional(integerBetween(0)),
});

const softDelete = v.strictObject({
  column: text,
  alive: v.optional(
    v.pipe(
      v.array(
        v.custom<string | number | boolean | null>(
          isAliveValue,
          'must be text without NUL, a finite number, true, false or null',
        ),
      ),
      v.minLength(1, 'must hold at least one value'),
    ),
  ),
});

const tableDefinition = v.strictObject({
  name: text,
  optional: v.optional(flag),
  columns: v.optional(columnTypes),
  schema: v.optional(v.custom<RowSchema>(isRowSchema, NO_ROW_SCHEMA)),
  key: v.optional(v.pipe(v.array(text), v.minLength(1, 'must name at least one column'))),
  limit: v.optional(v.strictObject({ count: integerBetween(1), newestBy: text })),
  indexes: v.optional(
    v.array(
      v.strictObject({
        name: text,
        columns: v.pipe(
          v.array(v.union([text, indexColumn], 'must be a column, or { column, descending }')),
          v.minLength(1, 'must name at least one column'),
          v.maxLength(8, 'must name at most eight columns'),
        ),
        unique: v.optional(flag),
      }),
    ),
  ),
  references: v.optional(
    v.array(
      v.strictObject({
        columns: v.pipe(v.array(text), v.minLength(1, 'must name at least one column')),
        table: text,
        when: v.optional(
          v.strictObject({ column: text, equals: v.union([v.string(), v.number()]) }),
        ),
      }),
    ),
  ),
  cursor: v.optional(cursor),
  softDelete: v.optional(softDelete),
  mode: v.optional(
    v.picklist(
      ['auto', 'full', 'change-log', 'cursor'],
      'must be "auto", "full", "change-log" or "cursor"',
    ),
  ),
});

const SOURCE_SCHEMES = ['file:', 'http:', 'https:', 'libsql:', 'ws:', 'wss:'];

const sourceFields = {
  url: v.pipe(
    v.string('must be a URL'),
    v.check(
      (url) => SOURCE_SCHEMES.some((scheme) => url.toLowerCase().startsWith(scheme)),
      `must start with one of ${SOURCE_SCHEMES.join(', ')}`,
    ),
    v.check(
      (url) => !/^file:(:memory:|.*[?&]mode=memory)/i.test(url),
      'names an in-memory database, which only the connection that made it can see',
    ),
  ),
  authToken: v.optional(v.string('must be text')),
};

const requestFields = {
  requestTimeoutMs: v.optional(integerBetween(1, 24 * 3600_000)),
  retries: v.optional(integerBetween(0, 100)),
  retryInitialMs: v.optional(integerBetween(1, 3600_000)),
  retryMaxMs: v.optional(integerBetween(1, 24 * 3600_000)),
};

/** What a source alone is reached with: its options and those of requests, side by side. */
export const sourceAccess = v.strictObject({ ...sourceFields, ...requestFields });

const schema = v.strictObject({
  source: v.strictObject(sourceFields),
  cacheDir: text,
  // Not a union: its issues do not name the field of a definition that is wrong.
  tables: v.optional(
    v.array(
      v.lazy((table): v.GenericSchema<unknown> => {
        return typeof table === 'string' ? text : tableDefinition;
      }),
    ),
  ),
  batchSize: v.optional(integerBetween(1, 100_000)),
  maxPageBytes: v.optional(integerBetween(4096, 1024 ** 3)),
  maxBytesInFlight: v.optional(integerBetween(4096, 64 * 1024 ** 3)),
  maxRowBytes: v.optional(integerBetween(1024, 1024 ** 3)),
  concurrency: v.optional(integerBetween(1, 1000)),
  lanes: v.optional(integerBetween(1, 64)),
  readerThreads: v.optional(integerBetween(1, 64)),
  threadNiceness: v.optional(integerBetween(0, 19)),
  ...requestFields,
  staleAfterMs: v.optional(integerBetween(1)),
  staleAfterFailures: v.optional(integerBetween(1)),
  maxLossShare: v.optional(share),
  maxHeldShare: v.optional(
    v.pipe(
      v.number('must be a number of at least 0'),
      v.minValue(0, 'must be a number of at least 0'),
    ),
  ),
  autoRebuild: v.optional(flag),
  onRowError: v.optional(v.picklist(['fail', 'quarantine'], 'must be "fail" or "quarantine"')),
  validateChecksums: v.optional(flag),
  transport: v.optional(
    v.picklist(
      TRANSPORTS,
      `must be one of ${TRANSPORTS.map((each) => JSON.stringify(each)).join(', ')}`,
    ),
  ),
  preset: v.optional(v.literal('memory')),
});

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ConfigError} naming every wrong field.
 */
export function resolveOptions(options: StorageSyncOptions): ResolvedOptions {
  checkOptions('Invalid options', schema, options);
  const maxPageBytes = options.maxPageBytes ?? DEFAULT_MAX_PAGE_BYTES;
  const maxBytesInFlight = options.maxBytesInFlight ?? DEFAULT_MAX_BYTES_IN_FLIGHT;
  const tables = options.tables?.map((table) =>
    typeof table === 'string' ? { name: table } : table,
  );
  refuseDuplicateTables(tables ?? []);
  for (const table of tables ?? []) refuseUnfitCursor(table);
  return {
    source: { url: options.source.url, authToken: options.source.authToken },
    cacheDir: options.cacheDir,
    tables,
    batchSize: options.batchSize ?? DEFAULT_BATCH_SIZE,
    maxPageBytes: Math.min(maxPageBytes, maxBytesInFlight),
    maxBytesInFlight,
    maxRowBytes: options.maxRowBytes ?? DEFAULT_MAX_ROW_BYTES,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    lanes: options.lanes ?? DEFAULT_LANES,
    readerThreads: options.readerThreads,
    threadNiceness: options.threadNiceness ?? DEFAULT_THREAD_NICENESS,
    requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    retries: options.retries ?? DEFAULT_RETRIES,
    retryInitialMs: options.retryInitialMs ?? DEFAULT_RETRY_INITIAL_MS,
    retryMaxMs: options.retryMaxMs ?? DEFAULT_RETRY_MAX_MS,
    staleAfterMs: options.staleAfterMs ?? DEFAULT_STALE_AFTER_MS,
    staleAfterFailures: options.staleAfterFailures ?? DEFAULT_STALE_AFTER_FAILURES,
    maxLossShare: options.maxLossShare ?? DEFAULT_MAX_LOSS_SHARE,
    maxHeldShare: options.maxHeldShare ?? DEFAULT_MAX_HELD_SHARE,
    autoRebuild: options.autoRebuild ?? true,
    onRowError: options.onRowError ?? 'fail',
    validateChecksums: options.validateChecksums ?? false,
    transport: options.transport ?? 'auto',
    preset: options.preset,
  };
}

function isDuration(value: string): boolean {
  try {
    return parseDuration(value) > 0;
  } catch {
    return false;
  }
}

function isAliveValue(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\0');
  return value === null || typeof value === 'boolean' || Number.isFinite(value);
}

function refuseUnfitCursor({ name, cursor: defined, mode, limit, references }: TableDefinition) {
  const table = JSON.stringify(name);
  if (mode === 'cursor' && !defined) {
    throw new ConfigError(`The table ${table} has the mode "cursor", but no cursor is defined.`, {
      context: { table: name },
      hint: "Define one: cursor: { column: 'updated_at' }.",
    });
  }
  if (!defined || (!limit && !references)) return;
  const other = limit ? 'a limit' : 'references';
  throw new ConfigError(
    `The table ${table} has a cursor and ${other}: its rows come and go without a change to them, which a cursor cannot tell.`,
    { context: { table: name }, hint: `Leave out the cursor, or ${other}.` },
  );
}

function refuseDuplicateTables(tables: readonly TableDefinition[]): void {
  const seen = new Set<string>();
  for (const { name } of tables) {
    // SQLite compares the ASCII letters of table names without case.
    const folded = name.toLowerCase();
    if (seen.has(folded))
      throw new ConfigError(`The table ${JSON.stringify(name)} is defined twice.`);
    seen.add(folded);
  }
}
