import assert from 'node:assert/strict';
import { openCache, type SourceRow, type SqlValue, type TableDefinition } from '../../src/index.js';
import { readDatabase } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';

/** How many ticks late a row may be committed. */
export const OVERLAP_TICKS = 2;

interface CursorTable {
  readonly create: string;
  /** The cursor's value at a tick, in SQL. */
  readonly at: (tick: number) => string;
  readonly overlap: number | string;
  readonly softDelete: boolean;
}

const EPOCH_MS = Date.UTC(2000, 1, 28, 23, 59, 0);
const iso = (ms: number) => new Date(ms).toISOString();
const seconds = (tick: number) => iso(EPOCH_MS + tick * 1000);
const days = (tick: number) => iso(EPOCH_MS + tick * 86_400_000).slice(0, 10);

/** Tables of every kind of key, and cursors of every kind of value. */
const TABLES: Readonly<Record<string, CursorTable>> = {
  rowid: {
    create:
      'CREATE TABLE rowid (k INTEGER PRIMARY KEY, c INTEGER, v, d); CREATE INDEX i1 ON rowid (c)',
    at: String,
    overlap: OVERLAP_TICKS,
    softDelete: true,
  },
  texts: {
    create:
      'CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, c TEXT, v, d); CREATE INDEX i2 ON texts (c, k)',
    at: (tick) => `'${seconds(tick)}'`,
    overlap: `${OVERLAP_TICKS}s`,
    softDelete: false,
  },
  without: {
    create:
      'CREATE TABLE without (k TEXT PRIMARY KEY NOT NULL, c DATETIME, v, d) WITHOUT ROWID; CREATE INDEX i3 ON without (c)',
    at: (tick) => `'${seconds(tick).slice(0, 19).replace('T', ' ')}'`,
    overlap: OVERLAP_TICKS * 1000,
    softDelete: true,
  },
  nullable: {
    create:
      'CREATE TABLE nullable (k TEXT PRIMARY KEY, c REAL, v, d); CREATE INDEX i4 ON nullable (c DESC)',
    at: (tick) => `${tick}.5`,
    overlap: OVERLAP_TICKS,
    softDelete: true,
  },
  nocase: {
    create: 'CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, c INTEGER, v, d)',
    at: (tick) => String(tick * 7),
    overlap: OVERLAP_TICKS * 7,
    softDelete: false,
  },
  blobs: {
    create:
      'CREATE TABLE blobs (k BLOB, j INTEGER NOT NULL DEFAULT 1, c TEXT COLLATE NOCASE, v, d, PRIMARY KEY (k, j)); CREATE INDEX i6 ON blobs (c COLLATE BINARY)',
    at: (tick) => `'${days(tick)}'`,
    overlap: OVERLAP_TICKS * 86_400_000,
    softDelete: false,
  },
  plain: {
    create: 'CREATE TABLE plain (k, c, v, d); CREATE INDEX i7 ON plain (c)',
    at: String,
    overlap: OVERLAP_TICKS,
    softDelete: true,
  },
};
const NAMES = Object.keys(TABLES);

export const CREATE = Object.values(TABLES)
  .map(({ create }) => create)
  .join(';');

/** The definitions; with `sweep`, every sync looks for deleted rows. */
export function definitions(sweep: boolean): TableDefinition[] {
  return NAMES.map((name): TableDefinition => {
    const { overlap, softDelete } = TABLES[name]!;
    return {
      name,
      cursor: { column: 'c', overlap, sweepEveryMs: sweep ? 0 : 3_600_000 },
      ...(softDelete ? { softDelete: { column: 'd' } } : {}),
    };
  });
}

/** A transaction that is committed when the clock stands at `passed` ticks more. */
export interface Commit {
  readonly passed: number;
  readonly writes: readonly Write[];
}

interface Write {
  readonly table: string;
  readonly kind: string;
  readonly a: string;
  readonly b: string;
  readonly n: number;
  /** Ticks by which the cursor's value is older than the clock. */
  readonly late: number;
}

const text = fc.constantFrom('a', 'A', 'b', 'B', 'é', '', '1', 'x y', '\u{1F600}');

const write = fc.record({
  table: fc.constantFrom(...NAMES),
  kind: fc.constantFrom(
    'replace',
    'replace',
    'update some',
    'update all',
    'rekey',
    'delete',
    'delete all',
    'dead',
    'alive',
    'null cursor',
    'null key',
    'copy',
  ),
  a: text,
  b: text,
  n: fc.integer({ min: 1, max: 9 }),
  late: fc.integer({ min: 0, max: OVERLAP_TICKS }),
});

export const commits: fc.Arbitrary<Commit[]> = fc.array(
  fc.record({
    passed: fc.constantFrom(0, 0, 1, 2, 9),
    writes: fc.array(write, { minLength: 1, maxLength: 6 }),
  }),
  { minLength: 1, maxLength: 4 },
);

