import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { SourceError } from '../../src/errors.js';
import { inTurn, type Query } from '../../src/source/connection.js';
import { introspect } from '../../src/source/introspection.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import type { Page, PageBounds } from '../../src/source/page.js';
import { readPage } from '../../src/source/page-reader.js';
import { planTables, type TablePlan } from '../../src/source/plan.js';
import { RowList, type RowSink } from '../../src/source/row-sink.js';
import { Scan } from '../../src/source/scan.js';
import { SqlPageReader } from '../../src/source/sql-page.js';
import type { TableDefinition } from '../../src/table-definition.js';
import { outlineTable, readRange } from '../../src/source/file-scan.js';
import { TableBtree } from '../../src/source/stored/table-btree.js';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { Kernel } from '../../src/load/kernel/kernel.js';
import { RowKernel } from '../../src/load/kernel/row-kernel.js';
import { packBounds, unpackKeys } from '../../src/load/key-ranges.js';
import { KeySample } from '../../src/load/key-sample.js';
import { LeafRecords } from '../../src/load/leaf-records.js';
import { BatchBuilder, recordsOf, type Batch } from '../../src/transform/batch.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { InvalidText, type Cell } from '../../src/values.js';
import { openDatabase, quote } from '../support/databases.js';
import { readGroup } from '../support/record-groups.js';
import { oneByOne } from '../support/one-by-one.js';

/*
 * Reads a file in three ways: by pages as they are stored, by the exact list, and by a query that shares no code with
 * the product.
 */

export const ROOMY: PageBounds = {
  maxRows: 500,
  maxBytes: 4 * 1024 * 1024,
  maxRowBytes: 64 * 1024 * 1024,
};

/** What reading a table gave, in forms that can be compared. */
export interface Read {
  readonly rows: readonly string[];
  /** Keys and records as a cache would hold them. */
  readonly records: readonly string[];
  readonly rejected: readonly string[];
  readonly pages: number;
}

const checksum = await loadChecksum();
const kernel = new RowKernel(await Kernel.load(KERNEL_FILE));

type ReadOne = (position: readonly Cell[] | null, sink: RowSink) => Promise<Page>;

type ReadExactly = (this: SqlPageReader, query: Query) => Promise<Page>;
const own = Object.getOwnPropertyDescriptor(SqlPageReader.prototype, 'readExactly');
const readExactly = own!.value as ReadExactly;
let exactReads = 0;
SqlPageReader.prototype.readExactly = async function countedReadExactly(query) {
  exactReads++;
  return await readExactly.call(this, query);
};

/** How often the product has read a page by the exact list. */
export function pagesBySql(): number {
  return exactReads;
}

export function plansOf(
  connection: NativeConnection,
  definitions?: readonly TableDefinition[],
): Promise<readonly TablePlan[]> {
  return connection.snapshot(
    async (query) => planTables(await introspect(inTurn(query)), definitions).plans,
  );
}

/** A table by the product's way for files. */
export async function readStored(
  connection: NativeConnection,
  plan: TablePlan,
  bounds: PageBounds,
): Promise<Read> {
  return await readAll(plan, (position, sink) =>
    readPage(connection, plan, position, bounds, sink),
  );
}

/** A table by the exact list. */
export async function readBySql(
  connection: NativeConnection,
  plan: TablePlan,
  bounds: PageBounds,
): Promise<Read> {
  return await readAll(plan, async (position, sink) => {
    const scan = new Scan(plan, null);
    const reader = new SqlPageReader({
      connection,
      scan,
      start: position,
      bounds,
      sink,
      signal: undefined,
    });
    return await connection.snapshot((query) => readExactly.call(reader, query));
  });
}

async function readAll(plan: TablePlan, read: ReadOne): Promise<Read> {
  const rows: string[] = [];
  const records: string[] = [];
  const rejected: string[] = [];
  let pages = 0;
  let position: readonly Cell[] | null = null;
  for (;;) {
    const list = new RowList(plan);
    const page = await read(position, list);
    for (const row of list.rows) rows.push(showRow(row, plan));
    for (const { key, reason } of page.rejected) rejected.push(`${key}: ${reason}`);
    const builder = new BatchBuilder(plan, checksum);
    const again = await read(position, builder);
    // A key may be too long for a batch, but not for a list.
    const seen = page.taken + page.rejected.length;
    assert.equal(again.taken + again.rejected.length, seen, 'rows of a page');
    assert.deepEqual(again.position, page.position);
    const batch = builder.finish();
    assert.equal(batch.count, again.taken);
    records.push(...recordsIn(batch));
    position = page.position;
    pages++;
    if (page.done) return { rows, records, rejected, pages };
    assert.ok(pages < 600, 'the pages never end');
    assert.ok(seen > 0, 'a page that is not the last has rows');
  }
}

