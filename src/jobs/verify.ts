import { randomInt, randomUUID } from 'node:crypto';
import { forgetDamage } from '../cache/damage-notes.js';
import { removeLeftovers } from '../cache/files.js';
import { generationPath } from '../cache/layout.js';
import { CacheLock } from '../cache/lock.js';
import { liveGeneration } from '../cache/manifest.js';
import { CacheError, SyncAbortedError } from '../errors.js';
import type { ProgressMeter } from '../progress-meter.js';
import type { VerifyContext } from '../verify/context.js';
import { DEFAULT_VERIFY_LEVEL } from '../verify/options.js';
import type { VerifyOptions, VerifyReport } from '../verify/report.js';
import { SourceBudget } from '../verify/source-budget.js';
import { verifyCache } from '../verify/verification.js';
import type { JobContext } from './context.js';

/** Takes the lock, and holds the cache against its source. */
export async function runVerify(
  context: JobContext,
  asked: VerifyOptions,
  signal: AbortSignal,
  meter: ProgressMeter,
): Promise<VerifyReport> {
  const startedAt = Date.now();
  const { options, cacheDir } = context;
  await using _lock = await CacheLock.acquire(cacheDir, 'verify');
  await removeLeftovers(cacheDir);
  const number = liveGeneration(cacheDir);
  if (number === null) throw emptyCache(cacheDir);
  const level = asked.level ?? DEFAULT_VERIFY_LEVEL;
  const maxLossShare = asked.allowLoss ? 1 : options.maxLossShare;
  const removesUncacheable = options.onRowError === 'quarantine';
  const repair = asked.repair ? { removesUncacheable, maxLossShare } : null;
  let retries = 0;
  const onRetries = (more: number) => {
    retries += more;
  };
  const wanted = { meter, repair, maxSourceRows: asked.maxSourceRows, onRetries };
  try {
    const verified = await comparing(context, number, signal, wanted, async (sides) => {
      return await verifyCache(sides, {
        cacheDir,
        number,
        level,
        seed: asked.seed ?? randomInt(2 ** 32),
        definitions: options.tables,
        tables: asked.tables,
      });
    });
    const isSound = level === 'deep' && asked.tables === undefined && verified.complete;
    if (isSound && verified.left === 0) forgetDamage(cacheDir, () => true);
    const durationMs = Date.now() - startedAt;
    return { level, generation: number, durationMs, retries, ...verified };
  } catch (error) {
    if (!signal.aborted || error instanceof CacheError) throw error;
    throw new SyncAbortedError(
      'The verify was aborted; a deep one goes on from where it stopped the next time.',
    );
  }
}

/** Opens both sides for `work` that holds them against each other. */
export async function comparing<T>(
  context: JobContext,
  number: number,
  signal: AbortSignal,
  wanted: Pick<VerifyContext, 'meter' | 'repair'> & {
    readonly maxSourceRows?: number | undefined;
    readonly onRetries?: (retries: number) => void;
  },
  work: (context: VerifyContext) => Promise<T>,
): Promise<T> {
  const dir = generationPath(context.cacheDir, number);
  const generation = { dir, unpublished: false, create: false };
  const { pool } = context;
  const source = context.sourceRef(randomUUID());
  const onAbort = () => pool.endSession(source.session);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal.aborted) throw new SyncAbortedError();
    await context.openGeneration(generation);
    return await work({
      pool,
      source,
      generation,
      bounds: context.bounds,
      lanes: lanesOf(context),
      repair: wanted.repair,
      budget: new SourceBudget(wanted.maxSourceRows),
      meter: wanted.meter,
      throwIfAborted: () => {
        if (signal.aborted) throw new SyncAbortedError();
      },
      onRetries: wanted.onRetries ?? (() => undefined),
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    pool.endSession(source.session);
    await pool.write('close', { generation }).catch(() => undefined);
  }
}

/** Pages that a verify compares at a time: a reader of a file has one under way and one waiting. */
function lanesOf({ options, pool }: JobContext): number {
  const { maxBytesInFlight, maxPageBytes, source, concurrency } = options;
  const { readerThreads } = pool;
  const wanted = /^file:/i.test(source.url) ? readerThreads + 1 : 2 * readerThreads;
  const fitting = Math.floor(maxBytesInFlight / maxPageBytes);
  return Math.max(1, Math.min(wanted, fitting, concurrency));
}

function emptyCache(cacheDir: string): CacheError {
  return new CacheError(
    'CACHE_EMPTY',
    `The cache ${JSON.stringify(cacheDir)} has not been filled yet.`,
    {
      context: { path: cacheDir },
      hint: 'Run `storage-sync sync` first.',
    },
  );
}
