import type Database from 'libsql';
import type { SourceTable } from '../data/data-file.js';

const PAGE_ROWS = 1000;

export type NativeDatabase = InstanceType<typeof Database>;

/** A table's rows in key order as the native driver's arrays, a thousand at a time. */
export function* nativePages(
  database: NativeDatabase,
  { name, key, columns }: SourceTable,
): Generator<unknown[][], void, void> {
  const select = `SELECT ${columns.join(', ')} FROM ${name}`;
  const order = `ORDER BY ${key} LIMIT ${PAGE_ROWS}`;
  const first = database.prepare(`${select} ${order}`).raw();
  const next = database.prepare(`${select} WHERE ${key} > ? ${order}`).raw();
  const keyAt = columns.indexOf(key);
  let page = first.all() as unknown[][];
  yield page;
  while (page.length === PAGE_ROWS) {
    page = next.all(page.at(-1)?.[keyAt]) as unknown[][];
    yield page;
  }
}
