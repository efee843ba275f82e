/**
 * Runs the built tests with another version of Node.js, which comes from the npm package of its binaries:
 *
 *   npm run test:node -- 26                                 all tests
 *   npm run test:node -- 26 dist/test/source/*.test.js      some
 *   npm run test:node -- 26 --smoke                         the installed package, and a few tests of each layer
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { ROOT, run } from './package/command.js';

const SMOKE_TESTS = [
  'cache/reader',
  'cli/sync',
  'load/load-host',
  'memory/preset',
  'pipeline/bundle',
  'source/hrana-http',
  'sync/round-trips',
  'transform/batch',
].map((test) => `dist/test/${test}.test.js`);

const [version, ...rest] = process.argv.slice(2);
if (version === undefined || !/^\d+(\.\d+)*$/.test(version)) {
  console.error('Name a version of Node.js, such as 26 or 24.21.0.');
  process.exitCode = 2;
} else {
  const directory = mkdtempSync(join(tmpdir(), 'storage-sync-node-'));
  try {
    process.exitCode = testWith(fetchNode(version, directory), rest);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The directory with the binary. */
function fetchNode(wanted: string, directory: string): string {
  const name = `node-${process.platform}-${process.arch}@${wanted}`;
  const flags = ['--json', '--prefer-offline', '--pack-destination', directory];
  const packed = JSON.parse(run('npm', ['pack', name, ...flags])) as { filename: string }[];
  run('tar', ['-xzf', join(directory, packed.at(-1)!.filename), '-C', directory]);
  return join(directory, 'package/bin');
}

function testWith(bin: string, rest: readonly string[]): number {
  const smokes = rest.includes('--smoke');
  const given = rest.filter((each) => each !== '--smoke');
  if (smokes && inNode(bin, ['dist/scripts/check-package.js', '--installed']) !== 0) return 1;
  const tests = smokes ? SMOKE_TESTS : given.length > 0 ? given : allTests();
  return inNode(bin, ['--test', '--test-concurrency=2', ...tests]);
}

function allTests(): string[] {
  const files = readdirSync(join(ROOT, 'dist/test'), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => /^[^/]+\/[^/]+\.test\.js$/.test(file))
    .map((file) => `dist/test/${file}`);
}

/** Programs that are started by their names, npm's among them, run with that version too. */
function inNode(bin: string, args: readonly string[]): number {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
  const { status } = spawnSync(join(bin, 'node'), args, { cwd: ROOT, env, stdio: 'inherit' });
  return status ?? 1;
}
