import type { Batch, Query } from './connection.js';

/** Counts rows that a source gave. */
export class RowTally {
  #rows = 0;

  get rows(): number {
    return this.#rows;
  }

  add(rows: number): void {
    this.#rows += rows;
  }

  /** The same way to ask, with what it gives counted. */
  over(query: Query): Query {
    return async (sql, params) => {
      const rows = await query(sql, params);
      this.add(rows.length);
      return rows;
    };
  }

  /** {@link over}, for batches. */
  overBatch(batch: Batch): Batch {
    return async (statements) => {
      const answers = await batch(statements);
      for (const rows of answers) this.add(rows.length);
      return answers;
    };
  }
}
