import { lentValue, type BytesDatabase } from '../cache/environment.js';
import { CacheError } from '../errors.js';
import { decodePosition, encodePosition } from '../pipeline/position.js';
import type { SpareMemory } from '../pipeline/messages.js';
import { readPage } from '../source/page-reader.js';
import type { Page } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import { BatchBuilder, recordsOf, type Batch } from '../transform/batch.js';
import { CHECKSUM_BYTES } from '../transform/checksum.js';
import type { Cell } from '../values.js';
import { keyValues, positionBehind } from './row-keys.js';
import { lookAt, type LookTarget } from './second-look.js';
import { SeenKeys } from './seen-keys.js';
import type { Candidate, ComparedPage, ComparePageRequest, RowRepairs } from './tasks.js';

/** Rows that only the cache has, in one page at most. */
const MAX_EXTRA = 2000;

export interface PageComparison {
  readonly page: Omit<ComparedPage, 'retries'> & RowRepairs;
  /** The page's memory, for the next one. */
  readonly spare: SpareMemory;
}

/**
 * Reads a page of the source, encodes it as a sync would, holds it against the cache byte for byte, and looks again at
 * what is not the same.
 */
export async function comparePage(
  target: LookTarget,
  request: ComparePageRequest,
  spare: SpareMemory | undefined,
): Promise<PageComparison> {
  const { connection, checksum, plan, signal, environment } = target;
  const start = decodePosition(request.position) ?? behind(plan, request.after);
  const bounds = { ...request.bounds, upTo: behind(plan, request.upTo) };
  const builder = new BatchBuilder(plan, checksum, spare);
  const order = request.newest ? newestFirst(plan, bounds.maxRows) : plan;
  const read = await readPage(connection, order, start, bounds, builder, signal);
  const batch = builder.finish();
  environment.refresh();
  const held =
    request.by === 'range'
      ? holdRange(target, request, read, batch)
      : holdKeys(target, request, read, batch);
  const { remove, batch: writes, ...findings } = await lookAt(target, request, held.candidates);
  return {
    page: {
      findings,
      remove,
      batch: writes,
      rows: read.taken + read.rejected.length,
      rejected: held.exhausted ? 0 : read.rejected.length,
      bytes: read.bytes,
      nextMaxRows: read.nextMaxRows,
      sums: request.sums,
      compared: held.compared,
      position: held.position,
      after: held.after,
      done: held.done,
      exhausted: held.exhausted,
    },
    spare: { arena: batch.arena, spans: batch.spans },
  };
}

/** The plan with its last rows first. */
function newestFirst(plan: TablePlan, count: number): TablePlan {
  if (plan.limit !== null) return plan;
  const order = plan.order.map((term) => ({ ...term, descending: !term.descending }));
  // What has a limit is read in the order of the statement, in whatever order it is stored.
  return { ...plan, order, limit: { count, column: 0 } };
}

/** What a page has left to look at, and how far it was held against the cache. */
interface Held extends Pick<
  ComparedPage,
  'compared' | 'position' | 'after' | 'done' | 'exhausted'
> {
  readonly candidates: readonly Candidate[];
}

function holdKeys(
  { rows, checksum }: LookTarget,
  { position, sums, maxLooks, by }: ComparePageRequest,
  read: Page,
  batch: Batch,
): Held {
  const candidates = compareByKey(rows, batch, by === 'presence');
  if (candidates.length > maxLooks) return { ...NOTHING_HELD, position, after: null };
  if (sums) addKeys(new SeenKeys(sums, checksum), batch);
  return {
    candidates,
    compared: read.taken + read.rejected.length,
    position: encodePosition(read.position),
    after: null,
    done: read.done,
    exhausted: false,
  };
}

function holdRange(
  { rows, plan }: LookTarget,
  request: ComparePageRequest,
  read: Page,
  batch: Batch,
): Held {
  const { after, maxLooks } = request;
  const arena = Buffer.from(batch.arena);
  const upTo = read.done ? request.upTo : (lastKey(batch, arena) ?? after);
  const isEmpty = !read.done && batch.count === 0;
  const range = { after, upTo, toEnd: read.done && request.upTo === null };
  const { candidates, isWhole } = isEmpty ? NO_CANDIDATES : compareRange(rows, batch, range);
  if (isWhole && candidates.length <= maxLooks) {
    return {
      candidates,
      compared: read.taken + read.rejected.length,
      position: encodePosition(read.position),
      after: upTo,
      done: read.done,
      exhausted: false,
    };
  }
  const cut = cutBehindKey(plan, candidates.slice(0, maxLooks));
  const at = cut.at(-1)?.key;
  if (at === undefined) return { ...NOTHING_HELD, position: request.position, after };
  return {
    candidates: cut,
    compared: countUpTo(batch, arena, at),
    position: encodePosition(behind(plan, at)),
    after: at,
    done: false,
    exhausted: candidates.length > maxLooks,
  };
}

const NOTHING_HELD = { candidates: [], compared: 0, done: false, exhausted: true };
const NO_CANDIDATES = { candidates: [], isWhole: true };

