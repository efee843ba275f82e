import assert from 'node:assert/strict';
import type { CacheReader, SqlValue } from '../../src/index.js';
import { readDatabase } from '../support/compare.js';

interface StateTable {
  readonly columns: readonly string[];
  /** The row of each key that has no NULL, as text. */
  readonly rows: ReadonlyMap<string, string>;
  /** All rows. */
  readonly all: ReadonlySet<string>;
}

type State = ReadonlyMap<string, StateTable>;

/** Rows as they were read of a table of the cache. */
export interface ReadRows {
  readonly name: string;
  readonly columns: readonly string[];
  readonly keyNames: readonly string[];
  /** Values in the order of the columns. */
  readonly rows: readonly (readonly SqlValue[])[];
  /** Whether these are all the rows that there are. */
  readonly isWhole: boolean;
}

/**
 * The states that a source has had since a cache was last equal to it. Whatever befell syncs since then, each row of
 * the cache is as in one of these states, and a row that was in all of them is there.
 */
export class SourceStates {
  readonly #file: string;
  readonly #where: Readonly<Record<string, string>>;
  readonly #keepsRows: boolean;
  #states: State[] = [];
  /** Whether there may have been states that nobody saw. */
  #incomplete = true;
  #newest: { readonly version: number; readonly state: State } | null = null;

  constructor(file: string, where: Readonly<Record<string, string>>, keepsRows: boolean) {
    this.#file = file;
    this.#where = where;
    this.#keepsRows = keepsRows;
  }

  /**
   * Notes the state as it is.
   *
   * @param version another one for each state.
   */
  note(version: number): void {
    if (!this.#incomplete) this.#states.push(this.#at(version));
  }

  /** Notes that there were other states, such as those of a writer that nobody waits for. */
  lose(): void {
    this.#incomplete = true;
    this.#states = [];
  }

  /** Notes that the cache is now equal to the source. */
  restart(version: number): void {
    this.#incomplete = false;
    this.#states = [this.#at(version)];
  }

  /** Whether all states are known that the source has had. */
  get isComplete(): boolean {
    return !this.#incomplete;
  }

  /** Holds the rows of a cache against the states. */
  check(cache: CacheReader): void {
    if (this.#incomplete) return;
    for (const { name, columns, keyNames } of cache.tables()) {
      const rows = Array.from(cache.table(name).range(), (row) =>
        columns.map((column) => row[column]!),
      );
      this.checkRows({ name, columns, keyNames, rows, isWhole: true });
    }
  }

  /** Holds rows that were read of a table against the states. */
  checkRows({ name, columns, keyNames, rows, isWhole }: ReadRows): void {
    if (this.#incomplete) return;
    const states = this.#states.map((state) => state.get(name));
    // A rowid as the key is no column.
    const hasKey = keyNames.every((column) => columns.includes(column));
    const keyAt = keyNames.map((column) => columns.indexOf(column));
    const there = new Set<string>();
    for (const row of rows) {
      const cells = textOf(row);
      const named = hasKey ? keyText(keyAt.map((at) => row[at]!)) : null;
      if (named !== null) there.add(named);
      const once = states.some((state) =>
        named === null ? state?.all.has(cells) : state?.rows.get(named) === cells,
      );
      assert.ok(once, `${name}: the cache has the row ${cells}, which the source never had`);
    }
    if (!this.#keepsRows || !hasKey || !isWhole) return;
    for (const key of states[0]?.rows.keys() ?? []) {
      if (there.has(key)) continue;
      const always = states.every((state) => state?.rows.has(key));
      assert.ok(!always, `${name}: the row ${key} was always in the source, and is not cached`);
    }
  }

  #at(version: number): State {
    if (this.#newest?.version !== version) this.#newest = { version, state: this.#read() };
    return this.#newest.state;
  }

  #read(): State {
    return new Map(
      readDatabase(this.#file, { where: this.#where }).map(({ name, columns, rows }) => {
        const keyed = rows.flatMap(({ key, cells }): [string, string][] => {
          const named = keyText(key);
          return named === null ? [] : [[named, textOf(cells)]];
        });
        const all = new Set(rows.map(({ cells }) => textOf(cells)));
        return [name, { columns, rows: new Map(keyed), all }];
      }),
    );
  }
}

function keyText(key: readonly SqlValue[]): string | null {
  return key.includes(null) ? null : textOf(key);
}

function textOf(values: readonly SqlValue[]): string {
  return values.map(valueText).join(' ');
}

function valueText(value: SqlValue): string {
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
  if (typeof value === 'string') return JSON.stringify(value);
  return String(value);
}
