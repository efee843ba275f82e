import type { Cell } from '../../values.js';
import type { Query } from '../connection.js';
import type { TablePlan } from '../plan.js';
import type { DatabasePages } from './database-pages.js';
import { IndexBtree } from './index-btree.js';
import { StoredFormError } from './stored-form-error.js';
import type { StoredRecord } from './stored-record.js';
import { TableBtree } from './table-btree.js';
import type { Rowid } from './varint.js';

/** Stands for a field where a column's value is the rowid. */
export const ROWID_FIELD = -1;

/** What tells a row from all others: its rowid, or in a `WITHOUT ROWID` table its position. */
export type RowRef = { readonly rowid: Rowid } | { readonly position: readonly Cell[] };

/** A record lacks columns that were added to its table later, and what they are in such rows is not known yet. */
export class UnknownDefault extends Error {
  readonly row: RowRef;
  /** How many fields the record has. */
  readonly fieldCount: number;

  constructor(row: RowRef, fieldCount: number) {
    super('a record lacks columns');
    this.row = row;
    this.fieldCount = fieldCount;
  }
}

interface StoredColumn {
  readonly field: number;
  /** False where a record that lacks the column has NULL there. */
  readonly hasDefault: boolean;
}

/** A plan's table as it is stored: where its rows are, and in which field of a record each column is. */
export class StoredTable {
  readonly pages: DatabasePages;
  readonly plan: TablePlan;
  /** A rowid table's is found in by rowid; a `WITHOUT ROWID` table's is walked in the order of the plan. */
  readonly btree: TableBtree | IndexBtree;
  /** The field of each of the plan's columns, or {@link ROWID_FIELD}. */
  readonly fields: Int32Array;
  /** Fields that a record has in which no column lacks. */
  readonly fieldCount: number;
  /** What a column is in records that lack it. */
  readonly #defaults: (Cell | undefined)[];

  private constructor(
    pages: DatabasePages,
    plan: TablePlan,
    btree: TableBtree | IndexBtree,
    columns: readonly StoredColumn[],
  ) {
    this.pages = pages;
    this.plan = plan;
    this.btree = btree;
    this.fields = Int32Array.from(columns, ({ field }) => field);
    this.fieldCount = Math.max(0, ...this.fields) + 1;
    this.#defaults = columns.map(({ hasDefault }) => (hasDefault ? undefined : null));
  }

  /** @throws {StoredFormError} when the table's rows cannot be had from how they are stored. */
  static async open(query: Query, pages: DatabasePages, plan: TablePlan): Promise<StoredTable> {
    const [table] = await query(
      `SELECT s.rootpage, t.wr FROM main.sqlite_schema AS s, pragma_table_list(s.name) AS t
       WHERE s.type = 'table' AND s.name = ? AND t.schema = 'main'`,
      [plan.name],
    );
    if (!table) throw new StoredFormError('the table is not there');
    const root = Number(table[0]);
    const withoutRowid = Number(table[1]) === 1;
    const stored = withoutRowid
      ? await columnsByKey(query, plan)
      : await columnsByRowid(query, plan);
    const columns = plan.columns.map(({ name }) => {
      const column = stored.get(name);
      if (!column) throw new StoredFormError(`the column ${name} is not stored`);
      return column;
    });
    const btree = withoutRowid ? new IndexBtree(pages, root) : new TableBtree(pages, root);
    return new StoredTable(pages, plan, btree, columns);
  }

  /** What a column is in a record that lacks it. */
  defaultOf(column: number, record: StoredRecord): Cell {
    const value = this.#defaults[column];
    if (value === undefined) throw new UnknownDefault(this.rowOf(record), record.fieldCount);
    return value;
  }

  /** Learns from one row what the columns are that its record lacks: they are the same in all such rows. */
  learnDefaults(fieldCount: number, cells: readonly Cell[]): void {
    this.fields.forEach((field, column) => {
      if (field >= fieldCount) this.#defaults[column] = cells[column]!;
    });
  }

