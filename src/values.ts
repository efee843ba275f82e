/**
 * The values a SQLite column can hold, as JavaScript sees them.
 *
 * | SQLite  | JavaScript                                                        |
 * |---------|-------------------------------------------------------------------|
 * | NULL    | `null`                                                            |
 * | INTEGER | `number` when `Number.isSafeInteger`, else `bigint`               |
 * | REAL    | `number`, infinities included (SQLite has no NaN)                 |
 * | TEXT    | `string`, embedded NULs included                                  |
 * | BLOB    | `Uint8Array`                                                      |
 *
 * An integral REAL within ±(2^53 - 1) equals the INTEGER of the same value.
 */
export type SqlValue = null | number | bigint | string | Uint8Array;

/** One row, by column name. */
export type SourceRow = Readonly<Record<string, SqlValue>>;

/** TEXT that is not valid Unicode. It has no JavaScript value; its bytes are kept so that a reader can step over it. */
export class InvalidText {
  /** The bytes as they are stored. */
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** A value as read from the source: a {@link SqlValue}, or TEXT that cannot become one. */
export type Cell = SqlValue | InvalidText;

/** A short, safe rendering of a value for messages and logs: never longer than about 60 characters. */
export function describeValue(value: Cell): string {
  if (value === null) return 'NULL';
  if (value instanceof InvalidText) return `invalid text ${describeBytes(value.bytes)}`;
  if (value instanceof Uint8Array) return describeBytes(value);
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 48 ? `${value.slice(0, 48)}…` : value);
  }
  return String(value);
}

function describeBytes(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, 20)).toString('hex');
  return bytes.length > 20 ? `x'${shown}…' (${bytes.length} bytes)` : `x'${shown}'`;
}
