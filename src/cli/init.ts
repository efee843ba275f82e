import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '../errors.js';
import { formatPlural } from '../format.js';
import { resolveOptions } from '../options.js';
import { connectQuietly } from '../source/quiet-connection.js';
import { shownUrl } from '../source/shown-url.js';
import type { Secrets } from '../secrets.js';
import type { CommandContext } from './command-run.js';
import { CONFIG_FILE_NAMES } from './config-file.js';
import { configText, type AskedOptions, type ConfigFormat } from './config-text.js';
import { readEnvironment } from './environment.js';
import { EXIT_DONE } from './exit-code.js';
import { DEFAULT_CACHE_DIR, sourceSettings, type SourceFlags } from './settings.js';
import { surveySource, type SourceSurvey } from './source-survey.js';

export interface InitFlags extends Omit<SourceFlags, 'config'> {
  readonly format?: ConfigFormat;
  readonly force?: boolean;
}

/** `storage-sync init`: writes a configuration file from what it finds in the source. */
export async function init(flags: InitFlags, { output, secrets }: CommandContext): Promise<number> {
  const format = flags.format ?? 'ts';
  const path = fileName(format);
  const force = flags.force ?? false;
  refuseOthers(path, force);
  const environment = readEnvironment(process.env);
  const source = sourceSettings(flags, environment);
  secrets.addUrl(source.url);
  const cacheDir = flags.cache ?? environment.cacheDir ?? DEFAULT_CACHE_DIR;
  const asked = askedOptions(flags);
  const { requestTimeoutMs, retries, transport } = environment;
  const options = resolveOptions({
    requestTimeoutMs,
    retries,
    transport,
    ...asked,
    source,
    cacheDir,
  });
  const connection = await connectQuietly({ ...options, ...options.source });
  let survey: SourceSurvey;
  try {
    survey = await surveySource(connection);
  } finally {
    await connection.close();
  }
  const url = urlForFile(source.url, secrets);
  const text = configText({ url, cacheDir, survey, options: asked }, format);
  await write(path, text, force);
  const { tables, leftOut, isMemory } = survey;
  if (output.json) {
    const preset = isMemory ? 'memory' : null;
    await output.document({ path, format, source: url, cacheDir, preset, tables, leftOut });
  } else {
    await output.write(
      `Wrote ${path}: ${formatPlural(tables.length, 'table')} of ${secrets.redact(shownUrl(source.url))}.\n`,
    );
    output.note('Look at it, then run: storage-sync doctor, storage-sync sync.');
  }
  return EXIT_DONE;
}

/** A `.js` file of a package that says it is CommonJS cannot have an export. */
function fileName(format: ConfigFormat): string {
  const isCommonJs = format === 'js' && packageType() === 'commonjs';
  return `storage-sync.config.${isCommonJs ? 'mjs' : format}`;
}

function packageType(): unknown {
  for (let dir = process.cwd(); ; dir = dirname(dir)) {
    try {
      const text = readFileSync(join(dir, 'package.json'), 'utf8');
      return (JSON.parse(text) as { readonly type?: unknown } | null)?.type;
    } catch {
      if (dirname(dir) === dir) return undefined;
    }
  }
}

/** Two configuration files would be one too many for every other command. */
function refuseOthers(path: string, force: boolean): void {
  const found = CONFIG_FILE_NAMES.find((name) => existsSync(name) && !(force && name === path));
  if (found === undefined) return;
  const hint =
    found === path
      ? 'Give --force to write it anew; what it holds is lost then.'
      : 'Remove it first: commands take one configuration file of a directory.';
  throw new ConfigError(`There is a configuration file already: ${found}.`, { hint });
}

function askedOptions({ requestTimeout, retries, transport }: InitFlags): AskedOptions {
  return {
    ...(requestTimeout === undefined ? {} : { requestTimeoutMs: requestTimeout }),
    ...(retries === undefined ? {} : { retries }),
    ...(transport === undefined ? {} : { transport }),
  };
}

/** The URL without a token; null where it cannot be taken out, or is told elsewhere. */
function urlForFile(url: string, secrets: Secrets): string | null {
  const bare = url
    .replace(/([?&])authToken=[^&#]*/gi, '$1')
    .replace(/\?&+/, '?')
    .replace(/&{2,}/g, '&')
    .replace(/[?&](?=#|$)/, '');
  return secrets.redact(bare) === bare ? bare : null;
}

async function write(path: string, text: string, force: boolean): Promise<void> {
  try {
    await writeFile(path, text, { flag: force ? 'w' : 'wx' });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new ConfigError(`${path} cannot be written (${code}).`, {
      cause: error,
      hint: 'Run it in a directory that this user may write.',
    });
  }
}
