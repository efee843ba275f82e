import type { Secrets } from '../secrets.js';
import type { WatchOptions } from '../watch/watch-options.js';
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

/** The settings of a watch. The token is taken from the environment: `ps` shows flags to everybody. */
export function watchSettings(
  flags: WatchFlags,
  secrets: Secrets,
  env: NodeJS.ProcessEnv,
): WatchSettings {
  const token = env['STORAGE_SYNC_WATCH_TOKEN'] || null;
  secrets.add(token ?? undefined);
  return {
    watch: {
      intervalMs: flags.interval,
      jitter: flags.jitter,
      verifyCron: flags.verifyCron,
      rebuildCron: flags.rebuildCron,
    },
    server:
      flags.server === false
        ? null
        : {
            host: flags.host ?? DEFAULT_WATCH_HOST,
            port: flags.port ?? DEFAULT_WATCH_PORT,
            token,
          },
    logLevel: flags.logLevel ?? (flags.quiet ? 'warn' : 'info'),
    stopTimeoutMs: flags.stopTimeout ?? DEFAULT_STOP_TIMEOUT_MS,
  };
}