  rowOf(record: StoredRecord): RowRef {
    if (this.btree instanceof TableBtree) return { rowid: record.rowid };
    return { position: this.positionOf(record) };
  }

  positionOf(record: StoredRecord): Cell[] {
    return this.plan.order.map((term) => this.cell(record, term.column));
  }

  /** The value of one of the plan's columns, or behind them of the rowid. */
  cell(record: StoredRecord, column: number): Cell {
    if (column === this.fields.length) return record.rowid;
    const field = this.fields[column]!;
    if (field === ROWID_FIELD) return record.rowid;
    if (field >= record.fieldCount) return this.defaultOf(column, record);
    return record.value(field, this.plan.encoding);
  }

  /** A row as the plan reads it: its columns, then the rowid where the plan wants it. */
  cells(record: StoredRecord): Cell[] {
    const width = this.fields.length + (this.plan.readsRowid ? 1 : 0);
    return Array.from({ length: width }, (_, column) => this.cell(record, column));
  }
}

/** In a rowid table the fields are the columns in order, but for those that are computed and not stored. */
async function columnsByRowid(query: Query, plan: TablePlan): Promise<Map<string, StoredColumn>> {
  if (plan.rowidName === null) throw new StoredFormError('the rowid has no name');
  const columns = await query(
    `SELECT name, hidden, pk, type, dflt_value IS NULL,
            EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')
     FROM pragma_table_xinfo(?1, 'main') ORDER BY cid`,
    [plan.name],
  );
  const stored = new Map<string, StoredColumn>();
  let field = 0;
  for (const [name, hidden, pk, type, hasNoDefault, hasKeyIndex] of columns) {
    if (Number(hidden) === HIDDEN_VIRTUAL) continue;
    const isRowid =
      Number(pk) > 0 && Number(hasKeyIndex) === 0 && String(type).toUpperCase() === 'INTEGER';
    const hasDefault = Number(hasNoDefault) === 0 || Number(hidden) !== 0;
    stored.set(String(name), { field: isRowid ? ROWID_FIELD : field, hasDefault });
    field++;
  }
  return stored;
}

/** In a `WITHOUT ROWID` table the key's columns come first, then the others: as its index lists them. */
async function columnsByKey(query: Query, plan: TablePlan): Promise<Map<string, StoredColumn>> {
  if (plan.filter !== null || plan.limit !== null) {
    throw new StoredFormError('not all rows are wanted, or in another order');
  }
  const columns = await query(
    `SELECT x.name, x."desc", x.coll, x.key, c.hidden, c.dflt_value IS NULL
     FROM pragma_index_list(?1, 'main') AS i, pragma_index_xinfo(i.name, 'main') AS x
     JOIN pragma_table_xinfo(?1, 'main') AS c ON c.cid = x.cid
     WHERE i.origin = 'pk' ORDER BY x.seqno`,
    [plan.name],
  );
  const stored = new Map<string, StoredColumn>();
  const key: string[] = [];
  for (const [name, descending, collation, isKey, hidden, hasNoDefault] of columns) {
    const hasDefault = Number(hasNoDefault) === 0 || Number(hidden) !== 0;
    if (Number(isKey) === 1) {
      if (Number(descending) === 1 || String(collation).toUpperCase() !== 'BINARY') {
        throw new StoredFormError('the key has an order of its own');
      }
      key.push(String(name));
    }
    stored.set(String(name), { field: stored.size, hasDefault });
  }
  const order = plan.order.map((term) => plan.columns[term.column]?.name);
  const same = order.length === key.length && order.every((name, i) => name === key[i]);
  if (!same) throw new StoredFormError('the rows are wanted in another order');
  return stored;
}

/** How `pragma_table_xinfo` marks a generated column that is not stored. */
const HIDDEN_VIRTUAL = 2;
