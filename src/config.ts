import type { SyncConfig } from './memory/preset.js';
import type { StorageSyncOptions } from './options.js';
import type { VerifyLevel } from './verify/report.js';

/** How much `storage-sync watch` logs. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** What `storage-sync watch` takes of a configuration file. Durations are texts such as `30s`, or milliseconds. */
export interface WatchConfig {
  /** From the start of one sync to the start of the next. Default: 5 minutes. */
  readonly interval?: string | number | undefined;
  /** The share of the interval by which it varies, 0 to 1. Default: 0.1. */
  readonly jitter?: number | undefined;
  /** When to verify besides, as a cron expression in local time. */
  readonly verifyCron?: string | undefined;
  /** What such a verify looks at. Default: `sample`. */
  readonly verifyLevel?: VerifyLevel | undefined;
  /** When to build the cache anew, as a cron expression in local time. */
  readonly rebuildCron?: string | undefined;
  /** Whether to serve the status page, metrics and health. Default: true. */
  readonly server?: boolean | undefined;
  /** The address to serve on. Default: this machine alone. */
  readonly host?: string | undefined;
  /** 0 takes a free one. Default: 9464. */
  readonly port?: number | undefined;
  /** Who sends it may ask for syncs, verifies and rebuilds. Without one, nobody may. */
  readonly token?: string | undefined;
  /** Default: `info`. */
  readonly logLevel?: LogLevel | undefined;
  /** How long a round that is told to stop may take. Default: 10 seconds. */
  readonly stopTimeout?: string | number | undefined;
}

/**
 * What a configuration file of the command may hold: the library's options, none of them required. With
 * `preset: 'memory'`, `memory` holds the preset's own fields.
 */
export interface ConfigFile extends Partial<Omit<StorageSyncOptions, 'source'>> {
  readonly source?: Partial<StorageSyncOptions['source']> | undefined;
  readonly memory?: Partial<SyncConfig> | undefined;
  readonly watch?: WatchConfig | undefined;
}

/** What {@link defineConfig} takes: the configuration, or what gives it. */
export type ConfigSource = ConfigFile | (() => ConfigFile | Promise<ConfigFile>);

/**
 * Gives a configuration file its types. It returns what it is given.
 *
 * @example
 * ```ts
 * // storage-sync.config.ts
 * import { defineConfig } from 'storage-sync';
 *
 * export default defineConfig({
 *   source: { url: 'libsql://app-acme.turso.io' }, // the token: TURSO_AUTH_TOKEN
 *   tables: [{ name: 'users', cursor: { column: 'updated_at' } }],
 *   watch: { interval: '1m' },
 * });
 * ```
 */
export function defineConfig(config: ConfigSource): ConfigSource {
  return config;
}
