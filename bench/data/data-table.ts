import type { SqlValue } from '../../src/values.js';

/** A table that can be filled with any number of rows. */
export interface DataTable {
  readonly name: string;
  readonly key: string;
  readonly columns: readonly string[];
  readonly createTable: string;
  /** Run after the rows are in. */
  readonly createIndexes: readonly string[];
  /** The row at `index`: the same for the same seed, whatever was made before it. */
  row(seed: number, index: number): readonly SqlValue[];
}

/** Tables that belong together, and the share of the rows that each takes. */
export interface DataShape {
  readonly title: string;
  readonly parts: readonly { readonly table: DataTable; readonly share: number }[];
}
