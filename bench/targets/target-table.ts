import type { Target } from './target.js';

/**
 * How each target is loaded. Loading is left to the process that runs it, so that its memory is measured from before
 * its modules are there.
 */
export const TARGET_LOADERS = {
  'storage-sync': async (): Promise<Target> => (await import('./storage-sync.js')).storageSync,
  'one-lane': async (): Promise<Target> => (await import('./storage-sync.js')).oneLane,
  'no-change': async (): Promise<Target> => (await import('./changed-source.js')).noChange,
  'one-percent': async (): Promise<Target> => (await import('./changed-source.js')).onePercent,
  'one-percent-together': async (): Promise<Target> =>
    (await import('./changed-source.js')).onePercentTogether,
  'one-percent-again': async (): Promise<Target> =>
    (await import('./changed-source.js')).onePercentAgain,
  'rebuild-served': async (): Promise<Target> =>
    (await import('./served-rebuild.js')).servedRebuild,
  'readers-alone': async (): Promise<Target> => (await import('./served-rebuild.js')).readersAlone,
  'deep-verify': async (): Promise<Target> => (await import('./deep-verify.js')).deepVerify,
  'plain-writes': async (): Promise<Target> => (await import('./source-writes.js')).plainWrites,
  'logged-writes': async (): Promise<Target> => (await import('./source-writes.js')).loggedWrites,
  'hand-written-loop': async (): Promise<Target> =>
    (await import('./hand-written-loop.js')).handWrittenLoop,
  'hand-tuned-loop': async (): Promise<Target> =>
    (await import('./hand-tuned-loop.js')).handTunedLoop,
  'bare-read': async (): Promise<Target> => (await import('./bare-read.js')).bareRead,
  'bare-append': async (): Promise<Target> => (await import('./bare-append.js')).bareAppend,
  'bare-puts': async (): Promise<Target> => (await import('./bare-puts.js')).barePuts,
  'bare-read-puts': async (): Promise<Target> => (await import('./bare-puts.js')).bareReadPuts,
  'bare-read-puts-together': async (): Promise<Target> =>
    (await import('./bare-puts.js')).bareReadPutsTogether,
  'bare-read-puts-again': async (): Promise<Target> =>
    (await import('./bare-puts.js')).bareReadPutsAgain,
  'cache-get': async (): Promise<Target> => (await import('./cache-reads.js')).cacheGet,
  'cache-get-two': async (): Promise<Target> => (await import('./cache-reads.js')).cacheGetTwo,
  'cache-get-many': async (): Promise<Target> => (await import('./cache-reads.js')).cacheGetMany,
  'lmdb-get': async (): Promise<Target> => (await import('./lmdb-reads.js')).lmdbGet,
  'lmdb-bytes': async (): Promise<Target> => (await import('./lmdb-reads.js')).lmdbBytes,
  'native-get': async (): Promise<Target> => (await import('./native-reads.js')).nativeGet,
  'native-raw': async (): Promise<Target> => (await import('./native-reads.js')).nativeRaw,
  'fetch-read': async (): Promise<Target> => (await import('./fetch-read.js')).fetchRead,
} as const;

export type TargetProgram = keyof typeof TARGET_LOADERS;
