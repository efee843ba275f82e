import { CacheError } from '../errors.js';
import type { TableCounters } from '../report.js';
import type { TablePlan } from '../source/plan.js';

/** One table of a generation: how it is read, and under which number its databases are. */
export interface CatalogTable {
  readonly id: number;
  readonly plan: TablePlan;
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

/** More than LMDB is opened for. Each table takes three databases and one for each index. */
export const MAX_DATABASES = 4096;

/**
 * Fits plans to a catalog: known tables keep their numbers, new ones get the next. Tables of the catalog that are not
 * planned any more are left alone.
 *
 * @throws {CacheError} `CACHE_DEFINITION_MISMATCH` when a table is stored in another way than is now asked for.
 */
export function mergeCatalog(catalog: Catalog, plans: readonly TablePlan[]): Catalog {
  const tables = [...catalog.tables];
  let { nextId } = catalog;
  for (const plan of plans) {
    const known = tables.find((table) => table.plan.name === plan.name);
    if (!known) {
      tables.push({ id: nextId++, plan });
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
  }
  const databases = tables.reduce((sum, table) => sum + 3 + table.plan.indexes.length, 8);
  if (databases > MAX_DATABASES) {
    throw new CacheError(
      'CACHE_DEFINITION_MISMATCH',
      `${tables.length} tables with their indexes need ${databases} databases, more than the ${MAX_DATABASES} that a cache can hold.`,
      { hint: 'Name the tables to sync.' },
    );
  }
  return { tables, nextId };
}

function storageDifference(stored: TablePlan, wanted: TablePlan): string | null {
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
  if (JSON.stringify(stored.indexes) !== JSON.stringify(wanted.indexes)) return 'other indexes';
  if (JSON.stringify(stored.limit) !== JSON.stringify(wanted.limit)) return 'another limit';
  return stored.filter === wanted.filter ? null : 'other references';
}
