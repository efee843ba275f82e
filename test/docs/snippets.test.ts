import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as api from '../../src/index.js';
import { TempDirectory } from '../support/temp.js';
import { codeBlocks, codeBlocksIn, guides, isSkipped, ROOT, type CodeBlock } from './pages.js';
import { makeProject, runIn } from './project.js';

/** What pieces of code in the guides may use without having made it. */
const GLOBALS = `
import type * as storageSync from 'storage-sync';
declare global {
  const storage: storageSync.StorageSync;
  const cache: storageSync.CacheReader;
  const source: storageSync.SourceOptions;
  const cacheDir: string;
  const since: number;
}
`;
const COMPILER_OPTIONS = {
  target: 'ES2022',
  lib: ['ES2023', 'ESNext.Disposable'],
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  rootDir: '.',
  outDir: 'out',
};

function fileOf({ page, line }: CodeBlock): string {
  return `${page.replaceAll(/\W/g, '-')}-${line}`;
}

/** Type-checks blocks of TypeScript in a project, and compiles them into its `out`. */
async function typeCheck(project: string, blocks: readonly CodeBlock[]): Promise<string | null> {
  writeFileSync(join(project, 'globals.d.ts'), GLOBALS);
  for (const block of blocks) {
    // In its line of the page, so that what is said about it can be found there.
    const above = `${importsOf(block)}${'\n'.repeat(block.line)}`;
    writeFileSync(join(project, `${fileOf(block)}.ts`), `${above}${block.code}\nexport {};\n`);
  }
  const config = { compilerOptions: COMPILER_OPTIONS, include: ['*.ts'] };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  return await runIn(project, process.execPath, [compiler, '-p', '.']);
}

/** Examples of docstrings leave out the imports: they stand in the reference of the module. */
function importsOf({ page, code }: CodeBlock): string {
  if (page !== 'docs/api.md' || /^import /m.test(code)) return '';
  const used = Object.keys(api).filter(
    (name) => new RegExp(`\\b${name}\\b`).test(code) && !code.includes(`const ${name} =`),
  );
  return used.length === 0 ? '' : `import { ${used.join(', ')} } from 'storage-sync';`;
}

function isTypeScript(block: CodeBlock): boolean {
  return block.language === 'ts' && block.info !== 'signature' && !isSkipped(block);
}

function isRun(block: CodeBlock): boolean {
  return (
    (block.language === 'sh' && block.info === '') ||
    (block.language === 'ts' && block.info === 'run')
  );
}

void describe('the code in the guides', () => {
  const blocks = guides().flatMap(codeBlocks);

  void it('is marked in a way that is known', () => {
    const unknown = blocks.filter(
      (block) =>
        ['ts', 'sh'].includes(block.language) &&
        !isSkipped(block) &&
        !(
          block.info === '' ||
          (block.language === 'ts' && ['run', 'signature'].includes(block.info))
        ),
    );
    assert.deepEqual(
      unknown.map(({ page, line, info }) => `${page}:${line}: ${info}`),
      [],
    );
  });

  void it('stands at the margin, where it is found', () => {
    const indented = guides().filter((page) =>
      /^[ \t]+```(ts|sh)\b/m.test(readFileSync(join(ROOT, page), 'utf8')),
    );
    assert.deepEqual(indented, []);
  });

  void it('has the types of the package', async () => {
    await using project = await TempDirectory.make();
    makeProject(project.path);
    const checked = blocks.filter(isTypeScript);
    assert.ok(checked.length > 10);
    assert.equal(await typeCheck(project.path, checked), null);
  });

  void it('does not pass where it is wrong', async () => {
    await using project = await TempDirectory.make();
    makeProject(project.path);
    const wrong = codeBlocksIn('wrong.md', '\n```ts\nawait storage.sink();\n```\n');
    const said = await typeCheck(project.path, wrong);
    assert.match(said ?? '', /wrong-md-2\.ts\(3,15\).*sink/);
    const failing = '```sh\nstorage-sync status --cache ./nowhere --nonsense\n```\n';
    const [block] = codeBlocksIn('wrong.md', failing);
    assert.match((await runBlock(project.path, block!)) ?? '', /nonsense/);
  });

  for (const page of guides()) {
    const ran = blocks.filter((block) => block.page === page && isRun(block));
    if (ran.length === 0) continue;
    void it(`runs: ${page}`, async () => {
      await using project = await TempDirectory.make();
      makeProject(project.path);
      const programs = ran.filter(({ language }) => language === 'ts');
      if (programs.length > 0) assert.equal(await typeCheck(project.path, programs), null);
      for (const block of ran) {
        assert.equal(await runBlock(project.path, block), null, `${page}:${block.line}`);
      }
    });
  }
});

async function runBlock(project: string, block: CodeBlock): Promise<string | null> {
  if (block.language === 'sh')
    return await runIn(project, 'bash', ['-euo', 'pipefail', '-c', block.code]);
  const program = join(project, 'out', `${fileOf(block)}.js`);
  assert.ok(existsSync(program));
  return await runIn(project, process.execPath, [program]);
}
