import { isUtf8 } from 'node:buffer';
import { SourceError } from '../errors.js';
import { describeValue, InvalidText, type Cell } from '../values.js';
import type { Query, RawRow, SourceConnection } from './connection.js';
import type { TextEncoding } from './introspection.js';
import {
  collate,
  isSplittable,
  orderBy,
  segmentsAfter,
  segmentsBetween,
  segmentWithoutNulls,
  type KeysetSegment,
} from './keyset.js';
import type { TablePlan } from './plan.js';
import { lastPackedRow } from './packed-row.js';
import { exactCell, packedCells, projectionOf, type Projection } from './projection.js';
import { quoteIdentifier } from './sql.js';

export interface PageBounds {
  /** Rows asked for at most. */
  readonly maxRows: number;
  /** Bytes of row data at which the page is cut; a single larger row still makes a page of its own. */
  readonly maxBytes: number;
  /** A row larger than this is not read at all, but rejected. */
  readonly maxRowBytes: number;
  /** Where the range to read ends, this position included. Only where {@link canSplit} says so. */
  readonly upTo?: readonly Cell[] | null;
}

/** A row that was not read, and why. */
export interface RejectedRow {
  readonly key: string;
  readonly reason: string;
}

/** Rows in the form of a projection's `packed` list. */
export interface PackedRows {
  readonly bytes: Buffer;
  readonly count: number;
}

/** How a page is to be read. */
export type PageForm = 'rows' | 'packed' | 'exact';

/** A run of rows in scan order, each with the values of the plan's columns, then the rowid where the plan reads it. */
export interface Page {
  /** Instead of `rows`, where it was asked for: the rows as bytes, see {@link PackedCell}. */
  readonly packed?: PackedRows;
  readonly rows: readonly (readonly Cell[])[];
  readonly rejected: readonly RejectedRow[];
  /** Where the next page begins: behind this. Null only when nothing was ever read. */
  readonly position: readonly Cell[] | null;
  /** True when nothing lies behind. */
  readonly done: boolean;
  /** Bytes of row data, estimated. */
  readonly bytes: number;
  /** How many rows to ask for next, from the sizes seen. */
  readonly nextMaxRows: number;
}

const MIN_CUT_BYTES = 4096;
/** How full pages are meant to be: rows differ, and one that is over its bounds is read twice. */
const PAGE_FILL = 0.8;
/** Bytes of UTF-8 for one UTF-16 unit of a string, at most. */
const MAX_UTF8_GROWTH = 3;
/** What a number or a NULL counts in a row's size. */
const NUMBER_BYTES = 9;
/** Of a server's response limit, the part that row data may take: hexadecimal and JSON around it need the rest. */
const RESPONSE_SHARE = 0.4;
/** A value is read in pieces of this size where a whole one would be too large an answer. */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * Reads one page behind `position` in the plan's order. Never uses OFFSET: a page costs the rows it gives.
 *
 * Where the connection must look at TEXT first, the look, the rows and the oversized rows are read under one
 * snapshot. Elsewhere a page is one statement, and an oversized row is read again by its position: if the source
 * changed in between, the page ends there and the next one goes on from what was really read.
 */
export async function readPage(
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  signal?: AbortSignal,
  form: PageForm = 'rows',
): Promise<Page> {
  const maxBytes =
    connection.maxResponseBytes === null
      ? bounds.maxBytes
      : Math.min(bounds.maxBytes, Math.floor(connection.maxResponseBytes * RESPONSE_SHARE));
  const reader = new PageReader(connection, plan, position, { ...bounds, maxBytes }, signal);
  if (connection.mustCheckText) {
    return await connection.snapshot((query) => reader.read(query, form), signal);
  }
  return await reader.read(connection.query, form);
}

/**
 * All the pages behind `position`, in order. The generator carries the last position with each page, so that it can
 * be dropped at any point and resumed by anybody. A page that the server finds too large is asked for again in half.
 */
