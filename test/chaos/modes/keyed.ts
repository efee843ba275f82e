import { defineTable, type TableDefinition } from '../../../src/index.js';
import fc from '../../support/fast-check.js';
import { KEYED_TABLES, keyedStatement, type KeyedTable } from '../../support/keyed-tables.js';
import type { Random } from '../../support/random.js';

/** Changes `pair_a` and `pair_b`: never one alone. */
export const PAIR = `
  CREATE TABLE pair_a (k INTEGER PRIMARY KEY, v);
  CREATE TABLE pair_b (k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID;
  INSERT INTO pair_a VALUES (1, 0); INSERT INTO pair_b VALUES ('one', 0)`;
const CHANGE_PAIR = 'UPDATE pair_a SET v = v + 1; UPDATE pair_b SET v = v + 1';

export const KEYED_SCHEMA = `${Object.values(KEYED_TABLES).join(';')};${PAIR}`;

const NAMES = Object.keys(KEYED_TABLES) as KeyedTable[];

/** Definitions of all tables, some with indexes. */
export function keyedDefinitions(): TableDefinition[] {
  const indexes = [
    { name: 'by_v', columns: ['v'] },
    { name: 'by_u_and_v', columns: [{ column: 'u', descending: true }, 'v'] },
  ];
  return [
    ...NAMES.map((name) => defineTable({ name, indexes: name === 'parents' ? [] : indexes })),
    defineTable({ name: 'pair_a' }),
    defineTable({ name: 'pair_b' }),
  ];
}

export function keyedStatements(random: Random, count: number): readonly string[] {
  const found = fc.sample(keyedStatement, { numRuns: count, seed: random.int(0, 2 ** 31) });
  return random.chance(0.5) ? [...found, CHANGE_PAIR] : found;
}

/** The key's literals for the row number `i`. */
const KEY_OF = {
  rowid: 'i',
  texts: "'k' || i",
  without: "'w' || i * 7919 % 10007",
  nullable: "CASE WHEN i % 9 THEN 'n' || i END",
  nocase: "CASE i % 2 WHEN 0 THEN 'c' ELSE 'C' END || i",
  blobs: "CAST('b' || i AS BLOB)",
  composite: "'k' || i % 50, i",
  parents: 'i',
} as const;
const BULK = Object.keys(KEY_OF) as (keyof typeof KEY_OF)[];

export function keyedBulk(random: Random, most: number): string {
  const table = random.pick(BULK);
  const numbers = (from: number, count: number) =>
    `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + count - 1})`;
  const share = random.int(2, 9);
  switch (random.int(0, 4)) {
    case 0:
      return `UPDATE ${table} SET v = 'round ${random.int(1, 999)}' WHERE unicode(substr(k, -1)) % ${share} = 0`;
    case 1:
      return `DELETE FROM ${table} WHERE v % ${share} = 0`;
    default:
      return `${numbers(random.int(1, most), random.int(most / 10, most))} INSERT OR REPLACE INTO ${table} SELECT ${KEY_OF[table]}, NULL, i FROM n`;
  }
}
