import Database from 'libsql';
import { SourceError } from '../errors.js';
import { InvalidText, type Cell, type SqlValue } from '../values.js';
import { inTurn, type Query, type RawRow, type SourceConnection } from './connection.js';
import { filePathOf, refuseMissing } from './file-url.js';
import { notADatabase } from './source-errors.js';
import { StoredTables } from './stored/stored-tables.js';

/** How long a statement waits for a lock that a writer of the file holds. */
const BUSY_TIMEOUT_MS = 10_000;
const MAX_CACHED_STATEMENTS = 64;
/** Enough for the inner pages of trees: leaves are mostly read once. */
const CACHE_KIB = 2000;

type Statement = ReturnType<InstanceType<typeof Database>['prepare']>;

export interface NativeConnectionOptions {
  /** Whether nobody writes the file: it is read without locks, and no other file is made beside it. */
  readonly isStill?: boolean;
}

/**
 * Reads a SQLite file through the native driver, rows as arrays and INTEGERs exact. Synchronous underneath: use it in
 * a worker thread. Opens the file read-only.
 *
 * The driver ends the process when it meets TEXT that is not valid UTF-8, and cuts TEXT at its first NUL: rows are
 * taken from how they are `stored`, or read by a list that gives no TEXT.
 */
export class NativeConnection implements SourceConnection {
  readonly transport = 'native';
  readonly stored = new StoredTables(true);
  readonly losesInfinities = false;
  readonly maxResponseBytes = null;
  readonly retries = 0;
  readonly #database: InstanceType<typeof Database>;
  readonly #statements = new Map<string, Statement>();
  readonly #path: string;

  constructor(url: string, { isStill = false }: NativeConnectionOptions = {}) {
    this.#path = filePathOf(url);
    refuseMissing(this.#path);
    try {
      const mode = isStill ? 'mode=ro&immutable=1' : 'mode=ro';
      const uri = `file:${this.#path.replace(/[%?#]/g, encodeURIComponent)}?${mode}`;
      this.#database = new Database(uri, { timeout: BUSY_TIMEOUT_MS } as never);
      this.#database.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
    } catch (error) {
      throw nativeError(error, this.#path);
    }
  }

  // The seam is asynchronous; this driver is not.
  readonly query: Query = (sql, params = []) => {
    try {
      return Promise.resolve(this.#run(sql, params));
    } catch (error) {
      return Promise.reject(nativeError(error, this.#path));
    }
  };

  readonly batch = inTurn(this.query);

  async snapshot<T>(read: (query: Query) => Promise<T>): Promise<T> {
    try {
      this.#database.exec('BEGIN');
      try {
        return await read(this.query);
      } finally {
        this.#database.exec('ROLLBACK');
      }
    } catch (error) {
      throw nativeError(error, this.#path);
    }
  }

  wire(): Promise<null> {
    return Promise.resolve(null);
  }

  close(): Promise<void> {
    this.#statements.clear();
    this.#database.close();
    return Promise.resolve();
  }

  #run(sql: string, params: readonly Cell[]): RawRow[] {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql).raw();
      statement.safeIntegers(true);
      if (this.#statements.size >= MAX_CACHED_STATEMENTS) {
        const [oldest] = this.#statements.keys();
        this.#statements.delete(oldest!);
      }
      this.#statements.set(sql, statement);
    }
    return statement.all(params.map(bind)) as unknown as SqlValue[][];
  }
}

function bind(value: Cell): SqlValue {
  if (value instanceof InvalidText) return Buffer.from(value.bytes);
  // The driver binds every number as REAL; an INTEGER must stay one to be compared exactly.
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (value instanceof Uint8Array) return Buffer.from(value);
  return value;
}

function nativeError(error: unknown, path: string): unknown {
  if (error instanceof SourceError || !(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const context = { path, sqliteCode: code };
  if (code.startsWith('SQLITE_NOTADB')) return notADatabase(error, context);
  if (/^SQLITE_(BUSY|LOCKED|CANTOPEN|IOERR|PROTOCOL)/.test(code)) {
    return new SourceError(
      'SOURCE_UNAVAILABLE',
      `The source ${JSON.stringify(path)} cannot be read now: ${error.message}`,
      {
        cause: error,
        context,
        hint: 'Another process may hold a lock on it, or it cannot be read by this user.',
      },
    );
  }
  if (code.startsWith('SQLITE_') || error.name === 'SqliteError') {
    return new SourceError('SOURCE_SQL', `The source refused a statement: ${error.message}`, {
      cause: error,
      context,
    });
  }
  return error;
}
