import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Database from 'libsql';
import { ROOT, run, runTool } from './command.js';

const TYPED_PACKAGES = ['@types/node@20'];
/** A watch that never syncs is ended, and so fails. */
const LONGEST_WATCH_MS = 60_000;
const RESOLUTIONS = { node16: 'node16', bundler: 'esnext' } as const;

/** Installs a packed package into an empty project, and uses it there: the command, the library, its types. */
export async function tryInstalled(tarball: string, directory: string): Promise<void> {
  const project = join(directory, 'project');
  install(project, tarball);
  const database = join(directory, 'notes.db');
  makeDatabase(database);
  tryCommand(project, `file:${database}`, join(directory, 'cache of the command'));
  tryLibrary(project, `file:${database}`, join(directory, 'cache of the library'));
  await tryWatch(project, `file:${database}`, join(directory, 'cache of the watch'));
  tryTypes(project);
}

function install(project: string, tarball: string): void {
  mkdirSync(project);
  const manifest = { name: 'project', private: true, type: 'module' };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock'];
  run('npm', ['install', ...flags, tarball, ...TYPED_PACKAGES], project);
}

function makeDatabase(path: string): void {
  const database = new Database(path);
  database.exec(`
    CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, mood TEXT);
    WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT 5000)
    INSERT INTO notes SELECT id, 'note ' || id, iif(id = 7, 'glad', NULL) FROM n;
  `);
  database.close();
}

function tryCommand(project: string, source: string, cache: string): void {
  const command = (...args: readonly string[]): string =>
    run(process.execPath, [join(project, 'node_modules/.bin/storage-sync'), ...args], project);
  assert.match(run('npx', ['storage-sync', '--help'], project), /^Usage: storage-sync/);
  const report = JSON.parse(command('sync', '--source', source, '--cache', cache, '--json')) as {
    readonly tables: { readonly notes: { readonly rowsWritten: number } };
    readonly transport: string;
  };
  assert.equal(report.tables.notes.rowsWritten, 5000);
  assert.equal(report.transport, 'native');
  const row: unknown = JSON.parse(command('get', 'notes', '7', '--cache', cache));
  assert.deepEqual(row, { id: 7, text: 'note 7', mood: 'glad' });
  command('verify', '--level', 'deep', '--source', source, '--cache', cache, '--json');
}

function tryLibrary(project: string, source: string, cache: string): void {
  copyFileSync(new URL('./consumer.js', import.meta.url), join(project, 'consumer.js'));
  const said = run(process.execPath, ['consumer.js', source, cache], project);
  assert.equal(said, 'the installed package works\n');
}

/** The page, and the packages that nothing but a watch loads. */
async function tryWatch(project: string, source: string, cache: string): Promise<void> {
  const args = ['watch', '--source', source, '--cache', cache, '--port', '0'];
  const command = join(project, 'node_modules/.bin/storage-sync');
  const watch = spawn(process.execPath, [command, ...args], {
    cwd: project,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: LONGEST_WATCH_MS,
  });
  const closed = once(watch, 'close');
  let url: string | undefined;
  for await (const line of createInterface(watch.stderr)) {
    url ??= /"url":"([^"]+)"/.exec(line)?.[1];
    if (url === undefined || !line.includes('"sync done"')) continue;
    assert.match(await textOf(url), /<title>/);
    assert.match(await textOf(`${url}metrics`), /^# TYPE /m);
    watch.kill('SIGTERM');
  }
  assert.deepEqual(await closed, [0, null]);
  assert.ok(url !== undefined, 'The watch did not say where it serves.');
}

async function textOf(url: string): Promise<string> {
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  return await answer.text();
}

/** The declarations of everything that the package pulls in are checked too. */
function tryTypes(project: string): void {
  copyFileSync(join(ROOT, 'scripts/package/consumer.ts'), join(project, 'consumer.ts'));
  for (const [moduleResolution, module] of Object.entries(RESOLUTIONS)) {
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'ES2022',
      lib: ['ES2023', 'ESNext.Disposable'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
    };
    const config = join(project, `tsconfig.${moduleResolution}.json`);
    writeFileSync(config, JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    runTool('typescript/bin/tsc', ['-p', config], project);
  }
  assert.ok(!existsSync(join(project, 'node_modules/typescript')));
}