/** A table in the order in which its rows are stored, in ranges of a few pages each; null where that cannot be. */
async function readByScan(
  connection: NativeConnection,
  plan: TablePlan,
  bounds: PageBounds,
): Promise<Omit<Read, 'pages'> | null> {
  const looking = {
    rangeBytes: 4096,
    samples: 10,
    minSamples: 1,
    maxSamples: 10,
    longBytes: { over: 1000, upTo: 9000 },
  };
  const sample = new KeySample();
  const outline = await outlineTable(connection, plan, looking, (record, table, end) =>
    sample.take(record, table, end),
  );
  if (outline === null) return null;
  const keys = unpackKeys(sample.keys).map((key) => shorten(key));
  const rows: string[] = [];
  const records: string[] = [];
  const rejected: string[] = [];
  const ranges = [...outline.cuts, null].map((upTo, i, all) => ({
    after: all[i - 1] ?? null,
    upTo,
  }));
  for (let range = ranges.shift(); range; range = ranges.shift()) {
    const list = new RowList(plan);
    const page = await readRange(connection, plan, range, bounds, oneByOne(list));
    for (const row of list.rows) rows.push(showRow(row, plan));
    for (const { key, reason } of page!.rejected) rejected.push(`${key}: ${reason}`);
    const builder = new BatchBuilder(plan, checksum);
    const built = await readRange(connection, plan, range, bounds, oneByOne(builder));
    const expected = recordsIn(builder.finish());
    records.push(...expected);
    const leaves = new LeafRecords(kernel, plan, packBounds([]), null, checksum, undefined);
    const again = await readRange(connection, plan, range, bounds, leaves);
    const { groups, count } = leaves.finish();
    assert.equal(count, expected.length);
    assert.deepEqual(again, built);
    assert.deepEqual(recordsOfGroup(groups.bytes).toSorted(), expected.toSorted(), 'by leaves');
    if (page!.rest) ranges.unshift(page!.rest);
  }
  const known = new Set(records.map((record) => record.split(' ')[0]));
  // Rows that are too large may be among them.
  if (rejected.length === 0) {
    for (const key of keys) assert.ok(known.has(key), 'a sample is of the table');
  }
  return { rows, records, rejected };
}

function recordsOfGroup(bytes: Buffer): string[] {
  return readGroup(bytes).map(({ key, value }) => `${shorten(key)} ${shorten(value)}`);
}

function recordsIn(batch: Batch): string[] {
  const arena = Buffer.from(batch.arena);
  const records: string[] = [];
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    const key = arena.subarray(keyStart, valueStart);
    records.push(`${shorten(key)} ${shorten(arena.subarray(valueStart, end))}`);
  }
  return records;
}

/** The rows by a query of its own, in no order. */
export function readPlainly(file: string, plan: TablePlan): string[] {
  const database = openDatabase(file);
  try {
    const columns = plan.columns.map(({ name }) => {
      const q = quote(name);
      return (
        `CASE typeof(${q}) WHEN 'integer' THEN 'i' || CAST(${q} AS TEXT) ` +
        `WHEN 'text' THEN 't' || hex(CAST(${q} AS BLOB)) WHEN 'blob' THEN 'b' || hex(${q}) ELSE ${q} END`
      );
    });
    const rowid = plan.readsRowid ? [`'i' || CAST(${plan.rowidName} AS TEXT)`] : [];
    const found = database
      .prepare(`SELECT ${[...columns, ...rowid].join(', ')} FROM ${quote(plan.name)}`)
      .raw()
      .all() as unknown as (null | number | string)[][];
    return found.map((row) =>
      row
        .map((value) => {
          if (value === null) return 'null';
          if (typeof value === 'number') return showNumber(value);
          const body = value.slice(1);
          if (value.startsWith('i')) {
            const number = Number(body);
            return showNumber(Number.isSafeInteger(number) ? number : BigInt(body));
          }
          return value.slice(0, 1) + shorten(Buffer.from(body, 'hex'));
        })
        .join(' '),
    );
  } finally {
    database.close();
  }
}

function showRow(row: readonly Cell[], { encoding }: TablePlan): string {
  return row
    .map((cell) => {
      if (cell === null) return 'null';
      if (typeof cell === 'number' || typeof cell === 'bigint') return showNumber(cell);
      if (cell instanceof InvalidText) return `t${shorten(cell.bytes)}`;
      if (cell instanceof Uint8Array) return `b${shorten(cell)}`;
      const units = Buffer.from(cell, encoding === 'utf8' ? 'utf8' : 'utf16le');
      return `t${shorten(encoding === 'utf16be' ? units.swap16() : units)}`;
    })
    .join(' ');
}

/** There is one zero, and one form of a number that is safe. */
function showNumber(value: number | bigint): string {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return `n${number === 0 ? 0 : number}`;
  return typeof value === 'bigint' ? `i${value}` : `r${value}`;
}

