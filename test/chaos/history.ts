import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  openChangeLog,
  readStatus,
  type ChangeLog,
  type ErrorCode,
  type StorageSyncOptions,
} from '../../src/index.js';
import { readManifest } from '../../src/cache/manifest.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import type { Random } from '../support/random.js';
import { SmallDisk } from '../support/small-disk.js';
import type { TempDirectory } from '../support/temp.js';
import { batchSizes } from './batch-sizes.js';
import { assertHoldsAll } from '../sync/cursor-history.js';
import { checkCache, checkTidy } from './check-cache.js';
import type { Journal } from './journal.js';
import type { Mode } from './mode.js';
import { ReadingProcess, type ReadingOrder } from './reading-process.js';
import { runTransaction } from './run-transaction.js';
import { SourceStates } from './source-states.js';
import {
  describeEnd,
  describeOrder,
  describeVerify,
  type Failed,
  type SyncEnd,
  type SyncOrder,
  type SyncRunner,
  type VerifyEnd,
  type VerifyOrder,
} from './sync-order.js';
import { readWhole } from './whole-read.js';

/** How a source is reached. */
export const WAYS = ['file', 'http'] as const;
export type Way = (typeof WAYS)[number];

/** How old a cache may be and be called fresh: so short that failures soon are longer, or never reached. */
const STALE_AFTER_MS = [300, 3000, undefined] as const;
/** What the clock may go on by between two looks at it. */
const SLACK_MS = 500;
const STATUS_EVERY_MS = 15;
/** The loss guard's share, and the rows below which it lets a table lose any. */
const MAX_LOSS_SHARE = 0.5;
const GUARDED_ROWS = 100;
/** How often a cache lies on a disk that may be filled. */
const ON_SMALL_DISK = 0.3;

/** What may go wrong besides what the order of a sync says. */
export interface Surroundings {
  /** What a sync may fail with. */
  readonly mayFail?: readonly ErrorCode[];
  /** Whether the source is written to meanwhile by somebody else than this history. */
  readonly moving?: boolean;
}

/** One source, one cache of it, and what that cache must hold whatever befalls the two. */
export class History implements AsyncDisposable {
  readonly mode: Mode;
  readonly way: Way;
  readonly journal: Journal;
  readonly runner: SyncRunner;
  readonly file: string;
  readonly cacheDir: string;
  readonly #dir: TempDirectory;
  readonly #states: SourceStates;
  readonly #staleAfterMs: number | undefined;
  readonly #batchSize: number;
  /** What the cache lies on, where that is a disk that may be filled. */
  readonly disk: SmallDisk | null;
  #reader: { readonly order: ReadingOrder; readonly process: ReadingProcess } | null = null;
  #server: HranaServer | null = null;
  /** Goes up by one with whatever may have changed the source. */
  #version = 0;
  /** The version at which the reading began that the next sync of each generation may go on from. */
  #begun: { live: number | null; building: number | null } = { live: null, building: null };
  /** The version at which the cache was last found equal to the source. */
  #equalAt: number | null = null;
  /** Whether the cache was damaged on purpose, and not yet mended. */
  #isDamaged = false;
  /** When the newest sync ended that may have been completed. */
  #syncedAt = -Infinity;

  private constructor(
    mode: Mode,
    way: Way,
    runner: SyncRunner,
    journal: Journal,
    dir: TempDirectory,
    random: Random,
  ) {
    this.mode = mode;
    this.way = way;
    this.runner = runner;
    this.journal = journal;
    this.#dir = dir;
    this.file = dir.join('source.db');
    this.disk = !runner.isFast && random.chance(ON_SMALL_DISK) ? SmallDisk.mount() : null;
    this.cacheDir = join(this.disk?.path ?? dir.path, 'cache');
    this.#states = new SourceStates(this.file, mode.where, mode.keepsRows);
    this.#staleAfterMs = random.pick(STALE_AFTER_MS);
    this.#batchSize = mode.together
      ? 20_000
      : random.pick(batchSizes({ way, isFast: runner.isFast }));
  }

  static async begin(setup: {
    readonly mode: Mode;
    readonly way: Way;
    readonly runner: SyncRunner;
    readonly journal: Journal;
    readonly dir: TempDirectory;
    readonly random: Random;
  }): Promise<History> {
    const { mode, way, runner, journal, dir, random } = setup;
    const history = new History(mode, way, runner, journal, dir, random);
    const { file } = history;
    changeDatabase(file, `PRAGMA journal_mode = WAL; ${mode.schema}`);
    if (way === 'http') history.#server = await startHranaServer({ file });
    if (mode.captured) await history.withLog((log) => log.install());
    return history;
  }

