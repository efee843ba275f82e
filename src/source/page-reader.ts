import { SourceError } from '../errors.js';
import type { Cell } from '../values.js';
import type { Query, SourceConnection } from './connection.js';
import { FilePageReader } from './file-page.js';
import { isSplittable, orderBy, segmentWithoutNulls } from './keyset.js';
import { RESPONSE_SHARE, type Page, type PageBounds } from './page.js';
import type { TablePlan } from './plan.js';
import { exactCell } from './projection.js';
import { RowList, type RowSink } from './row-sink.js';
import { Scan, whereAll } from './scan.js';
import { decodeExact, SqlPageReader } from './sql-page.js';
import { quoteIdentifier } from './sql.js';
import { WirePageReader } from './wire-page.js';

/** Rows that are read by the exact list at a time where a server cannot send them in the fast way: mostly it is one. */
const UNREADABLE_ROWS = 500;

/** A run of rows in the order of the keys, with the position to go on from. */
export interface RowsPage extends Page {
  /** Each with the values of the plan's columns, then the rowid where the plan reads it. */
  readonly rows: readonly (readonly Cell[])[];
}

/**
 * Reads one page behind `position` in the plan's order. Never uses OFFSET: a page costs the rows it gives.
 *
 * A page of a file is read under one snapshot. Elsewhere it is one statement, and an oversized row is read again by
 * its position: if the source changed in between, the page ends there and the next one goes on from what was really
 * read.
 *
 * A page that the server finds too large is asked for again in half, and by the exact list when the server cannot make
 * the plain answer at all: it fails so at TEXT that is not valid UTF-8.
 */
export async function readPage(
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  sink: RowSink,
  signal?: AbortSignal,
): Promise<Page> {
  if (connection.stored) {
    return await connection.snapshot(
      async (query) =>
        await readPageWithin(query, connection, plan, position, bounds, sink, signal),
      signal,
    );
  }
  const wire = bounds.exactly ? null : await connection.wire();
  if (wire === null) {
    return await readPageWithin(connection.query, connection, plan, position, bounds, sink, signal);
  }
  const scan = new Scan(plan, bounds.upTo ?? null, bounds.only);
  const request = { connection, scan, start: position, bounds, sink, signal };
  const page = await new WirePageReader(request, wire).read();
  if (page !== null) return page;
  const maxRows = Math.min(bounds.maxRows, UNREADABLE_ROWS);
  const few = { ...bounds, maxRows, exactly: true };
  const exact = await readPageWithin(
    connection.query,
    connection,
    plan,
    position,
    few,
    sink,
    signal,
  );
  return { ...exact, nextMaxRows: bounds.maxRows };
}

/**
 * Reads pages within one snapshot. Where the server fails inside at one of them, its snapshot is lost: they are read
 * again in another one, by the exact list.
 */
export async function readInSnapshot<T>(
  connection: SourceConnection,
  bounds: PageBounds,
  read: (query: Query, bounds: PageBounds) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  try {
    return await connection.snapshot(async (query) => await read(query, bounds), signal);
  } catch (error) {
    if (!serverFailed(error) || bounds.exactly) throw error;
    const exact = { ...bounds, exactly: true };
    return await connection.snapshot(async (query) => await read(query, exact), signal);
  }
}

function serverFailed(error: unknown): boolean {
  return error instanceof SourceError && error.context['serverFailed'] === true;
}

/** {@link readPage}, asking by `query`: within a snapshot that the caller has, by {@link readInSnapshot}. */
export async function readPageWithin(
  query: Query,
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  sink: RowSink,
  signal?: AbortSignal,
): Promise<Page> {
  const scan = new Scan(plan, bounds.upTo ?? null, bounds.only);
  const request = { connection, scan, start: position, bounds, sink, signal };
  if (connection.stored) return await new FilePageReader(request).read(query);
  const limit = connection.maxResponseBytes ?? Infinity;
  const maxBytes = Math.min(bounds.maxBytes, Math.floor(limit * RESPONSE_SHARE));
  let maxRows = bounds.maxRows;
  let exactly = bounds.exactly ?? false;
  for (;;) {
    const smaller = { ...bounds, maxRows, maxBytes };
    const reader = new SqlPageReader({ ...request, bounds: smaller });
    try {
      const page = await (exactly ? reader.readExactly(query) : reader.read(query));
      return maxRows < bounds.maxRows
        ? { ...page, nextMaxRows: Math.min(page.nextMaxRows, maxRows) }
        : page;
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      if (error.code === 'SOURCE_RESPONSE_TOO_LARGE' && maxRows > 1) {
        maxRows = Math.max(1, Math.floor(maxRows / 2));
      } else if (serverFailed(error) && !exactly && query === connection.query) exactly = true;
      else throw error;
    }
  }
}

/**
 * All the pages behind `position`, in order. The generator carries the last position with each page, so that it can
 * be dropped at any point and resumed by anybody.
 */
export async function* readPages(
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  signal?: AbortSignal,
): AsyncGenerator<RowsPage, void, void> {
  let maxRows = bounds.maxRows;
  let rowsLeft = plan.limit?.count ?? Infinity;
  for (;;) {
    signal?.throwIfAborted();
    const list = new RowList(plan);
    const asked = { ...bounds, maxRows: Math.min(maxRows, rowsLeft) };
    const page = await readPage(connection, plan, position, asked, list, signal);
    position = page.position;
    maxRows = Math.min(bounds.maxRows, page.nextMaxRows);
    rowsLeft -= page.taken + page.rejected.length;
    const done = page.done || rowsLeft <= 0;
    yield { ...page, rows: list.rows, done };
    if (done) return;
  }
}

/** Whether a table's scan can be split into ranges that are read independently of each other. */
export function canSplit(plan: TablePlan): boolean {
  return plan.limit === null && isSplittable(plan.order);
}

/**
 * The position of the row that is `rows` rows behind `position`, or null when there are not so many. Touches nothing
 * but the order's columns: with an index over them this costs a small part of reading the rows.
 */
export async function findBoundary(
  query: Query,
  plan: TablePlan,
  position: readonly Cell[] | null,
  rows: number,
): Promise<Cell[] | null> {
  const { order } = plan;
  const { where, params } = segmentWithoutNulls(order, position);
  const conditions = [where, plan.filter].filter((condition) => condition !== null);
  const [found] = await query(
    `SELECT ${order.map((term) => exactCell(term.sql)).join(', ')} ` +
      `FROM main.${quoteIdentifier(plan.name)}${whereAll(conditions)} ` +
      `ORDER BY ${orderBy(order)} LIMIT 1 OFFSET ${rows - 1}`,
    params,
  );
  return found ? decodeExact(found, plan.encoding) : null;
}