/** Writes as the source's users do: the cursor is raised with every insert and update, if sometimes late. */
export class CursorWriter {
  readonly #file: string;
  #clock = 1000;

  constructor(file: string) {
    this.#file = file;
  }

  commit({ passed, writes }: Commit): void {
    this.#clock += passed;
    changeDatabase(this.#file, (db) => {
      db.exec('BEGIN');
      for (const each of writes) db.exec(this.#sql(each));
      db.exec('COMMIT');
    });
  }

  #sql({ table, kind, a, b, n, late }: Write): string {
    const key = (value: string) => {
      if (table === 'rowid') return String((value.codePointAt(0) ?? 7) % 9);
      return table === 'blobs' ? `CAST('${value}' AS BLOB)` : `'${value}'`;
    };
    const c = TABLES[table]!.at(this.#clock - late);
    switch (kind) {
      case 'replace':
        return `DELETE FROM ${table} WHERE k IS ${key(a)}; INSERT INTO ${table} (k, c, v) VALUES (${key(a)}, ${c}, ${n})`;
      case 'update some':
        return `UPDATE ${table} SET v = ${n}, c = ${c} WHERE k >= ${key(a)}`;
      case 'update all':
        return `UPDATE ${table} SET v = v || '${n}', c = ${c}`;
      case 'rekey':
        return `UPDATE OR REPLACE ${table} SET k = ${key(b)}, c = ${c} WHERE k = ${key(a)}`;
      case 'delete':
        return `DELETE FROM ${table} WHERE v = ${n} OR k = ${key(a)}`;
      case 'delete all':
        return `DELETE FROM ${table}`;
      case 'dead':
        return `UPDATE ${table} SET d = ${n}, c = ${c} WHERE k = ${key(a)}`;
      case 'alive':
        return `UPDATE ${table} SET d = CASE ${n} % 3 WHEN 0 THEN NULL WHEN 1 THEN 0 ELSE '' END, c = ${c} WHERE k >= ${key(a)}`;
      case 'null cursor':
        return `UPDATE ${table} SET v = ${n}, c = NULL WHERE k = ${key(a)}`;
      case 'null key':
        if (table !== 'nullable' && table !== 'blobs' && table !== 'plain') return 'SELECT 1';
        return `INSERT INTO ${table} (k, c, v) VALUES (NULL, ${c}, ${n})`;
      default:
        return `INSERT OR IGNORE INTO ${table} (k, c, v) SELECT ${key(b)}, ${c}, v FROM ${table} WHERE k = ${key(a)}`;
    }
  }
}

/** Of each table, the rows that the cache is to hold. */
export const WHERE: Readonly<Record<string, string>> = Object.fromEntries(
  NAMES.filter((name) => TABLES[name]!.softDelete).map((name) => [
    name,
    `d IS NULL OR d = 0 OR d = ''`,
  ]),
);

/**
 * Asserts that the cache has every row of the source as it is, none that is marked as deleted, and besides none but rows
 * that the source no longer has.
 */
export async function assertHoldsAll(
  file: string,
  cacheDir: string,
  where: Readonly<Record<string, string>> = WHERE,
  definitionsOf: readonly TableDefinition[] = definitions(false),
): Promise<void> {
  const tables = definitionsOf.map(({ name }) => name);
  const expected = readDatabase(file, { tables, where });
  const dead = readDatabase(file, {
    tables: Object.keys(where),
    where: mapValues(where, (alive) => `(${alive}) IS NOT TRUE`),
  });
  await using cache = openCache(cacheDir, { validateChecksums: true });
  for (const { name, columns, rows } of expected) {
    const reader = cache.table(name);
    const show = (cells: readonly SqlValue[]) =>
      JSON.stringify(cells, (_, value: unknown) =>
        typeof value === 'bigint' ? `${value}n` : value,
      );
    const shown = (row: SourceRow) => show(columns.map((column) => row[column]!));
    const cached = new Map<string, number>();
    for await (const row of reader.stream()) {
      cached.set(shown(row), (cached.get(shown(row)) ?? 0) + 1);
    }
    const wanted = new Map<string, number>();
    for (const { key, cells } of rows) {
      const text = show(cells);
      wanted.set(text, (wanted.get(text) ?? 0) + 1);
      // A key with a NULL in it names no single row.
      if (key.includes(null)) continue;
      const row = reader.get(...key);
      assert.ok(row, `${name}: no row for ${show(key)}`);
      assert.equal(shown(row), text, `${name}: the row of ${show(key)}`);
    }
    for (const [row, times] of wanted) {
      assert.ok((cached.get(row) ?? 0) >= times, `${name}: the cache lacks ${row}`);
    }
  }
  for (const { name, rows } of dead) {
    for (const { key } of rows.filter((row) => !row.key.includes(null))) {
      assert.equal(cache.table(name).get(...key), undefined, `${name}: ${String(key)} is dead`);
    }
  }
}

function mapValues<T>(
  record: Readonly<Record<string, T>>,
  map: (value: T) => T,
): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