interface StoredRange {
  readonly after: Uint8Array | null;
  readonly upTo: Uint8Array | null;
  readonly toEnd: boolean;
}

/** What differs within a range of keys of which the batch has all rows, in the order of the keys. */
function compareRange(
  rows: BytesDatabase,
  batch: Batch,
  range: StoredRange,
): { readonly candidates: readonly Candidate[]; readonly isWhole: boolean } {
  const candidates: Candidate[] = [];
  const arena = Buffer.from(batch.arena);
  let there = 0;
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    const key = arena.subarray(keyStart, valueStart);
    const stored = lentValue(rows, key);
    if (stored !== undefined) there++;
    if (!isStored(stored, arena, valueStart, end)) candidates.push(candidateOf(arena, key, end));
  }
  const bounds = {
    ...(range.after ? { start: Buffer.from(range.after), exclusiveStart: true } : {}),
    ...(range.toEnd ? {} : { end: Buffer.from(range.upTo!), inclusiveEnd: true }),
  };
  // Counting costs a small part of walking. lmdb-js changes the options that it counts by.
  if (rows.getKeysCount({ ...bounds }) === there) return { candidates, isWhole: true };
  const extra = [...extraKeys(rows.getKeys(bounds), batch, arena)];
  const all = [...candidates, ...extra.map((key) => ({ key, seen: null }))];
  all.sort((a, b) => Buffer.compare(a.key, b.key));
  if (extra.length < MAX_EXTRA) return { candidates: all, isWhole: true };
  const end = all.findIndex(({ key }) => key === extra.at(-1));
  return { candidates: all.slice(0, end + 1), isWhole: false };
}

/** The stored keys that the batch, which is in their order, does not have. */
function* extraKeys(stored: Iterable<Buffer>, batch: Batch, arena: Buffer): Generator<Uint8Array> {
  const records = recordsOf(batch);
  let record = records.next();
  let found = 0;
  for (const key of stored) {
    let order = 1;
    while (!record.done) {
      const { keyStart, valueStart } = record.value;
      order = arena.compare(key, 0, key.length, keyStart, valueStart);
      if (order >= 0) break;
      record = records.next();
    }
    if (!record.done && order === 0) continue;
    yield new Uint8Array(key);
    if (++found === MAX_EXTRA) return;
  }
}

function compareByKey(rows: BytesDatabase, batch: Batch, onlyAbsent: boolean): Candidate[] {
  const candidates: Candidate[] = [];
  const arena = Buffer.from(batch.arena);
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    const key = arena.subarray(keyStart, valueStart);
    const stored = lentValue(rows, key);
    if (onlyAbsent && stored !== undefined) continue;
    if (!isStored(stored, arena, valueStart, end)) candidates.push(candidateOf(arena, key, end));
  }
  return candidates;
}

function addKeys(seen: SeenKeys, batch: Batch): void {
  const arena = Buffer.from(batch.arena);
  for (const { keyStart, valueStart } of recordsOf(batch)) {
    seen.add(arena.subarray(keyStart, valueStart));
  }
}

function isStored(
  stored: Buffer | undefined,
  arena: Buffer,
  valueStart: number,
  end: number,
): boolean {
  const length = end - valueStart;
  return stored?.length === length && arena.compare(stored, 0, length, valueStart, end) === 0;
}

function candidateOf(arena: Buffer, key: Buffer, end: number): Candidate {
  return { key: new Uint8Array(key), seen: arena.readBigUInt64LE(end - CHECKSUM_BYTES) };
}

/** Leaves out what lies behind the last key that a page can begin behind. */
function cutBehindKey(plan: TablePlan, candidates: readonly Candidate[]): readonly Candidate[] {
  let count = candidates.length;
  while (count > 0 && keyValues(plan, candidates[count - 1]!.key) === null) count--;
  if (count > 0 || candidates.length < MAX_EXTRA) return candidates.slice(0, count);
  throw new CacheError(
    'CACHE_CORRUPT',
    `${candidates.length} keys of ${JSON.stringify(plan.name)} in a row are no keys of its rows.`,
    {
      context: { table: plan.name },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}

function behind(plan: TablePlan, key: Uint8Array | null): Cell[] | null {
  const values = key === null ? null : keyValues(plan, key);
  return values === null ? null : positionBehind(plan, values);
}

/** The batch's rows up to a key, the batch being in the order of its keys. */
function countUpTo(batch: Batch, arena: Buffer, key: Uint8Array): number {
  let count = 0;
  for (const { keyStart, valueStart } of recordsOf(batch)) {
    if (arena.compare(key, 0, key.length, keyStart, valueStart) < 0) break;
    count++;
  }
  return count;
}

function lastKey(batch: Batch, arena: Buffer): Uint8Array | null {
  let last: Uint8Array | null = null;
  if (batch.count > 0) {
    const [start, end] = new Uint32Array(batch.spans, 12 * (batch.count - 1), 2);
    last = new Uint8Array(arena.subarray(start, end));
  }
  return last;
}
