import { CacheError, RowRejectedError } from '../errors.js';
import {
  rowOfRecord,
  toValues,
  type CacheReader,
  type KeyArgument,
  type TableReader,
} from '../cache/reader.js';
import type { Logger } from '../logger.js';
import type { RowErrorPolicy } from '../options.js';
import { parseRow, rowSchemaOf, type RowSchema } from '../row-schema.js';
import type { RejectedRow } from '../source/page.js';
import type { TableDefinition } from '../table-definition.js';
import { encodeKey } from '../transform/key-codec.js';
import { describeKey } from '../transform/key-text.js';
import { untilAborted } from '../until-aborted.js';
import type { SourceRow, SqlValue } from '../values.js';
import { KnownAnswers, type Answer } from './known-answers.js';
import { MissQueue } from './miss-queue.js';
import type { ResolvedReadThroughOptions } from './options.js';
import type { RowStore } from './row-store.js';
import { textOf, type AskingCost, type SourceLookUp } from './source-look-up.js';

/** What one {@link ReadThrough} did so far, in keys. */
export interface ReadThroughStats {
  /** Found in the cache. */
  readonly hits: number;
  /** Answered by what was asked of the source before: rows held in memory, and keys known to have none. */
  readonly remembered: number;
  /** Asked of the source, each counted once for all who waited for it. */
  readonly asked: number;
  /** Among those: the source had a row. */
  readonly found: number;
  /** The source had none. */
  readonly absent: number;
  /** It could not be asked, or has a row that cannot be cached. */
  readonly failed: number;
  /** Statements that asked. */
  readonly statements: number;
  /** Rows that the source gave for them. */
  readonly sourceRowsRead: number;
  /** Keys that are being asked for. */
  readonly pending: number;
  /** Rows held in memory. */
  readonly kept: number;
  /** Keys remembered to have no row. */
  readonly negatives: number;
}

/** What was asked of the source at once. */
export interface LookUpNote {
  readonly table: string;
  readonly durationMs: number;
  readonly found: number;
  readonly absent: number;
  readonly failed: number;
  readonly sourceRows: number;
  readonly retries: number;
  readonly error: unknown;
}

/** @internal What the tables of a cache that are read through share. */
export interface ReadThroughShared {
  readonly cache: () => CacheReader;
  readonly lookUp: SourceLookUp;
  readonly store: RowStore;
  readonly onRowError: RowErrorPolicy;
  readonly logger: Logger;
  /** Fires when the cache is closed. */
  readonly closing: AbortSignal;
  readonly onLookedUp: (note: LookUpNote) => void;
}

/**
 * Reads rows of one table from the cache, and those that it does not have from the source. Made by
 * `StorageSync.readThrough`.
 *
 * - Callers who miss the same key at the same time share one answer, and keys that are missed at the same time one
 *   statement.
 * - What the source gave is stored in the cache, where the table takes single rows; else it is held in memory.
 * - A row that comes from the source may be newer than what the cache holds of other rows. A key that the source had no
 *   row for may have got one since, for as long as `negativeTtlMs` says. A completed sync ends both.
 * - Where the source is away, a miss rejects with its `SourceError`. What the cache has is read as ever.
 */
export class ReadThrough<Row> {
  readonly #core: ReadThroughTable;
  readonly #schema: RowSchema | null;
  readonly #signal: AbortSignal | null;

  private constructor(
    core: ReadThroughTable,
    schema: RowSchema | null,
    signal: AbortSignal | null,
  ) {
    this.#core = core;
    this.#schema = schema;
    this.#signal = signal;
  }

  /** @internal */
  static over<Row>(
    table: Pick<TableDefinition, 'name' | 'schema'>,
    options: ResolvedReadThroughOptions,
    shared: ReadThroughShared,
  ): ReadThrough<Row> {
    const core = new ReadThroughTable(table.name, options, shared);
    return new ReadThrough<Row>(core, rowSchemaOf(table), null);
  }

