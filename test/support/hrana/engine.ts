import { isUtf8 } from 'node:buffer';
import Database from 'libsql';
import { ResponseError, ServerError } from './errors.js';
import type { Col, NamedArg, Row, SqlValue } from './protocol.js';
import { type AnalyzedStatement, errorOffset, syntaxError } from './sql-analysis.js';

/** Rows of one fetch: the native iterator itself fetches a hundred at a time. */
const ROWS_PER_CHUNK = 100;

/** Primary result codes and their Hrana names (`sqlite_error_code` of hrana/stmt.rs). */
const SQLITE_CODES: Readonly<Record<number, string>> = {
  2: 'SQLITE_INTERNAL',
  3: 'SQLITE_PERM',
  4: 'SQLITE_ABORT',
  5: 'SQLITE_BUSY',
  6: 'SQLITE_LOCKED',
  7: 'SQLITE_NOMEM',
  8: 'SQLITE_READONLY',
  9: 'SQLITE_INTERRUPT',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  12: 'SQLITE_NOTFOUND',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  15: 'SQLITE_PROTOCOL',
  17: 'SQLITE_SCHEMA',
  18: 'SQLITE_TOOBIG',
  19: 'SQLITE_CONSTRAINT',
  20: 'SQLITE_MISMATCH',
  21: 'SQLITE_MISUSE',
  22: 'SQLITE_NOLFS',
  23: 'SQLITE_AUTH',
  25: 'SQLITE_RANGE',
  26: 'SQLITE_NOTADB',
};

interface NativeError {
  readonly message: string;
  readonly rawCode: number;
}

function nativeError(error: unknown): NativeError | undefined {
  if (error instanceof Error && 'rawCode' in error && typeof error.rawCode === 'number') {
    return { message: error.message, rawCode: error.rawCode };
  }
  return undefined;
}

/** The database is locked by another connection: worth another try. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

function sqliteFailure(error: unknown, sql: string): unknown {
  const native = nativeError(error);
  if (native === undefined) {
    return error;
  }
  const primary = native.rawCode & 0xff;
  if (primary === 5) {
    return new BusyError(native.message);
  }
  if (primary === 1) {
    const offset = errorOffset(sql, native.message);
    if (offset >= 0) {
      // rusqlite makes an input error of whatever SQLite reports with an offset.
      return new ResponseError(
        `SQL input error: ${native.message} (at offset ${offset})`,
        'SQL_INPUT_ERROR',
      );
    }
  }
  return new ResponseError(
    `SQLite error: ${native.message}`,
    SQLITE_CODES[primary] ?? 'SQLITE_UNKNOWN',
  );
}

type NativeDatabase = InstanceType<typeof Database>;
type NativeStatement = ReturnType<NativeDatabase['prepare']>;

export interface StatementEffect {
  readonly affectedRowCount: number;
  readonly lastInsertRowid: bigint | null;
}

export interface Arguments {
  readonly args: readonly SqlValue[];
  readonly namedArgs: readonly NamedArg[];
}

/** One engine connection to the database file. Not shared: one stream owns it. */
export class EngineConnection {
  readonly #db: NativeDatabase;
  /** Texts the engine's parser has accepted once: syntax does not depend on the schema. */
  readonly #parsed: Set<string>;
  #isFresh = true;

  constructor(file: string, parsed: Set<string>) {
    this.#db = new Database(file, { timeout: 0 });
    this.#parsed = parsed;
  }

  get isAutocommit(): boolean {
    return !this.#db.inTransaction;
  }

  /** Whether it cannot be told from a new connection: it has only read. */
  get isFresh(): boolean {
    return this.#isFresh && this.isAutocommit;
  }

  /** sqld refuses a syntax error before it runs anything; other errors wait for execution. */
  checkSyntax(statement: AnalyzedStatement): void {
    // Some pragmas take effect while they are compiled: those are not compiled to be looked at.
    if (statement.isPragma || this.#parsed.has(statement.sql)) {
      return;
    }
    try {
      this.#db.prepare(statement.sql);
    } catch (error) {
      const native = nativeError(error);
      const syntax = native === undefined ? undefined : syntaxError(statement.sql, native.message);
      if (syntax !== undefined) {
        throw syntax;
      }
    }
    if (this.#parsed.size > 10_000) {
      this.#parsed.clear();
    }
    this.#parsed.add(statement.sql);
  }

  prepare(statement: AnalyzedStatement): PreparedStatement {
    const { isPragma, kind } = statement;
    // Writes show in changes() and last_insert_rowid(), some pragmas in what follows.
    this.#isFresh &&= !isPragma && (kind === 'read' || kind === 'txn-begin' || kind === 'txn-end');
    try {
      return new PreparedStatement(this.#db, this.#db.prepare(statement.sql), statement);
    } catch (error) {
      throw sqliteFailure(error, statement.sql);
    }
  }

  rollback(): void {
    if (!this.isAutocommit) {
      this.#db.exec('ROLLBACK');
    }
  }

  close(): void {
    this.#db.close();
  }
}

export class PreparedStatement {
  readonly cols: readonly Col[];
  readonly #db: NativeDatabase;
  readonly #native: NativeStatement;
  readonly #statement: AnalyzedStatement;

  constructor(db: NativeDatabase, native: NativeStatement, statement: AnalyzedStatement) {
    this.#db = db;
    this.#native = native;
    this.#statement = statement;
    this.cols = native.columns().map(({ name, type }) => ({ name, decltype: type ?? null }));
  }

