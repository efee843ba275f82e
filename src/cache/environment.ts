import { close, closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { CacheError } from '../errors.js';
import {
  EMPTY_CATALOG,
  MAX_DATABASES,
  type Catalog,
  type IndexState,
  type SyncRecord,
  type TableState,
} from './catalog.js';
import { CommitLock } from './commit-lock.js';
import { cacheIoError, FILE_MODE, tooManyFiles, WRITTEN_ANEW } from './files.js';
import { dataPath } from './layout.js';
import { packMeta, unpackMeta } from './record.js';

// lmdb-js takes the mode of its files as an option, which its types leave out.
const PERMISSIONS = { permissionsMode: FILE_MODE };

/** A database of one generation: keys and values are bytes. */
export type BytesDatabase = Omit<Database<Buffer, Buffer>, 'getBinaryFast'> & {
  // lmdb-js takes the options here as in `get`; its types leave them out.
  getBinaryFast(key: Buffer, options?: { transaction?: ReadTransaction }): Uint8Array | undefined;
};

/** What is stored under a key, as lmdb-js lends it: until the next read, and in a buffer that is longer than it is. */
export function lentValue(
  database: BytesDatabase,
  key: Buffer,
  options?: { transaction?: ReadTransaction },
): Buffer | undefined {
  const value = database.getBinaryFast(key, options);
  if (value === undefined || value instanceof Buffer) return value;
  // One that is too large for that buffer comes as a view of the mapped file.
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** One state of the environment, for reads that belong together. */
export type ReadTransaction = ReturnType<Database<Buffer, Buffer>['useReadTransaction']>;

const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;

const CATALOG = Buffer.from('catalog');
const SYNC = Buffer.from('sync');
const SOURCE = Buffer.from('source');
const tableStateKey = (id: number) => Buffer.from(`table:${id}`);
const indexStateKey = (id: number, number: number) => Buffer.from(`index:${id}.${number}`);

export interface EnvironmentOptions {
  /**
   * For a generation that nobody reads yet: commits are left to the operating system, and {@link Environment.close}
   * forces them to disk. A killed process loses nothing by that; a crashed machine may.
   */
  readonly unpublished?: boolean;
  /** Whether the file was damaged and is set back to the transaction before its last. */
  readonly setBack?: boolean;
  /** Whether the file may have been changed by others than who writes it, or is of a writer that was killed. */
  readonly unread?: boolean;
}

/**
 * One generation's LMDB environment and the databases in it.
 *
 * | database   | key               | value                                                      |
 * |------------|-------------------|------------------------------------------------------------|
 * | meta       | `catalog`, `sync`, `source`, `table:<id>`, `index:<id>.<n>` | msgpack          |
 * | `r<id>`    | a row's key       | the row as msgpack, then its checksum                      |
 * | `i<id>`    | an index's number, then its key (`index-key.ts`) | the row's key               |
 * | `s<id>`    | a row's key       | nothing: rows seen, or rows to remove, of a sync under way |
 * | `q<id>`    | a number          | msgpack: a row set aside, and why                          |
 *
 * lmdb-js keeps one native environment for each file in a process, shared by all threads, and the options of whoever
 * opens it first hold for all: so readers open it as writers do.
 */
export class Environment {
  readonly #commits: CommitLock;
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #meta: BytesDatabase;
  readonly #databases = new Map<string, BytesDatabase>();
  /** The data file, open besides: see {@link close}. */
  readonly #file: number | null;
  readonly #dir: string;
  readonly #unpublished: boolean;
  readonly setBack: boolean;
  readonly unread: boolean;
  /** The catalog, as bytes, whose tables are all open. */
  #catalogOpened: Buffer | null = null;
  #users = 1;

  constructor(generationDir: string, options: EnvironmentOptions = {}) {
    this.#dir = generationDir;
    this.#unpublished = options.unpublished ?? false;
    this.setBack = options.setBack ?? false;
    this.unread = options.unread ?? false;
    const files = [dataPath(generationDir), join(generationDir, 'lock.mdb')];
    if (!files.every(existsSync)) makeRoom(generationDir, ENVIRONMENT_ROOM);
    this.#commits = openCommitLock(generationDir);
    try {
      this.#root = this.#commits.hold(() => {
        refuseFewDescriptors(generationDir);
        return open<Buffer, Buffer>(generationDir, {
          ...BYTES,
          noSubdir: false,
          maxDbs: MAX_DATABASES,
          maxReaders: MAX_READERS,
          ...PERMISSIONS,
          ...(this.#unpublished ? { noSync: true } : {}),
        });
      });
      this.#meta = this.database('meta');
    } catch (error) {
      this.#commits.close();
      throw lmdbError(error, generationDir);
    }
    this.#file = openedForReading(files[0]!);
  }

  /** The database of this name, made if there is none. */
  database(name: string): BytesDatabase {
    let database = this.#databases.get(name);
    if (!database) {
      try {
        database = this.#commits.hold(() => this.#root.openDB<Buffer, Buffer>(name, BYTES));
      } catch (error) {
        throw lmdbError(error, this.#dir);
      }
      this.#databases.set(name, database);
    }
    return database;
  }

  rows(tableId: number): BytesDatabase {
    return this.database(rowsName(tableId));
  }

  /** The entries of all indexes of a table: one that is declared later needs no database that readers have to open. */
  indexes(tableId: number): BytesDatabase {
    return this.database(`i${tableId}`);
  }

  scratch(tableId: number): BytesDatabase {
    return this.database(`s${tableId}`);
  }

  quarantine(tableId: number): BytesDatabase {
    return this.database(`q${tableId}`);
  }

  /** Makes sure that so many databases can be made: see {@link makeRoom}. */
  makeRoomFor(databases: number): void {
    if (databases > 0) makeRoom(this.#dir, ENVIRONMENT_ROOM + databases * DATABASE_ROOM);
  }

  /** The number of the last transaction that any process committed. */
  get lastTransaction(): number {
    return (this.#root.getStats() as { lastTxnId: number }).lastTxnId;
  }

  /** Runs `write` in one transaction. The block must be synchronous and return nothing that waits. */
  transaction<T>(write: () => T): T {
    try {
      return this.#commits.hold(() => this.#root.transactionSync(write));
    } catch (error) {
      throw lmdbError(error, this.#dir);
    }
  }

  catalog(transaction?: ReadTransaction): Catalog {
    const catalog = this.#read<Catalog>(CATALOG, transaction) ?? EMPTY_CATALOG;
    // Catalogs from before indexes had numbers: theirs are built anew.
    const unnumbered = { indexNumbers: [], droppedIndexes: [], nextIndex: 0 };
    return {
      ...catalog,
      tables: catalog.tables.map((table) => ({ ...unnumbered, ...table })),
      pending: catalog.pending ?? [],
    };
  }

  /**
   * Begins reads that belong together, in which every table of their catalog can be read: LMDB knows a database only
   * in transactions that began after it was opened. End it with `done`.
   */
  beginRead(): ReadTransaction {
    for (;;) {
      const transaction = this.reading(() => this.#meta.useReadTransaction());
      const unopened = this.#unopenedTables(transaction);
      if (unopened.length === 0) return transaction;
      transaction.done();
      // Opening lets go of the state that this thread read last: the next transaction is a newer one.
      for (const id of unopened) this.openForReading(id);
    }
  }

  /** Runs a read, whose failure gets its code: a thread's first one takes a place in LMDB's table of readers. */
  reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw lmdbError(error, this.#dir);
    }
  }

  #unopenedTables(transaction: ReadTransaction): number[] {
    const bytes = this.#meta.get(CATALOG, { transaction });
    if (bytes === undefined || this.#catalogOpened?.equals(bytes)) return [];
    const unopened = this.catalog(transaction)
      .tables.map(({ id }) => id)
      .filter((id) => !this.#databases.has(rowsName(id)) || !this.#databases.has(`i${id}`));
    if (unopened.length === 0) this.#catalogOpened = bytes;
    return unopened;
  }

  /**
   * For a generation that is served: each was completed once.
   *
   * @throws {CacheError} `CACHE_CORRUPT` when it does not say so itself.
   */
  refuseIncomplete(): void {
    for (const key of [CATALOG, SYNC]) {
      if (this.#read(key) !== undefined) continue;
      throw new CacheError(
        'CACHE_CORRUPT',
        `The cache in ${JSON.stringify(this.#dir)} is damaged: its ${key.toString()} is missing.`,
        {
          context: { path: this.#dir },
          hint: 'Run `storage-sync rebuild`: the source has everything.',
        },
      );
    }
  }

  putCatalog(catalog: Catalog): void {
    this.#put(CATALOG, catalog);
  }

  tableState(tableId: number, transaction?: ReadTransaction): TableState {
    return (
      this.#read<TableState>(tableStateKey(tableId), transaction) ?? { rows: 0, checkpoint: null }
    );
  }

  /** Whether a table is in the catalog: one that was dropped has no state. */
  hasTable(tableId: number, transaction?: ReadTransaction): boolean {
    const options = transaction ? { transaction } : undefined;
    const key = tableStateKey(tableId);
    return this.reading(() => this.#meta.getBinaryFast(key, options)) !== undefined;
  }

  /** Empties a table's databases and forgets its state. Inside a transaction, with the databases open. */
  dropTable(tableId: number, indexNumbers: readonly number[]): void {
    this.rows(tableId).clearSync();
    this.scratch(tableId).clearSync();
    this.quarantine(tableId).clearSync();
    this.indexes(tableId).clearSync();
    for (const number of indexNumbers) this.removeIndexState(tableId, number);
    this.#meta.removeSync(tableStateKey(tableId));
  }

  /** Opens what readers need of a table. lmdb-js takes the write lock for it where it was not open in this process. */
  openForReading(tableId: number): void {
    this.rows(tableId);
    this.indexes(tableId);
  }

  /** Opens a table's databases. Not inside a transaction: opening one is a transaction, which LMDB does not nest. */
  openTable(tableId: number): void {
    this.rows(tableId);
    this.scratch(tableId);
    this.quarantine(tableId);
    this.indexes(tableId);
  }

  putTableState(tableId: number, state: TableState): void {
    this.#put(tableStateKey(tableId), state);
  }

  /** How an index stands, or null for one that there is not (any more). */
  indexState(tableId: number, number: number, transaction?: ReadTransaction): IndexState | null {
    return this.#read<IndexState>(indexStateKey(tableId, number), transaction) ?? null;
  }

  putIndexState(tableId: number, number: number, state: IndexState): void {
    this.#put(indexStateKey(tableId, number), state);
  }

  removeIndexState(tableId: number, number: number): void {
    this.#meta.removeSync(indexStateKey(tableId, number));
  }

  syncRecord(): SyncRecord | null {
    return this.#read<SyncRecord>(SYNC) ?? null;
  }

  putSyncRecord(record: SyncRecord): void {
    this.#put(SYNC, record);
  }

  /** The fingerprint of the source that this generation is a copy of, or null before the first sync. */
  source(): string | null {
    return this.#read<string>(SOURCE) ?? null;
  }

  putSource(fingerprint: string): void {
    this.#put(SOURCE, fingerprint);
  }

  /** Lets reads of this thread see what was committed last. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** A failure of a read, with its code. */
  failure(error: unknown): unknown {
    return lmdbError(error, this.#dir);
  }

  /** LMDB's table of readers, as text, after the slots of processes that are gone were freed. */
  readerTable(): string {
    this.#root.readerCheck();
    return this.#root.readerList();
  }

  /** Keeps the environment open for one more user, who calls {@link close} when done. */
  retain(): this {
    this.#users++;
    return this;
  }

  /**
   * Closes the environment with its last user.
   *
   * Whoever lets go of a file last that was removed meanwhile frees all its memory: for a generation of some hundred
   * megabytes a tenth of a second. So the last hold on it is let go by a thread of libuv, not by one that reads.
   */
  async close(): Promise<void> {
    if (--this.#users > 0) return;
    // Without asynchronous writes under way it is closed when this returns, not later.
    await this.#commits.hold(() => this.#root.close());
    if (this.#file !== null) close(this.#file, () => undefined);
    this.#commits.close();
    if (!this.#unpublished) return;
    const path = dataPath(this.#dir);
    try {
      const fd = openSync(path, 'r+');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw cacheIoError(error, path);
    }
  }

  #put(key: Buffer, value: unknown): void {
    this.#meta.putSync(key, packMeta(key, value));
  }

  #read<T>(key: Buffer, transaction?: ReadTransaction): T | undefined {
    const bytes = this.reading(() =>
      this.#meta.get(key, transaction ? { transaction } : undefined),
    );
    return bytes === undefined ? undefined : unpackMeta<T>(key, bytes);
  }
}

/** The database of a table's rows. */
export function rowsName(tableId: number): string {
  return `r${tableId}`;
}

/** Null where it cannot be had: it only spares a pause. */
function openedForReading(path: string): number | null {
  try {
    return openSync(path, 'r');
  } catch {
    return null;
  }
}

function openCommitLock(generationDir: string): CommitLock {
  try {
    return new CommitLock(generationDir);
  } catch (error) {
    throw cacheIoError(error, generationDir);
  }
}

/** LMDB's `MDB_BAD_TXN`. */
const BAD_TRANSACTION = -30782;

/**
 * Whether LMDB refused a commit that is sound. lmdb-js does so now and then as it saves its list of free pages
 * (`mdb_freelist_save` takes a record for empty that it need not find). The file is as it was before, and an environment
 * that is opened anew goes on.
 */
export function isSpurious(error: unknown): boolean {
  return error instanceof CacheError && error.context['lmdbCode'] === BAD_TRANSACTION;
}

/** What a new environment takes on disk, generously. */
const ENVIRONMENT_ROOM = 256 * 1024;
/** What a new database takes at most, with the pages that are copied to enter it. */
const DATABASE_ROOM = 16 * 1024;

/**
 * Makes sure that there is room for so many bytes, by writing and removing them. lmdb-js does not survive a full disk
 * while it makes an environment or a database; later it does. Only a write knows of quotas and limits, too.
 *
 * @throws {CacheError} `CACHE_FULL`.
 */
function makeRoom(dir: string, bytes: number): void {
  const path = join(dir, 'room');
  try {
    const fd = openSync(path, WRITTEN_ANEW, FILE_MODE);
    try {
      const zeros = Buffer.alloc(Math.min(bytes, ENVIRONMENT_ROOM));
      for (let written = 0; written < bytes; written += writeSync(fd, zeros));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw cacheIoError(error, path);
  } finally {
    rmSync(path, { force: true });
  }
}

/** LMDB's `MDB_READERS_FULL`. */
const READERS_FULL = -30790;
/** Snapshots and reading threads, over all processes. Each takes 64 bytes of the lock file. */
export const MAX_READERS = 1024;

/** Descriptors that an opening takes, generously. */
const ENVIRONMENT_DESCRIPTORS = 8;

/**
 * Makes sure that so many files can be opened, by opening them: lmdb-js does not survive it when they cannot.
 *
 * @throws {CacheError} `CACHE_IO`.
 */
function refuseFewDescriptors(dir: string): void {
  const opened: number[] = [];
  try {
    while (opened.length < ENVIRONMENT_DESCRIPTORS) opened.push(openSync(dir, 'r'));
  } catch (error) {
    throw cacheIoError(error, dir);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

const EMFILE = 24;
const ENFILE = 23;
const ENOSPC = 28;
const EFBIG = 27;
const EIO = 5;
/** LMDB's codes for data that contradict themselves: PAGE_NOTFOUND, CORRUPTED, PANIC, INVALID, BAD_TXN, PROBLEM. */
const DAMAGE = new Set([-30797, -30796, -30795, -30793, -30782, -30779]);

/** Gives an LMDB failure its code. lmdb-js puts LMDB's or the system's number on `code`. */
export function lmdbError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof CacheError) return error;
  const code = 'code' in error ? error.code : undefined;
  const context = {
    path,
    lmdbCode: typeof code === 'number' || typeof code === 'string' ? code : null,
  };
  if (code === ENOSPC || code === EFBIG || code === EIO || code === 'ENOSPC' || code === 'EIO') {
    return new CacheError(
      'CACHE_FULL',
      `LMDB cannot write ${JSON.stringify(path)}: ${error.message}.`,
      {
        cause: error,
        context,
        hint: 'The disk is full or failing. Free some space; what was committed is kept, and the next sync goes on from it.',
      },
    );
  }
  if (code === READERS_FULL) {
    return new CacheError(
      'CACHE_READERS_FULL',
      `The cache ${JSON.stringify(path)} is being read by as many snapshots and threads as it can: ${MAX_READERS}.`,
      {
        cause: error,
        context: { ...context, limit: MAX_READERS },
        hint: 'Close snapshots, or readers, that are not needed any more. `storage-sync status` lists those that lag behind.',
      },
    );
  }
  if (code === EMFILE || code === ENFILE) return tooManyFiles(path, error);
  if (typeof code === 'number' && DAMAGE.has(code)) {
    return new CacheError(
      'CACHE_CORRUPT',
      `The cache in ${JSON.stringify(path)} is damaged: ${error.message}.`,
      {
        cause: error,
        context,
        hint: 'Run `storage-sync rebuild`: the source has everything.',
      },
    );
  }
  return error;
}
