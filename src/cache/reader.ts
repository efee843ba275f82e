import { lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { CacheError, SourceError } from '../errors.js';
import type { TablePlan } from '../source/plan.js';
import { columnNotFound, NEWEST_INDEX } from '../source/plan.js';
import { parseRow, rowSchemaOf, type RowSchema } from '../row-schema.js';
import { foldName } from '../source/introspection.js';
import type {
  IndexDefinitions,
  IndexName,
  IndexValues,
  IndexesOf,
  RowOf,
  StoredRowOf,
  TableDefinition,
} from '../table-definition.js';
import { loadChecksum } from '../transform/checksum.js';
import { encodeKey, encodeKeyPrefix, lendKey } from '../transform/key-codec.js';
import { describeKey } from '../transform/key-text.js';
import type { SourceRow, SqlValue } from '../values.js';
import type { IndexState, IndexViolation } from './catalog.js';
import { checkpointStamp, takesSingleRows } from './fetched-rows.js';
import { ReadWindow, type CacheReads, type ReadCounts } from './read-window.js';
import { DamageLog } from './damage-notes.js';
import { Environment, lentValue, type BytesDatabase, type ReadTransaction } from './environment.js';
import { indexEntry } from './index-key.js';
import { scanIndex, type IndexScanRange, type ScannedIndex } from './index-scan.js';
import { generationPath, manifestPath } from './layout.js';
import { liveGeneration } from './manifest.js';
import { preflight } from './preflight.js';
import { refuseOpenToAll } from './safe-directory.js';
import { damagedRecord, decodeRecord, recordIsSound } from './record.js';
import { rowMaker, type RowMaker } from './row-maker.js';

/** How a cache is read: see {@link openCache}. */
export interface CacheReaderOptions {
  /** Verify each record's checksum, and its place in an index, as it is read; damage is an error, never a wrong row. */
  readonly validateChecksums?: boolean | undefined;
}

/** How a table is read. */
interface TableOptions {
  /** Whether rows are passed through the definition's `schema`, where it has one. Default: true. */
  readonly parse?: boolean | undefined;
}

/** What the cache holds of one table. */
export interface CachedTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly keyNames: readonly string[];
  readonly rows: number;
  readonly indexes: readonly string[];
}

/** A key: the value of its one column, or those of its columns in order. In a range the leading ones are enough. */
export type KeyArgument = SqlValue | readonly SqlValue[];

/** Which rows of a table to read, by their keys. Without bounds: all. */
export interface RangeOptions {
  readonly gt?: KeyArgument;
  readonly gte?: KeyArgument;
  readonly lt?: KeyArgument;
  readonly lte?: KeyArgument;
  /** Rows at most. Default: all. */
  readonly limit?: number;
  /** From the greatest key to the least. Default: false. */
  readonly reverse?: boolean;
}

/**
 * Which rows of an index to read. Bounds go by value, whichever way a column sorts: `lt: 5` gives lesser ones, and NULL
 * is less than anything. A bound of several values goes over as many columns, which must sort the same way.
 */
export interface IndexRangeOptions<Values extends readonly unknown[] = readonly SqlValue[]> {
  /** What the leading columns are to equal. The bounds are for the columns behind. */
  readonly prefix?: Leading<Values>;
  readonly gt?: IndexBound<Values>;
  readonly gte?: IndexBound<Values>;
  readonly lt?: IndexBound<Values>;
  readonly lte?: IndexBound<Values>;
  readonly limit?: number;
  readonly reverse?: boolean;
}

/** Which rows of an index to read, and how: see {@link TableReader.streamByIndex}. */
export type IndexStreamOptions<Values extends readonly unknown[] = readonly SqlValue[]> =
  IndexRangeOptions<Values> & StreamOptions;

/** One value or more of those of an index, from the first on. */
export type Leading<Values extends readonly unknown[]> = Values extends readonly [
  infer First,
  ...infer Rest,
]
  ? readonly [First, ...Partial<Rest>]
  : Values;

/** A bound of a range of an index: of the column behind the prefix, or of several columns. */
export type IndexBound<Values extends readonly unknown[]> =
  Values[number] | readonly Values[number][];

/** An index of a table in the cache. */
export interface CachedIndex {
  readonly name: string;
  readonly columns: readonly { readonly column: string; readonly descending: boolean }[];
  readonly unique: boolean;
  /** Reads through it are answered only when it is `ready`. */
  readonly state: 'ready' | 'building' | 'violated';
}

/** How rows are streamed. */
export interface StreamOptions {
  /** Ends the stream with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Rows after which other work gets a turn. Default: 500. */
  readonly rowsPerTurn?: number;
}

/** How long a reader may serve a generation after another was published. */
const MANIFEST_CHECK_MS = 100;
const DEFAULT_ROWS_PER_TURN = 500;

const checksum = await loadChecksum();

/** What reads go through: a generation, at its newest state or under one snapshot. */
interface View {
  readonly environment: Environment;
  readonly transaction: ReadTransaction | undefined;
  readonly validateChecksums: boolean;
  readonly generation: number;
  readonly damage: DamageLog;
  readonly counts: ReadCounts;
}

