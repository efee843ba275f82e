import fc from '../../support/fast-check.js';
import {
  LIMITED_SCHEMA,
  limitedStatement,
  limitedTables,
  limitedWhere,
} from '../../support/limited-tables.js';
import type { Random } from '../../support/random.js';
import type { ModeFactory } from '../mode.js';

const PUT = {
  texts: "'k' || i, i % 97, i",
  without: "'w' || i % 60, i, CASE WHEN i % 5 THEN i % 31 END, i",
  nullable: "CASE WHEN i % 9 THEN 'n' || i END, i % 7, i",
  nocase: "CASE i % 2 WHEN 0 THEN 'c' ELSE 'C' END || i, 't' || i % 11, i",
  notes: "i + 5000, CASE i % 2 WHEN 0 THEN 'text' END, 'k' || i, 'w' || i % 60, i, i",
} as const;
const TABLES = Object.keys(PUT) as (keyof typeof PUT)[];

/** Tables of which the newest rows are kept, and one that refers to two of them. */
export const limits: ModeFactory = (random) => {
  const count = random.pick([5, 40, 300]);
  return {
    schema: LIMITED_SCHEMA,
    tables: limitedTables(count),
    captured: random.chance(0.8),
    statements: (choice, statements) =>
      fc.sample(limitedStatement, { numRuns: statements, seed: choice.int(0, 2 ** 31) }),
    bulk,
    where: limitedWhere(count),
    keepsRows: false,
    together: false,
  };
};

function bulk(random: Random, most: number): string {
  const table = random.pick(TABLES);
  const from = random.int(1, most);
  switch (random.int(0, 4)) {
    case 0:
      return `DELETE FROM ${table} WHERE v % ${random.int(2, 9)} = 0`;
    case 1:
      return table === 'notes'
        ? `UPDATE notes SET text_k = 'k' || (id % ${random.int(10, 3000)})`
        : `UPDATE ${table} SET t = (v * ${random.int(1, 99)}) % 101 WHERE v % ${random.int(1, 9)} = 0`;
    default:
      return (
        `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + random.int(most / 10, most)}) ` +
        `INSERT OR REPLACE INTO ${table} SELECT ${PUT[table]} FROM n`
      );
  }
}