  /**
   * Runs the statement and hands out its rows in small chunks; the generator's return value is
   * what it changed. Leaving the generator early ends the statement.
   */
  *run(args: Arguments): Generator<Row[], StatementEffect> {
    const bound = bindArguments(this.#statement, args);
    let changes: number | undefined;
    try {
      if (this.#native.reader) {
        yield* this.#rows(bound);
      } else {
        changes = this.#native.run(bound).changes;
      }
    } catch (error) {
      throw sqliteFailure(error, this.#statement.sql);
    }
    return this.#effect(changes);
  }

  *#rows(bound: readonly SqlValue[]): Generator<Row[]> {
    const exact = this.#statement.isSelect
      ? exactTextQuery(this.#db, this.#statement, this.cols)
      : undefined;
    const native = exact?.native ?? this.#native;
    const iterator = native.raw(true).safeIntegers(true).iterate(bound);
    let done = false;
    let rows: Row[] = [];
    try {
      while (!done) {
        const next = iterator.next();
        if (next.done === true) {
          done = true;
        } else {
          const row = next.value as SqlValue[];
          rows.push(exact === undefined ? row : exact.decode(row));
        }
        if (rows.length === ROWS_PER_CHUNK || (done && rows.length > 0)) {
          yield rows;
          rows = [];
        }
      }
    } catch (error) {
      // A statement that has failed is over; one whose row cannot be decoded is not.
      done = nativeError(error) !== undefined;
      if (rows.length > 0) {
        yield rows;
      }
      throw error;
    } finally {
      if (!done) {
        endEarly(this.#db, iterator);
      }
    }
  }

  #effect(changes: number | undefined): StatementEffect {
    if (!this.#statement.isIud) {
      return { affectedRowCount: 0, lastInsertRowid: null };
    }
    // The binding gives rowids as doubles: ask SQL for the exact one.
    const [row] = this.#db
      .prepare('SELECT changes(), last_insert_rowid()')
      .raw(true)
      .safeIntegers(true)
      .all() as [bigint, bigint][];
    return {
      affectedRowCount: changes ?? Number(row?.[0] ?? 0n),
      lastInsertRowid: this.#statement.isInsert ? (row?.[1] ?? 0n) : null,
    };
  }
}

/** Interrupts a half read statement, which would pin its snapshot until it is collected. */
function endEarly(db: NativeDatabase, iterator: Iterator<unknown>): void {
  (db as unknown as { interrupt(): void }).interrupt();
  try {
    while (iterator.next().done !== true) {
      // Rows fetched before the interrupt.
    }
  } catch {
    // The interrupt itself.
  }
}

interface ExactTextQuery {
  readonly native: NativeStatement;
  decode(row: readonly SqlValue[]): Row;
}

const MASK_BITS = 52;

/**
 * The binding cuts TEXT at its first NUL and aborts the process on TEXT that is not UTF-8. So a
 * query is wrapped such that TEXT arrives as BLOB, with leading bit masks that tell which cells
 * were TEXT.
 */
function exactTextQuery(
  db: NativeDatabase,
  statement: AnalyzedStatement,
  cols: readonly Col[],
): ExactTextQuery | undefined {
  const names = cols.map((_, i) => `c${i}`);
  const maskCount = Math.ceil(names.length / MASK_BITS);
  const masks = Array.from({ length: maskCount }, (_, m) =>
    names
      .slice(m * MASK_BITS, (m + 1) * MASK_BITS)
      .map((name, bit) => `((typeof(${name})='text')<<${bit})`)
      .join('|'),
  );
  const cells = names.map(
    (name) => `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END`,
  );
  const sql = `WITH _q(${names.join()}) AS (${statement.sql}\n) SELECT ${[...masks, ...cells].join()} FROM _q`;
  let native: NativeStatement;
  try {
    native = db.prepare(sql);
  } catch {
    return undefined;
  }
  return {
    native,
    decode(row) {
      const decoded = row.slice(maskCount);
      for (const [i, cell] of decoded.entries()) {
        const mask = row[Math.floor(i / MASK_BITS)] as bigint;
        if (cell instanceof Uint8Array && isBitSet(mask, i % MASK_BITS)) {
          decoded[i] = decodeText(cell);
        }
      }
      return decoded;
    },
  };
}

function isBitSet(mask: bigint, bit: number): boolean {
  return Math.floor(Number(mask) / 2 ** bit) % 2 === 1;
}

function decodeText(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) {
    throw new ServerError('invalid utf-8 sequence');
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Mirrors `Params::bind` of libsql-server/src/query.rs, positional and named. */
function bindArguments(statement: AnalyzedStatement, given: Arguments): SqlValue[] {
  const { params } = statement;
  const named = new Map(given.namedArgs.map(({ name, value }) => [name, value]));
  const count = given.namedArgs.length > 0 ? named.size : given.args.length;
  if (params.length < count) {
    throw argsInvalid(`too many parameters, expected ${params.length} found ${count}`);
  }
  const bound: SqlValue[] = [];
  for (const [i, name] of params.entries()) {
    let value: SqlValue | undefined;
    if (name === null) {
      value = given.args[i];
    } else if (name.startsWith('?')) {
      value = given.args[Number(name.slice(1)) - 1];
    } else {
      value = named.get(named.has(name) ? name : name.slice(1));
    }
    if (value === undefined) {
      if (statement.isExplain) {
        break;
      }
      throw argsInvalid(`value for parameter ${name ?? i + 1} not found`);
    }
    bound.push(value);
  }
  return bound;
}

function argsInvalid(reason: string): ResponseError {
  return new ResponseError(`Arguments do not match SQL parameters: ${reason}`, 'ARGS_INVALID');
}
