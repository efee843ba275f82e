import type { Query } from './connection.js';
import { nextMaxRows, PAGE_FILL, type Page } from './page.js';
import type { PageRequest } from './page-request.js';
import { settleRefused } from './refused-rows.js';
import { SqlPageReader } from './sql-page.js';
import { StoredFormError } from './stored/stored-form-error.js';
import { IndexBtree } from './stored/index-btree.js';
import { MAX_ROWS, readInOrder, readRowids, type StoredPage } from './stored/stored-page.js';
import { UnknownDefault, type StoredTable } from './stored/stored-table.js';
import type { TableBtree } from './stored/table-btree.js';
import type { Rowid } from './stored/varint.js';

/** Decimal digits that are always a safe integer. */
const SAFE_DIGITS = 15;
const DIGIT_0 = 0x30;
const COMMA = 0x2c - DIGIT_0;
const MINUS = 0x2d - DIGIT_0;

/**
 * Reads a page of a file: SQL says which rows it has and in which order, and the rows are taken from how they are
 * stored. That spares a crossing from SQLite into JavaScript for every value, and no TEXT has to pass a driver that
 * would cut it or die of it. What cannot be had so is read by the exact list.
 *
 * All reading is within one snapshot.
 */
export class FilePageReader {
  readonly #request: PageRequest;
  readonly #sql: SqlPageReader;
  /** Rows found so far where they are stored. */
  #storedRows = 0;

  constructor(request: PageRequest) {
    const { bounds } = request;
    this.#request = {
      ...request,
      bounds: { ...bounds, maxRows: Math.min(bounds.maxRows, MAX_ROWS) },
    };
    this.#sql = new SqlPageReader(request);
  }

  async read(query: Query): Promise<Page> {
    const { bounds, connection, scan } = this.#request;
    const table = await connection.stored!.open(query, scan.plan);
    // A tree is walked from key to key: what else is asked of its rows is for SQL.
    const isWalked = table?.btree instanceof IndexBtree && bounds.only !== undefined;
    if (table === null || isWalked) return await this.#sql.readExactly(query);
    try {
      return await this.#readStored(query, table);
    } catch (error) {
      if (!(error instanceof StoredFormError)) throw error;
      return await this.#sql.readExactly(query);
    }
  }

  async #readStored(query: Query, table: StoredTable): Promise<Page> {
    for (;;) {
      try {
        return table.btree instanceof IndexBtree
          ? await this.#readInOrder(query, table, table.btree)
          : await this.#readRowids(query, table, table.btree);
      } catch (error) {
        if (!(error instanceof UnknownDefault)) throw error;
        table.learnDefaults(error.fieldCount, await this.#sql.readRow(query, error.row));
      }
    }
  }

  async #readRowids(query: Query, table: StoredTable, btree: TableBtree): Promise<Page> {
    const { maxRows, maxBytes } = this.#request.bounds;
    const all = await this.#rowids(query);
    let rowids = all;
    for (;;) {
      const stored = await readRowids(
        table,
        btree,
        rowids,
        this.#request.bounds,
        this.#request.sink,
      );
      this.#storedRows += stored.rows;
      if (stored.complete) {
        return await this.#page(
          query,
          stored,
          rowids.length === all.length && all.length < maxRows,
        );
      }
      const fitting = Math.floor((PAGE_FILL * maxBytes * stored.rows) / stored.bytes);
      const half = Math.floor(rowids.length / 2);
      rowids = rowids.slice(0, Math.max(1, Math.min(fitting, half)));
    }
  }

  async #readInOrder(query: Query, table: StoredTable, btree: IndexBtree): Promise<Page> {
    const { maxRows, upTo = null } = this.#request.bounds;
    const range = { after: this.#request.start, upTo };
    const stored = await readInOrder(
      table,
      btree,
      range,
      maxRows,
      this.#request.bounds,
      this.#request.sink,
    );
    this.#storedRows += stored.rows;
    return await this.#page(query, stored, stored.complete && stored.rows < maxRows);
  }

  /** @param atEnd true when no row was left, up to the end of the range. */
  async #page(query: Query, stored: StoredPage, atEnd: boolean): Promise<Page> {
    const { rows, bytes } = stored;
    const { scan, bounds, sink, start } = this.#request;
    const { rejected, cells } = await settleRefused(
      query,
      this.#sql,
      scan.plan,
      bounds.maxRowBytes,
      sink,
      stored.refused,
    );
    const lastRefused = cells.get(rows - 1);
    const last = stored.last ?? (lastRefused ? scan.positionOf(lastRefused) : null);
    let position = rows > 0 ? last : start;
    const done = atEnd || scan.isEnd(position);
    if (done) position = bounds.upTo ?? position;
    return {
      taken: rows - rejected.length,
      rejected,
      position,
      done,
      bytes,
      sourceRows: this.#storedRows + this.#sql.sourceRows,
      nextMaxRows: nextMaxRows(bounds, rows, bytes),
    };
  }

  /** The rowids of the page's rows in scan order, as one value for each segment. */
  async #rowids(query: Query): Promise<Rowid[]> {
    const { plan } = this.#request.scan;
    const { maxRows } = this.#request.bounds;
    const rowids: Rowid[] = [];
    for (const segment of this.#request.scan.segments(this.#request.start)) {
      if (rowids.length >= maxRows) break;
      const inner = this.#request.scan.statement(
        plan.rowidName!,
        segment.where,
        maxRows - rowids.length,
      );
      const [row] = await query(
        `WITH page(id) AS (${inner}) SELECT group_concat(id, ',') FROM page`,
        segment.params,
      );
      const list = row![0];
      if (typeof list !== 'string') continue;
      appendRowids(rowids, list);
    }
    return rowids;
  }
}

/** Reads numbers with commas between. */
function appendRowids(rowids: Rowid[], list: string): void {
  let start = 0;
  let value = 0;
  for (let at = 0; at <= list.length; at++) {
    const digit = at < list.length ? list.charCodeAt(at) - DIGIT_0 : COMMA;
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      continue;
    }
    if (digit === MINUS) continue;
    if (at - start > SAFE_DIGITS) rowids.push(exactRowid(list.slice(start, at)));
    else rowids.push(list.charCodeAt(start) - DIGIT_0 === MINUS ? -value : value);
    start = at + 1;
    value = 0;
  }
}

function exactRowid(digits: string): Rowid {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : BigInt(digits);
}
