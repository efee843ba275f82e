import type { ConfigFile } from '../config.js';
import { formatBytes, formatCount, formatDuration, formatPlural } from '../format.js';
import { DEFAULT_SYNC_CONFIG } from '../memory/preset.js';
import { resolveOptions, type ResolvedOptions } from '../options.js';
import { DEFAULT_WATCH_INTERVAL_MS, DEFAULT_WATCH_JITTER } from '../watch/watch-options.js';
import type { SourceSurvey, SurveyedTable } from './source-survey.js';
import {
  DEFAULT_STOP_TIMEOUT_MS,
  DEFAULT_WATCH_HOST,
  DEFAULT_WATCH_PORT,
} from './watch-settings.js';

/** What a configuration file may be written in. */
export const CONFIG_FORMATS = ['ts', 'js', 'json'] as const;
export type ConfigFormat = (typeof CONFIG_FORMATS)[number];

/** What a new configuration says. */
export interface NewConfig {
  /** Null where it has a secret in it, and so does not belong into a file. */
  readonly url: string | null;
  readonly cacheDir: string;
  readonly survey: SourceSurvey;
  /** Options that were asked for; those that were not stand there as comments, with their defaults. */
  readonly options: AskedOptions;
}

/** The options that have a default of their own, and how a file explains each. */
type OptionName = Exclude<
  keyof ResolvedOptions,
  'source' | 'cacheDir' | 'tables' | 'preset' | 'readerThreads'
>;
export type AskedOptions = Partial<Pick<ResolvedOptions, OptionName>>;

const OPTIONS: Readonly<Record<OptionName, string>> = {
  batchSize: 'Rows in a page, and so in a transaction, at most.',
  maxPageBytes: 'Encoded bytes at which a page is cut.',
  maxBytesInFlight: 'Encoded bytes read and not yet committed: the memory of a sync.',
  maxRowBytes: 'A larger row cannot be cached.',
  concurrency: 'Outstanding reads and writes at most.',
  lanes:
    'Parts of a large table on a server that are read at a time, where one alone comes too slowly.',
  threadNiceness:
    'How far the threads stand back for the rest of the process: 0 to 19. In a program only.',
  requestTimeoutMs: 'For one request to the source.',
  retries: 'Further tries of a request that failed in a way worth it.',
  retryInitialMs: 'The first wait between tries; it doubles.',
  retryMaxMs: 'The longest wait between tries.',
  staleAfterMs: 'An older cache is called stale.',
  staleAfterFailures: 'So is one after so many failed syncs in a row.',
  maxLossShare: 'A sync that would take a larger share of the rows of a table is refused.',
  maxHeldShare:
    'What held snapshots may keep, as a share of the data, before the cache is built anew.',
  autoRebuild: 'Build a damaged cache anew.',
  onRowError: "A row that cannot be cached: 'fail' stops the sync, 'quarantine' sets it aside.",
  validateChecksums: 'Verify the checksum of each record that is read.',
  transport: "How to read the source: 'auto' takes the fastest way there is.",
};

/**
 * The text of a configuration file. All that comes from the source stands in it as literals, in code and in comments.
 *
 * It names the package for its types only: those are gone when it is loaded, so it loads where the package is not
 * installed, as with `npx`.
 */
export function configText(config: NewConfig, format: ConfigFormat): string {
  if (format === 'json') return `${JSON.stringify(plainConfig(config), null, 2)}\n`;
  const typed =
    format === 'ts'
      ? ["import type { ConfigFile } from 'storage-sync';", '', 'export default {']
      : ["/** @type {import('storage-sync').ConfigFile} */", 'export default {'];
  const lines = [
    '// Options of storage-sync: docs/configuration.md says all. Variables of the environment win over this file, and',
    '// flags over both. What is commented out is the default.',
    ...typed,
    ...indented([
      ...sourceLines(config),
      '',
      '// The directory that storage-sync owns. A relative path starts where the command is run.',
      `cacheDir: ${literal(config.cacheDir)},`,
      '',
      ...tableLines(config.survey),
      '',
      ...optionLines(config),
      '',
      ...watchLines(),
    ]),
    format === 'ts' ? '} satisfies ConfigFile;' : '};',
  ];
  return `${lines.join('\n')}\n`;
}

/** The configuration without its comments. */
export function plainConfig({ url, cacheDir, survey, options }: NewConfig): ConfigFile {
  const { isMemory, tables } = survey;
  return {
    ...(url === null ? {} : { source: { url } }),
    cacheDir,
    ...(isMemory ? { preset: 'memory' } : {}),
    ...(isMemory || tables.length === 0 ? {} : { tables: tables.map(({ name }) => ({ name })) }),
    ...options,
  };
}

function sourceLines({ url }: NewConfig): string[] {
  if (url !== null) {
    return [
      '// The database. Its token does not belong here: set TURSO_AUTH_TOKEN.',
      `source: { url: ${literal(url)} },`,
    ];
  }
  return [
    '// The database. Its URL holds a secret, which does not belong here: set TURSO_DATABASE_URL.',
    "// source: { url: 'libsql://…' },",
  ];
}

