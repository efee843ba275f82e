import assert from 'node:assert/strict';
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
import type { TempDirectory } from '../support/temp.js';
import { batchSizes } from './batch-sizes.js';
import { checkCache, checkTidy } from './check-cache.js';
import type { Journal } from './journal.js';
import type { Mode } from './mode.js';
import { runTransaction } from './run-transaction.js';
import { SourceStates } from './source-states.js';
import {
  describeEnd,
  describeOrder,
  type SyncEnd,
  type SyncOrder,
  type SyncRunner,
} from './sync-order.js';

/** How a source is reached. */
export const WAYS = ['file', 'http'] as const;
export type Way = (typeof WAYS)[number];

/** How old a cache may be and be called fresh: so short that failures soon are longer, or never reached. */
const STALE_AFTER_MS = [300, 3000, undefined] as const;
/** What the clock may go on by between two looks at it. */
const SLACK_MS = 500;
const STATUS_EVERY_MS = 15;

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
  #server: HranaServer | null = null;
  /** Goes up by one with whatever may have changed the source. */
  #version = 0;
  /** The version at which the reading began that the next sync of each generation may go on from. */
  #begun: { live: number | null; building: number | null } = { live: null, building: null };
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
    this.cacheDir = dir.join('cache');
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
    const { tables } = this.mode;
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
    const kinds = orders.map(({ mode }) =>
      mode === 'rebuild' || before.live === null ? 'building' : 'live',
    );
    for (const kind of kinds) this.#begun[kind] ??= before.version;
    const ends = await this.#watched(async () =>
      Promise.all(orders.map(async (order) => await this.runner.run(this.options, order))),
    );
    for (const [i, end] of ends.entries()) {
      this.#count(end);
      if (end.kind === 'failed') assertMayFail(orders[i]!, end, surroundings);
      if (end.kind === 'killed') assert.ok(orders[i]!.upset, 'only who is to be killed is killed');
      const mayBeComplete = end.kind !== 'failed' || end.code === 'ABORTED';
      if (mayBeComplete) this.#syncedAt = Date.now();
    }
    const moved = surroundings.moving === true || this.#version !== before.version;
    // Who is killed behind the publishing has published.
    const completed = ends.some(({ kind }) => kind === 'completed');
    const isPublished = completed || this.#live !== before.live;
    const isEqual = isPublished && (await this.#checkCompleted(ends, before, moved));
    if (moved) this.#states.lose();
    await this.checkStatus();
    if (!isEqual || !this.isFast) await this.#checkAsItLies();
    return ends;
  }

  /** Two syncs in quiet, at most, and cache and source are equal. */
  async settle(order: SyncOrder, withScratch: boolean): Promise<string> {
    await this.#server?.start();
    await this.#server?.clearFaults();
    const ends = [await this.sync(order), await this.sync(order)];
    for (const end of ends) assert.equal(end.kind, 'completed', describeEnd(end));
    await this.#assertEqual();
    checkTidy(this.cacheDir);
    if (withScratch) await this.#assertAsFromScratch(order);
    return ends.map(describeEnd).join('; then ');
  }

  /** Looks at the status, which must never fail nor promise too much. */
  async checkStatus(): Promise<void> {
    const status = await readStatus(this.cacheDir, { staleAfterMs: this.#staleAfterMs });
    assert.notEqual(status.state, 'corrupt', JSON.stringify(status));
    const ageMs = Date.now() - this.#syncedAt;
    if (status.state === 'fresh') {
      const most = (this.#staleAfterMs ?? Infinity) + SLACK_MS;
      assert.ok(ageMs <= most, `fresh ${ageMs} ms after the last sync: ${JSON.stringify(status)}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.close();
  }

  get #live(): number | null {
    return readManifest(this.cacheDir)?.live ?? null;
  }

  /** Looks at the status all the while, where there is time for that. */
  async #watched<T>(work: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const watch = async () => {
      while (!over.signal.aborted) {
        const status = await readStatus(this.cacheDir, { staleAfterMs: this.#staleAfterMs });
        assert.notEqual(status.state, 'corrupt', JSON.stringify(status));
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

  /** @returns whether the cache had to be equal to the source, and is. */
  async #checkCompleted(
    ends: readonly SyncEnd[],
    before: { readonly live: number | null; readonly version: number },
    moved: boolean,
  ): Promise<boolean> {
    const live = this.#live;
    assert.ok(live !== null, 'a completed sync is served');
    const target = live === before.live ? 'live' : 'building';
    const from = this.#begun[target] ?? before.version;
    const byLog = ends.some((end) => end.kind === 'completed' && end.report.mode === 'incremental');
    this.#begun = { live: null, building: null };
    if (moved || (!byLog && from !== this.#version)) return false;
    for (const end of ends) {
      if (end.kind !== 'completed') continue;
      const { validation } = end.report;
      assert.ok(
        validation.passed,
        `the sync finds its own work sound: ${JSON.stringify(validation)}`,
      );
    }
    await this.#assertEqual();
    this.#states.restart(this.#version);
    return true;
  }

  async #assertEqual(): Promise<void> {
    const { where, tables } = this.mode;
    await assertCacheEquals(this.file, this.cacheDir, {
      where,
      anyColumnOrder: true,
      ...(tables ? { tables: tables.map(({ name }) => name) } : {}),
    });
    this.journal.count('equalities');
  }

  /** A cache built from nothing holds the same bytes. */
  async #assertAsFromScratch(order: SyncOrder): Promise<void> {
    const cacheDir = this.#dir.join('scratch');
    const end = await this.runner.run({ ...this.options, cacheDir }, order);
    assert.equal(end.kind, 'completed', describeEnd(end));
    assert.deepEqual(await recordDigests(this.cacheDir), await recordDigests(cacheDir));
  }

  async #checkAsItLies(): Promise<void> {
    await checkCache(this.cacheDir, this.#states);
    this.journal.count('checks');
  }

  #count(end: SyncEnd): void {
    this.journal.count('syncs');
    if (end.kind === 'killed') this.journal.count('kills');
    if (end.kind !== 'failed') return;
    this.journal.count(end.code === 'ABORTED' ? 'aborts' : 'failures');
  }
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

function assertMayFail(
  order: SyncOrder,
  end: SyncEnd & { readonly kind: 'failed' },
  { mayFail = [] }: Surroundings,
): void {
  const codes: readonly (string | null)[] = [...codesOf(order), ...mayFail];
  assert.ok(
    codes.includes(end.code),
    `${describeOrder(order)} failed with ${end.code}: ${end.message}`,
  );
}
