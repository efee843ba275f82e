import { InvalidText, type Cell } from '../values.js';
import { operand, type Query, type RawRow } from './connection.js';
import type { TextEncoding } from './introspection.js';
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
import { invalidTextReason } from './row-sink.js';
import { RowTally } from './row-tally.js';
import { notAsked, samePosition } from './scan.js';
import { quoteIdentifier } from './sql.js';
import { decodeText } from './stored/stored-record.js';
import { StoredFormError } from './stored/stored-form-error.js';
import type { RowRef } from './stored/stored-table.js';

const MIN_CUT_BYTES = 4096;
/** Bytes of UTF-8 for one UTF-16 unit of a string, at most. */
const MAX_UTF8_GROWTH = 3;
/** A value is read in pieces of this size where a whole one would be too large an answer. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** Reads a page by SQL: by the plain list, and by the exact list what that leaves out. */
export class SqlPageReader {
  readonly #request: PageRequest;
  #lists: Projection | null = null;
  readonly #tally = new RowTally();

  constructor(request: PageRequest) {
    this.#request = request;
  }

  /** Rows that the source has given so far, whole or in part. */
  get sourceRows(): number {
    return this.#tally.rows;
  }

  async read(asked: Query): Promise<Page> {
    const query = this.#tally.over(asked);
    const { plain, oversizeAt } = this.#projection;
    const found = await this.#request.scan.select(
      query,
      plain,
      this.#request.start,
      this.#request.bounds.maxRows,
      oversizeAt + 1,
    );
    return await this.#assemble(
      query,
      found.map((row): FoundRow => {
        const oversize = row[oversizeAt] ?? null;
        if (oversize === null) return { size: 0, plain: row.slice(0, oversizeAt) };
        return {
          size: toSize(oversize),
          plain: null,
          position: this.#request.scan.positionOf(row),
        };
      }),
    );
  }

  /** Every row of the page by the exact list. */
  async readExactly(asked: Query): Promise<Page> {
    const query = this.#tally.over(asked);
    const { size } = this.#projection;
    const sizes = await this.#request.scan.select(
      query,
      size,
      this.#request.start,
      this.#request.bounds.maxRows,
      1,
    );
    return await this.#assemble(
      query,
      sizes.map(([bytes]) => ({ size: toSize(bytes), plain: null })),
    );
  }

  /** The rows behind the page's start by the exact list, of which it is known where they are and how large. */
  async readMarked(asked: Query, rows: readonly MarkedRow[]): Promise<Page> {
    const found = rows.map(({ size, position }) => ({
      size,
      plain: null,
      position: [...position],
    }));
    return await this.#assemble(this.#tally.over(asked), found);
  }

  /** One row by the exact list. Its TEXT may be {@link InvalidText}. */
  async readRow(query: Query, row: RowRef): Promise<Cell[]> {
    return await this.#oneRow(this.#tally.over(query), this.#projection.exact, row);
  }

  /** One row with TEXT and BLOB outside the key left out. */
  async keysOfRow(query: Query, row: RowRef): Promise<Cell[]> {
    return await this.#oneRow(this.#tally.over(query), this.#projection.keys, row);
  }

  /** The bytes of one row, a number or NULL counted as nine. */
  async sizeOfRow(query: Query, row: RowRef): Promise<number> {
    const [size] = await this.#oneRow(this.#tally.over(query), this.#projection.size, row);
    return toSize(size);
  }

  async #oneRow(query: Query, list: string, ref: RowRef): Promise<Cell[]> {
    const { name, rowidName, order, encoding } = this.#request.scan.plan;
    const terms = 'rowid' in ref ? [{ sql: rowidName! }] : order;
    const values = 'rowid' in ref ? [ref.rowid] : ref.position;
    const operands = values.map(operand);
    const same = terms.map((term, i) => `${term.sql} IS ${operands[i]!.sql}`).join(' AND ');
    const [row] = await query(
      `SELECT ${list} FROM main.${quoteIdentifier(name)} WHERE ${same}`,
      operands.flatMap(({ params }) => params),
    );
    if (!row) throw new StoredFormError('a row is not found by its key');
    return decodeExact(row, encoding);
  }

  get #projection(): Projection {
    if (this.#lists === null) {
      const { maxBytes, maxRows, maxRowBytes } = this.#request.bounds;
      const share = Math.floor((2 * maxBytes) / maxRows);
      const maxCellBytes = Math.min(Math.max(MIN_CUT_BYTES, share), maxRowBytes);
      this.#lists = projectionOf(this.#request.scan.plan, this.#request.connection, maxCellBytes);
    }
    return this.#lists;
  }

  /** Puts a page together from what was found, reading by the exact list what is not there in plain. */
  async #assemble(query: Query, found: readonly FoundRow[]): Promise<Page> {
    const { maxRows, maxBytes, maxRowBytes, upTo } = this.#request.bounds;
    const rejected: RejectedRow[] = [];
    let position = this.#request.start;
    let taken = 0;
    let bytes = 0;
    let i = 0;
    let moved = false;
    const take = (ordinal: number, cells: readonly Cell[], reason: string | null): void => {
      reason ??= this.#request.sink.take(ordinal, cells);
      if (reason === null) taken++;
      else rejected.push({ key: describeKey(this.#request.scan.plan, cells), reason });
    };

    this.#request.sink.start(found.length);
    while (i < found.length && bytes < maxBytes && !moved) {
      const { size, plain } = found[i]!;
      if (plain !== null) {
        const estimate = estimateBytes(plain);
        const exact = estimate * MAX_UTF8_GROWTH > maxRowBytes ? rowBytes(plain) : 0;
        take(i, plain, exact > maxRowBytes ? tooLarge(exact, maxRowBytes) : null);
        if (exact <= maxRowBytes) bytes += estimate;
        position = this.#request.scan.positionOf(plain);
        i++;
      } else if (size > maxRowBytes) {
        const [keys] = await this.#keysBehind(query, position);
        if (!keys) break;
        take(i, keys, tooLarge(size, maxRowBytes));
        position = this.#request.scan.positionOf(keys);
        i++;
      } else {
        const run = this.#exactRun(found, i, maxBytes - bytes);
        const exact = await this.#readRun(query, position, run);
        for (const [j, cells] of exact.entries()) {
          take(i + j, cells, invalidTextReason(this.#request.scan.plan, cells));
          bytes += estimateBytes(cells);
        }
        if (exact.length > 0) position = this.#request.scan.positionOf(exact.at(-1)!);
        i += run.count;
        // Another snapshot may give other rows: then what follows in `found` need not follow in the source.
        moved = !this.#request.connection.stored && !this.#endsAt(exact, run);
      }
    }
    const whole = !moved && i === found.length;
    const done = whole && (found.length < maxRows || this.#request.scan.isEnd(position));
    if (done) position = upTo ?? position;
    const seen = taken + rejected.length;
    return {
      taken,
      rejected,
      position,
      done,
      bytes,
      sourceRows: this.sourceRows,
      nextMaxRows: nextMaxRows(this.#request.bounds, seen, bytes),
    };
  }

  #endsAt(exact: readonly Cell[][], run: Run): boolean {
    const last = exact.at(-1);
    return (
      exact.length === run.count &&
      (run.last === null ||
        (last !== undefined && samePosition(this.#request.scan.positionOf(last), run.last)))
    );
  }

  /** Reads `run.count` rows behind `position` by the exact list. */
  async #readRun(query: Query, position: readonly Cell[] | null, run: Run): Promise<Cell[][]> {
    const limit = this.#request.connection.maxResponseBytes;
    if (limit !== null && run.bytes > limit * RESPONSE_SHARE) {
      return await this.#request.connection.snapshot(
        (snapshot) => this.#readInPieces(this.#tally.over(snapshot), position),
        this.#request.signal,
      );
    }
    const found = await this.#request.scan.select(
      query,
      this.#projection.exact,
      position,
      run.count,
      this.#projection.oversizeAt,
    );
    return found.map((row) => decodeExact(row, this.#request.scan.plan.encoding));
  }

  /** One row behind `position`, its values in pieces that each fit an answer. */
  async #readInPieces(query: Query, position: readonly Cell[] | null): Promise<Cell[][]> {
    const names = this.#request.scan.plan.columns.map((column) => quoteIdentifier(column.name));
    const [row] = await this.#keysBehind(query, position);
    if (!row) return [];
    const cells = [...row];
    for (const [i, name] of names.entries()) {
      const [shape] = await this.#request.scan.select(
        query,
        `typeof(${name}), octet_length(CAST(${name} AS BLOB))`,
        position,
        1,
        2,
      );
      const type = String(shape?.[0]);
      if (type !== 'text' && type !== 'blob') continue;
      const size = toSize(shape?.[1]);
      const { maxRowBytes } = this.#request.bounds;
      if (size > maxRowBytes) throw notAsked(`a value of ${size} bytes in a row of ${maxRowBytes}`);
      const bytes = new Uint8Array(size);
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = `substr(CAST(${name} AS BLOB), ${at + 1}, ${PIECE_BYTES})`;
        const [part] = await this.#request.scan.select(query, piece, position, 1, 1);
        const wanted = Math.min(PIECE_BYTES, size - at);
        const [content] = part ?? [];
        if (!(content instanceof Uint8Array) || content.length !== wanted) {
          throw notAsked(`a value without the ${wanted} bytes from ${at} on`);
        }
        bytes.set(content, at);
      }
      cells[i] = type === 'text' ? decodeText(bytes, this.#request.scan.plan.encoding) : bytes;
    }
    return [cells];
  }

  /** The row behind `position` with TEXT and BLOB outside the key left out: enough for its key and its position. */
  async #keysBehind(query: Query, position: readonly Cell[] | null): Promise<Cell[][]> {
    const { keys, oversizeAt } = this.#projection;
    const found = await this.#request.scan.select(query, keys, position, 1, oversizeAt);
    return found.map((row) => decodeExact(row, this.#request.scan.plan.encoding));
  }

  /** The rows from `from` on that are to be read by the exact list together. */
  #exactRun(found: readonly FoundRow[], from: number, budget: number): Run {
    let count = 0;
    let bytes = 0;
    let last: Cell[] | null = null;
    for (let i = from; i < found.length; i++) {
      const { size, plain, position } = found[i]!;
      if (plain !== null || size > this.#request.bounds.maxRowBytes) break;
      if (count > 0 && bytes + size > budget) break;
      count++;
      bytes += size;
      last = position ?? null;
    }
    return { count, bytes, last };
  }
}

/** A row that the plain list leaves out: how large the source says that it is, and where it lies. */
export interface MarkedRow {
  readonly size: number;
  readonly position: readonly Cell[];
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

/** Turns the exact list's forms back into values: see {@link projectionOf}. */
export function decodeExact(row: RawRow, encoding: TextEncoding): Cell[] {
  return row.map((value) => {
    if (value instanceof Uint8Array) return decodeText(value, encoding);
    if (typeof value !== 'string') return value;
    if (value === 'inf') return Infinity;
    return value === '-inf' ? -Infinity : fromHex(value);
  });
}

function fromHex(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'hex');
  if (2 * bytes.length !== text.length) throw notAsked('a BLOB that is not hexadecimal');
  return new Uint8Array(bytes);
}

/** How large the source says that something is. */
export function toSize(value: Cell | undefined): number {
  const size = typeof value === 'bigint' ? Number(value) : value;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw notAsked('a size that is no whole number');
  }
  return size;
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
export function rowBytes(cells: readonly Cell[]): number {
  let bytes = 0;
  for (const cell of cells) {
    if (typeof cell === 'string') bytes += Buffer.byteLength(cell, 'utf8');
    else bytes += cell instanceof Uint8Array ? cell.byteLength : NUMBER_BYTES;
  }
  return bytes;
}
