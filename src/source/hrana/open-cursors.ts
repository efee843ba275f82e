import type { RowCursor } from './row-cursor.js';

/** A server keeps a snapshot for an open cursor: nobody may hold it for long without reading on. */
const IDLE_MS = 10_000;
/** One for each table that is read at a time, and some. */
const MAX_OPEN = 8;

interface OpenCursor {
  readonly cursor: RowCursor;
  /** Rows that it may still give. */
  readonly rowsLeft: number;
  readonly timer: NodeJS.Timeout;
}

/**
 * Cursors that have given a page and have rows left, by what would ask for those rows. Nothing is lost with one that is
 * dropped: what it would have given is asked for again.
 */
export class OpenCursors {
  readonly #open = new Map<string, OpenCursor>();

  /** Keeps a cursor for whoever asks for the rows that `key` stands for. */
  keep(key: string, cursor: RowCursor, rowsLeft: number): void {
    this.#drop(key);
    const timer = setTimeout(() => this.#drop(key), IDLE_MS);
    timer.unref();
    this.#open.set(key, { cursor, rowsLeft, timer });
    if (this.#open.size > MAX_OPEN) this.#drop(this.#open.keys().next().value!);
  }

  take(key: string): Pick<OpenCursor, 'cursor' | 'rowsLeft'> | null {
    const found = this.#open.get(key);
    if (!found) return null;
    clearTimeout(found.timer);
    this.#open.delete(key);
    return found;
  }

  #drop(key: string): void {
    this.take(key)?.cursor.drop();
  }
}
