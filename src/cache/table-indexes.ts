import { describeKey } from '../transform/key-text.js';
import type { Checksum } from '../transform/checksum.js';
import type { SqlValue } from '../values.js';
import type { CatalogTable, IndexViolation } from './catalog.js';
import { lentValue, type Environment } from './environment.js';
import { groupOf, indexEntry, indexGroup, rangeOfGroup, wholeIndex } from './index-key.js';
import type { IndexEntry } from './index-key.js';
import { damagedRecord, decodeRecord, recordIsSound } from './record.js';

/** Damaged rows whose entries are searched for. Where there are more, the cache is better built anew. */
const MAX_SEARCHES = 100;

/** A unique index that its table's rows violate. */
export interface UniqueVerdict {
  readonly table: string;
  readonly index: string;
  readonly first: string;
  readonly second: string;
}

/**
 * The indexes of one table, for its writer. Everything here happens in the transaction that changes the rows.
 *
 * Entering a row twice or taking out one that is not there changes nothing: so rows may be written while an index is
 * built, on either side of how far that has come.
 *
 * A unique index holds all rows, unique or not, and a count of those too many: rows may be swapped by a sync of many
 * batches, and only at its end it is to be judged.
 */
export class TableIndexes {
  readonly #environment: Environment;
  readonly #table: CatalogTable;
  readonly #checksum: Checksum;
  #searches = 0;

  constructor(environment: Environment, table: CatalogTable, checksum: Checksum) {
    this.#environment = environment;
    this.#table = table;
    this.#checksum = checksum;
  }

  /** Enters a row in all indexes. */
  add(rowKey: Buffer, value: Buffer): void {
    for (const entry of this.entriesOf(rowKey, value)) this.put(entry, rowKey);
  }

