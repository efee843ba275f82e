import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ConfigFile } from '../config.js';
import { ConfigError } from '../errors.js';
import type { Secrets } from '../secrets.js';
import { checkConfig } from './config-fields.js';
import { mergeConfigs, readEnvironment } from './environment.js';

const JSON_EXTENSIONS = ['.json'];
const JAVASCRIPT_EXTENSIONS = ['.js', '.mjs'];
const TYPESCRIPT_EXTENSIONS = ['.ts', '.mts'];
const EXTENSIONS = [...TYPESCRIPT_EXTENSIONS, ...JAVASCRIPT_EXTENSIONS, ...JSON_EXTENSIONS];

const NOT_INSTALLED_HINT =
  'Install the package here (npm install storage-sync), or import its types alone, which needs no package: import type { ConfigFile }.';

/** The files that are looked for in the working directory where none is named. */
export const CONFIG_FILE_NAMES = EXTENSIONS.map((extension) => `storage-sync.config${extension}`);

/**
 * The configuration file, with the environment over it: see {@link readEnvironment}.
 *
 * @param path of the file; without one, that of {@link CONFIG_FILE_NAMES} which is there.
 * @throws {ConfigError} naming the file or the variable, and each wrong field.
 */
export async function loadConfig(
  path: string | undefined,
  secrets: Secrets,
  env: NodeJS.ProcessEnv,
): Promise<ConfigFile> {
  const found = path ?? findConfigFile();
  const file = found === null ? {} : await readConfigFile(found, secrets);
  return mergeConfigs(file, readEnvironment(env));
}

/**
 * The configuration file of the working directory, or null.
 *
 * @throws {ConfigError} when there are several.
 */
export function findConfigFile(): string | null {
  const found = CONFIG_FILE_NAMES.filter((name) => existsSync(name));
  if (found.length < 2) return found[0] ?? null;
  throw new ConfigError(`There are several configuration files: ${found.join(', ')}.`, {
    hint: 'Keep one, or say which by --config.',
  });
}

/**
 * Reads a `.json` file, or the default export of a module in JavaScript or TypeScript: an object, or a function that
 * gives one.
 *
 * @throws {ConfigError} naming the file and each wrong field.
 */
export async function readConfigFile(path: string, secrets: Secrets): Promise<ConfigFile> {
  const config = JSON_EXTENSIONS.includes(extname(path))
    ? await readJson(path)
    : await called(path, await importModule(path));
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new ConfigError(`${path} must hold an object with the options.`);
  }
  rememberSecrets(config, secrets);
  checkConfig(path, config as ConfigFile);
  return config as ConfigFile;
}

async function readJson(path: string): Promise<unknown> {
  const text = (await readText(path)).replace(/^\uFEFF/, '');
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // The parser's own message quotes the file, and a token may stand there.
    throw new ConfigError(`${path} is not valid JSON${placeIn(text, error)}.`);
  }
}

/** Where a parser stopped, as V8 tells: in characters, or in lines and columns. */
function placeIn(text: string, error: unknown): string {
  const said = error instanceof Error ? error.message : '';
  const at = /at position (\d+)/.exec(said)?.[1];
  // Of an end that came too early V8 tells no place.
  const before = text.slice(0, at === undefined ? text.length : Number(at)).split('\n');
  return `: line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

async function importModule(path: string): Promise<unknown> {
  const extension = extname(path);
  if (!EXTENSIONS.includes(extension)) {
    throw new ConfigError(`${path} is no configuration file.`, {
      hint: `Give a ${EXTENSIONS.slice(0, -1).join(', ')} or ${EXTENSIONS.at(-1)} file.`,
    });
  }
  await readText(path);
  const url = pathToFileURL(resolve(path)).href;
  let module: { readonly default?: unknown };
  try {
    module = TYPESCRIPT_EXTENSIONS.includes(extension)
      ? await importTypeScript(url)
      : ((await import(url)) as typeof module);
  } catch (error) {
    const message = messageOf(error);
    const isNotInstalled = /Cannot find (module|package) 'storage-sync'/.test(message);
    throw new ConfigError(`${path} cannot be loaded: ${message}`, {
      cause: error,
      ...(isNotInstalled ? { hint: NOT_INSTALLED_HINT } : {}),
    });
  }
  if (module.default === undefined) {
    throw new ConfigError(`${path} has no default export.`, {
      hint: 'Write: export default { source: { url: … }, … };',
    });
  }
  return module.default;
}

/** Node before 22.18 does not load TypeScript. Nothing of it is kept on the disk. */
async function importTypeScript(url: string): Promise<{ readonly default?: unknown }> {
  const { createJiti } = await import('jiti');
  const jiti = createJiti(import.meta.url, { fsCache: false, moduleCache: false });
  return await jiti.import(url);
}

async function called(path: string, config: unknown): Promise<unknown> {
  if (typeof config !== 'function') return config;
  try {
    return await (config as () => unknown)();
  } catch (error) {
    throw new ConfigError(`${path} failed: ${messageOf(error)}`, { cause: error });
  }
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

function unreadable(path: string, error: unknown): ConfigError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT'
    ? new ConfigError(`The configuration file ${path} does not exist.`, { cause: error })
    : new ConfigError(`The configuration file ${path} cannot be read (${String(code)}).`, {
        cause: error,
      });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function rememberSecrets(config: object, secrets: Secrets): void {
  const { source, watch } = config as Record<string, unknown>;
  if (typeof watch === 'object' && watch !== null && 'token' in watch) {
    if (typeof watch.token === 'string') secrets.add(watch.token);
  }
  if (typeof source !== 'object' || source === null) return;
  if ('authToken' in source) secrets.add(String(source.authToken));
  if ('url' in source) secrets.addUrl(String(source.url));
}
