/**
 * Writes the reference of the public API (`docs/api.md`) and its report (`docs/storage-sync.api.md`) from the built
 * declarations; with `--check` it only tells whether they are as they should be. Either way it fails where something
 * exported has no docstring, refers to what is not exported, or links to what is not there.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Extractor, ExtractorConfig, type ExtractorMessage } from '@microsoft/api-extractor';
import { declaration, undocumented, type ApiItem } from './api/model.js';
import { renderReference } from './api/render.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const REFERENCE = 'docs/api.md';
const REPORT = 'docs/storage-sync.api.md';
/** What the extractor says that makes the check fail. The rest of what it says is about tags that are not used here. */
const FAILING = new Set([
  'ae-forgotten-export',
  'ae-unresolved-link',
  'ae-incompatible-release-tags',
]);

const temporary = mkdtempSync(join(tmpdir(), 'storage-sync-api-'));
try {
  process.exitCode = main(process.argv.includes('--check'));
} finally {
  rmSync(temporary, { recursive: true });
}

function main(checks: boolean): number {
  const { exported, report, problems } = extract();
  problems.push(...undocumented(exported).map((name) => `${name} has no docstring.`));
  const texts = { [REFERENCE]: renderReference(exported, placeFinder()), [REPORT]: report };
  for (const [file, text] of Object.entries(texts)) {
    const path = join(ROOT, file);
    if (!checks) writeFileSync(path, text);
    else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
      problems.push(
        `${file} is not what the declarations give: run \`npm run docs:api\` and look at the difference.`,
      );
    }
  }
  for (const problem of problems) console.error(problem);
  return problems.length === 0 ? 0 : 1;
}

function extract(): { exported: readonly ApiItem[]; report: string; problems: string[] } {
  const problems: string[] = [];
  const result = Extractor.invoke(extractorConfig(), {
    localBuild: true,
    messageCallback: (message) => {
      message.handled = true;
      if (isProblem(message)) problems.push(`${message.sourceFilePath ?? ''}: ${message.text}`);
    },
  });
  if (!result.succeeded) problems.push('The declarations could not be read.');
  const model = JSON.parse(readFileSync(join(temporary, 'api.json'), 'utf8')) as ApiItem;
  const report = readFileSync(join(temporary, 'report.api.md'), 'utf8');
  return { exported: model.members?.[0]?.members ?? [], report, problems };
}

function isProblem({ messageId, category }: ExtractorMessage): boolean {
  return String(category) === 'Compiler' || FAILING.has(messageId);
}

function extractorConfig(): ExtractorConfig {
  return ExtractorConfig.prepare({
    configObjectFullPath: join(ROOT, 'api-extractor.json'),
    packageJsonFullPath: join(ROOT, 'package.json'),
    configObject: {
      projectFolder: ROOT,
      mainEntryPointFilePath: '<projectFolder>/dist/src/index.d.ts',
      newlineKind: 'lf',
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'ES2022',
            lib: ['ES2023', 'ESNext.Disposable'],
            module: 'NodeNext',
            moduleResolution: 'NodeNext',
            types: ['node'],
            strict: true,
            exactOptionalPropertyTypes: true,
          },
          files: ['dist/src/index.d.ts'],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: 'report.api.md',
        reportFolder: temporary,
        reportTempFolder: join(temporary, 'made'),
      },
      docModel: { enabled: true, apiJsonFilePath: join(temporary, 'api.json') },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'warning' as never } },
        extractorMessageReporting: {
          default: { logLevel: 'warning' as never },
          'ae-missing-release-tag': { logLevel: 'none' as never },
        },
        tsdocMessageReporting: { default: { logLevel: 'none' as never } },
      },
    },
  });
}

/** Finds declarations in their files: the model has them in the order of the alphabet. */
function placeFinder(): (item: ApiItem, member?: ApiItem) => number {
  const texts = new Map<string, string>();
  return ({ kind, name, fileUrlPath = '' }, member) => {
    const text = texts.get(fileUrlPath) ?? readFileSync(join(ROOT, fileUrlPath), 'utf8');
    texts.set(fileUrlPath, text);
    const word = { Interface: 'interface', Class: 'class', Function: 'function' }[kind];
    const begin = text.search(new RegExp(`\\b${word ?? '(?:type|const)'} ${name}\\b`));
    if (member === undefined) return begin;
    const [line = ''] = declaration(member).split('\n');
    const at = text.indexOf(line, begin);
    return at === -1 ? Infinity : at;
  };
}