function shorten(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length <= 60) return buffer.toString('hex');
  const digest = createHash('sha1').update(buffer).digest('hex');
  return `${buffer.toString('hex', 0, 8)}…${digest}(${buffer.length})`;
}

export interface VerifyOptions {
  readonly definitions?: readonly TableDefinition[];
  readonly bounds?: Partial<PageBounds>;
  /** Tables that cannot be had from how they are stored. */
  readonly bySql?: readonly string[];
  /** True where some pages may be read by SQL after all. */
  readonly mayFallBack?: boolean;
}

/** Asserts that all ways of reading give the same, and that the stored way is the one that was gone. */
export async function verify(
  file: string,
  options: VerifyOptions = {},
): Promise<Record<string, Read>> {
  const connection = new NativeConnection(`file:${file}`);
  try {
    return await verifyWith(connection, file, options);
  } finally {
    await connection.close();
  }
}

export async function verifyWith(
  connection: NativeConnection,
  file: string,
  { definitions, bounds, bySql = [], mayFallBack = false }: VerifyOptions = {},
): Promise<Record<string, Read>> {
  const all: Record<string, Read> = {};
  const plans = await plansOf(connection, definitions);
  assert.ok(plans.length > 0, 'there are tables');
  for (const plan of plans) {
    const { name } = plan;
    const roomy = { ...ROOMY, ...bounds };
    const table = await connection.snapshot((query) => connection.stored.open(query, plan));
    const isStored = !bySql.includes(name);
    assert.equal(table !== null, isStored, `${name} can be had from how it is stored`);
    const before = exactReads;
    const stored = await readStored(connection, plan, roomy);
    const fallbacks = exactReads - before;
    if (!isStored) assert.equal(fallbacks, 2 * stored.pages);
    else if (!mayFallBack) assert.equal(fallbacks, 0, `pages of ${name} that SQL read after all`);
    const sql = await readBySql(connection, plan, roomy);
    assert.deepEqual(stored.rows, sql.rows, `rows of ${name}`);
    assert.deepEqual(stored.rejected, sql.rejected, `rejected rows of ${name}`);
    assert.deepEqual(stored.records, sql.records, `records of ${name}`);
    const isWhole = plan.filter === null && plan.limit === null;
    const scanned = isWhole ? await readByScan(connection, plan, roomy) : null;
    assert.equal(scanned !== null, isWhole && table?.btree instanceof TableBtree);
    for (const list of ['rows', 'records', 'rejected'] as const) {
      if (scanned)
        assert.deepEqual(scanned[list].toSorted(), stored[list].toSorted(), `${list} of ${name}`);
    }
    if (plan.filter === null) {
      const plain = readPlainly(file, plan);
      const left = new Map<string, number>();
      for (const row of plain) left.set(row, (left.get(row) ?? 0) + 1);
      for (const row of stored.rows) {
        assert.ok((left.get(row) ?? 0) > 0, `${name} has no row ${row.slice(0, 500)}`);
        left.set(row, left.get(row)! - 1);
      }
      assert.equal(stored.rows.length + stored.rejected.length, plain.length, `rows of ${name}`);
    }
    all[name] = stored;
  }
  return all;
}

/** What became of reading one damaged file. */
export interface DamageOutcome {
  readonly file: string;
  /** How a SourceError tells itself, or any other error. */
  readonly error?: string;
  readonly isSourceError?: boolean;
  readonly rows?: readonly string[];
  /** By the exact list, or why SQL refused. */
  readonly sqlRows?: readonly string[];
  readonly sqlError?: string;
}

async function readDamaged(file: string, maxRows: number): Promise<DamageOutcome> {
  const bounds = { ...ROOMY, maxRows };
  let connection: NativeConnection | null = null;
  try {
    connection = new NativeConnection(`file:${file}`);
    const [plan] = await plansOf(connection);
    let bySql: Pick<DamageOutcome, 'sqlRows' | 'sqlError'>;
    try {
      const { rows, rejected } = await readBySql(connection, plan!, bounds);
      bySql = { sqlRows: [...rows, ...rejected] };
    } catch (error) {
      bySql = { sqlError: String(error) };
    }
    try {
      const { rows, rejected } = await readStored(connection, plan!, bounds);
      return { file, rows: [...rows, ...rejected], ...bySql };
    } catch (error) {
      return { file, error: String(error), isSourceError: error instanceof SourceError, ...bySql };
    }
  } catch (error) {
    return {
      file,
      error: String(error),
      isSourceError: error instanceof SourceError,
    };
  } finally {
    await connection?.close();
  }
}

/** `node stored-reading.js <rows of a page> <file>…` reads damaged files, for what may bring a process down. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [maxRows, ...files] = process.argv.slice(2);
  for (const file of files) {
    const outcome = await readDamaged(file, Number(maxRows));
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}
