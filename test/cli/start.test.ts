import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { run } from './command.js';

const PRELOAD = `--import ${new URL('./loaded-modules.js', import.meta.url).href}`;
/** Only `watch` needs these. */
const OF_WATCH = ['hono', '@hono/node-server', 'pino', '@opentelemetry/sdk-metrics'];

/** The packages that the command loads with these arguments. */
async function packagesOf(args: readonly string[], dir: TempDirectory): Promise<Set<string>> {
  const list = dir.join(`loaded by ${args[0]}`);
  const { code, stderr } = await run(args, {
    env: { NODE_OPTIONS: PRELOAD, NODE_NO_WARNINGS: '1', LOADED_MODULES: list },
  });
  assert.equal(code, 0, stderr);
  const loaded = readFileSync(list, 'utf8');
  assert.match(loaded, /src\/cli\/program\.js/);
  const found = loaded.matchAll(/node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\/(?!.*node_modules\/)/g);
  return new Set([...found].map(([, name]) => name!));
}

void describe('the start of the command', () => {
  for (const args of [
    ['--help'],
    ['--version'],
    ['sync', '--help'],
    ['init', '--help'],
    ['help', 'verify'],
    ['help', 'doctor'],
  ]) {
    void it(`loads no package but commander for ${args.join(' ')}`, async () => {
      await using dir = await TempDirectory.make();
      assert.deepEqual([...(await packagesOf(args, dir))], ['commander']);
    });
  }

  void it('loads nothing for a sync that only watch needs', async () => {
    await using dir = await TempDirectory.make();
    changeDatabase(dir.join('source.db'), 'CREATE TABLE t (k INTEGER PRIMARY KEY)');
    const source = `file:${dir.join('source.db')}`;
    const loaded = await packagesOf(
      ['sync', '--source', source, '--cache', dir.join('cache')],
      dir,
    );
    assert.ok(loaded.has('piscina') && loaded.has('lmdb'), [...loaded].join());
    assert.deepEqual(
      OF_WATCH.filter((name) => loaded.has(name)),
      [],
    );
  });
});