  /** The server, of a history over the network. */
  get server(): HranaServer {
    assert.ok(this.#server, 'the history is over the network');
    return this.#server;
  }

  /** Whether it is to take little time. */
  get isFast(): boolean {
    return this.runner.isFast;
  }

  get options(): StorageSyncOptions {
    return this.#optionsOf(false);
  }

  #optionsOf(sweep: boolean): StorageSyncOptions {
    const tables = sweep ? (this.mode.sweptTables ?? this.mode.tables) : this.mode.tables;
    return {
      source: { url: this.#server?.httpUrl ?? `file:${this.file}` },
      cacheDir: this.cacheDir,
      ...(tables ? { tables } : {}),
      batchSize: this.#batchSize,
      retries: 3,
      retryInitialMs: 2,
      retryMaxMs: 20,
      ...(this.#staleAfterMs === undefined ? {} : { staleAfterMs: this.#staleAfterMs }),
    };
  }

  /** True once something is served. */
  get isPublished(): boolean {
    return this.#live !== null;
  }

  /** Whether no sync is interrupted, and all is known that the source has been since the cache was equal to it. */
  get isSettled(): boolean {
    const { live, building } = this.#begun;
    return this.isPublished && this.#states.isComplete && live === null && building === null;
  }

  /** Begins to read the cache flat out, in another process. */
  startReading(order: ReadingOrder): void {
    this.#reader = { order, process: new ReadingProcess(order) };
  }

  /** @throws what the reading process has complained of so far. */
  checkReading(): void {
    this.#reader?.process.check();
  }

  async stopReading(): Promise<void> {
    if (!this.#reader) return;
    const { reads } = await this.#reader.process.end();
    this.#reader = null;
    this.journal.count('reads', reads);
    this.journal.guarantees.add('G9', reads);
  }

  /** Does what no process that reads could live through. */
  async withoutReader<T>(work: () => Promise<T>): Promise<T> {
    const order = this.#reader?.order;
    await this.stopReading();
    const result = await work();
    if (order) this.startReading({ ...order, seed: order.seed + 1 });
    return result;
  }

  /** Writes to the source. */
  write(statements: readonly string[], end: 'COMMIT' | 'ROLLBACK' = 'COMMIT'): void {
    changeDatabase(this.file, (database) => runTransaction(database, statements, end));
    if (end === 'ROLLBACK') return;
    this.#version++;
    this.#states.note(this.#version);
    this.journal.count('transactions');
  }

  /** Notes that others may have written to the source. */
  wasWritten(transactions: number): void {
    this.#version++;
    this.#states.lose();
    this.journal.count('transactions', transactions);
  }

  async withLog<T>(use: (log: ChangeLog) => Promise<T>): Promise<T> {
    await using log = await openChangeLog({ url: `file:${this.file}`, retryInitialMs: 5 });
    return await use(log);
  }

  /** Runs one sync and checks what it leaves. */
  async sync(order: SyncOrder, surroundings: Surroundings = {}): Promise<SyncEnd> {
    const [end] = await this.syncTogether([order], surroundings);
    return end!;
  }

  /** Runs syncs at the same time, and checks what they leave. */
  async syncTogether(
    orders: readonly SyncOrder[],
    surroundings: Surroundings = {},
  ): Promise<SyncEnd[]> {
    const before = { live: this.#live, version: this.#version };
    // A sync that fails may have begun a reading; one that ends may have gone on from one.
    const kinds = orders.flatMap(({ mode }) => {
      if (this.#isDamaged) return ['building', 'live'] as const;
      return mode === 'rebuild' || before.live === null
        ? (['building'] as const)
        : (['live'] as const);
    });
    for (const kind of kinds) this.#begun[kind] ??= before.version;
    const rowsBefore = await this.#servedRows(orders);
    const ends = await this.#watched(async () =>
      Promise.all(orders.map(async (order) => await this.#run(order))),
    );
    for (const [i, end] of ends.entries()) {
      this.#count(end);
      const isServed = this.#isDamaged || orders.length > 1 ? null : before.live !== null;
      assertMayEnd(orders[i]!, end, surroundings, isServed);
      if (end.kind === 'completed' || end.kind === 'killed' || isAborted(end)) {
        this.#syncedAt = Date.now();
      }
    }
    await this.#checkLosses(ends[0]!, rowsBefore);
    const moved = surroundings.moving === true || this.#version !== before.version;
    // Who is killed behind the publishing has published.
    const completed = ends.some(({ kind }) => kind === 'completed');
    const isPublished = completed || (this.#live !== before.live && !this.#isDamaged);
    const isEqual = isPublished && (await this.#checkCompleted(orders, ends, before, moved));
    if (moved) this.#states.lose();
    await this.checkStatus(ends.length === 1 && ends[0]!.kind === 'skipped');
    if (!this.#isDamaged && (!isEqual || !this.isFast)) await this.#checkAsItLies();
    if (ends.some(({ kind }) => kind === 'killed')) this.journal.held('G1');
    if (ends.some(({ kind }) => kind !== 'completed')) this.journal.held('G3');
    if (!this.isFast && completed) this.journal.held('G6', 'G7');
    return ends;
  }

  /** Runs one verify, and checks what it says and leaves. The source stands still meanwhile. */
  async verify(order: VerifyOrder): Promise<VerifyEnd> {
    const wasEqual = this.#equalAt === this.#version && !this.#isDamaged;
    const end = await this.#watched(async () => await this.runner.verify(this.options, order));
    this.journal.count('verifies');
    const told = describeVerify(order, end);
    if (end.kind === 'killed') this.journal.killed(end.point);
    if (end.kind === 'failed') {
      const isAsked = order.upset?.kind === 'abort after' && end.code === 'ABORTED';
      assert.ok(isAsked, `${told}: ${end.message}`);
    }
    if (end.kind === 'verified') {
      const { report } = end;
      if (wasEqual)
        assert.equal(report.differences, 0, `nothing differs: ${JSON.stringify(report)}`);
      if (!order.repair) assert.equal(report.repaired, 0, 'nothing is repaired that is not to be');
      if (this.#isMadeEqual(order, end)) await this.#noteEqual();
    }
    if (!this.#isDamaged) await this.#checkAsItLies();
    if (end.kind !== 'verified') this.journal.held('G1');
    this.journal.held('G2');
    return end;
  }

  /** Whether a verify says that the cache is as the source is. */
  #isMadeEqual(
    { level }: VerifyOrder,
    { report }: VerifyEnd & { readonly kind: 'verified' },
  ): boolean {
    return (
      level === 'deep' &&
      report.complete &&
      !report.resumed &&
      report.left === 0 &&
      Object.values(report.tables).every(
        ({ pending, moving, quarantined, notes }) =>
          pending + moving + quarantined + notes.length === 0,
      )
    );
  }

  /**
   * Does damage to the cache, has it read, does something more to it, and has it mended. Wrong rows, and dead processes,
   * are never to come of it.
   *
   * @param mend brings the cache up to date, too.
   * @param order a sync that nothing befalls.
   */
  async damage(
    spoil: () => Promise<string> | string,
    meanwhile: () => Promise<string[]>,
    mend: () => Promise<string>,
    order: SyncOrder,
  ): Promise<string> {
    return await this.withoutReader(async () => {
      this.journal.count('damages');
      const told = [await spoil()];
      this.#isDamaged = true;
      told.push(await this.readDamaged());
      told.push(...(await meanwhile()));
      this.#states.lose();
      const isResumed = this.#begun.live !== null || this.#begun.building !== null;
      told.push(await mend());
      await this.readSound();
      this.#isDamaged = false;
      // What goes on from an interrupted sync may be of the time before the newest writes.
      if (isResumed) told.push(await this.settle(order, false));
      else await this.#noteEqual();
      await this.#checkAsItLies();
      await this.checkStatus();
      this.journal.held('G5');
      return told.join('; ');
    });
  }

  /** Has a damaged cache read by a process of its own: right rows, or a clear error. */
  async readDamaged(): Promise<string> {
    const { reads, code, complaint } = await readWhole(this.cacheDir);
    assert.equal(complaint, null, 'what cannot be read is a clear error');
    const codes = [code, ...reads.map((read) => read.code)].filter((each) => each !== null);
    for (const each of codes) assert.ok(CLEAR_CODES.includes(each), `a read failed with ${each}`);
    for (const read of reads) this.#states.checkRows(read);
    return codes.length === 0 ? 'read in full' : [...new Set(codes)].join(', ');
  }

  /** Has a sound cache read by a process of its own, which finds nothing wrong. */
  async readSound(): Promise<void> {
    const { reads, code, complaint } = await readWhole(this.cacheDir);
    assert.equal(complaint, null);
    const codes = [code, ...reads.map((read) => read.code)].filter((each) => each !== null);
    assert.deepEqual(codes, this.isPublished ? [] : ['CACHE_EMPTY'], 'reads of a sound cache');
    for (const read of reads) this.#states.checkRows(read);
  }

  /** Two syncs in quiet, at most, and cache and source are equal. */
  async settle(order: SyncOrder, withScratch: boolean): Promise<string> {
    await this.#server?.start();
    await this.#server?.clearFaults();
    const swept = { ...order, sweep: true };
    const ends = [await this.sync(swept), await this.sync(swept)];
    for (const end of ends) assert.equal(end.kind, 'completed', describeEnd(end));
    await this.#noteEqual();
    checkTidy(this.cacheDir);
    if (withScratch) await this.#assertAsFromScratch(swept);
    return ends.map(describeEnd).join('; then ');
  }

  /**
   * Looks at the status, which must never fail nor promise too much.
   *
   * @param isSkipped whether the newest sync was skipped.
   */
  async checkStatus(isSkipped = false): Promise<void> {
    const status = await readStatus(this.cacheDir, { staleAfterMs: this.#staleAfterMs });
    if (this.#isDamaged) return;
    const told = JSON.stringify(status);
    assert.notEqual(status.state, 'corrupt', told);
    if (isSkipped) assert.equal(status.state, 'stale', `after a skipped sync: ${told}`);
    const ageMs = Date.now() - this.#syncedAt;
    if (status.state === 'fresh') {
      const most = (this.#staleAfterMs ?? Infinity) + SLACK_MS;
      assert.ok(ageMs <= most, `fresh ${ageMs} ms after the last sync: ${told}`);
    }
    this.journal.held('G4');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader?.process[Symbol.asyncDispose]();
    await this.#server?.close();
    if (!this.disk) return;
    // For a look, where something was found.
    this.disk.grow();
    cpSync(this.disk.path, this.#dir.join('disk'), { recursive: true });
    this.disk[Symbol.dispose]();
  }

  get #live(): number | null {
    try {
      return readManifest(this.cacheDir)?.live ?? null;
    } catch (error) {
      if (this.#isDamaged) return null;
      throw error;
    }
  }

  /** Looks at the status all the while, where there is time for that. */
  async #watched<T>(work: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const watch = async () => {
      while (!over.signal.aborted) {
        const status = await readStatus(this.cacheDir, { staleAfterMs: this.#staleAfterMs });
        if (!this.#isDamaged) {
          assert.notEqual(status.state, 'corrupt', JSON.stringify(status));
        }
        await sleep(STATUS_EVERY_MS, undefined, { signal: over.signal }).catch(() => undefined);
      }
    };
    if (this.isFast) return await work();
    const watching = watch();
    watching.catch(() => undefined);
    try {
      return await work();
    } finally {
      over.abort();
      await watching;
    }
  }

  async #run(order: SyncOrder): Promise<SyncEnd> {
    return await this.runner.run(this.#optionsOf(order.sweep), order);
  }

  /** Rows of each served table, where a sync may not lose many of them. */
  async #servedRows(orders: readonly SyncOrder[]): Promise<Map<string, number>> {
    if (this.isFast || this.#isDamaged || orders.length !== 1 || orders[0]!.allowLoss) {
      return new Map();
    }
    const { generation, tables } = await readStatus(this.cacheDir);
    if (generation === null) return new Map();
    return new Map(Object.entries(tables).map(([name, { rows }]) => [name, rows]));
  }

  /** A sync that was to be on guard against loss has not taken most of a table. */
  async #checkLosses(end: SyncEnd, before: ReadonlyMap<string, number>): Promise<void> {
    if (before.size === 0) return;
    const { tables } = await readStatus(this.cacheDir);
    for (const [name, rows] of before) {
      if (rows < GUARDED_ROWS) continue;
      const left = tables[name]?.rows ?? 0;
      assert.ok(
        left >= rows * (1 - MAX_LOSS_SHARE),
        `${name} went from ${rows} rows to ${left} without a word: ${describeEnd(end)}`,
      );
      this.journal.held('G8');
    }
  }

  /** @returns whether the cache had to be equal to the source, and is. */
  async #checkCompleted(
    orders: readonly SyncOrder[],
    ends: readonly SyncEnd[],
    before: { readonly live: number | null; readonly version: number },
    moved: boolean,
  ): Promise<boolean> {
    const live = this.#live;
    assert.ok(live !== null, 'a completed sync is served');
    const target = live === before.live ? 'live' : 'building';
    const from = this.#begun[target] ?? before.version;
    const byLog = ends.some(
      (end) => this.mode.captured && end.kind === 'completed' && end.report.mode === 'incremental',
    );
    this.#begun = { live: null, building: null };
    if (this.#isDamaged || moved || (!byLog && from !== this.#version)) return false;
    for (const end of ends) {
      if (end.kind !== 'completed') continue;
      const { validation } = end.report;
      assert.ok(
        validation.passed,
        `the sync finds its own work sound: ${JSON.stringify(validation)}`,
      );
    }
    if (target === 'live' && !this.#isSwept(orders, ends)) {
      await assertHoldsAll(this.file, this.cacheDir, this.mode.where, this.mode.tables!);
      this.journal.held('G2');
      return false;
    }
    await this.#noteEqual();
    return true;
  }

  /** Whether rows that the source no longer has were looked for. */
  #isSwept(orders: readonly SyncOrder[], ends: readonly SyncEnd[]): boolean {
    if (!this.mode.sweptTables) return true;
    return orders.some(({ sweep, full }, i) => (sweep || full) && ends[i]!.kind === 'completed');
  }

  /** Asserts that cache and source are equal, and goes on from there. */
  async #noteEqual(): Promise<void> {
    await this.#assertEqual();
    this.#states.restart(this.#version);
    this.#equalAt = this.#version;
  }

  async #assertEqual(): Promise<void> {
    const { where, tables } = this.mode;
    await assertCacheEquals(this.file, this.cacheDir, {
      where,
      anyColumnOrder: true,
      ...(tables ? { tables: tables.map(({ name }) => name) } : {}),
    });
    this.journal.count('equalities');
    this.journal.held('G2');
  }

  /** A cache built from nothing holds the same bytes. */
  async #assertAsFromScratch(order: SyncOrder): Promise<void> {
    const cacheDir = this.#dir.join('scratch');
    const end = await this.runner.run({ ...this.#optionsOf(true), cacheDir }, order);
    assert.equal(end.kind, 'completed', describeEnd(end));
    assert.deepEqual(await recordDigests(this.cacheDir), await recordDigests(cacheDir));
    this.journal.held('G10');
  }

  async #checkAsItLies(): Promise<void> {
    await checkCache(this.cacheDir, this.#states);
    this.journal.count('checks');
  }

  #count(end: SyncEnd): void {
    this.journal.count('syncs');
    if (end.kind === 'killed') this.journal.killed(end.point);
    if (end.kind === 'skipped') this.journal.count('skips');
    if (end.kind === 'failed') this.journal.count(isAborted(end) ? 'aborts' : 'failures');
  }
}

/** What the reads of a damaged cache may fail with. */
const CLEAR_CODES: readonly string[] = ['CACHE_CORRUPT', 'CACHE_EMPTY'];

function isAborted(end: SyncEnd): boolean {
  return end.kind === 'failed' && end.code === 'ABORTED';
}

/** What each upset makes a sync fail with. */
function codesOf({ upset, allowLoss }: SyncOrder): readonly ErrorCode[] {
  const codes: ErrorCode[] = allowLoss ? [] : ['LOSS_SUSPECTED'];
  switch (upset?.kind) {
    case 'abort after':
    case 'abort at statement':
    case 'interrupt after':
      return [...codes, 'ABORTED'];
    case 'cut at statement':
      return [...codes, 'SOURCE_UNAVAILABLE'];
    case 'fail at transaction':
      return [...codes, 'WORKER_FAILED'];
    default:
      return codes;
  }
}

/** An outage is no failure where a cache is served, and one where there is none. */
const OUTAGES: readonly (string | null)[] = ['SOURCE_UNAVAILABLE', 'SOURCE_TIMEOUT'];

/** @param isPublished null where that cannot be told. */
function assertMayEnd(
  order: SyncOrder,
  end: SyncEnd,
  { mayFail = [] }: Surroundings,
  isPublished: boolean | null,
): void {
  if (end.kind === 'killed') assert.ok(order.upset, 'only who is to be killed is killed');
  if (end.kind !== 'failed' && end.kind !== 'skipped') return;
  const codes: readonly (string | null)[] = [...codesOf(order), ...mayFail];
  const told = `${describeOrder(order)}: ${describeEnd(end)}: ${messageOf(end)}`;
  assert.ok(codes.includes(end.code), told);
  if (isPublished === null) return;
  if (isPublished) {
    const isSkip = end.kind === 'skipped';
    assert.equal(isSkip, OUTAGES.includes(end.code), `an outage is skipped over: ${told}`);
  } else assert.notEqual(end.kind, 'skipped', `there is nothing to serve: ${told}`);
}

function messageOf(end: Failed | (SyncEnd & { readonly kind: 'skipped' })): string {
  return end.kind === 'failed' ? end.message : end.report.warnings.join(' ');
}