/**
 * Opens a cache for reading, from any thread or process, also while a sync writes it. Reads never wait for a sync.
 *
 * A cache that has never been synced opens too: `generation` is null and reading a table throws `CACHE_EMPTY`, until
 * the first sync publishes.
 *
 * @example
 * ```ts
 * await using reader = openCache('./cache', { validateChecksums: true });
 * const user = reader.table('users').get(42);
 * ```
 *
 * @throws {CacheError} when the cache is damaged or of another format.
 */
export function openCache(cacheDir: string, options: CacheReaderOptions = {}): CacheReader {
  return new CacheReader(cacheDir, options);
}

/** Reads a cache. Follows to a newly published generation by itself. */
export class CacheReader implements AsyncDisposable {
  readonly #cacheDir: string;
  readonly #validateChecksums: boolean;
  readonly #damage: DamageLog;
  readonly #reads = new ReadWindow();
  #environment: Environment | null = null;
  /** What tables are read through, until another generation is published. */
  #current: View | null = null;
  #generation: number | null = null;
  #checkedAt = -Infinity;
  #manifestStamp: string | null = null;
  #closed = false;

  constructor(cacheDir: string, options: CacheReaderOptions = {}) {
    this.#cacheDir = cacheDir;
    this.#damage = new DamageLog(cacheDir);
    this.#validateChecksums = options.validateChecksums ?? false;
    refuseOpenToAll(cacheDir);
    this.#follow();
  }

  /** The generation that is read, or null before the first complete sync. */
  get generation(): number | null {
    this.#follow();
    return this.#generation;
  }

