import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import { wholeIndex } from '../../src/cache/index-key.js';
import { readManifest } from '../../src/cache/manifest.js';
import { openCache } from '../../src/cache/reader.js';
import type { SourceRow, SqlValue } from '../../src/values.js';
import { openDatabase, quote } from './databases.js';

/*
 * The comparison that every sync is held to. It shares no code with what reads the source in the product: each value is
 * asked for by its type, TEXT and BLOB as hex, INTEGER as decimal TEXT, REAL as the driver's double.
 */

export interface CompareOptions {
  /** The tables that the cache must hold, and no others. Default: every table that is a user's. */
  readonly tables?: readonly string[];
  /** Of a table, the rows that the cache must hold, as a SQL condition. */
  readonly where?: Readonly<Record<string, string>>;
  /** True where a definition names the columns, in an order of its own. */
  readonly anyColumnOrder?: boolean;
  /** How the cache was made, for messages. */
  readonly way?: string;
  /** Names that discovery must have left out. */
  readonly leftOut?: readonly string[];
}

interface ExpectedTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: readonly ExpectedRow[];
}

interface ExpectedRow {
  readonly key: readonly SqlValue[];
  readonly rowid: bigint | null;
  readonly cells: readonly SqlValue[];
}

/** Asserts that the cache holds what the database holds: every table, row and value, in the order of the keys. */
export async function assertCacheEquals(
  file: string,
  cacheDir: string,
  options: CompareOptions = {},
): Promise<void> {
  const expected = readDatabase(file, options);
  const by = options.way === undefined ? '' : `over ${options.way}: `;
  await using cache = openCache(cacheDir, { validateChecksums: true });
  const cached = cache.tables();
  assert.deepEqual(
    cached.map((table) => table.name).sort(),
    expected.map((table) => table.name).sort(),
    'the tables in the cache',
  );
  for (const table of expected) {
    const { name, columns, rows } = table;
    const reader = cache.table(name);
    const order = (list: readonly string[]) => (options.anyColumnOrder ? [...list].sort() : list);
    assert.deepEqual(order(reader.columns), order(columns), `${by}columns of ${name}`);
    assert.equal(reader.count(), rows.length, `${by}rows of ${name}`);
    let at = 0;
    for await (const row of reader.stream()) {
      const wanted = rows[at];
      assert.ok(wanted, `${by}${name} has more than ${rows.length} rows`);
      assertRow(row, columns, wanted.cells, `${by}${name}, row ${at}`);
      // A key with a NULL in it names no single row.
      if (!wanted.key.includes(null)) {
        const got = reader.get(...wanted.key);
        assert.ok(got, `${by}${name}: no row for the key ${show(wanted.key)}`);
        assertRow(got, columns, wanted.cells, `${by}${name}, by key ${show(wanted.key)}`);
        assert.equal(reader.has(...wanted.key), true);
      }
      at++;
    }
    assert.equal(at, rows.length, `${by}rows streamed of ${name}`);
  }
}

/** What raw bytes the cache holds, by table: a digest of all keys and records. Equal caches give equal digests. */
export async function recordDigests(cacheDir: string): Promise<Record<string, string>> {
  const live = readManifest(cacheDir)?.live;
  assert.ok(live, 'the cache serves a generation');
  const environment = new Environment(generationPath(cacheDir, live));
  try {
    const digests: Record<string, string> = {};
    for (const { id, plan, indexNumbers } of environment.catalog().tables) {
      const hash = createHash('sha256');
      let rows = 0;
      for (const { key, value } of environment.rows(id).getRange({})) {
        hash.update(`${key.length},${value.length};`).update(key).update(value);
        rows++;
      }
      for (const number of indexNumbers) {
        for (const { key, value } of environment.indexes(id).getRange(wholeIndex(number))) {
          hash.update(`${key.length},${value.length};`).update(key.subarray(2)).update(value);
        }
      }
      digests[plan.name] = `${rows} rows ${hash.digest('hex')}`;
    }
    return digests;
  } finally {
    await environment.close();
  }
}

/** The tables of a database file by a way of reading of its own. */
export function readDatabase(file: string, options: CompareOptions = {}): ExpectedTable[] {
  const database = openDatabase(file);
  try {
    const all = <Row>(sql: string): Row[] =>
      database.prepare(sql).raw().safeIntegers(true).all() as Row[];
    const encoding = String(all<[string]>('PRAGMA encoding')[0]?.[0]);
    const names = options.tables ?? userTables(all, options.leftOut ?? []);
    return names.map((name) => readTable(all, name, encoding, options.where?.[name]));
  } finally {
    database.close();
  }
}

type All = <Row>(sql: string) => Row[];

function userTables(all: All, leftOut: readonly string[]): string[] {
  const listed = all<[string]>(
    `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name`,
  ).map(([name]) => name);
  return listed.filter(
    (name) => !/^(sqlite|libsql|storage_sync)_/i.test(name) && !leftOut.includes(name),
  );
}

