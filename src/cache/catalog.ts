import { CacheError } from '../errors.js';
import type { SchemaChange, TableCounters } from '../report.js';
import type { CursorStage } from '../source/cursor-rows.js';
import { foldName } from '../source/introspection.js';
import type { PlanIndex, TablePlan } from '../source/plan.js';
import { MAX_INDEX_NUMBER } from './index-key.js';
import { carriedIndexes, likelyRenames, samePlan, schemaChange } from './schema-change.js';

/** One table of a generation: how it is read, and under which number its databases are. */
export interface CatalogTable {
  readonly id: number;
  readonly plan: TablePlan;
  /** Under which number the entries of each of the plan's indexes are. */
  readonly indexNumbers: readonly number[];
  /** Numbers of indexes that are not declared any more, whose entries are still to be removed. */
  readonly droppedIndexes: readonly number[];
  /** The next index's number. None is given twice, or a reader of a dropped index could read another. */
  readonly nextIndex: number;
}

/** How far an index has come, and whether it holds what its definition promises. */
export interface IndexState {
  /** While it is built: stored rows up to this key are entered; null at the start. */
  readonly builtTo: Uint8Array | null;
  /** True when every row of the table is entered, from when on each write keeps it so. */
  readonly complete: boolean;
  /** Of a unique index: how many rows would have to go for it to be unique. */
  readonly duplicates: number;
  /** Two rows that a unique index should not both have, as it was last judged. */
  readonly violation: IndexViolation | null;
}

