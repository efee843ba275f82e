import { workerData } from 'node:worker_threads';
import { openDatabase } from '../support/databases.js';

/** Gives rows other rowids, at the end of the table and then back at its start, as they are. */
const { file, state, rows } = workerData as {
  readonly file: string;
  /** How many rows were moved, and whether to end. */
  readonly state: Int32Array;
  readonly rows: number;
};

const database = openDatabase(file);
database.exec('PRAGMA synchronous = off');
const move = database.prepare('UPDATE items SET rowid = ? WHERE rowid = ?');
for (let i = 0; Atomics.load(state, 1) === 0; i++) {
  const at = BigInt(1 + ((i >> 1) % rows));
  const elsewhere = at + BigInt(10 * rows);
  if (i % 2 === 0) move.run(elsewhere, at);
  else move.run(at, elsewhere);
  Atomics.add(state, 0, 1);
}
database.close();
