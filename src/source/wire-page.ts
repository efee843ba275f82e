import { SourceError } from '../errors.js';
import type { Cell } from '../values.js';
import { CURSOR_END, CURSOR_MORE, CURSOR_ROW, type CursorState } from './hrana/cursor-decoder.js';
import type { WireSource } from './hrana/hrana-connection.js';
import type { RowCursor } from './hrana/row-cursor.js';
import { WIRE_NULL, type WireRow } from './hrana/wire-row.js';
import {
  describeKey,
  nextMaxRows,
  NUMBER_BYTES,
  RESPONSE_SHARE,
  tooLarge,
  type Page,
  type RejectedRow,
} from './page.js';
import type { PageRequest } from './page-request.js';
import { projectionOf, type Projection } from './projection.js';
import type { RowSink } from './row-sink.js';
import { notAsked } from './scan.js';
import { rowBytes, SqlPageReader, toSize, type MarkedRow } from './sql-page.js';

/** Rows that one statement gives at most, over many pages: how long a server has to hold a snapshot for it. */
const STREAM_ROWS = 1_000_000;
/** A value larger than this part of a page is read again by the exact list, in pieces if need be. */
const CELL_SHARE = 1 / 2;
/** Of a row as it comes, what is no TEXT or BLOB: numbers and headers, of as many columns as there may be. */
const ENTRY_OVERHEAD_BYTES = 1024 * 1024;
/** So often may a cursor break off at one place before the rows there are taken for some that the server cannot send. */
const FAILURES_AT_ONE_PLACE = 3;

/** Where fewer rows than these could be taken together, as many as those are taken one by one. */
const FEW_PLAIN = 8;
const NOT_PLAIN = 64;

type Outcome = 'full' | 'end' | 'unreadable';

/**
 * Reads a page by a cursor of the server: rows are taken as they come over the wire, and those that the plain list
 * leaves out are read by the exact list. A cursor that breaks off is opened again behind the last row that came whole.
 *
 * Where the next page is going to be asked for, one statement gives the rows of many pages. Its cursor is kept between
 * them.
 */
export class WirePageReader {
  readonly #request: PageRequest;
  readonly #source: WireSource;
  readonly #list: Projection;
  /** Rows that came, those included that were not kept. */
  #sourceRows = 0;
  /** Rows that came by the cursor that is open. */
  #pulled = 0;
  /** Rows of the page, those refused included. */
  #rows = 0;
  #bytes = 0;
  readonly #rejected: RejectedRow[] = [];
  /** Up to where the page can be gone on from: all that was taken before, and behind which position. */
  #settled: Taken = { rows: 0, bytes: 0, rejected: 0 };
  #position: readonly Cell[] | null;
  /** Rows behind these that are still to be read by the exact list. */
  #marked: MarkedRow[] = [];
  #markedBytes = 0;
  /** Up to this one rows of the cursor are not taken many at a time. */
  #plainBehind = 0;
  /** Whether the cursor's row is still to be taken, behind the marked ones. */
  #isHeld = false;
  /** What is not to be tried again. */
  #final: unknown = null;

  constructor(request: PageRequest, source: WireSource) {
    this.#request = request;
    this.#source = source;
    this.#position = request.start;
    const { maxBytes, maxRowBytes } = request.bounds;
    const maxCellBytes = Math.min(Math.floor(CELL_SHARE * maxBytes), maxRowBytes);
    this.#list = projectionOf(request.scan.plan, source, maxCellBytes);
  }