/** The keys of two rows that have the same values in a unique index. */
export interface IndexViolation {
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

/** An index as it begins: with nothing to build where there are no rows. */
export function newIndexState(rows: number): IndexState {
  return { builtTo: null, complete: rows === 0, duplicates: 0, violation: null };
}

/** What a generation holds. Kept in the generation itself. */
export interface Catalog {
  /** The tables that are served. */
  readonly tables: readonly CatalogTable[];
  /**
   * Tables that are being filled and that no reader sees: new ones, and successors of served ones of the same name.
   * {@link settleCatalog} gives them their places.
   */
  readonly pending: readonly CatalogTable[];
  /** The next table's number. None is given twice, or a reader of a dropped table could read another. */
  readonly nextId: number;
}

export const EMPTY_CATALOG: Catalog = { tables: [], pending: [], nextId: 1 };

/** How a checkpoint stands to the table it belongs to. */
export type TablePhase = 'reading' | 'sweeping' | 'complete';

export const ZERO_COUNTERS: TableCounters = {
  rowsRead: 0,
  rowsWritten: 0,
  rowsUnchanged: 0,
  rowsDeleted: 0,
  rowsQuarantined: 0,
  bytesWritten: 0,
  sourceRowsRead: 0,
};

/** How far one key range of a table has come. */
export interface LaneCheckpoint {
  /** The position behind which the next page begins, as the source understands it; null at the start. */
  readonly position: Uint8Array | null;
  /** The last key written, as the cache knows it, or the one behind which the lane begins; null at the table's start. */
  readonly lastKey: Uint8Array | null;
  /** The position of the last row that may be in the lane; null for the table's end. */
  readonly upTo: Uint8Array | null;
  /** The key of that row, as the cache knows it; null for the table's end. */
  readonly endKey: Uint8Array | null;
  /** Batches committed. The next one must be this number. */
  readonly sequence: number;
  /** Rows read, rejected ones included: what counts against a limit. */
  readonly rowsSeen: number;
  readonly done: boolean;
}

/** Where one lane may end and another begin: behind the row of this position, which has this key. */
export interface LaneBoundary {
  readonly position: Uint8Array;
  readonly key: Uint8Array;
}

export const NEW_LANE: LaneCheckpoint = {
  position: null,
  lastKey: null,
  upTo: null,
  endKey: null,
  sequence: 0,
  rowsSeen: 0,
  done: false,
};

/** Which change log a table follows, and up to which of its versions it has all changes. */
export interface LogPosition {
  readonly id: string;
  readonly version: number;
}

/** How far a table has come that is followed by its cursor. Values and positions are the source's, opaque here. */
export interface CursorPosition {
  /** Names the cursor: a position of another one means nothing. */
  readonly of: string;
  /** Steps taken. The next one must be this number. */
  readonly step: number;
  /** Where the next round begins: of the rows committed in time, all with lower values are there. Null: at the lowest. */
  readonly from: Uint8Array | null;
  /** Why no further round can begin, so that the table is to be read in full; or null. */
  readonly problem: string | null;
  /** The round that is under way, or null. */
  readonly round: CursorRound | null;
  /** When the last complete reading of all keys began. */
  readonly sweptAt: number;
}

/** A round over a cursor, as far as it has come. */
export interface CursorRound {
  readonly stages: readonly CursorStage[];
  readonly position: Uint8Array | null;
  readonly upTo: Uint8Array | null;
  readonly last: Uint8Array | null;
}

/** A reading of a table's keys that is under way: `lanes` and `phase` are then its own. */
export interface KeySweep {
  readonly startedAt: number;
  /** True once rows are being removed. */
  readonly removing: boolean;
}

/** How far a table has come in a sync. Written in the same transaction as the rows it covers. */
export interface TableCheckpoint {
  /** The sync that it belongs to. */
  readonly sync: string;
  readonly phase: TablePhase;
  /** True when that sync was completed, with all its tables. */
  readonly settled: boolean;
  /** True when the table had no rows as the sync began: nothing to compare with or to remove. */
  readonly fresh: boolean;
  readonly lanes: readonly LaneCheckpoint[];
  readonly counters: TableCounters;
  /** Where the sweep for removed rows has come to. */
  readonly sweepAfter: Uint8Array | null;
  /** Records that the table had before the sync. */
  readonly rowsBefore: number;
  /** Read before the rows were. Null where the source kept no log then. */
  readonly log: LogPosition | null;
  /** The version of the source's schema before it was read: after another one neither a log nor a cursor is followed. */
  readonly schemaVersion: number | null;
  /** The same of the logs of other tables, on which it depends which rows are in scope; in the order of the plan's scopes. */
  readonly scopes: readonly LogPosition[];
  /** Looked at before the rows were read, then moved with each round. Null where no cursor is defined. */
  readonly cursor: CursorPosition | null;
  readonly keySweep: KeySweep | null;
  /** Which rows counted as there: the plan's `alive`. */
  readonly alive: string | null;
  readonly startedAt: number;
  readonly updatedAt: number;
}

/** What is known of a table. */
export interface TableState {
  /** Records in the table. An iteration that gives fewer was cut short by damage. */
  readonly rows: number;
  readonly checkpoint: TableCheckpoint | null;
}

/** The last completed sync of a generation. */
export interface SyncRecord {
  readonly sync: string;
  readonly mode: string;
  readonly startedAt: number;
  readonly completedAt: number;
  /** When the reading of its oldest table began: nothing in the cache is older. */
  readonly asOf: number;
  /** Which source it came from: a fingerprint of its URL, never the URL. */
  readonly source: string;
}

/** More than LMDB is opened for. */
export const MAX_DATABASES = 4096;
/** Rows, index entries, scratch and quarantine. */
export const DATABASES_OF_A_TABLE = 4;

/** A planned table, and where its rows go. */
export interface FittedTable {
  readonly table: CatalogTable;
  /** True when its rows were read by another plan: none of what was known of how far they are holds. */
  readonly replanned: boolean;
  /** How it differs from the table that is served instead of it, or null. */
  readonly change: SchemaChange | null;
}

export interface FittedCatalog {
  readonly catalog: Catalog;
  /** In the order of the plans. */
  readonly tables: readonly FittedTable[];
  /** Pending tables of these plans that are not wanted any more. */
  readonly dropped: readonly CatalogTable[];
}

export interface FitOptions {
  /** True for a generation that nobody reads: all its tables are filled in place. */
  readonly unpublished: boolean;
  /** True when the plans say nothing of indexes, so that a table keeps those it has. */
  readonly keepIndexes: boolean;
}

/**
 * Fits plans to a catalog. A table that is stored as planned stays as it is. One that is new, or stored in another way,
 * gets a pending table: the one that an interrupted sync began, or one under the next number. Tables that are not
 * planned are left alone. Indexes may differ: they are made of the stored rows.
 *
 * @throws {CacheError} `CACHE_DEFINITION_MISMATCH` when an unpublished generation has a table of another plan, or when
 * there are too many tables or indexes.
 */
export function fitCatalog(
  catalog: Catalog,
  plans: readonly TablePlan[],
  { unpublished, keepIndexes }: FitOptions,
): FittedCatalog {
  const tables = [...catalog.tables];
  const pending = [...catalog.pending];
  const dropped: CatalogTable[] = [];
  let { nextId } = catalog;
  const storedPlans = tables.map(({ plan }) => plan);
  const renames = keepIndexes ? likelyRenames(storedPlans, plans) : new Map<string, TablePlan>();

  const fitted = plans.map((plan): FittedTable => {
    const servedAt = tables.findIndex((table) => sameName(table, plan));
    const served = tables[servedAt];
    if (served && unpublished && !samePlan(served.plan, plan)) throw otherPlan(plan);
    const likeness = served?.plan ?? renames.get(plan.name);
    const indexes = keepIndexes && likeness ? carriedIndexes(likeness, plan) : plan.indexes;
    const wanted = { ...plan, indexes };

    const change = served ? schemaChange(served.plan, plan) : null;
    const begunAt = pending.findIndex((table) => sameName(table, plan));
    const begun = pending[begunAt];
    if (served && change === null) {
      if (begun) dropped.push(...pending.splice(begunAt, 1));
      const table = withPlan(served, wanted);
      tables[servedAt] = table;
      return { table, replanned: !samePlan(served.plan, plan), change };
    }
    if (begun && samePlan(begun.plan, plan)) {
      const table = withPlan(begun, wanted);
      pending[begunAt] = table;
      return { table, replanned: false, change };
    }
    if (begun) dropped.push(...pending.splice(begunAt, 1));
    const table = newTable(nextId++, wanted);
    (unpublished ? tables : pending).push(table);
    return { table, replanned: false, change };
  });
  refuseTooMany(tables.length + pending.length);
  return { catalog: { tables, pending, nextId }, tables: fitted, dropped };
}

/** A catalog in which pending tables have taken their places. */
export interface SettledCatalog {
  readonly catalog: Catalog;
  /** Tables that are in it no longer. */
  readonly gone: readonly CatalogTable[];
}

/**
 * Lets the pending tables among `tableIds` take their places, each that of the table it is to replace.
 *
 * @param dropOthers whether all tables go that are not among `tableIds`.
 */
export function settleCatalog(
  { tables, pending, nextId }: Catalog,
  tableIds: readonly number[],
  dropOthers: boolean,
): SettledCatalog {
  const isOurs = ({ id }: CatalogTable) => tableIds.includes(id);
  const arrived = pending.filter(isOurs);
  const replaced = tables.filter((table) => arrived.some(({ plan }) => sameName(table, plan)));
  const others = dropOthers ? [...tables, ...pending].filter((table) => !isOurs(table)) : [];
  const gone = new Set([...replaced, ...others]);
  const stays = (table: CatalogTable) => !gone.has(table);
  return {
    catalog: {
      tables: [...tables.filter(stays), ...arrived],
      pending: pending.filter((table) => stays(table) && !isOurs(table)),
      nextId,
    },
    gone: [...gone],
  };
}

/** A table of a catalog, served or pending. */
export function findCatalogTable({ tables, pending }: Catalog, id: number): CatalogTable | null {
  return [...tables, ...pending].find((table) => table.id === id) ?? null;
}

/** A catalog in which a table, served or pending, is given anew. */
export function withTable(catalog: Catalog, changed: CatalogTable): Catalog {
  const replace = (table: CatalogTable) => (table.id === changed.id ? changed : table);
  return {
    ...catalog,
    tables: catalog.tables.map(replace),
    pending: catalog.pending.map(replace),
  };
}

function newTable(id: number, plan: TablePlan): CatalogTable {
  return {
    id,
    plan,
    indexNumbers: plan.indexes.map((_, number) => number),
    droppedIndexes: [],
    nextIndex: plan.indexes.length,
  };
}

function sameName(table: CatalogTable, plan: TablePlan): boolean {
  return foldName(table.plan.name) === foldName(plan.name);
}

function otherPlan({ name }: TablePlan): CacheError {
  return new CacheError(
    'CACHE_DEFINITION_MISMATCH',
    `The cache that is being built holds the table ${JSON.stringify(name)} of another definition.`,
    { context: { table: name }, hint: 'Run `storage-sync rebuild` to build the cache anew.' },
  );
}

function refuseTooMany(tables: number): void {
  const databases = 8 + tables * DATABASES_OF_A_TABLE;
  if (databases <= MAX_DATABASES) return;
  throw new CacheError(
    'CACHE_DEFINITION_MISMATCH',
    `${tables} tables need ${databases} databases, more than the ${MAX_DATABASES} that a cache can hold.`,
    { hint: 'Name the tables to sync, or run `storage-sync rebuild` where many of them changed.' },
  );
}

/** Gives a table another plan. Indexes that it has keep their numbers, others get new ones. */
function withPlan(table: CatalogTable, wanted: TablePlan): CatalogTable {
  const { plan, indexNumbers } = table;
  const { indexes } = wanted;
  let { nextIndex } = table;
  const numbers = indexes.map((index) => {
    const at = plan.indexes.findIndex((stored) => sameIndex(stored, index));
    return indexNumbers[at] ?? nextIndex++;
  });
  if (nextIndex > MAX_INDEX_NUMBER + 1) {
    throw new CacheError(
      'CACHE_DEFINITION_MISMATCH',
      `The indexes of ${JSON.stringify(plan.name)} have changed too often.`,
      {
        context: { table: plan.name },
        hint: 'Run `storage-sync rebuild` to build the cache anew.',
      },
    );
  }
  const gone = indexNumbers.filter((number) => !numbers.includes(number));
  return {
    ...table,
    plan: wanted,
    indexNumbers: numbers,
    droppedIndexes: [...table.droppedIndexes, ...gone],
    nextIndex,
  };
}

function sameIndex(a: PlanIndex, b: PlanIndex): boolean {
  return (
    a.name === b.name &&
    a.unique === b.unique &&
    a.columns.join() === b.columns.join() &&
    a.descending?.join() === b.descending.join()
  );
}