  /** The tables in the cache, in order of their names. */
  tables(): CachedTable[] {
    return listTables(this.#view());
  }

  /**
   * A table, typed by its definition. Rows pass through the definition's `schema`, if it has one.
   *
   * @throws {SourceError} `TABLE_NOT_FOUND` when the cache has no such table.
   * @throws {CacheError} `CACHE_EMPTY` before the first complete sync.
   */
  table<Definition extends TableDefinition>(
    definition: Definition,
    options?: { readonly parse?: true | undefined },
  ): TableReader<RowOf<Definition>, IndexesOf<Definition>, StoredRowOf<Definition>>;
  /** A table, typed by its definition, with rows as they are in the cache: `parse: false` leaves out the schema. */
  table<Definition extends TableDefinition>(
    definition: Definition,
    options: { readonly parse: false },
  ): TableReader<StoredRowOf<Definition>, IndexesOf<Definition>>;
  /** A table by its name, with rows as they are in the cache. */
  table(name: string): TableReader<SourceRow>;
  table(table: TableDefinition | string, options?: TableOptions): TableReader<SourceRow> {
    return TableReader.over(() => this.#view(), table, options);
  }

  /**
   * One consistent state of the whole cache, until it is disposed of. Hold it briefly: it keeps old pages from reuse.
   *
   * @example
   * ```ts
   * using snapshot = cache.snapshot();
   * const order = snapshot.table('orders').get('eu', 17);
   * const customer = snapshot.table('users').get(order?.['customer'] ?? null);
   * ```
   */
  snapshot(): CacheSnapshot {
    return CacheSnapshot.watched(this.#view());
  }

  /** How many of the keys asked of this reader since the last completed sync were in the cache. */
  get reads(): CacheReads {
    this.#lookAgain();
    return this.#reads.sofar;
  }

  /** @internal Of all keys asked so far. */
  get allReads(): Readonly<ReadCounts> {
    return this.#reads.total;
  }

  /** @internal The reads between the last two completed syncs, as far as this reader saw them. */
  readsBeforeSync(): CacheReads | null {
    this.#lookAgain();
    return this.#reads.ended;
  }

  /** Lets go of the cache. Reads throw `CACHE_CLOSED` from then on; snapshots that are held go on. */
  async close(): Promise<void> {
    this.#closed = true;
    const environment = this.#environment;
    this.#environment = null;
    await environment?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #view(): View {
    this.#follow();
    if (this.#environment === null) {
      throw new CacheError(
        'CACHE_EMPTY',
        `The cache ${JSON.stringify(this.#cacheDir)} has not been filled yet.`,
        {
          context: { path: this.#cacheDir },
          hint: 'Run `storage-sync sync` first, or let the running one finish.',
        },
      );
    }
    if (this.#current?.environment !== this.#environment) {
      this.#current = {
        environment: this.#environment,
        transaction: undefined,
        validateChecksums: this.#validateChecksums,
        generation: this.#generation!,
        damage: this.#damage,
        counts: this.#reads.counts,
      };
    }
    return this.#current;
  }

  /** Looks now and then whether another generation was published, and moves to it. */
  #follow(): void {
    if (this.#closed) throw new CacheError('CACHE_CLOSED', 'The cache reader is closed.');
    const now = performance.now();
    if (this.#environment !== null && now - this.#checkedAt < MANIFEST_CHECK_MS) return;
    this.#checkedAt = now;
    this.#noteSync();
    const stat = lstatSync(manifestPath(this.#cacheDir), { throwIfNoEntry: false, bigint: true });
    const stamp = stat ? `${stat.ino}:${stat.mtimeNs}` : '';
    if (stamp === this.#manifestStamp) return;
    const opened = openLive(this.#cacheDir, this.#generation);
    if (opened !== null) {
      const previous = this.#environment;
      this.#environment = opened.environment;
      this.#generation = opened.generation;
      void previous?.close();
      this.#noteSync();
    }
    this.#manifestStamp = stamp;
  }

  #lookAgain(): void {
    this.#checkedAt = -Infinity;
    this.#follow();
    this.#environment?.refresh();
    this.#noteSync();
  }

  /** Begins to count anew where a sync was completed since, whichever process did it. */
  #noteSync(): void {
    if (this.#environment !== null) this.#reads.note(syncOf(this.#environment));
  }
}

/** The last completed sync, or null where it cannot be told: a damaged note of it is no reason to refuse reads. */
function syncOf(environment: Environment): string | null {
  try {
    return environment.syncRecord()?.sync ?? null;
  } catch {
    return null;
  }
}

/** One state of the cache: every read sees the same rows, whatever is written meanwhile. */
export class CacheSnapshot implements Disposable {
  readonly #view: View;
  /** Apart from the snapshot itself, so that it can be ended for one that nobody closed. */
  readonly #hold: SnapshotHold;

  private constructor(view: Omit<View, 'transaction'>) {
    this.#hold = new SnapshotHold(view.environment);
    this.#view = { ...view, transaction: this.#hold.transaction };
  }

  /** @internal */
  static of(view: View): CacheSnapshot {
    return new CacheSnapshot(view);
  }

  /** @internal */
  get view(): View {
    return this.#view;
  }

  /** @internal A snapshot that is ended, with a warning, once it is collected without having been closed. */
  static watched(view: View): CacheSnapshot {
    const snapshot = new CacheSnapshot(view);
    const hold = snapshot.#hold;
    const opened = new Error('A snapshot of the cache was never closed. It was opened:');
    lostSnapshots.register(snapshot, { hold, opened }, hold);
    return snapshot;
  }

  /** The tables of this state, in order of their names. */
  tables(): CachedTable[] {
    return listTables(this.#view);
  }

  /**
   * A table of this state, typed by its definition. Rows pass through the definition's `schema`, if it has one.
   *
   * @throws {SourceError} `TABLE_NOT_FOUND` when the cache has no such table.
   */
  table<Definition extends TableDefinition>(
    definition: Definition,
    options?: { readonly parse?: true | undefined },
  ): TableReader<RowOf<Definition>, IndexesOf<Definition>, StoredRowOf<Definition>>;
  /** A table of this state, with rows as they are in the cache: `parse: false` leaves out the schema. */
  table<Definition extends TableDefinition>(
    definition: Definition,
    options: { readonly parse: false },
  ): TableReader<StoredRowOf<Definition>, IndexesOf<Definition>>;
  /** A table of this state, by its name, with rows as they are in the cache. */
  table(name: string): TableReader<SourceRow>;
  table(table: TableDefinition | string, options?: TableOptions): TableReader<SourceRow> {
    return TableReader.over(() => this.#view, table, options);
  }

  /** Ends the snapshot, so that what it holds can be used again. `using` does it at the end of a block. */
  close(): void {
    lostSnapshots.unregister(this.#hold);
    this.#hold.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a snapshot keeps from LMDB until it ends. */
class SnapshotHold {
  readonly transaction: ReadTransaction;
  readonly #environment: Environment;
  #ended = false;

  constructor(environment: Environment) {
    this.#environment = environment.retain();
    try {
      environment.refresh();
      this.transaction = environment.beginRead();
    } catch (error) {
      void environment.close();
      throw error;
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.transaction.done();
    void this.#environment.close();
  }
}

const lostSnapshots = new FinalizationRegistry<{
  readonly hold: SnapshotHold;
  readonly opened: Error;
}>(({ hold, opened }) => {
  hold.end();
  // The stack is written out only here: that is most of what it costs.
  process.emitWarning(String(opened.stack), { code: 'STORAGE_SYNC_SNAPSHOT_LOST' });
});

/** Where a table of the cache stands. */
export interface TablePlace {
  readonly generation: number;
  readonly tableId: number;
  readonly plan: TablePlan;
  /** The last completed sync. */
  readonly sync: string | null;
  /** See {@link checkpointStamp}; null where the table takes no single rows. */
  readonly stamp: Uint8Array | null;
}

interface OpenTable {
  readonly view: View;
  readonly id: number;
  readonly plan: TablePlan;
  readonly indexNumbers: readonly number[];
  readonly rows: BytesDatabase;
  /** A 1 for each column that is read; null where all are. */
  readonly wanted: Uint8Array | null;
  readonly toRow: RowMaker;
}

/** What a reader makes of the rows of its table. */
interface RowShape {
  /** What each row is passed through. */
  readonly schema: RowSchema | null;
  /** The columns that rows have; null for all. */
  readonly columns: readonly string[] | null;
}

/**
 * Reads one table. Rows come as plain objects, columns by name in the source's order; where the definition has a `schema`,
 * as that makes them. Keys and the values of indexes are always those in the cache.
 *
 * Whatever gives rows throws `ROW_INVALID` at one that does not fit the schema.
 */
export class TableReader<Row, Indexes extends IndexDefinitions = IndexDefinitions, Stored = Row> {
  readonly #getView: () => View;
  readonly #name: string;
  readonly #schema: RowSchema | null;
  readonly #columns: readonly string[] | null;
  #open: OpenTable | null = null;

  private constructor(getView: () => View, name: string, { schema, columns }: RowShape) {
    this.#getView = getView;
    this.#name = name;
    this.#schema = schema;
    this.#columns = columns;
    this.#table();
  }

  /** @internal */
  static over(
    getView: () => View,
    table: TableDefinition | string,
    { parse = true }: TableOptions = {},
  ): TableReader<SourceRow> {
    const [name, schema] =
      typeof table === 'string' ? [table, null] : [table.name, parse ? rowSchemaOf(table) : null];
    return new TableReader(getView, name, { schema, columns: null });
  }

  /**
   * The same table with rows of these columns alone, as they are in the cache: no schema is asked. What is not wanted of a
   * row is not decoded, which counts where rows are wide, or have long texts and BLOBs besides.
   *
   * @example
   * ```ts
   * const titles = cache.table('documents').select('id', 'title');
   * for (const { id, title } of titles.range()) console.log(id, title);
   * ```
   *
   * @throws {SourceError} `COLUMN_NOT_FOUND` when the table in the cache has no such column. Names are spelled as there.
   */
  select<Name extends keyof Stored & string>(
    ...columns: readonly [Name, ...Name[]]
  ): TableReader<Pick<Stored, Name>, Indexes, Stored> {
    return new TableReader(this.#getView, this.#name, { schema: null, columns });
  }

  /** The names of the rows' columns, in the order of the source. */
  get columns(): readonly string[] {
    const { plan, wanted } = this.#presentTable();
    const names = plan.columns.map((column) => column.name);
    return wanted === null ? names : names.filter((_, at) => wanted[at] === 1);
  }

  /** The names of the key's columns, in the key's order. `rowid` where the table has no key of its own. */
  get keyNames(): readonly string[] {
    return this.#presentTable().plan.keyNames;
  }

  /** The indexes, and whether they can be read. */
  get indexes(): CachedIndex[] {
    return this.#consistently(null, (table) => cachedIndexes(table));
  }

  /** The row with this key: one argument for each key column. */
  get(...key: readonly SqlValue[]): Row | undefined {
    return this.#get(key, this.#schema);
  }

  /** Whether there is a row with this key: one argument for each key column. No schema is asked. */
  has(...key: readonly SqlValue[]): boolean {
    return this.#get(key, null) !== undefined;
  }

  /** The rows with these keys, in their order, with `undefined` for those that are not there. */
  getMany(keys: readonly KeyArgument[]): (Row | undefined)[] {
    const table = this.#presentTable();
    return keys.map((key) =>
      counted(table, this.#read(table, this.#fullKey(table, toValues(key)), this.#schema)),
    );
  }

  /** @internal The bytes of a key. */
  keyBytes(key: readonly SqlValue[]): Uint8Array {
    // Memory of its own: to another thread goes all that a view is of.
    return new Uint8Array(this.#fullKey(this.#presentTable(), key));
  }

  /** @internal Where the table stands now. */
  place(): TablePlace {
    const { view, id, plan } = this.#presentTable();
    const { environment, generation } = view;
    environment.refresh();
    const { checkpoint } = environment.tableState(id);
    const takesRows = takesSingleRows(plan, checkpoint);
    return {
      generation,
      tableId: id,
      plan,
      sync: syncOf(environment),
      stamp: takesRows ? checkpointStamp(checkpoint) : null,
    };
  }

  /** @internal Whether no sync was completed since, and the table is the same. */
  isStill({ generation, tableId, sync }: TablePlace): boolean {
    const { view, id } = this.#table();
    return view.generation === generation && id === tableId && syncOf(view.environment) === sync;
  }

  /** The number of rows. */
  count(): number {
    return this.#told(this.#presentTable(), ({ view, id }) => {
      return view.environment.tableState(id, view.transaction).rows;
    });
  }

  /**
   * Rows between two keys, or between the leading values of two composite keys, in key order.
   *
   * @example
   * ```ts
   * for (const order of cache.table('orders').range({ gte: ['eu', 100], lt: 'us' })) console.log(order);
   * ```
   */
  *range(range: RangeOptions = {}): IterableIterator<Row> {
    const table = this.#presentTable();
    const environment = table.view.environment.retain();
    try {
      const entries = table.rows.getRange({ ...this.#bounds(table, range), ...options(table) });
      for (const { key, value } of entries) {
        yield this.#decode(table, key, value, value.length, this.#schema);
      }
    } catch (error) {
      throw noteDamage(table, error);
    } finally {
      void environment.close();
    }
  }

  /**
   * The whole table in key order under one snapshot, giving other work a turn now and then.
   *
   * @throws {CacheError} `CACHE_CORRUPT` when fewer rows come than the table holds.
   */
  async *stream(streamOptions: StreamOptions = {}): AsyncIterableIterator<Row> {
    const { signal, rowsPerTurn = DEFAULT_ROWS_PER_TURN } = streamOptions;
    const current = this.#getView();
    const owned = current.transaction === undefined ? CacheSnapshot.of(current) : null;
    try {
      const reader = owned ? this.#within(owned) : this;
      const expected = reader.count();
      let seen = 0;
      for (const row of reader.range()) {
        if (seen > 0 && seen % rowsPerTurn === 0) {
          signal?.throwIfAborted();
          await setImmediate();
        }
        seen++;
        yield row;
      }
      if (seen !== expected) {
        throw noteDamage(this.#table(), cutShort(this.#name, seen, expected));
      }
    } finally {
      owned?.close();
    }
  }

  /**
   * The newest rows, newest first: those with the greatest values. The table needs a `limit`, whose column decides; or
   * name an index to go by.
   *
   * @throws {CacheError} as {@link TableReader.rangeByIndex} does.
   */
  newest(count = 10, index: IndexName<Indexes> | 'newest' = NEWEST_INDEX): Row[] {
    return this.#consistently(index, (table) => {
      const scanned = this.#scanned(table, index);
      const reverse = scanned.index.descending[0] !== true;
      const found = scanIndex(scanned, { limit: count, reverse });
      return Array.from(found, ({ key, cells }) => this.#toRow(table, key, cells, this.#schema));
    });
  }

  /**
   * The rows whose leading columns of an index have these values, in the order of the index.
   *
   * @throws {CacheError} as {@link TableReader.rangeByIndex} does.
   */
  *byIndex<Name extends IndexName<Indexes>>(
    index: Name,
    ...values: Leading<IndexValues<Stored, Indexes, Name>>
  ): IterableIterator<Row> {
    if (values.length === 0) {
      throw new CacheError(
        'KEY_INVALID',
        `Reading by the index ${JSON.stringify(index)} takes at least one value.`,
        { context: { index }, hint: 'To read all of it, use rangeByIndex.' },
      );
    }
    yield* this.#scan(index, { prefix: values as readonly SqlValue[] });
  }

  /**
   * Rows in the order of an index, all of one state of the cache: those whose leading columns equal `prefix`, and whose
   * next columns lie within the bounds.
   *
   * ```ts
   * cache.table(episodes).rangeByIndex('by_domain', { prefix: ['web'], gte: since, reverse: true, limit: 20 });
   * ```
   *
   * The state is held until the iterator ends: by itself, or by leaving a `for` loop.
   *
   * @throws {CacheError} `KEY_INVALID` when there is no such index or the values do not fit it, `CACHE_INDEX_BUILDING`
   * while a sync has not completed it, `CACHE_INDEX_VIOLATED` when it is unique and the rows are not.
   */
  *rangeByIndex<Name extends IndexName<Indexes>>(
    index: Name,
    range: IndexRangeOptions<IndexValues<Stored, Indexes, Name>> = {},
  ): IterableIterator<Row> {
    yield* this.#scan(index, range as IndexScanRange);
  }

  /** {@link TableReader.rangeByIndex}, giving other work a turn now and then. */
  async *streamByIndex<Name extends IndexName<Indexes>>(
    index: Name,
    range: IndexStreamOptions<IndexValues<Stored, Indexes, Name>> = {},
  ): AsyncIterableIterator<Row> {
    const { signal, rowsPerTurn = DEFAULT_ROWS_PER_TURN, ...bounds } = range;
    let seen = 0;
    signal?.throwIfAborted();
    for (const row of this.#scan(index, bounds as IndexScanRange)) {
      if (seen > 0 && seen % rowsPerTurn === 0) {
        await setImmediate();
        signal?.throwIfAborted();
      }
      seen++;
      yield row;
    }
  }

  /** This table as a snapshot has it. */
  #within(snapshot: CacheSnapshot): TableReader<Row> {
    const shape = { schema: this.#schema, columns: this.#columns };
    return new TableReader(() => snapshot.view, this.#name, shape);
  }

  *#scan(index: string, range: IndexScanRange): Generator<Row> {
    const held = this.#hold(index);
    try {
      const { table } = held;
      for (const { key, cells } of scanIndex(this.#scanned(table, index), range)) {
        yield this.#toRow(table, key, cells, this.#schema);
      }
    } catch (error) {
      throw noteDamage(held.table, error);
    } finally {
      held.release();
    }
  }

  #consistently<T>(index: string | null, read: (table: OpenTable) => T): T {
    const held = this.#hold(index);
    try {
      return this.#told(held.table, read);
    } finally {
      held.release();
    }
  }

  /** The table with this index under one state of the cache, for reads that belong together. */
  #hold(index: string | null): { readonly table: OpenTable; readonly release: () => void } {
    const known = this.#table();
    if (known.view.transaction) return { table: known, release: () => undefined };
    const environment = known.view.environment.retain();
    const transaction = environment.beginRead();
    const release = () => {
      transaction.done();
      void environment.close();
    };
    try {
      const view = { ...known.view, transaction };
      const held = { ...known, view };
      // What was looked up before may have been dropped or declared anew.
      const isCurrent = index !== null && isPresent(held) && hasIndex(held, index);
      const current = isCurrent ? held : this.#find(view);
      if (current !== held) this.#open = { ...current, view: known.view };
      return { table: current, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #scanned(table: OpenTable, name: string): ScannedIndex {
    const { view, plan, id } = table;
    const at = this.#indexAt(table, name);
    const state = indexState(table, at);
    if (!state?.complete) throw stillBuilding(plan.name, name);
    if (state.violation) throw notUnique(plan, name, state.violation);
    const index = plan.indexes[at]!;
    const number = table.indexNumbers[at]!;
    // To hold an entry against its row takes the values of the index.
    const whole = view.validateChecksums ? { ...table, wanted: null } : table;
    return {
      index,
      number,
      entries: view.environment.indexes(id),
      transaction: view.transaction,
      read: (rowKey, entryKey) => {
        const value = lentValue(table.rows, rowKey, options(table));
        if (value === undefined) throw danglingIndex(plan.name, name);
        const cells = this.#cells(whole, rowKey, value, value.length);
        if (view.validateChecksums) {
          const entry = indexEntry(index, number, cells, rowKey, checksum);
          if (!entry.key.equals(entryKey)) throw strayEntry(plan.name, name);
        }
        return { key: rowKey, cells };
      },
    };
  }

  #table(): OpenTable {
    const view = this.#getView();
    if (this.#open && this.#open.view.environment === view.environment) return this.#open;
    this.#open = this.#find(view);
    return this.#open;
  }

  #find(view: View): OpenTable {
    const folded = foldName(this.#name);
    const found = view.environment
      .catalog(view.transaction)
      .tables.find((table) => foldName(table.plan.name) === folded);
    if (!found) {
      throw new SourceError(
        'TABLE_NOT_FOUND',
        `The cache has no table ${JSON.stringify(this.#name)}.`,
        {
          context: { table: this.#name },
          hint: 'Run `storage-sync tables` to see what it has.',
        },
      );
    }
    const { id, plan, indexNumbers } = found;
    const wanted = this.#columns && maskOf(plan, this.#columns);
    const toRow = rowMaker(
      plan.columns.map((column) => column.name),
      wanted,
    );
    return { view, id, plan, indexNumbers, rows: view.environment.rows(id), wanted, toRow };
  }

  /** The table, looked up again when it was dropped or replaced meanwhile: also while its successor was opened. */
  #presentTable(): OpenTable {
    for (let table = this.#table(); ;) {
      const { id } = table;
      if (isPresent(table)) return table;
      this.#open = null;
      table = this.#table();
      if (table.id === id) return table;
    }
  }

  #fullKey({ plan }: OpenTable, values: readonly SqlValue[]): Buffer {
    if (values.length !== plan.key.length) {
      throw new CacheError(
        'KEY_INVALID',
        `The key of ${JSON.stringify(plan.name)} is (${plan.keyNames.join(', ')}): it takes ${plan.key.length} values, not ${values.length}.`,
        { context: { table: plan.name } },
      );
    }
    return lendKey(values);
  }

  #get(key: readonly SqlValue[], schema: RowSchema | null): Row | undefined {
    const table = this.#table();
    if (key.length === table.plan.key.length) {
      const row = this.#read(table, lendKey(key), schema);
      // A miss may mean that the table was dropped, or made anew.
      if (row !== undefined || isPresent(table)) return counted(table, row);
    }
    const current = this.#presentTable();
    return counted(current, this.#read(current, this.#fullKey(current, key), schema));
  }

  #read(table: OpenTable, key: Buffer, schema: RowSchema | null): Row | undefined {
    try {
      const value = lentValue(table.rows, key, options(table));
      // The buffer is lmdb-js's own and much longer than the value: its `length` says how much of it is meant.
      if (value === undefined) return undefined;
      return this.#decode(table, key, value, value.length, schema);
    } catch (error) {
      throw noteDamage(table, error);
    }
  }

  #decode(
    table: OpenTable,
    key: Buffer,
    value: Buffer,
    length: number,
    schema: RowSchema | null,
  ): Row {
    return this.#toRow(table, key, this.#cells(table, key, value, length), schema);
  }

  #cells(table: OpenTable, key: Uint8Array, value: Buffer, length: number): SqlValue[] {
    if (table.view.validateChecksums && !recordIsSound(checksum, key, value, length)) {
      throw damagedRecord(table.plan.name, key);
    }
    const cells = decodeRow(table, value, length);
    if (cells === null) throw damagedRecord(table.plan.name, key, 'it is no row of the table');
    return cells;
  }

  #told<T>(table: OpenTable, read: (table: OpenTable) => T): T {
    try {
      return read(table);
    } catch (error) {
      throw noteDamage(table, error);
    }
  }

  #toRow(
    { plan, toRow }: OpenTable,
    key: Buffer,
    cells: readonly SqlValue[],
    schema: RowSchema | null,
  ): Row {
    const row = toRow(cells);
    if (schema === null) return row as Row;
    // A schema may read the cache itself, and the memory of keys is used again by each read.
    const own = Buffer.from(key);
    return parseRow(schema, row, {
      table: plan.name,
      key: () => describeKey(own, plan.key.length),
    }) as Row;
  }

  #bounds(table: OpenTable, { gt, gte, lt, lte, limit, reverse }: RangeOptions): object {
    const lower =
      gte !== undefined
        ? lowerBound(table, gte, true)
        : gt !== undefined
          ? lowerBound(table, gt, false)
          : undefined;
    const upper =
      lte !== undefined
        ? upperBound(table, lte, true)
        : lt !== undefined
          ? upperBound(table, lt, false)
          : undefined;
    const [first, last] = reverse ? [upper, lower] : [lower, upper];
    return {
      ...(first ? { start: first.key, exclusiveStart: !first.inclusive } : {}),
      ...(last ? { end: last.key, inclusiveEnd: last.inclusive } : {}),
      ...(limit === undefined ? {} : { limit }),
      ...(reverse ? { reverse: true } : {}),
    };
  }

  #indexAt({ plan }: OpenTable, name: string): number {
    const at = plan.indexes.findIndex((index) => index.name === name);
    if (at >= 0) return at;
    const known = plan.indexes.map((index) => index.name).join(', ');
    throw new CacheError(
      'KEY_INVALID',
      `${JSON.stringify(plan.name)} has no index ${JSON.stringify(name)}.`,
      {
        context: { table: plan.name, index: name },
        hint:
          known !== ''
            ? `It has: ${known}.`
            : name === NEWEST_INDEX
              ? 'Give its definition a limit and rebuild, or name an index.'
              : 'Declare the index in its definition, and sync.',
      },
    );
  }
}

/** @internal The row that a record of a table holds. */
export function rowOfRecord(plan: TablePlan, value: Buffer): SourceRow {
  return rowMaker(plan.columns.map(({ name }) => name))(decodeRecord(value, value.length));
}

/** The values of a record, or null where its bytes are no row of the table. */
function decodeRow({ plan, wanted }: OpenTable, value: Buffer, length: number): SqlValue[] | null {
  try {
    const cells = decodeRecord(value, length, wanted);
    return cells.length === plan.columns.length ? cells : null;
  } catch {
    return null;
  }
}

/** Gives a failed read its code, and notes for the next sync what it says of damage. */
function noteDamage({ view, id }: OpenTable, error: unknown): unknown {
  const failure = view.environment.failure(error);
  if (!(failure instanceof CacheError) || failure.code !== 'CACHE_CORRUPT') return failure;
  const { generation, damage } = view;
  const hex = failure.context['key'];
  const record = typeof hex === 'string' ? { tableId: id, key: Buffer.from(hex, 'hex') } : null;
  damage.note({ generation, record });
  return failure;
}

/** A 1 for each column of the plan that is among these. */
function maskOf(plan: TablePlan, columns: readonly string[]): Uint8Array {
  const mask = new Uint8Array(plan.columns.length);
  for (const name of columns) {
    const at = plan.columns.findIndex((column) => column.name === name);
    if (at < 0) throw columnNotFound(plan, name);
    mask[at] = 1;
  }
  return mask;
}

function counted<Row>({ view }: OpenTable, row: Row | undefined): Row | undefined {
  if (row === undefined) view.counts.misses++;
  else view.counts.hits++;
  return row;
}

function isPresent({ view, id }: OpenTable): boolean {
  return view.environment.hasTable(id, view.transaction);
}

/** Whether the table as it was looked up has this index still: the state of one goes with it. */
function hasIndex(table: OpenTable, name: string): boolean {
  const at = table.plan.indexes.findIndex((index) => index.name === name);
  return at >= 0 && indexState(table, at) !== null;
}

function indexState({ view, id, indexNumbers }: OpenTable, at: number): IndexState | null {
  const number = indexNumbers[at];
  return number === undefined ? null : view.environment.indexState(id, number, view.transaction);
}

function cachedIndexes(table: OpenTable): CachedIndex[] {
  const { columns, indexes } = table.plan;
  return indexes.map((index, at) => {
    const state = indexState(table, at);
    return {
      name: index.name,
      columns: index.columns.map((column, i) => ({
        column: columns[column]!.name,
        descending: index.descending[i]!,
      })),
      unique: index.unique,
      state: !state?.complete ? 'building' : state.violation ? 'violated' : 'ready',
    };
  });
}

function stillBuilding(table: string, index: string): CacheError {
  return new CacheError(
    'CACHE_INDEX_BUILDING',
    `The index ${JSON.stringify(index)} of ${JSON.stringify(table)} is still being built.`,
    {
      context: { table, index },
      hint: 'Let the running sync go on, or run `storage-sync sync` where none does: it goes on with the building. All else can be read.',
    },
  );
}

function notUnique(plan: TablePlan, index: string, violation: IndexViolation): CacheError {
  const first = describeKey(violation.first, plan.key.length);
  const second = describeKey(violation.second, plan.key.length);
  return new CacheError(
    'CACHE_INDEX_VIOLATED',
    `The index ${JSON.stringify(index)} of ${JSON.stringify(plan.name)} is declared unique, but the rows ${first} and ${second} have the same values in it.`,
    {
      context: { table: plan.name, index, first, second },
      hint: 'Correct the rows in the source or declare the index without `unique`, then sync. All else can be read.',
    },
  );
}

interface Bound {
  readonly key: Buffer;
  readonly inclusive: boolean;
}

/** A whole key bounds by itself; part of one, or one with a NULL, stands for all keys that begin with it. */
function lowerBound(table: OpenTable, argument: KeyArgument, inclusive: boolean): Bound {
  const values = toValues(argument);
  if (isWhole(table, values)) return { key: encodeKey(values), inclusive };
  const prefix = encodeKeyPrefix(values);
  return { key: inclusive ? prefix : endOfPrefix(prefix), inclusive: true };
}

function upperBound(table: OpenTable, argument: KeyArgument, inclusive: boolean): Bound {
  const values = toValues(argument);
  if (isWhole(table, values)) return { key: encodeKey(values), inclusive };
  const prefix = encodeKeyPrefix(values);
  return { key: inclusive ? endOfPrefix(prefix) : prefix, inclusive: false };
}

function isWhole({ plan }: OpenTable, values: readonly SqlValue[]): boolean {
  return values.length === plan.key.length && !values.includes(null);
}

/** A key above all that begin with `prefix`: no component begins with 0xFF. */
function endOfPrefix(prefix: Buffer): Buffer {
  return Buffer.concat([prefix, Buffer.from([0xff])]);
}

/** @internal */
export function toValues(argument: KeyArgument): readonly SqlValue[] {
  return Array.isArray(argument) ? (argument as readonly SqlValue[]) : [argument as SqlValue];
}

function options({ view }: OpenTable): { transaction: ReadTransaction } | undefined {
  return view.transaction && { transaction: view.transaction };
}

function listTables(view: View): CachedTable[] {
  return view.environment
    .catalog(view.transaction)
    .tables.map(({ id, plan }) => ({
      name: plan.name,
      columns: plan.columns.map((column) => column.name),
      keyNames: plan.keyNames,
      rows: view.environment.tableState(id, view.transaction).rows,
      indexes: plan.indexes.map((index) => index.name),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

interface OpenedGeneration {
  readonly generation: number | null;
  readonly environment: Environment | null;
}

const OPEN_TRIES = 5;

/**
 * Opens the generation that is served, or returns null when that is still `current`. Between the look at the manifest
 * and the opening another generation may be published and this one removed: then it looks again.
 */
function openLive(cacheDir: string, current: number | null): OpenedGeneration | null {
  let live = liveGeneration(cacheDir);
  for (let tries = 1; ; tries++) {
    if (live === current) return null;
    if (live === null) return { generation: null, environment: null };
    try {
      return { generation: live, environment: openGeneration(cacheDir, live) };
    } catch (error) {
      const now = liveGeneration(cacheDir);
      if (now === live || tries === OPEN_TRIES) throw error;
      live = now;
    }
  }
}

/**
 * Opens a generation with all its databases. lmdb-js takes the write lock to open one, which a read must not wait for:
 * so here, once, rather than at the first read.
 */
function openGeneration(cacheDir: string, generation: number): Environment {
  const dir = generationPath(cacheDir, generation);
  preflight(dir);
  const environment = new Environment(dir);
  try {
    environment.refuseIncomplete();
    const { tables, pending } = environment.catalog();
    for (const { id } of [...tables, ...pending]) environment.openForReading(id);
    return environment;
  } catch (error) {
    void environment.close();
    throw error;
  }
}

function cutShort(table: string, seen: number, expected: number): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `Reading ${JSON.stringify(table)} ended after ${seen} of ${expected} rows: the cache is damaged.`,
    {
      context: { table, seen, expected },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}

function strayEntry(table: string, index: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `An entry of the index ${JSON.stringify(index)} of ${JSON.stringify(table)} is not that of the row it names.`,
    {
      context: { table, index },
      hint: 'Run `storage-sync verify --level deep --repair`, or `storage-sync rebuild`.',
    },
  );
}

function danglingIndex(table: string, index: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `The index ${JSON.stringify(index)} of ${JSON.stringify(table)} names a row that is not there.`,
    {
      context: { table, index },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
