import { CacheError } from '../errors.js';
import type { TableCounters } from '../report.js';
import type { CursorStage } from '../source/cursor-rows.js';
import type { PlanIndex, TablePlan } from '../source/plan.js';
import { MAX_INDEX_NUMBER } from './index-key.js';

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
  readonly tables: readonly CatalogTable[];
  /** The next table's number. None is given twice, or a reader of a dropped table could read another. */
  readonly nextId: number;
}

export const EMPTY_CATALOG: Catalog = { tables: [], nextId: 1 };

/** How a checkpoint stands to the table it belongs to. */
export type TablePhase = 'reading' | 'sweeping' | 'complete';

export const ZERO_COUNTERS: TableCounters = {
  rowsRead: 0,
  rowsWritten: 0,
  rowsUnchanged: 0,
  rowsDeleted: 0,
  rowsQuarantined: 0,
  bytesWritten: 0,
};

/** How far one key range of a table has come. */
export interface LaneCheckpoint {
  /** The position behind which the next page begins, as the source understands it; null at the start. */
  readonly position: Uint8Array | null;
  /** The last key written, as the cache knows it; null at the start. */
  readonly lastKey: Uint8Array | null;
  /** Batches committed. The next one must be this number. */
  readonly sequence: number;
  /** Rows read, rejected ones included: what counts against a limit. */
  readonly rowsSeen: number;
  readonly done: boolean;
}

export const NEW_LANE: LaneCheckpoint = {
  position: null,
  lastKey: null,
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

/**
 * Fits plans to a catalog: known tables keep their numbers, new ones get the next. Tables of the catalog that are not
 * planned any more are left alone. Indexes may differ: they are made of the stored rows.
 *
 * @param keepIndexes whether the plans say nothing of indexes, so that those of the catalog stay.
 * @throws {CacheError} `CACHE_DEFINITION_MISMATCH` when a table is stored in another way than is now asked for.
 */
export function mergeCatalog(
  catalog: Catalog,
  plans: readonly TablePlan[],
  keepIndexes = false,
): Catalog {
  const tables = [...catalog.tables];
  let { nextId } = catalog;
  for (const plan of plans) {
    const at = tables.findIndex((table) => table.plan.name === plan.name);
    const known = tables[at];
    if (!known) {
      tables.push({
        id: nextId++,
        plan,
        indexNumbers: plan.indexes.map((_, number) => number),
        droppedIndexes: [],
        nextIndex: plan.indexes.length,
      });
      continue;
    }
    const difference = storageDifference(known.plan, plan);
    if (difference !== null) {
      throw new CacheError(
        'CACHE_DEFINITION_MISMATCH',
        `The cache holds the table ${JSON.stringify(plan.name)} with ${difference}.`,
        {
          context: { table: plan.name },
          hint: 'Run `storage-sync rebuild` to build the cache anew, or use another --cache directory.',
        },
      );
    }
    const current = { ...known, plan: { ...known.plan, ...scopeOf(plan) } };
    tables[at] = keepIndexes ? current : mergeIndexes(current, plan.indexes);
  }
  const databases = 8 + tables.length * DATABASES_OF_A_TABLE;
  if (databases > MAX_DATABASES) {
    throw new CacheError(
      'CACHE_DEFINITION_MISMATCH',
      `${tables.length} tables need ${databases} databases, more than the ${MAX_DATABASES} that a cache can hold.`,
      { hint: 'Name the tables to sync.' },
    );
  }
  return { tables, nextId };
}

/** In what a table is stored in another way than is asked for, or null. */
export function storageDifference(stored: TablePlan, wanted: TablePlan): string | null {
  const columns = (plan: TablePlan) => plan.columns.map((column) => column.name).join(', ');
  if (columns(stored) !== columns(wanted)) {
    return `the columns (${columns(stored)}), but (${columns(wanted)}) are asked for now`;
  }
  if (
    stored.keyNames.join() !== wanted.keyNames.join() ||
    stored.keyNullable !== wanted.keyNullable
  ) {
    return `the key (${stored.keyNames.join(', ')}), but (${wanted.keyNames.join(', ')}) is asked for now`;
  }
  if (JSON.stringify(stored.limit) !== JSON.stringify(wanted.limit)) return 'another limit';
  return (stored.references ?? null) === wanted.references ? null : 'other references';
}

/** What may differ from what is stored, because a full read puts it right. */
function scopeOf({ filter, references, alive, cursor, mode }: TablePlan): Partial<TablePlan> {
  return { filter, references, alive, cursor, mode };
}

/** Gives a table the indexes that are declared now: those it has keep their numbers, others get new ones. */
function mergeIndexes(table: CatalogTable, indexes: readonly PlanIndex[]): CatalogTable {
  const { plan, indexNumbers } = table;
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
    plan: { ...plan, indexes },
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
