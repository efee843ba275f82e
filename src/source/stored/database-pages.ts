import type { Query } from '../connection.js';
import type { TextEncoding } from '../introspection.js';
import { StoredFormError } from './stored-form-error.js';

/** Bytes of pages asked for at once, at most: driver and allocator are at their best with answers of some 100 KiB. */
export const REQUEST_BYTES = 256 * 1024;

interface FileShape {
  readonly pageBytes: number;
  readonly usableBytes: number;
  readonly pageCount: number;
}

/**
 * The pages of a SQLite file as they are stored, out of SQLite's own pager: inside a transaction they are those of its
 * snapshot, write-ahead log and decryption included (https://www.sqlite.org/dbpage.html).
 */
export class DatabasePages {
  readonly pageBytes: number;
  /** What a page's content may take: some files reserve bytes at the end of each page. */
  readonly usableBytes: number;
  /** Pages that one request is meant to ask for. */
  readonly requestPages: number;
  /** Pages of the file. */
  readonly pageCount: number;
  readonly #query: Query;
  readonly #joins: boolean;

  private constructor(
    query: Query,
    { pageBytes, usableBytes, pageCount }: FileShape,
    joins: boolean,
  ) {
    this.#query = query;
    this.pageBytes = pageBytes;
    this.usableBytes = usableBytes;
    this.pageCount = pageCount;
    this.#joins = joins;
    this.requestPages = Math.max(1, Math.floor(REQUEST_BYTES / pageBytes));
  }

  static async open(query: Query, encoding: TextEncoding): Promise<DatabasePages> {
    const [row] = await query(
      'SELECT data, (SELECT page_count FROM pragma_page_count) FROM sqlite_dbpage WHERE pgno = 1',
    );
    const [header, pageCount] = row ?? [];
    if (!(header instanceof Uint8Array)) throw new StoredFormError('page 1 cannot be read');
    // Joining bytes as text would turn them into the encoding of the database.
    const joins = encoding === 'utf8';
    const pageBytes = header.byteLength;
    const shape = { pageBytes, usableBytes: pageBytes - header[20]!, pageCount: Number(pageCount) };
    const pages = new DatabasePages(query, shape, joins);
    await pages.read([1]);
    return pages;
  }

  /**
   * The pages of these numbers, one behind the other.
   *
   * @throws {StoredFormError} when there is no such page.
   */
  async read(numbers: readonly number[] | Uint32Array): Promise<Buffer> {
    const list = numbers.join(',');
    const pages = this.#joins ? await this.#joined(list) : await this.#oneByOne(list);
    if (pages.byteLength !== numbers.length * this.pageBytes) {
      throw new StoredFormError(`not all of the pages ${list} can be read`);
    }
    return pages;
  }

  /** As one value: a crossing from SQLite into JavaScript for each page would cost more than reading it. */
  async #joined(list: string): Promise<Buffer> {
    const [row] = await this.#query(
      `SELECT CAST(group_concat(p.data, '') AS BLOB), group_concat(p.pgno, ',')
       FROM json_each(?) AS wanted CROSS JOIN sqlite_dbpage AS p ON p.pgno = wanted.value`,
      [`[${list}]`],
    );
    const [bytes, numbers] = row!;
    if (!(bytes instanceof Uint8Array) || numbers !== list) {
      throw new StoredFormError(`not all of the pages ${list} can be read`);
    }
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  async #oneByOne(list: string): Promise<Buffer> {
    const rows = await this.#query(
      `SELECT p.data FROM json_each(?) AS wanted CROSS JOIN sqlite_dbpage AS p ON p.pgno = wanted.value`,
      [`[${list}]`],
    );
    return Buffer.concat(rows.map(([page]) => page as Uint8Array));
  }
}
