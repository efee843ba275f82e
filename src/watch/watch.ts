import { statSync } from 'node:fs';
import { damagePath } from '../cache/layout.js';
import { diskUsage } from '../cache/disk-usage.js';
import type { CacheStatus } from '../cache/status.js';
import { deferred, type Deferred } from '../deferred.js';
import { CacheError, SyncAbortedError } from '../errors.js';
import type { Logger } from '../logger.js';
import { isOutage } from '../outage.js';
import type { SyncReport } from '../report.js';
import { shownUrl } from '../source/shown-url.js';
import type { SyncOptions } from '../sync-options.js';
import type { SyncRun } from '../sync-run.js';
import type { VerifyOptions, VerifyReport } from '../verify/report.js';
import { VERSION } from '../version.js';
import { Agenda, type DueRound, type Now } from './agenda.js';
import { newRound, summaryOf, type RoundEnd } from './rounds.js';
import type { ResolvedWatchOptions } from './watch-options.js';
import {
  MAX_ROUNDS_KEPT,
  type RunningRound,
  type VerifySummary,
  type WatchJob,
  type WatchReason,
  type WatchRound,
  type WatchState,
  type WatchStatus,
} from './watch-status.js';

/** What a watch keeps true: a `StorageSync`. */
export interface Watched {
  readonly cacheDir: string;
  readonly sourceUrl: string;
  readonly staleAfterMs: number;
  sync(options: SyncOptions): SyncRun;
  rebuild(options: SyncOptions): SyncRun;
  verify(options: VerifyOptions): SyncRun<VerifyReport>;
  status(): Promise<CacheStatus>;
}

/** What may be asked of a watch's sync or rebuild. The signal ends the asker's wait, not the round. */
export type RequestedSync = Pick<SyncOptions, 'full' | 'allowLoss' | 'signal'>;
/** What may be asked of a watch's verify. The signal ends the asker's wait, not the round. */
export type RequestedVerify = Omit<VerifyOptions, 'onProgress'>;

/** How often a watch that waits looks whether reads met damage. */
const DAMAGE_CHECK_MS = 1000;

/** A round that is due or was asked for. */
interface Task {
  readonly job: WatchJob;
  readonly reason: WatchReason;
  readonly start: (signal: AbortSignal) => SyncRun<SyncReport | VerifyReport>;
}

interface Request extends Task {
  /** The same for requests that one round can answer. */
  readonly key: string;
  readonly answer: Deferred<SyncReport | VerifyReport>;
}

/**
 * Keeps a cache true for as long as a process lives: syncs at the start, on an interval, before the cache is stale, when
 * a source is back or reads met damage, and on request. One round at a time; a failed one is never the end of it.
 *
 * ```ts
 * const watch = storage.watch({ intervalMs: 60_000 });
 * process.on('SIGHUP', () => void watch.sync().catch(() => undefined));
 * for await (const round of watch.rounds()) console.log(round.outcome, round.durationMs);
 * await watch.stop();
 * ```
 *
 * Invariant: whoever asks for a round gets one that began after the asking.
 */
export class Watch implements AsyncDisposable {
  readonly #watched: Watched;
  readonly #options: ResolvedWatchOptions;
  readonly #logger: Logger;
  readonly #agenda: Agenda;
  readonly #stop = new AbortController();
  readonly #startedAt = new Date();
  readonly #requests: Request[] = [];
  readonly #history: WatchRound[] = [];
  readonly #loop: Promise<void>;
  #wake: () => void = () => undefined;
  #listeners: (() => void)[] = [];
  #running: (Omit<RunningRound, 'progress'> & { run: SyncRun<unknown> | null }) | null = null;
  #stopped = false;
  #rounds = 0;
  #failedRounds = 0;
  #lastVerify: VerifySummary | null = null;
  /** By the monotonic clock: of when the oldest data may be. */
  #asOf: number | null = null;
  /** The notes of damage for which there was a sync already. */
  #damageSeen = '';

  /** @internal Use `StorageSync.watch`. */
  constructor(watched: Watched, options: ResolvedWatchOptions, logger: Logger) {
    this.#watched = watched;
    this.#options = options;
    this.#logger = logger;
    this.#agenda = new Agenda(options, watched.staleAfterMs, now());
    this.#loop = this.#run();
  }