export async function* readPages(
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  signal?: AbortSignal,
): AsyncGenerator<Page, void, void> {
  let maxRows = bounds.maxRows;
  let rowsLeft = plan.limit?.count ?? Infinity;
  for (;;) {
    signal?.throwIfAborted();
    const page = await readPageSplitting(
      connection,
      plan,
      position,
      { ...bounds, maxRows: Math.min(maxRows, rowsLeft) },
      signal,
    );
    position = page.position;
    maxRows = Math.min(bounds.maxRows, page.nextMaxRows);
    rowsLeft -= page.rows.length + page.rejected.length;
    const last = page.done || rowsLeft <= 0;
    yield last ? { ...page, done: true } : page;
    if (last) return;
  }
}

/**
 * {@link readPage}, asking for half as many rows whenever the server finds the answer too large, and by the exact list
 * when it cannot make the plain answer at all: a server fails so at TEXT that is not valid UTF-8.
 */
export async function readPageSplitting(
  connection: SourceConnection,
  plan: TablePlan,
  position: readonly Cell[] | null,
  bounds: PageBounds,
  signal?: AbortSignal,
  preferred: PageForm = 'rows',
): Promise<Page> {
  let maxRows = bounds.maxRows;
  let form = preferred;
  for (;;) {
    try {
      const page = await readPage(connection, plan, position, { ...bounds, maxRows }, signal, form);
      return maxRows < bounds.maxRows
        ? { ...page, nextMaxRows: Math.min(page.nextMaxRows, maxRows) }
        : page;
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      if (error.code === 'SOURCE_RESPONSE_TOO_LARGE' && maxRows > 1) {
        maxRows = Math.max(1, Math.floor(maxRows / 2));
      } else if (error.context['serverFailed'] === true && form !== 'exact') form = 'exact';
      else throw error;
    }
  }
}

/** Whether a table's scan can be split into ranges that are read independently of each other. */
export function canSplit(plan: TablePlan): boolean {
  return plan.limit === null && isSplittable(plan.order);
}

/**
 * The position of the last of the next `rows` rows behind `position`, or null when there are none. Touches nothing but
 * the order's columns: with an index over them this costs a small part of reading the rows.
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
  const inner =
    `SELECT ${order.map((term, i) => `${term.sql} AS k${i}`).join(', ')} ` +
    `FROM main.${quoteIdentifier(plan.name)}${whereAll(conditions)} ` +
    `ORDER BY ${orderBy(order)} LIMIT ${rows}`;
  const last = order.map((term, i) => `k${i}${collate(term)} DESC`).join(', ');
  const [found] = await query(
    `SELECT ${order.map((_, i) => exactCell(`k${i}`)).join(', ')} FROM (${inner}) ORDER BY ${last} LIMIT 1`,
    params,
  );
  return found ? decodeExact(found, plan.encoding) : null;
}

function whereAll(conditions: readonly string[]): string {
  return conditions.length > 0 ? ` WHERE ${conditions.map((c) => `(${c})`).join(' AND ')}` : '';
}

/** How a key is shown in messages: `name = value, …`. */
export function describeKey(plan: TablePlan, row: readonly Cell[]): string {
  return plan.key.map((at, i) => `${plan.keyNames[i]} = ${describeValue(row[at]!)}`).join(', ');
}

class PageReader {
  readonly #connection: SourceConnection;
  readonly #plan: TablePlan;
  readonly #start: readonly Cell[] | null;
  readonly #bounds: PageBounds;
  readonly #signal: AbortSignal | undefined;
  readonly #projection: Projection;

