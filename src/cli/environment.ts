import type { ConfigFile } from '../config.js';
import { parseDuration } from '../duration.js';
import { ConfigError } from '../errors.js';
import { checkConfig } from './config-fields.js';

type Parse = (text: string) => unknown;

/** A variable of the environment, and the field of the configuration that it gives. */
export interface Variable {
  readonly name: string;
  /** Its path, of one name or two. */
  readonly field: string;
  readonly parse: Parse;
}

const asText: Parse = (text) => text;
const asList: Parse = (text) => text.split(',').map((name) => name.trim());
const asNumber: Parse = (text) => {
  if (!/^-?\d+(\.\d+)?$/.test(text)) throw new ConfigError('It must be a number.');
  return Number(text);
};
const asTruth: Parse = (text) => {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  throw new ConfigError('It must be true or false.');
};

/** All variables there are. An empty one is none, as continuous-integration systems write it. */
export const VARIABLES: readonly Variable[] = [
  { name: 'TURSO_DATABASE_URL', field: 'source.url', parse: asText },
  { name: 'TURSO_AUTH_TOKEN', field: 'source.authToken', parse: asText },
  { name: 'STORAGE_SYNC_CACHE_DIR', field: 'cacheDir', parse: asText },
  { name: 'STORAGE_SYNC_TABLES', field: 'tables', parse: asList },
  { name: 'STORAGE_SYNC_TRANSPORT', field: 'transport', parse: asText },
  { name: 'STORAGE_SYNC_BATCH_SIZE', field: 'batchSize', parse: asNumber },
  { name: 'STORAGE_SYNC_MAX_PAGE_BYTES', field: 'maxPageBytes', parse: asNumber },
  { name: 'STORAGE_SYNC_MAX_BYTES_IN_FLIGHT', field: 'maxBytesInFlight', parse: asNumber },
  { name: 'STORAGE_SYNC_MAX_ROW_BYTES', field: 'maxRowBytes', parse: asNumber },
  { name: 'STORAGE_SYNC_CONCURRENCY', field: 'concurrency', parse: asNumber },
  { name: 'STORAGE_SYNC_LANES', field: 'lanes', parse: asNumber },
  { name: 'STORAGE_SYNC_READER_THREADS', field: 'readerThreads', parse: asNumber },
  { name: 'STORAGE_SYNC_THREAD_NICENESS', field: 'threadNiceness', parse: asNumber },
  { name: 'STORAGE_SYNC_REQUEST_TIMEOUT', field: 'requestTimeoutMs', parse: parseDuration },
  { name: 'STORAGE_SYNC_RETRIES', field: 'retries', parse: asNumber },
  { name: 'STORAGE_SYNC_RETRY_INITIAL', field: 'retryInitialMs', parse: parseDuration },
  { name: 'STORAGE_SYNC_RETRY_MAX', field: 'retryMaxMs', parse: parseDuration },
  { name: 'STORAGE_SYNC_STALE_AFTER', field: 'staleAfterMs', parse: parseDuration },
  { name: 'STORAGE_SYNC_STALE_AFTER_FAILURES', field: 'staleAfterFailures', parse: asNumber },
  { name: 'STORAGE_SYNC_MAX_LOSS_SHARE', field: 'maxLossShare', parse: asNumber },
  { name: 'STORAGE_SYNC_MAX_HELD_SHARE', field: 'maxHeldShare', parse: asNumber },
  { name: 'STORAGE_SYNC_AUTO_REBUILD', field: 'autoRebuild', parse: asTruth },
  { name: 'STORAGE_SYNC_ON_ROW_ERROR', field: 'onRowError', parse: asText },
  { name: 'STORAGE_SYNC_VALIDATE_CHECKSUMS', field: 'validateChecksums', parse: asTruth },
  { name: 'STORAGE_SYNC_WATCH_INTERVAL', field: 'watch.interval', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_JITTER', field: 'watch.jitter', parse: asNumber },
  { name: 'STORAGE_SYNC_WATCH_VERIFY_CRON', field: 'watch.verifyCron', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_VERIFY_LEVEL', field: 'watch.verifyLevel', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_REBUILD_CRON', field: 'watch.rebuildCron', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_SERVER', field: 'watch.server', parse: asTruth },
  { name: 'STORAGE_SYNC_WATCH_HOST', field: 'watch.host', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_PORT', field: 'watch.port', parse: asNumber },
  { name: 'STORAGE_SYNC_WATCH_TOKEN', field: 'watch.token', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_LOG_LEVEL', field: 'watch.logLevel', parse: asText },
  { name: 'STORAGE_SYNC_WATCH_STOP_TIMEOUT', field: 'watch.stopTimeout', parse: asText },
];

/**
 * What the environment says, as a configuration.
 *
 * @throws {ConfigError} naming the variable that is wrong.
 */
export function readEnvironment(env: NodeJS.ProcessEnv): ConfigFile {
  return VARIABLES.reduce<ConfigFile>((config, variable) => {
    const text = env[variable.name];
    if (!text) return config;
    const given = fieldOf(variable, text);
    // Where a URL is wrong is said with all else that is known of it.
    if (variable.field !== 'source.url') checkConfig(`The variable ${variable.name}`, given);
    return mergeConfigs(config, given);
  }, {});
}

/** Puts one configuration over another: `source` and `watch` field by field. */
export function mergeConfigs(below: ConfigFile, above: ConfigFile): ConfigFile {
  const merged: ConfigFile = { ...below, ...above };
  const source = below.source && above.source ? { ...below.source, ...above.source } : null;
  const watch = below.watch && above.watch ? { ...below.watch, ...above.watch } : null;
  return { ...merged, ...(source && { source }), ...(watch && { watch }) };
}

function fieldOf({ name, field, parse }: Variable, text: string): ConfigFile {
  try {
    const [outer, inner] = field.split('.') as [string, string?];
    const value = parse(text);
    return { [outer]: inner === undefined ? value : { [inner]: value } };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(
      `The variable ${name} is wrong. ${error.message} ${error.hint ?? ''}`.trim(),
    );
  }
}
