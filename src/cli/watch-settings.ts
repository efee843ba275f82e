import type { Secrets } from '../secrets.js';
import type { WatchOptions } from '../watch/watch-options.js';
import { milliseconds } from './config-fields.js';
import { loadConfig } from './config-file.js';
import type { LogLevel } from './log-level.js';
import type { SyncFlags } from './settings.js';

export interface WatchFlags extends SyncFlags {
  readonly interval?: number;
  readonly jitter?: number;
  readonly verifyCron?: string;
  readonly rebuildCron?: string;
  readonly host?: string;
  readonly port?: number;
  /** False when nothing is to be served. */
  readonly server?: boolean;
  readonly logLevel?: LogLevel;
  readonly stopTimeout?: number;
}

export const DEFAULT_WATCH_HOST = '127.0.0.1';
export const DEFAULT_WATCH_PORT = 9464;
/** How long a round that is told to stop may take to come to its next batch. */
export const DEFAULT_STOP_TIMEOUT_MS = 10_000;

/** What the watch command takes besides what a sync takes. */
export interface WatchSettings {
  readonly watch: WatchOptions;
  /** Where to serve, or null where nothing is to be. */
  readonly server: {
    readonly host: string;
    readonly port: number;
    readonly token: string | null;
  } | null;
  readonly logLevel: LogLevel;
  readonly stopTimeoutMs: number;
}

/** The settings of a watch: flags win over the environment, and that over the configuration file. */
export async function watchSettings(
  flags: WatchFlags,
  secrets: Secrets,
  env: NodeJS.ProcessEnv,
): Promise<WatchSettings> {
  const { watch = {} } = await loadConfig(flags.config, secrets, env);
  const { interval, jitter, verifyCron, verifyLevel, rebuildCron, stopTimeout } = watch;
  const serves = flags.server === false ? false : (watch.server ?? true);
  return {
    watch: {
      intervalMs: flags.interval ?? (interval === undefined ? undefined : milliseconds(interval)),
      jitter: flags.jitter ?? jitter,
      verifyCron: flags.verifyCron ?? verifyCron,
      verifyLevel,
      rebuildCron: flags.rebuildCron ?? rebuildCron,
    },
    server: serves
      ? {
          host: flags.host ?? watch.host ?? DEFAULT_WATCH_HOST,
          port: flags.port ?? watch.port ?? DEFAULT_WATCH_PORT,
          token: watch.token ?? null,
        }
      : null,
    logLevel: flags.logLevel ?? watch.logLevel ?? (flags.quiet ? 'warn' : 'info'),
    stopTimeoutMs:
      flags.stopTimeout ??
      (stopTimeout === undefined ? DEFAULT_STOP_TIMEOUT_MS : milliseconds(stopTimeout)),
  };
}