  /** @returns null where the server cannot send the rows at the page's start in this way. */
  async read(): Promise<Page | null> {
    const { bounds, sink } = this.#request;
    sink.start(bounds.maxRows);
    let outcome: Outcome = 'unreadable';
    let attempts = 0;
    let failures = 0;
    const attempt = async (): Promise<void> => {
      const before = this.#settled.rows;
      attempts++;
      try {
        outcome = await this.#stream();
      } catch (error) {
        this.#forgetUnsettled();
        failures = this.#settled.rows > before ? 1 : failures + 1;
        if (error === this.#final) return;
        if (!isUnreadable(error) || failures < failuresAtOnePlace(error)) throw error;
      }
    };
    try {
      await this.#source.try(attempt);
    } catch (error) {
      // Where each try came further, it is the network that fails.
      const isGettingOn = attempts > 1 && failures === 1 && this.#settled.rows > 0;
      if (!isUnreadable(error) || isGettingOn) throw error;
    }
    if (this.#final !== null) throw this.#final;
    const isStuck = (outcome as Outcome) === 'unreadable' && this.#settled.rows === 0;
    return isStuck ? null : this.#finished(outcome);
  }

  #finished(outcome: Outcome): Page {
    const { bounds, scan } = this.#request;
    const rows = this.#rows;
    const bytes = this.#bytes;
    const done = outcome === 'end' || (outcome === 'full' && scan.isEnd(this.#position));
    return {
      taken: rows - this.#rejected.length,
      rejected: this.#rejected,
      position: done ? (bounds.upTo ?? this.#position) : this.#position,
      done,
      bytes,
      sourceRows: this.#sourceRows,
      // A cursor that is kept stops where the page is full, whatever was asked for.
      nextMaxRows: bounds.ahead ? Infinity : nextMaxRows(bounds, rows, bytes),
    };
  }

  /** Takes rows until the page is full or there are no more. */
  async #stream(): Promise<Outcome> {
    const { scan, bounds, signal } = this.#request;
    const segments = scan.segments(this.#position);
    const kept = bounds.ahead ? this.#source.kept.take(this.#key()) : null;
    if (kept) return (await this.#takeFrom(kept.cursor, kept.rowsLeft, true)) ? 'end' : 'full';
    const { maxRowBytes } = bounds;
    for (const [i, { where, params }] of segments.entries()) {
      signal?.throwIfAborted();
      if (this.#isFull()) return 'full';
      const isLast = i === segments.length - 1;
      const limit = bounds.ahead && isLast ? STREAM_ROWS : bounds.maxRows - this.#rows;
      const sql = scan.statement(this.#list.plain, where, limit);
      const cursor = await this.#source.open({ sql, params }, maxRowBytes + ENTRY_OVERHEAD_BYTES);
      if (!(await this.#takeFrom(cursor, limit, isLast))) return 'full';
    }
    return 'end';
  }

  /** @returns whether the cursor gave all rows of its segment, and the page took them. */
  async #takeFrom(cursor: RowCursor, limit: number, isLast: boolean): Promise<boolean> {
    this.#pulled = 0;
    this.#plainBehind = 0;
    this.#isHeld = false;
    let isOpen = true;
    try {
      let until = performance.now() + this.#source.timeoutMs;
      for (;;) {
        const pulled = this.#pulled;
        const state = this.#takeReady(cursor, limit);
        if (this.#pulled > limit) throw notAsked(`more than ${limit} rows`);
        if (this.#marked.length > 0 && state !== CURSOR_MORE) {
          if (!(await this.#readMarked())) return false;
        } else this.#settle(cursor.row);
        if (state === CURSOR_END || this.#pulled === limit) {
          if (this.#isHeld && !this.#isFull()) continue;
          isOpen = false;
          cursor.end();
          return this.#pulled < limit && !this.#isHeld;
        }
        if (this.#isFull()) {
          if (this.#request.bounds.ahead && isLast && !this.#isHeld) {
            isOpen = false;
            this.#source.kept.keep(this.#key(), cursor, limit - this.#pulled);
          }
          return false;
        }
        if (state !== CURSOR_MORE) continue;
        if (this.#pulled > pulled) until = performance.now() + this.#source.timeoutMs;
        await cursor.wait(until);
      }
    } finally {
      if (isOpen) cursor.drop();
    }
  }

  /** Takes the rows that have come, as far as the page has room; stops where marked ones are to be read first. */
  #takeReady(cursor: RowCursor, limit: number): CursorState {
    while (!this.#isFull()) {
      if (this.#takeMany(cursor, limit)) continue;
      if (this.#isHeld) this.#isHeld = false;
      else {
        const state = cursor.next();
        if (state !== CURSOR_ROW) return state;
        this.#pulled++;
        this.#sourceRows++;
      }
      const { row } = cursor;
      const mark = this.#markOf(row);
      if (mark !== null) {
        if (this.#marked.length === 0) this.#settle(cursor.previous);
        this.#marked.push({ size: mark, position: this.#positionOf(row) });
        this.#markedBytes += mark;
      } else if (this.#marked.length > 0) {
        this.#isHeld = true;
        return CURSOR_ROW;
      } else this.#take(row);
    }
    return CURSOR_ROW;
  }

  /** Takes plain rows, where the sink takes many of them at a time. @returns whether there were any. */
  #takeMany(cursor: RowCursor, limit: number): boolean {
    const { sink, bounds } = this.#request;
    if (this.#isHeld || this.#marked.length > 0 || !sink.takeEntries) return false;
    if (this.#plainBehind > this.#pulled) return false;
    const maxRows = Math.min(bounds.maxRows - this.#rows, limit - this.#pulled);
    const maxBytes = bounds.maxBytes - this.#bytes;
    if (maxRows <= 0) return false;
    const { maxRowBytes } = bounds;
    const fieldCount = this.#list.oversizeAt + 1;
    const taken = cursor.takeEntries((bytes, at, end, maxEntryBytes) => {
      const asked = { maxRows, maxBytes, maxRowBytes, maxEntryBytes, fieldCount };
      return sink.takeEntries!(this.#rows, bytes, at, end, asked);
    });
    if (taken === null) return false;
    const { rows, isOdd } = taken;
    // Rows that are not plain seldom come alone.
    if (isOdd && rows < FEW_PLAIN) this.#plainBehind = this.#pulled + rows + NOT_PLAIN;
    this.#pulled += rows;
    this.#sourceRows += rows;
    this.#rows += rows;
    this.#bytes += taken.bytes;
    return rows > 0;
  }

  #isFull(): boolean {
    const { maxRows, maxBytes } = this.#request.bounds;
    const rows = this.#rows + this.#marked.length;
    return rows >= maxRows || this.#bytes + this.#markedBytes >= maxBytes;
  }

  /** The size of a row that is marked to be read in another way; null for one that is whole. */
  #markOf(row: WireRow): number | null {
    const { oversizeAt } = this.#list;
    if (row.fieldCount !== oversizeAt + 1) {
      throw notAsked(`rows of ${row.fieldCount} values, not ${oversizeAt + 1}`);
    }
    if (row.cells === null && row.types[oversizeAt] === WIRE_NULL) return null;
    const mark = row.cell(oversizeAt);
    return mark === null ? null : toSize(mark);
  }

  #take(row: WireRow): void {
    const { sink, bounds, scan } = this.#request;
    const size = this.#sizeOf(row);
    const isWithin = size <= bounds.maxRowBytes;
    const reason = isWithin ? sink.takeWire(this.#rows, row) : tooLarge(size, bounds.maxRowBytes);
    if (reason !== null) {
      const cells = row.values(this.#list.oversizeAt);
      this.#rejected.push({ key: describeKey(scan.plan, cells), reason });
    }
    this.#rows++;
    if (isWithin) this.#bytes += size;
  }

  /** The bytes of a row that is whole, as the size list counts them. */
  #sizeOf(row: WireRow): number {
    const { oversizeAt } = this.#list;
    if (row.cells !== null) return rowBytes(row.values(oversizeAt));
    return row.textBytes + NUMBER_BYTES * (oversizeAt - row.textFields);
  }

  /** Reads the marked rows by the exact list. @returns whether the source still has them all, and they fit. */
  async #readMarked(): Promise<boolean> {
    const { bounds, connection } = this.#request;
    const limit = connection.maxResponseBytes ?? Infinity;
    const rows = this.#rows;
    const marked = this.#marked;
    const reader = new SqlPageReader({
      ...this.#request,
      start: this.#position,
      bounds: {
        ...bounds,
        maxRows: marked.length + 1,
        maxBytes: Math.min(bounds.maxBytes, Math.floor(limit * RESPONSE_SHARE)),
        upTo: null,
      },
      sink: behind(this.#request.sink, rows),
    });
    try {
      const read = await reader.readMarked(connection.query, marked);
      this.#rejected.push(...read.rejected);
      this.#marked = [];
      this.#markedBytes = 0;
      this.#sourceRows += reader.sourceRows;
      this.#position = read.position;
      this.#rows += read.taken + read.rejected.length;
      this.#bytes += read.bytes;
      this.#settled = this.#taken();
      return read.done;
    } catch (error) {
      // It was tried again already.
      this.#final = error;
      throw error;
    }
  }

  /** Notes that the page can be gone on from behind the row that was taken last. */
  #settle(row: WireRow): void {
    if (this.#rows === this.#settled.rows) return;
    this.#position = this.#positionOf(row);
    this.#settled = this.#taken();
  }

  #taken(): Taken {
    return { rows: this.#rows, bytes: this.#bytes, rejected: this.#rejected.length };
  }

  /** Drops what came behind the last row that is known to be whole. */
  #forgetUnsettled(): void {
    const { rows, bytes, rejected } = this.#settled;
    this.#rows = rows;
    this.#bytes = bytes;
    this.#rejected.length = rejected;
    this.#marked = [];
    this.#markedBytes = 0;
    this.#request.sink.cut(rows);
  }

  #positionOf(row: WireRow): Cell[] {
    return this.#request.scan.plan.order.map((term) => row.cell(term.column));
  }

  /** Names the rows behind the position: what would ask for them. */
  #key(): string {
    const { scan } = this.#request;
    const segments = scan.segments(this.#position);
    const named = segments.map(({ where, params }) => [
      scan.statement(this.#list.plain, where, 0),
      params.map(nameOf),
    ]);
    return JSON.stringify(named);
  }
}

/** The same for equal values, whether an INTEGER comes as number or bigint; never the same for others. */
function nameOf(value: Cell): unknown {
  if (typeof value === 'bigint') return { integer: value.toString() };
  if (typeof value === 'number' && Number.isSafeInteger(value)) return { integer: `${value + 0}` };
  if (value instanceof Uint8Array) return { blob: Buffer.from(value).toString('hex') };
  return value;
}

/** What a page has of rows, those refused included; their bytes; and how many of them were refused. */
interface Taken {
  readonly rows: number;
  readonly bytes: number;
  readonly rejected: number;
}

/** A sink whose first row is number `offset` of another's. */
function behind(sink: RowSink, offset: number): RowSink {
  return {
    start: () => undefined,
    grow: () => undefined,
    takeStored: (ordinal, record, table) => sink.takeStored(offset + ordinal, record, table),
    takeWire: (ordinal, row) => sink.takeWire(offset + ordinal, row),
    take: (ordinal, row) => sink.take(offset + ordinal, row),
    cut: (rows) => sink.cut(offset + rows),
  };
}

/** Whether a server seems unable to send what it is asked for, as it is at TEXT that is not valid UTF-8. */
function isUnreadable(error: unknown): error is SourceError {
  return (
    error instanceof SourceError && (isTooLarge(error) || error.context['serverFailed'] === true)
  );
}

function failuresAtOnePlace(error: SourceError): number {
  return isTooLarge(error) ? 1 : FAILURES_AT_ONE_PLACE;
}

function isTooLarge({ code }: SourceError): boolean {
  return code === 'SOURCE_RESPONSE_TOO_LARGE';
}
