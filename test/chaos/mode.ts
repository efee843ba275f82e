import type { TableDefinition } from '../../src/index.js';
import type { Random } from '../support/random.js';

/** A kind of cache to bring chaos over: the source's tables, what is synced of them, and what the cache must hold. */
export interface Mode {
  /** Makes the source's tables. */
  readonly schema: string;
  /** Undefined where the tables are discovered. */
  readonly tables: readonly TableDefinition[] | undefined;
  /** The same with a sweep for deleted rows in every sync, of tables that are followed by cursors. */
  readonly sweptTables?: readonly TableDefinition[];
  /** The column of `texts` that its cursor goes by. */
  readonly cursorColumn?: string;
  /** Whether the source keeps a change log. */
  readonly captured: boolean;
  /** Small statements on any of the tables. One that fails is no harm. */
  readonly statements: (random: Random, count: number) => readonly string[];
  /** A statement that writes many rows: a tenth of `most` at least. */
  readonly bulk: (random: Random, most: number) => string;
  /** Of a table, the rows that the cache must hold, as a SQL condition. */
  readonly where: Readonly<Record<string, string>>;
  /** Whether a row that stays in the source may never be missing in a served cache. */
  readonly keepsRows: boolean;
  /**
   * Whether rows of `pair_a` and `pair_b`, which are only changed together, must always be read together. Then all
   * syncs go by the change log, in rounds that hold everything.
   */
  readonly together: boolean;
}

export type ModeFactory = (random: Random) => Mode;
