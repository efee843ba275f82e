import { resolveOptions, type StorageSyncOptions } from '../options.js';
import { shownUrl } from '../source/shown-url.js';
import { VERSION } from '../version.js';
import { skippedFindings, type Finding } from './finding.js';
import { checkHost } from './host-checks.js';

/** What {@link diagnose} found. */
export interface Diagnosis {
  /** False where a check failed. Warnings are no failure. */
  readonly healthy: boolean;
  /** The version of this package. */
  readonly version: string;
  /** The source's URL, without what may be secret. */
  readonly source: string;
  /** The directory of the cache. */
  readonly cacheDir: string;
  /** In the order of the checks: of the host, the source and the cache. */
  readonly findings: readonly Finding[];
}

/**
 * Looks at everything that a sync needs and a reader meets: the host, the source, the cache and its directory. Changes
 * nothing and leaves nothing behind, and can be run while a sync or a watch is.
 *
 * It looks at each page of the cache's file in the thread that calls it, which takes about 0.4 ms a megabyte.
 *
 * @throws {ConfigError} when an option is wrong. All else that is wrong is a finding.
 *
 * @example
 * ```ts
 * const { healthy, findings } = await diagnose({ source: { url: 'file:app.db' }, cacheDir: './cache' });
 * for (const { check, status, found, hint } of findings) {
 *   if (status === 'failed' || status === 'warning') console.log(check, found, hint);
 * }
 * ```
 */
export async function diagnose(options: StorageSyncOptions): Promise<Diagnosis> {
  const resolved = resolveOptions(options);
  const host = await checkHost(resolved);
  const isLoaded = (name: string) =>
    host.some(({ check, status }) => check === `host.${name}` && status === 'ok');
  // Modules that need native code are loaded only when that is there. One after the other: a look at a large cache
  // would count as latency of the source.
  const { checkSource } = await import('./source-checks.js');
  const source = await checkSource(resolved);
  const cache =
    isLoaded('lmdb') && isLoaded('fs-native-extensions')
      ? await (await import('./cache-checks.js')).checkCache(resolved)
      : skippedFindings(['cache.state'], 'a package that it takes to open a cache is not loaded');
  const findings = [...host, ...source, ...cache];
  return {
    healthy: findings.every(({ status }) => status !== 'failed'),
    version: VERSION,
    source: shownUrl(resolved.source.url),
    cacheDir: resolved.cacheDir,
    findings,
  };
}