  /**
   * The row with this key, one argument for each key column; undefined where neither the cache nor the source has one.
   * A key with a NULL in it is looked for in the cache alone: SQLite does not keep those unique.
   *
   * @throws {SourceError} of a miss, where the source could not be asked.
   * @throws {RowRejectedError} of a miss, where the source has a row that cannot be cached, unless `onRowError` says
   * `quarantine`: then it is as if there were none.
   * @throws {RowInvalidError} for a row that does not fit the definition's `schema`.
   * @throws {CacheError} `CACHE_EMPTY` before the first complete sync, `CACHE_CLOSED` once the cache was closed.
   */
  async get(...key: readonly SqlValue[]): Promise<Row | undefined> {
    return this.#parsed(key, await this.#core.get(key, this.#signal));
  }

  /**
   * The rows with these keys, in their order, with `undefined` for those that there are not. Rejects where one could not
   * be had.
   */
  async getMany(keys: readonly KeyArgument[]): Promise<(Row | undefined)[]> {
    const rows = await this.#core.getMany(keys, this.#signal);
    return rows.map((row, i) => this.#parsed(toValues(keys[i]!), row));
  }

  /**
   * The same table for a caller who may lose patience: once the signal fires, what is waited for rejects with its reason.
   * The source goes on answering whoever else waits, and the answer is stored.
   *
   * @example
   * ```ts
   * const users = storage.readThrough('users');
   * const user = await users.until(AbortSignal.timeout(500)).get(42);
   * ```
   */
  until(signal: AbortSignal): ReadThrough<Row> {
    const signals = this.#signal ? AbortSignal.any([this.#signal, signal]) : signal;
    return new ReadThrough<Row>(this.#core, this.#schema, signals);
  }

  /** What was asked so far, and what is remembered of it. */
  get stats(): ReadThroughStats {
    return this.#core.stats;
  }

  #parsed(key: readonly SqlValue[], row: SourceRow | undefined): Row | undefined {
    if (row === undefined || this.#schema === null) return row as Row | undefined;
    return parseRow(this.#schema, row, {
      table: this.#core.name,
      key: () => describeKey(encodeKey(key), key.length),
    }) as Row;
  }
}

/** One table that is read through, whoever waits for it. */
class ReadThroughTable {
  readonly name: string;
  readonly #isStored: boolean;
  readonly #shared: ReadThroughShared;
  readonly #known: KnownAnswers;
  readonly #queue: MissQueue<Answer>;
  readonly #counts = { hits: 0, remembered: 0, found: 0, absent: 0, failed: 0, statements: 0 };
  #sourceRows = 0;
  #reader: TableReader<SourceRow> | null = null;

  constructor(name: string, options: ResolvedReadThroughOptions, shared: ReadThroughShared) {
    this.name = name;
    this.#isStored = options.store;
    this.#shared = shared;
    this.#known = new KnownAnswers(options);
    this.#queue = new MissQueue(async (keys) => await this.#ask(keys));
  }

  async get(key: readonly SqlValue[], signal: AbortSignal | null): Promise<SourceRow | undefined> {
    signal?.throwIfAborted();
    const reader = this.#open();
    const row = reader.get(...key);
    return row === undefined ? await this.#miss(reader, key, signal) : this.#hit(row);
  }

  async getMany(
    keys: readonly KeyArgument[],
    signal: AbortSignal | null,
  ): Promise<(SourceRow | undefined)[]> {
    signal?.throwIfAborted();
    const reader = this.#open();
    const rows = reader.getMany(keys);
    return await Promise.all(
      rows.map(async (row, i) => {
        if (row !== undefined) return this.#hit(row);
        return await this.#miss(reader, toValues(keys[i]!), signal);
      }),
    );
  }

  get stats(): ReadThroughStats {
    const { found, absent, failed, ...counts } = this.#counts;
    return {
      ...counts,
      asked: found + absent + failed,
      found,
      absent,
      failed,
      sourceRowsRead: this.#sourceRows,
      pending: this.#queue.pending,
      kept: this.#known.rows,
      negatives: this.#known.negatives,
    };
  }

  #open(): TableReader<SourceRow> {
    if (this.#shared.closing.aborted) throw closedError();
    this.#reader ??= this.#shared.cache().table(this.name);
    return this.#reader;
  }