  /** What it does just now: see {@link WatchState}. */
  get state(): WatchState {
    if (this.#stopped) return 'stopped';
    if (this.#stop.signal.aborted) return 'stopping';
    return this.#running ? 'running' : 'waiting';
  }

  /**
   * Syncs as soon as the round under way has ended, and gives the report. Requests that wait for the same share a round.
   *
   * @throws what the sync throws, and {@link SyncAbortedError} when the watch stops.
   */
  sync(options: RequestedSync = {}): Promise<SyncReport> {
    const { signal, ...asked } = options;
    return this.#request('sync', asked, signal, (stop) =>
      this.#watched.sync({ ...asked, signal: stop }),
    );
  }

  /** Builds the cache anew beside the one that is served, as `sync` syncs. */
  rebuild(options: RequestedSync = {}): Promise<SyncReport> {
    const { signal, ...asked } = options;
    return this.#request('rebuild', asked, signal, (stop) =>
      this.#watched.rebuild({ ...asked, signal: stop }),
    );
  }

  /** Holds the cache against the source, as `sync` syncs. */
  verify(options: RequestedVerify = {}): Promise<VerifyReport> {
    const { signal, ...asked } = options;
    return this.#request('verify', asked, signal, (stop) =>
      this.#watched.verify({ ...asked, signal: stop }),
    );
  }

  /**
   * The rounds as they end, until the watch stops. Who is slow misses those before the last {@link MAX_ROUNDS_KEPT}.
   */
  async *rounds({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<WatchRound> {
    let seen = this.#rounds;
    for (;;) {
      signal?.throwIfAborted();
      const fresh = this.#history.filter(({ number }) => number > seen);
      for (const round of fresh) {
        seen = round.number;
        yield round;
      }
      if (fresh.length > 0) continue;
      if (this.#stopped) return;
      await this.#nextEvent(signal);
    }
  }

  /** How the watch stands, and the cache. Never contacts the source. */
  async status(): Promise<WatchStatus> {
    const { cacheDir, sourceUrl, staleAfterMs } = this.#watched;
    const [cache, diskBytes] = await Promise.all([this.#watched.status(), diskUsage(cacheDir)]);
    const running = this.#running;
    const next = running || this.#stop.signal.aborted ? null : this.#agenda.next(now());
    return {
      version: VERSION,
      source: shownUrl(sourceUrl),
      cacheDir,
      state: this.state,
      startedAt: this.#startedAt.toISOString(),
      intervalMs: this.#options.intervalMs,
      staleAfterMs,
      nextRoundAt: next && new Date(Date.now() + Math.max(0, next.inMs)).toISOString(),
      running: running && {
        job: running.job,
        reason: running.reason,
        startedAt: running.startedAt,
        progress: running.run?.latest ?? null,
      },
      rounds: this.#rounds,
      failedRounds: this.#failedRounds,
      cache,
      diskBytes,
      lastVerify: this.#lastVerify,
      history: [...this.#history],
    };
  }

  /** Stops the round under way at its next batch, and waits for its end. What was asked for and not begun is aborted. */
  async stop(): Promise<void> {
    this.#stop.abort(new SyncAbortedError('The watch was stopped.'));
    this.#wake();
    await this.#loop;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Settles when the watch has stopped. */
  get stopped(): Promise<void> {
    return this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const task = await this.#nextTask();
      if (task) await this.#round(task);
    }
    for (const { answer } of this.#requests.splice(0)) answer.reject(signal.reason);
    this.#stopped = true;
    this.#notify();
  }

  /** What is to be done now; null when the wait ended and it has to be looked again. */
  async #nextTask(): Promise<Task | null> {
    const request = this.#requests.shift();
    if (request) return request;
    if (this.#isDamaged()) this.#agenda.damaged(now());
    const due = this.#agenda.next(now());
    if (due.inMs <= 0) return this.#scheduled(due);
    await new Promise<void>((wake) => {
      const timer = setTimeout(wake, Math.min(Math.ceil(due.inMs), DAMAGE_CHECK_MS));
      this.#wake = () => {
        clearTimeout(timer);
        wake();
      };
    });
    this.#wake = () => undefined;
    return null;
  }

  #scheduled({ job, reason }: DueRound): Task {
    const { verifyLevel: level, verifyRepair: repair } = this.#options;
    const start = (signal: AbortSignal): SyncRun<SyncReport | VerifyReport> => {
      if (job === 'verify') return this.#watched.verify({ level, repair, signal });
      return job === 'sync' ? this.#watched.sync({ signal }) : this.#watched.rebuild({ signal });
    };
    return { job, reason, start };
  }

  /** Does a round and keeps what became of it. Never throws. */
  async #round(task: Task | Request): Promise<void> {
    const { job, reason } = task;
    const begun = now();
    const damage = this.#damageStamp();
    const ageBeforeMs = this.#asOf === null ? await this.#look() : begun.monotonic - this.#asOf;
    const startedAt = new Date(begun.wall).toISOString();
    this.#running = { job, reason, startedAt, run: null };
    this.#agenda.begin(job, begun);
    this.#logger.debug({ job, reason }, `round ${this.#rounds + 1} begins`);
    this.#notify();
    const end = await this.#attempt(task);
    const ended = now();
    const succeeded = 'report' in end && !isSkipped(end.report);
    if (succeeded && job !== 'verify') await this.#look();
    const ageAfterMs = this.#asOf === null ? null : Math.round(now().monotonic - this.#asOf);
    if (job !== 'verify') {
      this.#agenda.end({
        startedAt: begun.monotonic,
        endedAt: ended.monotonic,
        isPassing: isPassing(end),
        succeeded,
        ageMs: ageAfterMs,
      });
    }
    // What is noted while a sync runs may come too late for it.
    if (succeeded && job !== 'verify') this.#damageSeen = damage;
    const round = newRound(end, {
      number: ++this.#rounds,
      job,
      reason,
      startedAt,
      durationMs: Math.round(ended.monotonic - begun.monotonic),
      ageBeforeMs: ageBeforeMs === null ? null : Math.round(ageBeforeMs),
      ageAfterMs,
    });
    this.#keep(round, end);
    this.#running = null;
    this.#notify();
    settle(task, end);
  }

  async #attempt({ start }: Task): Promise<RoundEnd> {
    try {
      const run = start(this.#stop.signal);
      this.#running = { ...this.#running!, run };
      return { report: await run };
    } catch (error) {
      return { error };
    }
  }

  #keep(round: WatchRound, end: RoundEnd): void {
    this.#history.push(round);
    if (this.#history.length > MAX_ROUNDS_KEPT) this.#history.shift();
    if (round.outcome === 'failed') this.#failedRounds++;
    if ('report' in end && 'level' in end.report) {
      this.#lastVerify = summaryOf(end.report, round);
    }
    this.#logger.debug(round, `round ${round.number} ended`);
  }

  /** Sees how old the cache is, which others may sync as well. */
  async #look(): Promise<number | null> {
    const { ageMs } = await this.#watched.status().catch(() => ({ ageMs: null }));
    this.#asOf = ageMs === null ? null : now().monotonic - ageMs;
    return ageMs;
  }

  #isDamaged(): boolean {
    const stamp = this.#damageStamp();
    return stamp !== '' && stamp !== this.#damageSeen;
  }

  /** What changes when reads note damage; empty where there is none. */
  #damageStamp(): string {
    const stat = statSync(damagePath(this.#watched.cacheDir), { throwIfNoEntry: false });
    return stat && stat.size > 0 ? `${stat.size}:${stat.mtimeMs}` : '';
  }

  #request<Report extends SyncReport | VerifyReport>(
    job: WatchJob,
    asked: object,
    signal: AbortSignal | undefined,
    start: (signal: AbortSignal) => SyncRun<Report>,
  ): Promise<Report> {
    const stopped = this.#stop.signal;
    if (stopped.aborted) return Promise.reject(stopped.reason as Error);
    const key = `${job} ${JSON.stringify(asked)}`;
    let request = this.#requests.find((each) => each.key === key);
    if (!request) {
      const answer = deferred<SyncReport | VerifyReport>();
      // Who asked may have stopped waiting.
      answer.promise.catch(() => undefined);
      request = { job, reason: 'request', key, start, answer };
      this.#requests.push(request);
      this.#wake();
    }
    return withSignal(request.answer.promise as Promise<Report>, signal);
  }

  #nextEvent(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal!.reason as Error);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#listeners.push(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  #notify(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }
}

function now(): Now {
  return { monotonic: performance.now(), wall: Date.now() };
}

function isSkipped(report: SyncReport | VerifyReport): boolean {
  return 'mode' in report && report.mode === 'skipped';
}

/** Whether the same may succeed a little later: the source is away, or another process writes the cache. */
function isPassing(end: RoundEnd): boolean {
  if ('report' in end) return isSkipped(end.report);
  const { error } = end;
  return isOutage(error) || (error instanceof CacheError && error.code === 'CACHE_LOCKED');
}

function settle(task: Task | Request, end: RoundEnd): void {
  if (!('answer' in task)) return;
  if ('report' in end) task.answer.resolve(end.report);
  else task.answer.reject(end.error);
}

/** A promise that its waiter may give up on. */
async function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  const aborted = deferred<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