  /** Takes a row out of all indexes. */
  remove(rowKey: Buffer, value: Buffer): void {
    if (!recordIsSound(this.#checksum, rowKey, value, value.length)) {
      this.#removeEntriesOf(rowKey);
      return;
    }
    const database = this.#environment.indexes(this.#table.id);
    for (const { number, key, group } of this.entriesOf(rowKey, value)) {
      if (group !== null && !database.doesExist(key)) continue;
      database.removeSync(key);
      if (group !== null && this.#hasMembers(group)) this.#countDuplicates(number, -1);
    }
  }

  /** What a damaged record was entered under cannot be told from it: all entries are looked at. */
  #removeEntriesOf(rowKey: Buffer): void {
    if (++this.#searches > MAX_SEARCHES) throw damagedRecord(this.#table.plan.name, rowKey);
    const database = this.#environment.indexes(this.#table.id);
    const found: Buffer[] = [];
    for (const { key, value } of database.getRange({})) {
      if (value.equals(rowKey)) found.push(Buffer.from(key));
    }
    for (const key of found) database.removeSync(key);
    this.recount();
  }

  /** The entry of a row in the `at`-th index. */
  entry(at: number, row: readonly SqlValue[], rowKey: Uint8Array): IndexEntry {
    const { plan, indexNumbers } = this.#table;
    return indexEntry(plan.indexes[at]!, indexNumbers[at]!, row, rowKey, this.#checksum);
  }

  put({ number, key, group }: IndexEntry, rowKey: Buffer): void {
    const database = this.#environment.indexes(this.#table.id);
    if (group !== null) {
      if (database.doesExist(key)) return;
      if (this.#hasMembers(group)) this.#countDuplicates(number, 1);
    }
    database.putSync(key, rowKey);
  }

  /** Judges the unique indexes that are complete, and remembers and returns which ones the rows violate. */
  judge(): UniqueVerdict[] {
    const { id, plan, indexNumbers } = this.#table;
    const verdicts: UniqueVerdict[] = [];
    plan.indexes.forEach((index, at) => {
      const number = indexNumbers[at]!;
      const state = index.unique ? this.#environment.indexState(id, number) : null;
      if (!state?.complete) return;
      const violation = state.duplicates > 0 ? this.#findViolation(at) : null;
      if (violation !== null || state.violation !== null) {
        this.#environment.putIndexState(id, number, { ...state, violation });
      }
      if (violation === null) return;
      verdicts.push({
        table: plan.name,
        index: index.name,
        first: describeKey(violation.first, plan.key.length),
        second: describeKey(violation.second, plan.key.length),
      });
    });
    return verdicts;
  }

  /** The entries that a row is to have. */
  *entriesOf(rowKey: Buffer, value: Buffer): Generator<IndexEntry> {
    const { indexes } = this.#table.plan;
    if (indexes.length === 0) return;
    const row = decodeRecord(value, value.length);
    for (let at = 0; at < indexes.length; at++) yield this.entry(at, row, rowKey);
  }

  /** Counts anew how many rows the unique indexes have too many: for entries that came or went uncounted. */
  recount(): void {
    const { id, plan, indexNumbers } = this.#table;
    plan.indexes.forEach((index, at) => {
      const number = indexNumbers[at]!;
      const state = index.unique ? this.#environment.indexState(id, number) : null;
      if (state === null) return;
      this.#environment.putIndexState(id, number, { ...state, duplicates: this.#duplicates(at) });
    });
  }

  #duplicates(at: number): number {
    const database = this.#environment.indexes(this.#table.id);
    let duplicates = 0;
    let before = Buffer.alloc(0);
    for (const { key, value } of database.getRange(wholeIndex(this.#table.indexNumbers[at]!))) {
      const rowKey = Buffer.from(value);
      const group = Buffer.from(groupOf(key, rowKey) ?? this.#groupOfRow(at, rowKey));
      if (before.equals(group) && !this.#valuesOf(at, rowKey).includes(null)) duplicates++;
      before = group;
    }
    return duplicates;
  }

  #hasMembers(group: Buffer): boolean {
    const database = this.#environment.indexes(this.#table.id);
    return [...database.getKeys({ ...rangeOfGroup(group), limit: 1 })].length > 0;
  }

  #countDuplicates(number: number, change: number): void {
    const { id } = this.#table;
    const state = this.#environment.indexState(id, number);
    if (state === null) return;
    const duplicates = state.duplicates + change;
    this.#environment.putIndexState(id, number, { ...state, duplicates });
  }

  /** The first two rows of an index that share their values. Rows with a NULL share nothing, and are stepped over. */
  #findViolation(at: number): IndexViolation | null {
    const database = this.#environment.indexes(this.#table.id);
    let { start, end } = wholeIndex(this.#table.indexNumbers[at]!);
    for (;;) {
      let before: { readonly group: Buffer; readonly rowKey: Buffer } | null = null;
      let next: Buffer | null = null;
      for (const { key, value } of database.getRange({ start, end })) {
        const rowKey = Buffer.from(value);
        const group = Buffer.from(groupOf(key, rowKey) ?? this.#groupOfRow(at, rowKey));
        if (before !== null && before.group.equals(group)) {
          if (!this.#valuesOf(at, rowKey).includes(null))
            return { first: before.rowKey, second: rowKey };
          next = rangeOfGroup(group).end;
          break;
        }
        before = { group, rowKey };
      }
      if (next === null) return null;
      start = next;
    }
  }

  #groupOfRow(at: number, rowKey: Buffer): Buffer {
    const { plan, indexNumbers } = this.#table;
    const values = this.#valuesOf(at, rowKey);
    return indexGroup(plan.indexes[at]!, indexNumbers[at]!, values, this.#checksum);
  }

  #valuesOf(at: number, rowKey: Buffer): SqlValue[] {
    const { id, plan } = this.#table;
    const value = lentValue(this.#environment.rows(id), rowKey);
    if (value === undefined) return [null];
    const isSound = recordIsSound(this.#checksum, rowKey, value, value.length);
    const row = isSound ? decodeRecord(value, value.length) : [];
    return plan.indexes[at]!.columns.map((column) => row[column] ?? null);
  }
}
