import type { SourceRow, SqlValue } from '../values.js';

/**
 * Writes rows of one table as JSON, the columns in the table's order. By hand, because an object would move a column
 * called `1` to the front, and because plain JSON cannot hold every value.
 */
export class RowJson {
  readonly #columns: readonly (readonly [name: string, prefix: string])[];

  constructor(columns: readonly string[]) {
    this.#columns = columns.map((name, i) => [
      name,
      `${i === 0 ? '' : ','}${JSON.stringify(name)}:`,
    ]);
  }

  format(row: SourceRow): string {
    let json = '{';
    for (const [name, prefix] of this.#columns) json += prefix + valueJson(row[name] ?? null);
    return `${json}}`;
  }
}

function valueJson(value: SqlValue): string {
  if (typeof value === 'bigint') return `{"integer":"${value}"}`;
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return `{"base64":"${bytes.toString('base64')}"}`;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return `{"real":"${value}"}`;
  return JSON.stringify(value);
}
