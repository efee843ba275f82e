/**
 * Packs the built package and tries what comes out: what is in it, whether tools of others find their way in it, and
 * whether it works where it is installed. With `--installed` only the last.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runTool } from './package/command.js';
import { checkContents } from './package/contents.js';
import { tryInstalled } from './package/installed.js';

const directory = mkdtempSync(join(tmpdir(), 'storage-sync-package-'));
try {
  const tarball = pack();
  if (!process.argv.includes('--installed')) {
    run('tar', ['-xzf', tarball, '-C', directory]);
    checkContents(tarball, join(directory, 'package'));
    runTool('publint/src/cli.js', [tarball, '--strict']);
    runTool('@arethetypeswrong/cli/dist/index.js', [tarball, '--profile', 'esm-only']);
    console.log('the package is small and whole, and others can resolve it');
  }
  await tryInstalled(tarball, directory);
  console.log(`the installed package works with Node.js ${process.version}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function pack(): string {
  const flags = ['--ignore-scripts', '--json', '--pack-destination', directory];
  const [packed] = JSON.parse(run('npm', ['pack', ...flags])) as { readonly filename: string }[];
  return join(directory, packed!.filename);
}
