import type { BytesDatabase, Environment } from '../cache/environment.js';
import { recordIsSound } from '../cache/record.js';
import type { Query, SourceConnection } from '../source/connection.js';
import { orderBy } from '../source/keyset.js';
import type { PageBounds } from '../source/page.js';
import { readInSnapshot, readPageWithin } from '../source/page-reader.js';
import type { TablePlan } from '../source/plan.js';
import { quoteIdentifier } from '../source/sql.js';
import { BatchBuilder, packRecords, recordsOf } from '../transform/batch.js';
import { CHECKSUM_BYTES, type Checksum } from '../transform/checksum.js';
import { anyKey, keyList, KEYS_PER_STATEMENT, MAX_KEYS_BYTES } from './key-condition.js';
import { behindCursor } from './cursor-changes.js';
import { changesOf, type PendingChanges } from './log-changes.js';
import { keyText, keyValues, type KeyValues } from './row-keys.js';
import { MAX_LISTED, type DifferenceKind } from './report.js';
import type { Candidate, Findings, LookOptions, RowRepairs } from './tasks.js';

export interface LookTarget {
  readonly connection: SourceConnection;
  readonly environment: Environment;
  readonly rows: BytesDatabase;
  readonly checksum: Checksum;
  readonly plan: TablePlan;
  readonly signal: AbortSignal;
}

/** What a row turned out to be. `uncacheable`: the cache has one where the source's cannot be cached. */
type Verdict = 'same' | 'pending' | 'moving' | 'uncacheable' | DifferenceKind;

/**
 * Looks at rows by key: all of a run in one snapshot of the source, with its change log, and at the cache as it is now.
 * A row is taken to differ only when the source gave the same at both looks, and neither the log names it nor does it lie
 * behind the cursor.
 */
export async function lookAt(
  target: LookTarget,
  options: LookOptions,
  candidates: readonly Candidate[],
  onlyExtra = false,
): Promise<Findings & RowRepairs> {
  const tally = new FindingsTally(target.plan, options);
  for (let at = 0; at < candidates.length;) {
    target.signal.throwIfAborted();
    let run = nextRun(candidates, at);
    if (run.some(({ seen }) => seen === undefined))
      run = await firstLook(target, options, run, tally);
    const look = await lookOnce(target, options, run);
    tally.rowsRead += look.rowsRead;
    const taken = run.slice(0, look.looked);
    const judged = onlyExtra ? taken.filter(({ key }) => look.rowOf(key) === null) : taken;
    judge(target, look, judged, tally);
    at += taken.length;
  }
  return tally.finish();
}

/** The candidates of one look: no more than make a statement. */
function nextRun(candidates: readonly Candidate[], from: number): readonly Candidate[] {
  let bytes = 0;
  let end = from;
  while (end < candidates.length && end - from < KEYS_PER_STATEMENT && bytes < MAX_KEYS_BYTES) {
    bytes += candidates[end++]!.key.byteLength;
  }
  return candidates.slice(from, end);
}

/** What the source has for keys that it was not asked for before. */
async function firstLook(
  target: LookTarget,
  options: LookOptions,
  run: readonly Candidate[],
  tally: FindingsTally,
): Promise<Candidate[]> {
  const look = await lookOnce(target, options, run);
  tally.rowsRead += look.rowsRead;
  return run.slice(0, look.looked).map(({ key, seen }) => ({
    key,
    seen: seen === undefined ? checksumOf(look.rowOf(key)) : seen,
  }));
}

class FindingsTally {
  readonly #plan: TablePlan;
  readonly #options: LookOptions;
  readonly #differences = { damaged: 0, differs: 0, missing: 0, extra: 0 };
  readonly #found: Findings['found'][number][] = [];
  readonly #writes: { readonly key: Uint8Array; readonly value: Buffer }[] = [];
  readonly #removes: Uint8Array[] = [];
  #first: Uint8Array | null = null;
  #last: Uint8Array | null = null;
  #pending = 0;
  #moving = 0;
  rowsRead = 0;

