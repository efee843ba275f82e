import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deferred, type Deferred } from '../../src/deferred.js';
import { SyncAbortedError } from '../../src/errors.js';
import type { CacheStatus, SyncReport, VerifyReport } from '../../src/index.js';
import { SILENT_LOGGER } from '../../src/logger.js';
import { SyncRun } from '../../src/sync-run.js';
import { resolveWatchOptions, type WatchOptions } from '../../src/watch/watch-options.js';
import type { WatchJob } from '../../src/watch/watch-status.js';
import { Watch, type Watched } from '../../src/watch/watch.js';

/** A round that a watch began, and its end, which the test brings about. */
export interface BegunRound {
  readonly job: WatchJob;
  readonly options: object;
  readonly end: Deferred<SyncReport | VerifyReport>;
}

const SYNCED: SyncReport = {
  mode: 'full',
  durationMs: 1,
  stale: false,
  generation: 1,
  tables: {},
  sourceRowsRead: 0,
  retries: 0,
  transport: 'native',
  warnings: [],
  validation: { passed: true, checks: [] },
};

export function synced(report: Partial<SyncReport> = {}): SyncReport {
  return { ...SYNCED, ...report };
}

/** A cache of which a watch takes care, that does what a test says. */
export class FakeCache implements Watched, Disposable {
  readonly cacheDir = mkdtempSync(join(tmpdir(), 'storage-sync-fake-'));
  readonly sourceUrl = 'libsql://reader:hidden@example.org/db?authToken=hidden';
  readonly staleAfterMs = 900_000;
  readonly begun: BegunRound[] = [];
  ageMs: number | null = 0;
  /** What to throw where the status is asked for. */
  failure: Error | null = null;
  /** Rounds under way at once, at most so far. */
  most = 0;
  #open = 0;
  #waiting: (() => void)[] = [];

  watch(options: WatchOptions = {}): Watch {
    return new Watch(this, resolveWatchOptions({ intervalMs: 1e9, ...options }), SILENT_LOGGER);
  }

  /** The round of this number, from 0 on, once it has begun. */
  async round(number: number): Promise<BegunRound> {
    while (this.begun.length <= number) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.begun[number]!;
  }

  sync(options: { readonly signal?: AbortSignal | undefined }): SyncRun {
    return this.#begin<SyncReport>('sync', options);
  }

  rebuild(options: { readonly signal?: AbortSignal | undefined }): SyncRun {
    return this.#begin<SyncReport>('rebuild', options);
  }

  verify(options: { readonly signal?: AbortSignal | undefined }): SyncRun<VerifyReport> {
    return this.#begin<VerifyReport>('verify', options);
  }

  status(): Promise<CacheStatus> {
    if (this.failure) return Promise.reject(this.failure);
    return Promise.resolve({ ageMs: this.ageMs } as CacheStatus);
  }

  [Symbol.dispose](): void {
    rmSync(this.cacheDir, { recursive: true, force: true });
  }

  #begin<Report extends SyncReport | VerifyReport>(
    job: WatchJob,
    { signal, ...options }: { readonly signal?: AbortSignal | undefined },
  ): SyncRun<Report> {
    const end = deferred<SyncReport | VerifyReport>();
    signal?.addEventListener('abort', () => end.reject(new SyncAbortedError()), { once: true });
    this.most = Math.max(this.most, ++this.#open);
    end.promise.then(
      () => this.#open--,
      () => this.#open--,
    );
    const run = new SyncRun<Report>(() => end.promise as Promise<Report>);
    this.begun.push({ job, options, end });
    for (const wake of this.#waiting.splice(0)) wake();
    return run;
  }
}