function readTable(all: All, name: string, encoding: string, where?: string): ExpectedTable {
  const info = all<[bigint, string, string, bigint, unknown, bigint, bigint]>(
    `PRAGMA table_xinfo(${quote(name)})`,
  ).filter(([, , , , , , hidden]) => hidden !== 1n);
  const columns = info.map(([, column]) => column);
  const keyColumns = info
    .filter(([, , , , , pk]) => pk > 0n)
    .sort((a, b) => Number(a[5] - b[5]))
    .map(([, column]) => columns.indexOf(column));
  const rowidName = hasRowid(all, name)
    ? ['_rowid_', 'oid', 'rowid'].find((alias) => !columns.some((c) => c.toLowerCase() === alias))
    : undefined;
  const list = columns.map((column) => exact(quote(column)));
  const rows: ExpectedRow[] = [];
  // Wide tables are read in slices, for a result has at most 2000 columns.
  const found = all<(string | number | bigint | null)[]>(
    `SELECT ${rowidName ?? 'NULL'}, ${list.join(', ')} FROM ${quote(name)}${where ? ` WHERE ${where}` : ''}`,
  );
  for (const [rowid, ...coded] of found) {
    const cells = coded.map((cell) => decode(cell, encoding));
    const ownRowid = typeof rowid === 'bigint' ? rowid : null;
    const key = keyColumns.length > 0 ? keyColumns.map((at) => cells[at]!) : [number(ownRowid!)];
    rows.push({ key, rowid: ownRowid, cells });
  }
  rows.sort((a, b) => compareKeys(a.key, b.key) || compareValues(a.rowid, b.rowid));
  return { name, columns, rows };
}

function hasRowid(all: All, name: string): boolean {
  const literal = `'${name.replaceAll("'", "''")}'`;
  const [row] = all<[bigint]>(
    `SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ${literal}`,
  );
  return row?.[0] === 0n;
}

function exact(column: string): string {
  return (
    `CASE typeof(${column}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || CAST(${column} AS TEXT) ` +
    `WHEN 'text' THEN 't' || hex(CAST(${column} AS BLOB)) WHEN 'blob' THEN 'b' || hex(${column}) ` +
    `ELSE ${column} END`
  );
}

function decode(cell: string | number | bigint | null, encoding: string): SqlValue {
  if (cell === null) return null;
  if (typeof cell === 'number') return number(cell);
  assert.ok(typeof cell === 'string', 'a cell is coded as text or is a REAL');
  const body = cell.slice(1);
  if (cell.startsWith('i')) return number(BigInt(body));
  const raw = Buffer.from(body, 'hex');
  if (cell.startsWith('b')) return new Uint8Array(raw);
  if (encoding === 'UTF-8') return raw.toString('utf8');
  return (encoding === 'UTF-16be' ? raw.swap16() : raw).toString('utf16le');
}

/** A number as the product promises it: a `number` when safe, else a `bigint` for an INTEGER; one zero. */
function number(value: number | bigint): number | bigint {
  if (typeof value === 'number') return value === 0 ? 0 : value;
  const asNumber = Number(value);
  return Number.isSafeInteger(asNumber) ? asNumber : value;
}

function assertRow(
  row: SourceRow,
  columns: readonly string[],
  cells: readonly SqlValue[],
  where: string,
): void {
  assert.equal(Object.keys(row).length, columns.length, `${where}: number of columns`);
  for (const [at, column] of columns.entries()) {
    const own = Object.hasOwn(row, column) ? row[column] : undefined;
    if (!identical(own, cells[at]!)) {
      assert.fail(`${where}, column ${column}: ${showOne(own)} instead of ${showOne(cells[at])}`);
    }
  }
}

function identical(actual: SqlValue | undefined, expected: SqlValue): boolean {
  if (expected instanceof Uint8Array) {
    return (
      actual instanceof Uint8Array &&
      Object.getPrototypeOf(actual) === Uint8Array.prototype &&
      Buffer.compare(actual, expected) === 0
    );
  }
  return Object.is(actual, expected);
}

/** SQLite's order of values: NULL, numbers, TEXT by its UTF-8 bytes, BLOB. */
export function compareValues(a: SqlValue, b: SqlValue): number {
  const rank = classOf(a) - classOf(b);
  if (rank !== 0 || a === null || b === null) return rank;
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0;
  const left = typeof a === 'string' ? Buffer.from(a) : (a as Uint8Array);
  const right = typeof b === 'string' ? Buffer.from(b) : (b as Uint8Array);
  return Buffer.compare(left, right);
}

export function compareKeys(a: readonly SqlValue[], b: readonly SqlValue[]): number {
  for (const [i, value] of a.entries()) {
    const order = compareValues(value, b[i]!);
    if (order !== 0) return order;
  }
  return 0;
}

function classOf(value: SqlValue): number {
  if (value === null) return 0;
  if (isNumber(value)) return 1;
  return typeof value === 'string' ? 2 : 3;
}

function isNumber(value: SqlValue): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

function show(key: readonly SqlValue[]): string {
  return `(${key.map(showOne).join(', ')})`;
}

function showOne(value: SqlValue | undefined): string {
  if (value instanceof Uint8Array) {
    return `x'${Buffer.from(value.subarray(0, 20)).toString('hex')}' (${value.length} bytes)`;
  }
  if (typeof value === 'string') {
    return `${JSON.stringify(value.slice(0, 60))} (${value.length} characters)`;
  }
  return `${Object.is(value, -0) ? '-0' : String(value)} (${typeof value})`;
}
