import { StorageSync } from '../storage-sync.js';
import { PrometheusMetrics } from '../watch/prometheus.js';
import { listen } from '../watch/serve.js';
import { STATUS_PAGE, STATUS_PAGE_CSP } from '../watch/status-page.js';
import type { CommandContext } from './command-run.js';
import { openLog } from './log.js';
import { syncSettings } from './settings.js';
import { watchSettings, type WatchFlags } from './watch-settings.js';
import { WatchSignals } from './watch-signals.js';

/**
 * `storage-sync watch`: keeps the cache true until it is told to stop, logs to stderr, and serves the status page, metrics
 * and health on a port.
 */
export async function watch(
  flags: WatchFlags,
  { output, secrets, cleanups }: CommandContext,
): Promise<number> {
  const options = await syncSettings(flags, secrets, process.env);
  const settings = await watchSettings(flags, secrets, process.env);
  const logger = openLog(settings.logLevel, secrets);
  const metrics = new PrometheusMetrics();
  await using storage = await StorageSync.open({
    ...options,
    logger,
    meterProvider: metrics.provider,
  });
  cleanups.add(() => storage.close());
  // Where it cannot serve, nothing is begun.
  await using server = settings.server ? await listen({ ...settings.server, logger }) : null;
  await using kept = storage.watch(settings.watch);
  using signals = new WatchSignals(kept, settings.stopTimeoutMs, logger);
  if (server) {
    const page = { html: STATUS_PAGE, policy: STATUS_PAGE_CSP };
    server.serve({ watch: kept, metrics, page, token: settings.server!.token });
    logger.info({ url: server.url }, `serving ${server.url}`);
    if (output.json) await output.document({ url: server.url, ...server.address });
  }
  await kept.stopped;
  return signals.exitCode;
}