function tableLines({ tables, leftOut, isMemory }: SourceSurvey): string[] {
  const omitted = leftOut.map(
    ({ name, reason }) => `// Left out: ${literal(name)}. ${comment(reason)}`,
  );
  if (isMemory) return [...memoryLines(tables), ...omitted];
  if (tables.length === 0) {
    return [
      '// What to sync: every table of the source, also those that come later. There was none yet.',
      '// tables: [],',
      ...omitted,
    ];
  }
  return [
    '// What to sync. Without this, every table of the source, also those that come later.',
    ...captureLines(tables),
    'tables: [',
    ...indented(tables.flatMap(definitionLines)),
    ...indented(omitted),
    '],',
  ];
}

function captureLines(tables: readonly SurveyedTable[]): string[] {
  const logged = tables.filter(({ isLogged }) => isLogged).length;
  if (logged === tables.length) {
    return ['// Change logs of all of them tell what changed: syncs read nothing else.'];
  }
  const which =
    logged === 0 ? 'None of them' : `${formatCount(logged)} of ${formatCount(tables.length)}`;
  return [
    `// ${which} with a change log: without one each sync reads all of a table, or what lies behind its cursor.`,
    '// `storage-sync capture install` adds the triggers for change logs to the source.',
  ];
}

function definitionLines({
  name,
  key,
  rows,
  hasMoreRows,
  isLogged,
  cursor,
}: SurveyedTable): string[] {
  const facts = [
    ...(rows === null
      ? []
      : [hasMoreRows ? `more than ${formatPlural(rows, 'row')}` : formatPlural(rows, 'row')]),
    `key ${key.map(literal).join(', ')}`,
    ...(isLogged ? ['with a change log'] : []),
  ];
  const comments = `// ${facts.join('; ')}`;
  if (cursor === null) return [comments, `{ name: ${literal(name)} },`];
  return [
    comments,
    '{',
    ...indented([
      `name: ${literal(name)},`,
      '// If every insert and update raises this column, syncs can begin where the last one ended. It needs an index.',
      `// cursor: { column: ${literal(cursor)} },`,
    ]),
    '},',
  ];
}

function memoryLines(tables: readonly SurveyedTable[]): string[] {
  return [
    `// The tables of an agent's memory: episodes, patterns, heuristics, embeddings. The source has ${formatPlural(tables.length, 'table')}.`,
    "preset: 'memory',",
    'memory: {',
    ...indented(
      Object.entries(DEFAULT_SYNC_CONFIG).map(([name, value]) => `// ${name}: ${literal(value)},`),
    ),
    '},',
  ];
}

function optionLines({ options, survey }: NewConfig): string[] {
  const defaults = resolveOptions({ source: { url: 'file:-' }, cacheDir: '-' });
  return (Object.keys(OPTIONS) as OptionName[])
    .filter((name) => !(survey.isMemory && name in DEFAULT_SYNC_CONFIG))
    .flatMap((name) => {
      const asked = options[name];
      const value = asked ?? defaults[name];
      const explained = `// ${OPTIONS[name]}${shownAmount(name, value)}`;
      return [explained, `${asked === undefined ? '// ' : ''}${name}: ${literal(value)},`];
    });
}

function watchLines(): string[] {
  const seconds = (ms: number) => literal(`${ms / 1000}s`);
  return [
    '// `storage-sync watch`.',
    'watch: {',
    ...indented([
      `// interval: ${seconds(DEFAULT_WATCH_INTERVAL_MS)},`,
      '// The share of the interval by which it varies.',
      `// jitter: ${literal(DEFAULT_WATCH_JITTER)},`,
      '// When to verify and repair besides, and when to build the cache anew: never, unless said here.',
      "// verifyCron: '0 3 * * *',",
      "// verifyLevel: 'sample',",
      "// rebuildCron: '0 4 * * 0',",
      '// The status page, metrics and health. Its token, for those who may ask for syncs: STORAGE_SYNC_WATCH_TOKEN.',
      '// server: true,',
      `// host: ${literal(DEFAULT_WATCH_HOST)},`,
      `// port: ${literal(DEFAULT_WATCH_PORT)},`,
      "// logLevel: 'info',",
      '// How long a round that is told to stop may take.',
      `// stopTimeout: ${seconds(DEFAULT_STOP_TIMEOUT_MS)},`,
    ]),
    '},',
  ];
}

function shownAmount(name: string, value: unknown): string {
  if (typeof value !== 'number') return '';
  if (name.endsWith('Ms')) return ` ${formatDuration(value)}.`;
  return name.endsWith('Bytes') || name === 'maxBytesInFlight' ? ` ${formatBytes(value)}.` : '';
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => (line === '' ? line : `  ${line}`));
}

/** A value as JavaScript, on one line whatever it holds. */
function literal(value: unknown): string {
  if (typeof value === 'number') return numeral(value);
  if (typeof value !== 'string') return JSON.stringify(value);
  const quoted = comment(JSON.stringify(value));
  return /['\\]/.test(quoted) ? quoted : `'${quoted.slice(1, -1)}'`;
}

/** Digits in groups, where there are many. */
function numeral(value: number): string {
  return value >= 10_000 ? formatCount(value).replaceAll(',', '_') : String(value);
}

/**
 * Text that stays on its line, in code and in a comment, and looks like what it is: line ends of every kind, other
 * controls, and characters that change the direction of text or cannot be seen are written as escapes.
 */
function comment(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}