  constructor(plan: TablePlan, options: LookOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  add(verdict: Verdict, key: Uint8Array, source: Buffer | null): void {
    if (verdict === 'same') return;
    if (verdict === 'pending') this.#pending++;
    else if (verdict === 'moving') this.#moving++;
    else this.#difference(verdict, key, source);
  }

  #difference(verdict: DifferenceKind | 'uncacheable', key: Uint8Array, source: Buffer | null) {
    const kind = verdict === 'uncacheable' ? 'differs' : verdict;
    this.#differences[kind]++;
    if (this.#first === null || Buffer.compare(key, this.#first) < 0) this.#first = key;
    if (this.#last === null || Buffer.compare(key, this.#last) > 0) this.#last = key;
    const { repair } = this.#options;
    const repairable = repair !== null && (verdict !== 'uncacheable' || repair.removesUncacheable);
    const action = repairable ? (source === null ? 'remove' : 'write') : null;
    if (this.#found.length < MAX_LISTED) {
      this.#found.push({ key: keyText(this.#plan, key), kind, repair: action });
    }
    if (action === 'remove') this.#removes.push(key);
    if (action === 'write') this.#writes.push({ key, value: source! });
  }

  finish(): Findings & RowRepairs {
    const range =
      this.#first === null
        ? null
        : { first: keyText(this.#plan, this.#first), last: keyText(this.#plan, this.#last!) };
    return {
      differences: this.#differences,
      pending: this.#pending,
      moving: this.#moving,
      found: this.#found,
      range,
      rows: this.rowsRead,
      batch: this.#writes.length > 0 ? packRecords(this.#writes) : null,
      remove: this.#removes,
    };
  }
}

/** What one snapshot of the source says of some keys. */
interface Look {
  /** Keys looked at, from the first on. */
  readonly looked: number;
  readonly rowsRead: number;
  /** The value that the source's row has as a record, or null where there is no such row. */
  readonly rowOf: (key: Uint8Array) => Buffer | null;
  /** True when a row was found that cannot be cached. Then it is the only one that was looked at. */
  readonly rejected: boolean;
  /** What the change log or the cursor says, or null without either. */
  readonly news: PendingChanges | null;
}

function judge(
  { environment, rows, checksum }: LookTarget,
  look: Look,
  candidates: readonly Candidate[],
  tally: FindingsTally,
): void {
  environment.refresh();
  for (const { key, seen } of candidates) {
    const stored = rows.get(Buffer.from(key)) ?? null;
    const source = look.rowOf(key);
    tally.add(verdictOf(look, checksum, key, seen, stored, source), key, source);
  }
}

function verdictOf(
  look: Look,
  checksum: Checksum,
  key: Uint8Array,
  seen: Candidate['seen'],
  stored: Buffer | null,
  source: Buffer | null,
): Verdict {
  const moved = seen !== checksumOf(source);
  if (stored !== null && !recordIsSound(checksum, key, stored, stored.length)) return 'damaged';
  const same = stored === null ? source === null : source !== null && stored.equals(source);
  if (same) return moved ? 'moving' : 'same';
  if (look.news?.changed.has(textOf(key))) return 'pending';
  const isMissing = stored === null || source === null;
  if (isMissing && look.news?.moved.has(textOf(key))) return 'pending';
  if (moved || look.news?.isGone) return 'moving';
  if (stored === null) return 'missing';
  if (source !== null) return 'differs';
  return look.rejected ? 'uncacheable' : 'extra';
}

function checksumOf(value: Buffer | null): bigint | null {
  return value === null ? null : value.readBigUInt64LE(value.length - CHECKSUM_BYTES);
}

/** Looks at the first of the keys: as many as make a page, or one alone that cannot be cached. */
async function lookOnce(
  { connection, checksum, plan, signal }: LookTarget,
  { log, cursor, bounds }: LookOptions,
  candidates: readonly Candidate[],
): Promise<Look> {
  let count = candidates.length;
  for (;;) {
    const keys = candidates.slice(0, count).flatMap(({ key }) => keyValues(plan, key) ?? []);
    const look = await readInSnapshot(
      connection,
      bounds,
      async (query, fitting) => {
        const found = await readRows(query, connection, checksum, plan, keys, fitting);
        if (found === null) return null;
        const news = log
          ? await changesOf(query, plan, log, keys)
          : cursor && (await behindCursor(query, plan, cursor, keys));
        return { ...found, news, looked: count };
      },
      signal,
    );
    if (look !== null) return look;
    count = Math.floor(count / 2);
  }
}

/** The rows of some keys as records, or null where they are too many bytes, or hold one that cannot be cached. */
async function readRows(
  query: Query,
  connection: SourceConnection,
  checksum: Checksum,
  plan: TablePlan,
  keys: readonly KeyValues[],
  bounds: PageBounds,
): Promise<Pick<Look, 'rowOf' | 'rowsRead' | 'rejected'> | null> {
  if (keys.length === 0) return { rowOf: () => null, rowsRead: 0, rejected: false };
  const builder = new BatchBuilder(plan, checksum);
  const asked = { ...bounds, maxRows: keys.length + 1, upTo: null };
  const scoped = scopedTo(plan, keys);
  const page = await readPageWithin(query, connection, scoped, null, asked, builder);
  const rejected = page.rejected.length > 0;
  if (keys.length > 1 && (!page.done || rejected)) return null;
  const batch = builder.finish();
  const arena = Buffer.from(batch.arena, 0, batch.bytes);
  const records = new Map<string, Buffer>();
  for (const { keyStart, valueStart, end } of recordsOf(batch)) {
    records.set(arena.toString('latin1', keyStart, valueStart), arena.subarray(valueStart, end));
  }
  return {
    rowOf: (key) => records.get(textOf(key)) ?? null,
    rowsRead: page.taken + page.rejected.length + (plan.limit?.count ?? 0),
    rejected,
  };
}

/** The plan for the rows of these keys only: those within its limit and its filter. */
function scopedTo(plan: TablePlan, keys: readonly KeyValues[]): TablePlan {
  const conditions = [anyKey(plan, keys)];
  if (plan.filter !== null) conditions.push(plan.filter);
  const order = plan.order.slice(plan.limit === null ? 0 : 1);
  if (plan.limit === null) return { ...plan, filter: allOf(conditions) };
  const list = plan.rowidName ?? keyList(plan);
  const where = plan.filter === null ? '' : ` WHERE ${plan.filter}`;
  conditions.push(
    `(${list}) IN (SELECT ${list} FROM main.${quoteIdentifier(plan.name)}` +
      `${where} ORDER BY ${orderBy(plan.order)} LIMIT ${plan.limit.count})`,
  );
  return { ...plan, limit: null, order, filter: allOf(conditions) };
}

function allOf(conditions: readonly string[]): string {
  return conditions.map((condition) => `(${condition})`).join(' AND ');
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
