import {
  beyondRepair,
  forgetDamage,
  hexOf,
  MAX_DAMAGED_RECORDS,
  readDamage,
  type NotedDamage,
} from '../cache/damage-notes.js';
import { schemaChange } from '../cache/schema-change.js';
import { planTables } from '../source/plan.js';
import type { TableDefinition } from '../table-definition.js';
import type { VerifyContext } from './context.js';
import { cursorOf, logOf, type TableToVerify } from './table-verify.js';
import type { InspectedTable } from './tasks.js';

/** What became of the damage that reads had noted. */
export interface Mended {
  /** Records fetched again, by table. */
  readonly repaired: Readonly<Record<string, number>>;
  /**
   * Damaged records that the source has no row for, by table: it was removed there, or it is the key that is damaged,
   * and the row of the right key is missing. Reading the tables in full puts both right.
   */
  readonly absent: Readonly<Record<string, number>>;
}

export interface MendRequest {
  readonly cacheDir: string;
  /** The generation that is served. */
  readonly number: number;
  readonly definitions: readonly TableDefinition[] | undefined;
}

/** Keys looked up together. */
const KEYS_PER_LOOK = 100;

/**
 * Fetches the records again that reads found damaged, and forgets those that are sound. Which ones these are the cache
 * itself says: a note only tells where to look. The source is asked only where something is damaged. Killed half-way,
 * the next run goes on with what is left.
 *
 * A table whose sync was interrupted, or that this sync builds anew, keeps its notes.
 *
 * @throws {CacheError} `CACHE_CORRUPT` when the damage is not of single records, or of too many.
 */
export async function mendNoted(context: VerifyContext, request: MendRequest): Promise<Mended> {
  const { cacheDir, number } = request;
  const { pool, source, generation } = context;
  const noted = readDamage(cacheDir, number);
  if (noted.beyondRecords) throw beyondRepair(cacheDir, 'met damage that is not of single records');
  const { tables: inspected } = await pool.read('inspectCache', { source, generation });
  const damaged = await findDamaged(context, request, inspected, noted);
  const isSettled = (tableId: number, key: Uint8Array) =>
    !damaged.some(({ table, keys }) => table.table.id === tableId && keys.has(hexOf(key)));
  forgetDamage(cacheDir, (note) => {
    if (note.generation !== number) return true;
    return note.record !== null && isSettled(note.record.tableId, note.record.key);
  });
  if (damaged.length === 0) return { repaired: {}, absent: {} };

  const { schema, logs } = await pool.read('schema', { source });
  const { plans } = planTables(schema, request.definitions);
  const repaired: Record<string, number> = {};
  const absent: Record<string, number> = {};
  for (const { table, keys } of damaged) {
    const { plan: stored } = table.table;
    const plan = plans.find(({ name }) => name === stored.name);
    const isComplete = table.state.checkpoint?.phase === 'complete';
    if (!plan || !isComplete || schemaChange(stored, plan) !== null) continue;
    const current = { ...plan, indexes: stored.indexes };
    const pending = {
      log: logOf(current, table, logs),
      cursor: cursorOf(current, table),
    };
    const found = await refetch(context, { inspected: table, plan: current, ...pending }, [
      ...keys.values(),
    ]);
    if (found.written > 0) repaired[stored.name] = found.written;
    if (found.absent.size > 0) absent[stored.name] = found.absent.size;
    forgetDamage(cacheDir, ({ record }) => {
      if (record?.tableId !== table.table.id) return false;
      return keys.has(hexOf(record.key)) && !found.absent.has(hexOf(record.key));
    });
  }
  return { repaired, absent };
}

interface DamagedTable {
  readonly table: InspectedTable;
  /** By their hexadecimal digits. */
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

/** Which of the noted records are damaged still. */
async function findDamaged(
  { pool, source, generation }: VerifyContext,
  { cacheDir }: MendRequest,
  inspected: readonly InspectedTable[],
  { records }: NotedDamage,
): Promise<DamagedTable[]> {
  const found: DamagedTable[] = [];
  for (const table of inspected) {
    const { id, plan } = table.table;
    const keys = records.get(id);
    if (keys === undefined) continue;
    const asked = { source, generation, tableId: id, keys };
    const { damaged, displaced } = await pool.read('damagedKeys', asked);
    if (displaced) {
      throw beyondRepair(
        cacheDir,
        `met a record of ${JSON.stringify(plan.name)} that is not in the place of its key`,
      );
    }
    if (damaged.length > MAX_DAMAGED_RECORDS) {
      throw beyondRepair(
        cacheDir,
        `met ${damaged.length} damaged records of ${JSON.stringify(plan.name)}, more than are fetched one by one`,
      );
    }
    if (damaged.length > 0) {
      found.push({ table, keys: new Map(damaged.map((key) => [hexOf(key), key])) });
    }
  }
  return found;
}

/** Writes the source's rows of some keys over what is damaged. */
async function refetch(
  { pool, source, generation, bounds, throwIfAborted, onRetries }: VerifyContext,
  { inspected, plan, log, cursor }: TableToVerify,
  keys: readonly Uint8Array[],
): Promise<{ readonly written: number; readonly absent: ReadonlySet<string> }> {
  const tableId = inspected.table.id;
  const absent = new Set<string>();
  let written = 0;
  for (let at = 0; at < keys.length; at += KEYS_PER_LOOK) {
    throwIfAborted();
    const candidates = keys.slice(at, at + KEYS_PER_LOOK).map((key) => ({ key, seen: undefined }));
    const { batch, remove, retries } = await pool.read('lookAt', {
      source,
      generation,
      tableId,
      plan,
      log,
      cursor,
      bounds,
      repair: { removesUncacheable: false },
      candidates,
      onlyExtra: false,
    });
    onRetries(retries);
    for (const key of remove) absent.add(hexOf(key));
    if (batch === null) continue;
    written += batch.count;
    const repair = { generation, tableId, batch, remove: [] };
    await pool.write('repairRows', repair, [batch.arena, batch.spans]);
  }
  return { written, absent };
}
