import { ConfigError } from '../errors.js';
import { memoryPreset } from '../memory/preset.js';
import {
  resolveOptions,
  type RowErrorPolicy,
  type StorageSyncOptions,
  type Transport,
} from '../options.js';
import { foldName } from '../source/introspection.js';
import type { TableDefinition } from '../table-definition.js';
import type { ConfigFile } from '../config.js';
import { loadConfig } from './config-file.js';
import type { OutputFlags } from './output.js';
import type { Secrets } from '../secrets.js';

export const DEFAULT_CACHE_DIR = './.storage-sync';
/** The threads of a command that does one thing need not stand back for anything else in its process. */
export const COMMAND_NICENESS = 0;

export interface CacheFlags extends OutputFlags {
  readonly cache?: string;
  readonly config?: string;
}

export interface SourceFlags extends CacheFlags {
  readonly source?: string;
  readonly authToken?: string;
  readonly requestTimeout?: number;
  readonly retries?: number;
  readonly transport?: Transport;
}

export interface SyncFlags extends SourceFlags {
  readonly preset?: 'memory';
  readonly maxEpisodes?: number;
  readonly tables?: readonly string[];
  readonly batchSize?: number;
  readonly onRowError?: RowErrorPolicy;
  readonly concurrency?: number;
  readonly allowLoss?: boolean;
  /** False when it was asked that a damaged cache be left as it is. */
  readonly autoRebuild?: boolean;
}

/** What reading the cache takes: where it is, and how it is read. */
export type CacheSettings = Pick<
  StorageSyncOptions,
  'validateChecksums' | 'staleAfterMs' | 'staleAfterFailures'
> & {
  readonly cacheDir: string;
};

/** Flags win over the environment, and that over the configuration file. */
export async function cacheSettings(flags: CacheFlags, secrets: Secrets): Promise<CacheSettings> {
  const file = await loadConfig(flags.config, secrets, process.env);
  return {
    cacheDir: cacheDirOf(flags, file),
    validateChecksums: file.validateChecksums ?? file.memory?.validateChecksums,
    staleAfterMs: file.staleAfterMs,
    staleAfterFailures: file.staleAfterFailures,
  };
}

/**
 * Flags win over the environment, and that over the configuration file.
 *
 * @throws {ConfigError} when they do not add up to something that can be run.
 */
export async function syncSettings(
  flags: SyncFlags,
  secrets: Secrets,
  env: NodeJS.ProcessEnv,
): Promise<StorageSyncOptions> {
  const { memory, watch: _, ...file } = await loadConfig(flags.config, secrets, env);
  const preset = presetSettings(flags, file, memory);
  const options: StorageSyncOptions = {
    ...file,
    ...preset,
    source: sourceSettings(flags, file),
    cacheDir: cacheDirOf(flags, file),
    tables: tablesOf(flags, file, preset.tables),
    ...given({
      batchSize: flags.batchSize,
      concurrency: flags.concurrency,
      requestTimeoutMs: flags.requestTimeout,
      retries: flags.retries,
      onRowError: flags.onRowError,
      transport: flags.transport,
      autoRebuild: flags.autoRebuild === false ? false : undefined,
    }),
  };
  resolveOptions(options);
  return options;
}

function cacheDirOf(flags: CacheFlags, file: ConfigFile): string {
  if (flags.cache === '') throw new ConfigError('--cache must name a directory.');
  return flags.cache ?? file.cacheDir ?? DEFAULT_CACHE_DIR;
}

/** @throws {ConfigError} when none is given. */
export function sourceSettings(
  flags: Pick<SourceFlags, 'source' | 'authToken'>,
  file: ConfigFile,
): StorageSyncOptions['source'] {
  const url = flags.source ?? file.source?.url;
  if (!url) {
    throw new ConfigError('No source is given.', {
      hint: 'Give --source URL, set TURSO_DATABASE_URL, or write source.url into a configuration file.',
    });
  }
  return { url, authToken: flags.authToken ?? file.source?.authToken };
}

/** The preset's options. A module may have called `memoryPreset` itself: then its tables stand. */
function presetSettings(
  flags: SyncFlags,
  file: ConfigFile,
  memory: ConfigFile['memory'],
): Partial<StorageSyncOptions> {
  const asked = flags.preset ?? file.preset;
  if (asked === undefined) {
    if (flags.maxEpisodes === undefined) return {};
    throw new ConfigError('--max-episodes is a limit of the memory preset.', {
      hint: 'Add --preset memory.',
    });
  }
  const expandedAlready = file.tables?.some((table) => typeof table !== 'string') ?? false;
  if (flags.preset === undefined && expandedAlready && flags.maxEpisodes === undefined) return {};
  return memoryPreset({
    ...given({ batchSize: file.batchSize, validateChecksums: file.validateChecksums }),
    ...memory,
    ...given({ maxEpisodesCache: flags.maxEpisodes }),
  });
}

/**
 * Names pick from the definitions where one has the name, and ask for the rest by name alone: `--tables` from the
 * preset's or the file's, and the file's names from the preset's.
 */
function tablesOf(
  flags: SyncFlags,
  file: ConfigFile,
  presetTables: StorageSyncOptions['tables'],
): StorageSyncOptions['tables'] {
  const defined = presetTables ?? file.tables;
  const fileNames = file.tables?.every((table) => typeof table === 'string')
    ? file.tables
    : undefined;
  const names = flags.tables ?? (flags.preset === undefined ? fileNames : undefined);
  const definitionOf = (name: string) =>
    defined?.find((table) => foldName(nameOf(table)) === foldName(name));
  return names?.map((name) => definitionOf(nameOf(name)) ?? name) ?? defined;
}

function nameOf(table: TableDefinition | string): string {
  return typeof table === 'string' ? table : table.name;
}

/** The entries that have a value: spreading the rest would undo what they are spread over. */
function given<T extends object>(entries: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
