import type { TableDefinition } from '../../../src/index.js';
import type { Random } from '../../support/random.js';
import type { ModeFactory } from '../mode.js';

interface CursorTable {
  readonly create: string;
  /** The cursor's value at a tick of the source's clock, in SQL. */
  readonly at: (tick: string) => string;
  /** How many ticks late rows may be committed, as the definition says it. */
  readonly overlap: number | string;
  readonly softDelete: boolean;
  /** The key of the row number `i`, in SQL. */
  readonly key: string;
}

/** How many ticks late a row may be committed. */
const LATE = 3;
const EPOCH_S = Date.UTC(2000, 1, 28, 23, 0, 0) / 1000;
const seconds = (tick: string) => `${EPOCH_S} + ${tick}`;

/** Tables of every kind of key, and cursors of every kind of value. */
const TABLES: Readonly<Record<string, CursorTable>> = {
  rowid: {
    create:
      'CREATE TABLE rowid (k INTEGER PRIMARY KEY, c INTEGER, v, d); CREATE INDEX i1 ON rowid (c)',
    at: (tick) => tick,
    overlap: LATE,
    softDelete: true,
    key: 'i',
  },
  texts: {
    create:
      'CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, c TEXT, v, d); CREATE INDEX i2 ON texts (c, k)',
    at: (tick) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${seconds(tick)}, 'unixepoch')`,
    overlap: `${LATE}s`,
    softDelete: false,
    key: "'k' || i",
  },
  without: {
    create:
      'CREATE TABLE without (k TEXT PRIMARY KEY NOT NULL, c DATETIME, v, d) WITHOUT ROWID; CREATE INDEX i3 ON without (c)',
    at: (tick) => `datetime(${seconds(tick)}, 'unixepoch')`,
    overlap: LATE * 1000,
    softDelete: true,
    key: "'w' || i * 7919 % 10007",
  },
  nullable: {
    create:
      'CREATE TABLE nullable (k TEXT PRIMARY KEY, c REAL, v, d); CREATE INDEX i4 ON nullable (c DESC)',
    at: (tick) => `${tick} + 0.5`,
    overlap: LATE,
    softDelete: true,
    key: "CASE WHEN i % 9 THEN 'n' || i END",
  },
  nocase: {
    create: 'CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, c INTEGER, v, d)',
    at: (tick) => `(${tick}) * 7`,
    overlap: LATE * 7,
    softDelete: false,
    key: "CASE i % 2 WHEN 0 THEN 'c' ELSE 'C' END || i",
  },
  plain: {
    create: 'CREATE TABLE plain (k, c, v, d); CREATE INDEX i7 ON plain (c)',
    at: (tick) => tick,
    overlap: LATE,
    softDelete: true,
    key: 'i % 50',
  },
};
const NAMES = Object.keys(TABLES);

/**
 * The source's clock: it goes on with each statement, whoever runs it and however often, so that writers keep their
 * promise never to lower a cursor by more than the overlap.
 */
const CLOCK = 'CREATE TABLE clock (now INTEGER); INSERT INTO clock VALUES (1000)';
const TICK = 'UPDATE clock SET now = now + 1';

function definitions(sweepEveryMs: number): TableDefinition[] {
  return NAMES.map((name): TableDefinition => {
    const { overlap, softDelete } = TABLES[name]!;
    return {
      name,
      indexes: [{ name: 'by_v', columns: ['v'] }],
      cursor: { column: 'c', overlap, sweepEveryMs },
      ...(softDelete ? { softDelete: { column: 'd' } } : {}),
    };
  });
}

/** Tables that are followed by a cursor, some with rows that are only marked as deleted. */
export const cursor: ModeFactory = () => ({
  schema: `${CLOCK}; ${Object.values(TABLES)
    .map(({ create }) => create)
    .join(';')}`,
  tables: definitions(3600_000),
  sweptTables: definitions(0),
  cursorColumn: 'c',
  captured: false,
  statements: (random, count) => Array.from({ length: count }, () => statement(random)),
  bulk: (random, most) => `${TICK}; ${bulk(random, most)}`,
  where: Object.fromEntries(
    NAMES.filter((name) => TABLES[name]!.softDelete).map((name) => [
      name,
      `d IS NULL OR d = 0 OR d = ''`,
    ]),
  ),
  keepsRows: true,
  together: false,
});

/** The cursor's value of a row that is written now, or that was begun a little earlier. */
function cursorValue(table: string, random: Random): string {
  return TABLES[table]!.at(`(SELECT now - ${random.int(0, LATE)} FROM clock)`);
}

function statement(random: Random): string {
  const table = random.pick(NAMES);
  const { key } = TABLES[table]!;
  const c = cursorValue(table, random);
  const literal = (i: number) => `(SELECT ${key} FROM (SELECT ${i} AS i))`;
  const a = literal(random.int(1, 12));
  const b = literal(random.int(1, 12));
  const n = random.int(1, 9);
  const writes: readonly string[] = [
    `DELETE FROM ${table} WHERE k IS ${a}; INSERT OR REPLACE INTO ${table} (k, c, v) VALUES (${a}, ${c}, ${n})`,
    `INSERT OR IGNORE INTO ${table} (k, c, v) VALUES (${a}, ${c}, ${n})`,
    `UPDATE ${table} SET v = ${n}, c = ${c} WHERE k >= ${a}`,
    `UPDATE ${table} SET v = '${n}' || k, c = ${c} WHERE v > ${n}`,
    `UPDATE OR REPLACE ${table} SET k = ${b}, c = ${c} WHERE k = ${a}`,
    `DELETE FROM ${table} WHERE v = ${n} OR k = ${a}`,
    `UPDATE ${table} SET d = ${n}, c = ${c} WHERE k = ${a}`,
    `UPDATE ${table} SET d = CASE ${n} % 3 WHEN 0 THEN NULL WHEN 1 THEN 0 ELSE '' END, c = ${c} WHERE k >= ${a}`,
    `UPDATE ${table} SET v = ${n}, c = NULL WHERE k = ${a}`,
  ];
  return `${random.chance(0.5) ? `${TICK}; ` : ''}${random.pick(writes)}`;
}

function bulk(random: Random, most: number): string {
  const table = random.pick(NAMES);
  const { key } = TABLES[table]!;
  const c = cursorValue(table, random);
  const [from, share] = [random.int(1, most), random.int(2, 9)];
  switch (random.int(0, 4)) {
    case 0:
      return `UPDATE ${table} SET v = 'round ${random.int(1, 999)}', c = ${c} WHERE unicode(substr(k, -1)) % ${share} = 0`;
    case 1:
      return `DELETE FROM ${table} WHERE v % ${share} = 0`;
    default:
      return (
        `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + random.int(most / 10, most)}) ` +
        `INSERT OR REPLACE INTO ${table} (k, c, v) SELECT ${key}, ${c}, i FROM n`
      );
  }
}