  constructor(
    connection: SourceConnection,
    plan: TablePlan,
    start: readonly Cell[] | null,
    bounds: PageBounds,
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#plan = plan;
    this.#start = start;
    this.#bounds = bounds;
    this.#signal = signal;
    const share = Math.floor((2 * bounds.maxBytes) / bounds.maxRows);
    const maxCellBytes = Math.min(Math.max(MIN_CUT_BYTES, share), bounds.maxRowBytes);
    this.#projection = projectionOf(plan, connection, maxCellBytes);
  }

  async read(query: Query, form: PageForm): Promise<Page> {
    const { maxRows } = this.#bounds;
    if (form === 'exact') return await this.#readExactly(query);
    if (this.#connection.mustCheckText) {
      const packed = form === 'packed' ? await this.#readPacked(query) : null;
      if (packed) return packed;
      if (await this.#isUsual(query)) {
        const rows = await this.#select(query, this.#projection.bare, this.#start, maxRows);
        return await this.#assemble(
          query,
          rows.map((plain): FoundRow => ({ size: 0, plain })),
        );
      }
      if (!(await this.#textIsPlain(query))) return await this.#readExactly(query);
    }
    const { plain, oversizeAt } = this.#projection;
    const found = await this.#select(query, plain, this.#start, maxRows);
    return await this.#assemble(
      query,
      found.map((row): FoundRow => {
        const oversize = row[oversizeAt] ?? null;
        if (oversize === null) return { size: 0, plain: row.slice(0, oversizeAt) };
        return { size: Number(oversize), plain: null, position: this.#positionOf(row) };
      }),
    );
  }

  /** Puts a page together from what was found, reading by the exact list what is not there in plain. */
  async #assemble(query: Query, found: readonly FoundRow[]): Promise<Page> {
    const { maxRows, maxBytes, maxRowBytes } = this.#bounds;
    const rows: (readonly Cell[])[] = [];
    const rejected: RejectedRow[] = [];
    let position = this.#start;
    let bytes = 0;
    let i = 0;
    let moved = false;
    while (i < found.length && bytes < maxBytes && !moved) {
      const { size, plain } = found[i]!;
      if (plain !== null) {
        const estimate = estimateBytes(plain);
        const exact = estimate * MAX_UTF8_GROWTH > maxRowBytes ? rowBytes(plain) : 0;
        if (exact > maxRowBytes) {
          rejected.push({
            key: describeKey(this.#plan, plain),
            reason: tooLarge(exact, maxRowBytes),
          });
        } else {
          rows.push(plain);
          bytes += estimate;
        }
        position = this.#positionOf(plain);
        i++;
      } else if (size > maxRowBytes) {
        const [keys] = await this.#keysBehind(query, position);
        if (!keys) break;
        rejected.push({ key: describeKey(this.#plan, keys), reason: tooLarge(size, maxRowBytes) });
        position = this.#positionOf(keys);
        i++;
      } else {
        const run = this.#exactRun(found, i, maxBytes - bytes);
        const exact = await this.#readRun(query, position, run);
        for (const cells of exact) {
          const reason = invalidTextReason(this.#plan, cells);
          if (reason === null) rows.push(cells);
          else rejected.push({ key: describeKey(this.#plan, cells), reason });
          bytes += estimateBytes(cells);
        }
        if (exact.length > 0) position = this.#positionOf(exact.at(-1)!);
        i += run.count;
        // Another snapshot may give other rows: then what follows in `found` need not follow in the source.
        moved = !this.#connection.mustCheckText && !this.#endsAt(exact, run);
      }
    }
    const whole = !moved && i === found.length;
    const done = whole && (found.length < maxRows || this.#isEnd(position));
    const seen = rows.length + rejected.length;
    if (done) position = this.#bounds.upTo ?? position;
    return { rows, rejected, position, done, bytes, nextMaxRows: this.#nextMaxRows(seen, bytes) };
  }

  #endsAt(exact: readonly Cell[][], run: Run): boolean {
    const last = exact.at(-1);
    return (
      exact.length === run.count &&
      (run.last === null || (last !== undefined && samePosition(this.#positionOf(last), run.last)))
    );
  }

  /** Every row of the page by the exact list. */
  async #readExactly(query: Query): Promise<Page> {
    const { maxRows } = this.#bounds;
    const sizes = await this.#select(query, this.#projection.size, this.#start, maxRows);
    return await this.#assemble(
      query,
      sizes.map(([size]) => ({ size: Number(size), plain: null })),
    );
  }

  /** Reads `run.count` rows behind `position` by the exact list. */
  async #readRun(query: Query, position: readonly Cell[] | null, run: Run): Promise<Cell[][]> {
    const limit = this.#connection.maxResponseBytes;
    if (limit !== null && run.bytes > limit * RESPONSE_SHARE) {
      return await this.#connection.snapshot(
        (snapshot) => this.#readInPieces(snapshot, position),
        this.#signal,
      );
    }
    const found = await this.#select(query, this.#projection.exact, position, run.count);
    return found.map((row) => decodeExact(row, this.#plan.encoding));
  }

  /** One row behind `position`, its values in pieces that each fit an answer. */
  async #readInPieces(query: Query, position: readonly Cell[] | null): Promise<Cell[][]> {
    const names = this.#plan.columns.map((column) => quoteIdentifier(column.name));
    const [row] = await this.#keysBehind(query, position);
    if (!row) return [];
    const cells = [...row];
    for (const [i, name] of names.entries()) {
      const [shape] = await this.#select(
        query,
        `typeof(${name}), octet_length(CAST(${name} AS BLOB))`,
        position,
        1,
      );
      const type = String(shape?.[0]);
      if (type !== 'text' && type !== 'blob') continue;
      const bytes = new Uint8Array(Number(shape?.[1]));
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = `substr(CAST(${name} AS BLOB), ${at + 1}, ${PIECE_BYTES})`;
        const [part] = await this.#select(query, piece, position, 1);
        if (part?.[0] instanceof Uint8Array) bytes.set(part[0], at);
      }
      cells[i] = type === 'text' ? decodeText(bytes, this.#plan.encoding) : bytes;
    }
    return [cells];
  }

  /** The row behind `position` with TEXT and BLOB outside the key left out: enough for its key and its position. */
  async #keysBehind(query: Query, position: readonly Cell[] | null): Promise<Cell[][]> {
    const found = await this.#select(query, this.#projection.keys, position, 1);
    return found.map((row) => decodeExact(row, this.#plan.encoding));
  }

  /** The page as bytes, or null where its rows do not fit that form or the page's bounds. */
  async #readPacked(query: Query): Promise<Page | null> {
    const { maxRows, maxBytes, maxRowBytes, upTo } = this.#bounds;
    const { packed } = this.#projection;
    if (packed === null || maxRowBytes < maxBytes) return null;
    const parts: Buffer[] = [];
    let count = 0;
    let bytes = 0;
    for (const segment of this.#segments(this.#start)) {
      if (count >= maxRows) break;
      const inner = this.#statement(`${packed} AS packed`, segment.where, maxRows - count);
      const [found] = await query(
        `SELECT CAST(group_concat(packed, '') AS BLOB), count(*), count(packed) FROM (${inner})`,
        segment.params,
      );
      const [part, rows, fitting] = found!;
      if (Number(fitting) < Number(rows)) return null;
      count += Number(rows);
      if (part instanceof Uint8Array) {
        bytes += part.byteLength;
        if (bytes > maxBytes || !isUtf8(part)) return null;
        parts.push(Buffer.from(part.buffer, part.byteOffset, part.byteLength));
      }
    }
    const joined = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    let position = this.#start;
    if (count > 0) {
      const last = lastPackedRow(joined, packedCells(this.#plan));
      if (last === null) return null;
      position = this.#positionOf(last);
    }
    const done = count < maxRows || this.#isEnd(position);
    if (done) position = upTo ?? position;
    const nextMaxRows = this.#nextMaxRows(count, bytes);
    return {
      packed: { bytes: joined, count },
      rows: [],
      rejected: [],
      position,
      done,
      bytes,
      nextMaxRows,
    };
  }

  /** Whether the bare list will do for the page: no unusual row, and all TEXT plain. One look at the rows. */
  async #isUsual(query: Query): Promise<boolean> {
    const { unusual, usualText } = this.#projection;
    // How SQLite turns damaged UTF-16 into UTF-8 cannot be foreseen here.
    if (this.#plan.encoding !== 'utf8') return false;
    if (unusual === null && usualText === null) return true;
    const text = usualText ?? "''";
    const usual = unusual === null ? text : `CASE WHEN ${unusual} THEN NULL ELSE ${text} END`;
    return await this.#textOfRowsIsPlain(query, usual);
  }

  /**
   * Whether all TEXT of the page is valid UTF-8 without a NUL. The pieces are joined with an ASCII byte, so that none
   * can complete another.
   */
  async #textIsPlain(query: Query): Promise<boolean> {
    const { textOnly } = this.#projection;
    if (this.#plan.encoding !== 'utf8') return false;
    if (textOnly === null) return true;
    return await this.#textOfRowsIsPlain(query, textOnly);
  }

  /** Joins an expression over the page's rows: whether none is NULL, and the whole is valid UTF-8 without a NUL. */
  async #textOfRowsIsPlain(query: Query, text: string): Promise<boolean> {
    let rowsLeft = this.#bounds.maxRows;
    for (const segment of this.#segments(this.#start)) {
      if (rowsLeft <= 0) break;
      const inner = this.#statement(`${text} AS joined`, segment.where, rowsLeft);
      const [found] = await query(
        `SELECT CAST(group_concat(joined, '|') AS BLOB), count(*), count(joined) FROM (${inner})`,
        segment.params,
      );
      const [bytes, rows, usual] = found!;
      if (Number(usual) < Number(rows)) return false;
      if (bytes instanceof Uint8Array && (bytes.includes(0) || !isUtf8(bytes))) return false;
      rowsLeft -= Number(rows);
    }
    return true;
  }

  async #select(
    query: Query,
    list: string,
    position: readonly Cell[] | null,
    maxRows: number,
  ): Promise<RawRow[]> {
    const found: RawRow[] = [];
    for (const segment of this.#segments(position)) {
      if (found.length >= maxRows) break;
      const statement = this.#statement(list, segment.where, maxRows - found.length);
      const rows = await query(statement, segment.params);
      for (const row of rows) found.push(row);
    }
    return found;
  }

  /** What lies behind a position, up to the end of the range where there is one. */
  #segments(position: readonly Cell[] | null): readonly KeysetSegment[] {
    const { order } = this.#plan;
    const { upTo } = this.#bounds;
    return upTo ? segmentsBetween(order, position, upTo) : segmentsAfter(order, position);
  }

  #statement(list: string, where: string | null, maxRows: number): string {
    const { name, filter, order } = this.#plan;
    const conditions = [where, filter].filter((condition) => condition !== null);
    return (
      `SELECT ${list} FROM main.${quoteIdentifier(name)}${whereAll(conditions)}` +
      ` ORDER BY ${orderBy(order)} LIMIT ${maxRows}`
    );
  }

  /** The rows from `from` on that are to be read by the exact list together. */
  #exactRun(found: readonly FoundRow[], from: number, budget: number): Run {
    let count = 0;
    let bytes = 0;
    let last: Cell[] | null = null;
    for (const { size, plain, position } of found.slice(from)) {
      if (plain !== null || size > this.#bounds.maxRowBytes) break;
      if (count > 0 && bytes + size > budget) break;
      count++;
      bytes += size;
      last = position ?? null;
    }
    return { count, bytes, last };
  }

  /** Whether a position is where the range ends. */
  #isEnd(position: readonly Cell[] | null): boolean {
    const { upTo } = this.#bounds;
    return Boolean(upTo && position && samePosition(position, upTo));
  }

  #positionOf(row: readonly Cell[]): Cell[] {
    return this.#plan.order.map((term) => row[term.column]!);
  }

  /** Aims at pages a little below `maxBytes`, growing by at most a factor of four at a time. */
  #nextMaxRows(seen: number, bytes: number): number {
    if (seen === 0) return this.#bounds.maxRows;
    const fitting = Math.floor((PAGE_FILL * this.#bounds.maxBytes) / Math.max(1, bytes / seen));
    return Math.max(1, Math.min(fitting, this.#bounds.maxRows * 4));
  }
}

/** A row of the page: as it is, or only how large it is. */
interface FoundRow {
  readonly size: number;
  readonly plain: readonly Cell[] | null;
  readonly position?: Cell[];
}

/** Rows to be read by the exact list together, and the position of the last where it is known. */
interface Run {
  readonly count: number;
  readonly bytes: number;
  readonly last: Cell[] | null;
}

function tooLarge(size: number, maxRowBytes: number): string {
  return `the row takes ${size} bytes, more than maxRowBytes (${maxRowBytes})`;
}

function invalidTextReason(plan: TablePlan, cells: readonly Cell[]): string | null {
  const at = cells.findIndex((cell) => cell instanceof InvalidText);
  if (at < 0) return null;
  return `the TEXT in column ${JSON.stringify(plan.columns[at]?.name)} is not valid Unicode`;
}

/** Turns the exact list's forms back into values: see {@link projectionOf}. */
function decodeExact(row: RawRow, encoding: TextEncoding): Cell[] {
  return row.map((value) => {
    if (value instanceof Uint8Array) return decodeText(value, encoding);
    if (typeof value !== 'string') return value;
    if (value === 'inf') return Infinity;
    return value === '-inf' ? -Infinity : new Uint8Array(Buffer.from(value, 'hex'));
  });
}

function decodeText(bytes: Uint8Array, encoding: TextEncoding): string | InvalidText {
  if (encoding !== 'utf8') {
    if (bytes.length % 2 === 1) return new InvalidText(bytes);
    const units = Buffer.from(bytes);
    const text = (encoding === 'utf16be' ? units.swap16() : units).toString('utf16le');
    return text.isWellFormed() ? text : new InvalidText(bytes);
  }
  if (!isUtf8(bytes)) return new InvalidText(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function estimateBytes(cells: readonly Cell[]): number {
  let bytes = 0;
  for (const cell of cells) {
    if (typeof cell === 'string') bytes += cell.length + 2;
    else if (cell instanceof Uint8Array) bytes += cell.byteLength + 3;
    else if (cell instanceof InvalidText) bytes += cell.bytes.byteLength + 3;
    else bytes += 5;
  }
  return bytes;
}

/** The bytes of a row as the size list counts them. */
function rowBytes(cells: readonly Cell[]): number {
  let bytes = 0;
  for (const cell of cells) {
    if (typeof cell === 'string') bytes += Buffer.byteLength(cell, 'utf8');
    else bytes += cell instanceof Uint8Array ? cell.byteLength : NUMBER_BYTES;
  }
  return bytes;
}

function samePosition(a: readonly Cell[], b: readonly Cell[]): boolean {
  return a.every((value, i) => {
    const other = b[i]!;
    if (value instanceof InvalidText) {
      return other instanceof InvalidText && Buffer.compare(value.bytes, other.bytes) === 0;
    }
    if (value instanceof Uint8Array) {
      return other instanceof Uint8Array && Buffer.compare(value, other) === 0;
    }
    // Loose, because a transport may give the same INTEGER as number or bigint.
    return value === other || (isNumeric(value) && isNumeric(other) && value == other);
  });
}

function isNumeric(value: Cell): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}
