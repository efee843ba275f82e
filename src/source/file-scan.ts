import { RowList, type RowSink } from './row-sink.js';
import type { Query, SourceConnection } from './connection.js';
import type { RejectedRow } from './page.js';
import type { TablePlan } from './plan.js';
import { settleRefused } from './refused-rows.js';
import { Scan } from './scan.js';
import { SqlPageReader } from './sql-page.js';
import {
  sampleRows,
  scanRows,
  type LeafSink,
  type LookAt,
  type RowidRange,
  type ScannedRows,
  type SizeRange,
} from './stored/leaf-scan.js';
import { StoredFormError } from './stored/stored-form-error.js';
import type { StoredPageBounds } from './stored/stored-page.js';
import { UnknownDefault, type StoredTable } from './stored/stored-table.js';
import { TableBtree } from './stored/table-btree.js';
import type { Rowid } from './stored/varint.js';

/** What a table of a file looks like from afar. */
export interface TableOutline {
  /** Rows and bytes of their records, estimated. */
  readonly rows: number;
  readonly bytes: number;
  /** The same of the long ones among them. */
  readonly long: { readonly rows: number; readonly bytes: number };
  /** Cut the table into ranges: each the last rowid of one, the last range left out. */
  readonly cuts: readonly Rowid[];
}

/** How to look at a table. */
export interface Looking {
  /** Of records, in each range. */
  readonly rangeBytes: number;
  /** Leaves to look at for each range, and in all at least and at most. */
  readonly samples: number;
  readonly minSamples: number;
  readonly maxSamples: number;
  /** The bytes of a row that is a long one. */
  readonly longBytes: SizeRange;
}

/** The rows of a range, without the rows: those went to a sink. */
export interface RangePage {
  readonly taken: number;
  readonly rejected: readonly RejectedRow[];
  /** Rows that the source gave. */
  readonly sourceRows: number;
  readonly rest: RowidRange | null;
  /** `PRAGMA data_version` in the snapshot: says on one connection whether others have committed. Null where it cannot. */
  readonly version: number | null;
}

/**
 * Looks at a table of a file: how large it is, where it may be cut, and at some of its rows, taken evenly over all of
 * it, each of which it looks at.
 *
 * @returns null for a table whose rows cannot be read in the order in which they are stored.
 */
export async function outlineTable(
  connection: SourceConnection,
  plan: TablePlan,
  looking: Looking,
  look: LookAt,
): Promise<TableOutline | null> {
  return await withRows(connection, plan, async (query, table, btree) => {
    return await learning(query, connection, plan, table, new RowList(plan), async () => {
      const leaves = await btree.countLeaves();
      const step = leaves / samplesOf(looking, leaves * table.pages.pageBytes);
      const chosen = await btree.chooseLeaves(Math.max(1, step));
      const { rows, bytes, long } = await sampleRows(table, chosen, looking.longBytes, look);
      // A leaf with free space is read as a full one is.
      const leafBytes = Math.max(table.pages.pageBytes, bytes / chosen.length);
      const cuts = await btree.cuts(Math.max(1, Math.floor(looking.rangeBytes / leafBytes)));
      const each = leaves / chosen.length;
      return {
        rows: rows * each,
        bytes: bytes * each,
        long: { rows: long.rows * each, bytes: long.bytes * each },
        cuts,
      };
    });
  });
}

function samplesOf(
  { rangeBytes, samples, minSamples, maxSamples }: Looking,
  leafBytes: number,
): number {
  const ranges = Math.ceil(leafBytes / rangeBytes);
  return Math.max(minSamples, Math.min(maxSamples, samples * ranges));
}

/**
 * Reads the rows of a range of a file's table, in one snapshot, in the order in which they are stored.
 *
 * @returns null for a table whose rows cannot be read so.
 */
export async function readRange(
  connection: SourceConnection,
  plan: TablePlan,
  range: RowidRange,
  bounds: StoredPageBounds,
  sink: LeafSink,
): Promise<RangePage | null> {
  return await withRows(connection, plan, async (query, table, btree) => {
    const sql = sqlReader(connection, plan, sink.rows);
    const scanned = await learning(query, connection, plan, table, sink.rows, async () => {
      return await scanRows(table, btree, range, bounds, sink);
    });
    const { rejected } = await settle(query, sql, plan, bounds, sink.rows, scanned);
    return {
      taken: scanned.rows - rejected.length,
      rejected,
      sourceRows: scanned.rows + sql.sourceRows,
      rest: scanned.rest,
      version: connection.stored?.version ?? null,
    };
  });
}

async function settle(
  query: Query,
  sql: SqlPageReader,
  plan: TablePlan,
  { maxRowBytes }: StoredPageBounds,
  sink: RowSink,
  { refused }: ScannedRows,
) {
  return await settleRefused(query, sql, plan, maxRowBytes, sink, refused);
}

async function withRows<T>(
  connection: SourceConnection,
  plan: TablePlan,
  work: (query: Query, table: StoredTable, btree: TableBtree) => Promise<T>,
): Promise<T | null> {
  const { stored } = connection;
  if (!stored) return null;
  return await connection.snapshot(async (query) => {
    const table = await stored.open(query, plan);
    if (table === null || !(table.btree instanceof TableBtree)) return null;
    try {
      return await work(query, table, table.btree);
    } catch (error) {
      if (error instanceof StoredFormError) return null;
      throw error;
    }
  });
}

/** Repeats a reading when it has learned what columns are that a record lacks. */
async function learning<T>(
  query: Query,
  connection: SourceConnection,
  plan: TablePlan,
  table: StoredTable,
  sink: RowSink,
  read: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof UnknownDefault)) throw error;
      const sql = sqlReader(connection, plan, sink);
      table.learnDefaults(error.fieldCount, await sql.readRow(query, error.row));
    }
  }
}

function sqlReader(connection: SourceConnection, plan: TablePlan, sink: RowSink): SqlPageReader {
  const bounds = { maxRows: 1, maxBytes: Infinity, maxRowBytes: Infinity };
  const scan = new Scan(plan, null);
  return new SqlPageReader({ connection, scan, start: null, bounds, sink, signal: undefined });
}
