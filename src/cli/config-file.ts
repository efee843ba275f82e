import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from '../errors.js';
import { memoryPreset, type SyncConfig } from '../memory/preset.js';
import { resolveOptions, type StorageSyncOptions } from '../options.js';
import type { Secrets } from '../secrets.js';

/**
 * What a configuration file may hold: the library's options, none of them required. With `preset: "memory"`, `memory`
 * holds the preset's own fields.
 */
export interface FileConfig extends Partial<Omit<StorageSyncOptions, 'source'>> {
  readonly source?: Partial<StorageSyncOptions['source']>;
  readonly memory?: Partial<SyncConfig>;
}

/**
 * Reads a `.json` file, or the default export of a `.js` or `.mjs` module.
 *
 * @throws {ConfigError} naming the file and each wrong field.
 */
export async function readConfigFile(path: string, secrets: Secrets): Promise<FileConfig> {
  const config = extname(path) === '.json' ? await readJson(path) : await importModule(path);
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new ConfigError(`${path} must hold an object with the options.`);
  }
  rememberSecrets(config, secrets);
  checkFields(path, config as FileConfig);
  return config as FileConfig;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    return JSON.parse(text.replace(/^\uFEFF/, '')) as unknown;
  } catch {
    // The parser's own message quotes the file, and a token may stand there.
    throw new ConfigError(`${path} is not valid JSON.`);
  }
}

async function importModule(path: string): Promise<unknown> {
  if (!['.js', '.mjs'].includes(extname(path))) {
    throw new ConfigError(`${path} is no configuration file.`, {
      hint: 'Give a .json, .js or .mjs file.',
    });
  }
  await readFile(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  let module: { readonly default?: unknown };
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as typeof module;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`${path} cannot be loaded: ${said}`, { cause: error });
  }
  if (module.default === undefined) {
    throw new ConfigError(`${path} has no default export.`, {
      hint: 'Write: export default { source: { url: … }, … };',
    });
  }
  return module.default;
}

function unreadable(path: string, error: unknown): ConfigError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT'
    ? new ConfigError(`The configuration file ${path} does not exist.`, { cause: error })
    : new ConfigError(`The configuration file ${path} cannot be read (${String(code)}).`, {
        cause: error,
      });
}

function rememberSecrets(config: object, secrets: Secrets): void {
  const source: unknown = 'source' in config ? config.source : undefined;
  if (typeof source !== 'object' || source === null) return;
  if ('authToken' in source) secrets.add(String(source.authToken));
  if ('url' in source) secrets.addUrl(String(source.url));
}

function checkFields(path: string, { memory, ...config }: FileConfig): void {
  if (memory !== undefined && config.preset !== 'memory') {
    throw new ConfigError(`${path}: memory needs "preset": "memory" beside it.`);
  }
  const required = { cacheDir: '-', ...config, source: { url: 'file:-', ...config.source } };
  try {
    resolveOptions(required);
    if (memory !== undefined) memoryPreset(memory);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${path}: ${error.message}`, {
      context: error.context,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}
