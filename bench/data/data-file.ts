import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import type { SqlValue } from '../../src/values.js';
import { clearDirectory, scratchDirectory } from '../scratch.js';
import type { DataShape, DataTable } from './data-table.js';
import { EMBEDDINGS_1536, EMBEDDINGS_384 } from './embedding-tables.js';
import { MEMORY } from './memory-tables.js';
import { DOCUMENTS, RECORDS, TINY, WIDE } from './plain-tables.js';

/** Part of each file's name: to be raised when a generator changes. */
const FORMAT = 1;
const ROWS_PER_STATEMENT = 8;
const UNFINISHED = '.tmp';

export const DATA_SHAPES = {
  records: RECORDS,
  memory: MEMORY,
  wide: WIDE,
  tiny: TINY,
  documents: DOCUMENTS,
  'embeddings-384': EMBEDDINGS_384,
  'embeddings-1536': EMBEDDINGS_1536,
} as const satisfies Record<string, DataShape>;

export type DataKind = keyof typeof DATA_SHAPES;

export interface DataSpec {
  readonly kind: DataKind;
  readonly rows: number;
  readonly seed: number;
}

/** What a target is told of a table. */
export interface SourceTable {
  readonly name: string;
  readonly key: string;
  readonly columns: readonly string[];
  readonly rows: number;
}

export interface DataFile {
  readonly path: string;
  readonly tables: readonly SourceTable[];
}

/** The SQLite file of these data: made now, or found from an earlier run. */
export function ensureDataFile(spec: DataSpec, directory = scratchDirectory('data')): DataFile {
  const path = join(directory, `${spec.kind}-${spec.rows}-${spec.seed}-v${FORMAT}.db`);
  const parts = tablesOf(spec);
  if (!existsSync(path)) {
    clearDirectory(directory, (name) => name.includes(UNFINISHED));
    // Made under another name first: an interrupted run must not leave half a file behind.
    const unfinished = `${path}.${process.pid}${UNFINISHED}`;
    try {
      writeDataFile(unfinished, spec.seed, parts);
      renameSync(unfinished, path);
    } finally {
      for (const suffix of ['', '-wal', '-shm']) rmSync(unfinished + suffix, { force: true });
    }
  }
  return {
    path,
    tables: parts.map(({ table, rows }) => ({
      name: table.name,
      key: table.key,
      columns: table.columns,
      rows,
    })),
  };
}

function tablesOf({ kind, rows }: DataSpec): { table: DataTable; rows: number }[] {
  const { parts }: DataShape = DATA_SHAPES[kind];
  const shared = parts.map(({ table, share }) => ({ table, rows: Math.floor(rows * share) }));
  const missing = rows - shared.reduce((sum, part) => sum + part.rows, 0);
  return shared.map((part, i) => (i === 0 ? { ...part, rows: part.rows + missing } : part));
}

function writeDataFile(
  path: string,
  seed: number,
  parts: readonly { table: DataTable; rows: number }[],
): void {
  const database = new Database(path);
  try {
    // The file is given up when its making fails. Random keys of ten million rows take 600 MB of pages to stay quick.
    database.exec('PRAGMA journal_mode = off');
    database.exec('PRAGMA synchronous = off');
    database.exec('PRAGMA cache_size = -1048576');
    database.exec('BEGIN');
    for (const { table, rows } of parts) {
      database.exec(table.createTable);
      insertRows(database, table, seed, rows);
      for (const index of table.createIndexes) database.exec(index);
    }
    database.exec('COMMIT');
    database.exec('PRAGMA journal_mode = wal');
  } finally {
    database.close();
  }
}

function insertRows(
  database: InstanceType<typeof Database>,
  table: DataTable,
  seed: number,
  rows: number,
): void {
  const many = database.prepare(insertStatement(table, ROWS_PER_STATEMENT));
  const one = database.prepare(insertStatement(table, 1));
  let index = 0;
  for (; index + ROWS_PER_STATEMENT <= rows; index += ROWS_PER_STATEMENT) {
    const values: SqlValue[] = [];
    for (let i = 0; i < ROWS_PER_STATEMENT; i++) values.push(...table.row(seed, index + i));
    many.run(values.map(bind));
  }
  for (; index < rows; index++) one.run(table.row(seed, index).map(bind));
}

function insertStatement(table: DataTable, rows: number): string {
  const marks = `(${table.columns.map(() => '?').join(', ')})`;
  return (
    `INSERT INTO ${table.name} (${table.columns.join(', ')}) ` +
    `VALUES ${Array.from({ length: rows }, () => marks).join(', ')}`
  );
}

function bind(value: SqlValue): SqlValue {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}