  #hit(row: SourceRow): SourceRow {
    this.#counts.hits++;
    return row;
  }

  async #miss(
    reader: TableReader<SourceRow>,
    values: readonly SqlValue[],
    signal: AbortSignal | null,
  ): Promise<SourceRow | undefined> {
    if (values.includes(null)) return undefined;
    const key = reader.keyBytes(values);
    const text = textOf(key);
    const known = this.#known.get(text);
    if (known) {
      if (reader.isStill(known.place)) {
        this.#counts.remembered++;
        return rowOfAnswer(known);
      }
      this.#known.delete(text);
    }
    const { closing } = this.#shared;
    const answer = this.#queue.ask(key, text);
    const unlessClosed = untilAborted(answer, closing);
    try {
      return rowOfAnswer(await (signal ? untilAborted(unlessClosed, signal) : unlessClosed));
    } catch (error) {
      if (closing.aborted && !signal?.aborted) throw closedError();
      throw error;
    }
  }

  /** Asks the source for keys, and remembers and stores what it has. */
  async #ask(
    keys: readonly Uint8Array[],
  ): Promise<(text: string) => { readonly value: Answer } | { readonly error: unknown }> {
    const begun = performance.now();
    const { lookUp, onRowError, logger, onLookedUp } = this.#shared;
    const cost: AskingCost = { sourceRows: 0, retries: 0 };
    const note = { table: this.name, found: 0, absent: 0, failed: 0, error: undefined as unknown };
    try {
      const reader = this.#open();
      // Before the source is asked: what it says holds for this state, and for none that a sync has led to since.
      const place = reader.place();
      const { rows, rejected } = await lookUp.find(place.plan, keys, cost);
      for (const row of rejected.values()) {
        if (onRowError === 'quarantine')
          logger.warn({ table: this.name }, rejectedText(this.name, row));
      }
      const isStill = reader.isStill(place);
      for (const key of keys) {
        const text = textOf(key);
        const value = rows.get(text) ?? null;
        if (rejected.has(text)) note.failed++;
        else if (value === null) note.absent++;
        else note.found++;
        if (!isStill || (rejected.has(text) && onRowError === 'fail')) continue;
        this.#known.set(text, { value, place });
        if (value !== null && this.#isStored) this.#store({ place, key, value }, text);
      }
      return (text) => {
        const row = rejected.get(text);
        if (row && onRowError === 'fail') return { error: rejectedError(this.name, row) };
        return { value: { value: rows.get(text) ?? null, place } };
      };
    } catch (error) {
      note.failed = keys.length;
      note.error = error;
      throw error;
    } finally {
      this.#counts.statements++;
      this.#counts.found += note.found;
      this.#counts.absent += note.absent;
      this.#counts.failed += note.failed;
      this.#sourceRows += cost.sourceRows;
      onLookedUp({ ...note, ...cost, durationMs: performance.now() - begun });
    }
  }

  #store(row: Pick<Parameters<RowStore['add']>[0], 'place' | 'key' | 'value'>, text: string): void {
    // The cache has it then, and the syncs that follow know of it: the copy would outlast a deletion.
    this.#shared.store.add({ ...row, onStored: () => this.#known.delete(text) });
  }
}

function rowOfAnswer({ value, place }: Answer): SourceRow | undefined {
  return value === null ? undefined : rowOfRecord(place.plan, value);
}

function rejectedText(table: string, { key, reason }: RejectedRow): string {
  return `A row of ${JSON.stringify(table)} cannot be cached: ${reason}. The row is the one with ${key}.`;
}

function rejectedError(table: string, row: RejectedRow): RowRejectedError {
  return new RowRejectedError(rejectedText(table, row), {
    context: { table, key: row.key, reason: row.reason },
    hint: 'Correct the row in the source, or read it as absent with onRowError: "quarantine".',
  });
}

function closedError(): CacheError {
  return new CacheError('CACHE_CLOSED', 'This StorageSync is closed.', { hint: 'Open it again.' });
}
