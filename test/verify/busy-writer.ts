import { workerData } from 'node:worker_threads';
import { openDatabase } from '../support/databases.js';

const { file, counter, tables, rows } = workerData as {
  readonly file: string;
  /** How many transactions there were, and whether to end. */
  readonly counter: Int32Array;
  readonly tables: readonly string[];
  readonly rows: number;
};

const database = openDatabase(file);
database.exec('PRAGMA synchronous = off');
let state = 1;
const random = (below: number): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state % below;
};

for (let i = 0; Atomics.load(counter, 1) === 0; i++) {
  const table = tables[i % tables.length]!;
  const key = (n: number): string => (table === 'rowid' ? String(n) : `'k${n}'`);
  const statements = [
    `UPDATE ${table} SET v = v || '.' WHERE k = ${key(random(rows))}`,
    `DELETE FROM ${table} WHERE k = ${key(random(rows))}`,
    `INSERT OR REPLACE INTO ${table} VALUES (${key(random(rows))}, ${random(2 * rows)}, 'again ${i}')`,
    `UPDATE OR REPLACE ${table} SET k = ${key(random(rows) + rows)} WHERE k = ${key(random(rows))}`,
    `UPDATE ${table} SET at = at + ${rows} WHERE k = ${key(random(rows))}`,
  ];
  database.exec(`BEGIN; ${statements[random(statements.length)]!}; COMMIT`);
  Atomics.add(counter, 0, 1);
}
database.close();
