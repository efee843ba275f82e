import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { run } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

async function syncWith(dir: TempDir, file: string, flags: readonly string[] = []) {
  return await run(['sync', '--config', file, '--cache', dir.cache, '--json', ...flags]);
}

function errorOf(stdout: string): { readonly code: string; readonly message: string } {
  return (JSON.parse(stdout) as { error: { code: string; message: string } }).error;
}

void describe('the configuration file', () => {
  void it('names itself and the field that is wrong', async () => {
    await using dir = await TempDir.make();
    const wrong: readonly (readonly [object, RegExp])[] = [
      [{ batchSize: 0 }, /batchSize must be at least 1/],
      [{ batchsize: 5 }, /batchsize/],
      [{ source: { url: 5 } }, /source\.url must be a URL/],
      [{ source: { token: 'x' } }, /source\.token/],
      [{ tables: [{ name: 'notes', key: [] }] }, /tables\.0/],
      [{ onRowError: 'ignore' }, /onRowError must be/],
      [{ memory: { maxEpisodesCache: 5 } }, /preset/],
      [{ preset: 'memory', memory: { maxEpisodes: 5 } }, /maxEpisodes/],
    ];
    for (const [config, message] of wrong) {
      const path = await dir.write('wrong.json', JSON.stringify(config));
      const ran = await syncWith(dir, path, ['--source', 'file:none.db']);
      assert.equal(ran.code, 2, JSON.stringify(config));
      const error = errorOf(ran.stdout);
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.match(error.message, /wrong\.json/);
      assert.match(error.message, message);
    }
  });

  void it('is missed clearly', async () => {
    const ran = await run(['status', '--config', 'no/such/file.json']);
    assert.equal(ran.code, 2);
    assert.equal(
      ran.stderr,
      'storage-sync: The configuration file no/such/file.json does not exist.\n',
    );
  });

  void it('must be JSON or a module with a default export', async () => {
    await using dir = await TempDir.make();
    const files = [
      [await dir.write('bad.json', '{"source": {"authToken": secret'), /not valid JSON/],
      [await dir.write('list.json', '[]'), /must hold an object/],
      [await dir.write('bad.mjs', 'export default {'), /cannot be loaded/],
      [await dir.write('none.mjs', 'export const config = {};'), /no default export/],
      [await dir.write('config.yaml', 'a: 1'), /\.ts, \.mts, \.js, \.mjs or \.json/],
    ] as const;
    for (const [path, message] of files) {
      const ran = await run(['status', '--config', path]);
      assert.equal(ran.code, 2, path);
      assert.match(ran.stderr, message);
      assert.ok(ran.stderr.includes(path));
      assert.doesNotMatch(ran.stderr, /secret|\n +at /);
    }
  });

  void it('gives the options, JSON or module', async () => {
    await using dir = await TempDir.make();
    const url = dir.database(
      'notes.db',
      `${notesSql(3)} CREATE TABLE other (id INTEGER PRIMARY KEY);`,
    );
    const config = { source: { url }, cacheDir: dir.cache, tables: ['notes'], batchSize: 2 };
    for (const [name, text] of [
      ['config.json', `\uFEFF${JSON.stringify(config)}`],
      ['config.mjs', `export default ${JSON.stringify(config)};`],
    ] as const) {
      const ran = await run(['sync', '--config', await dir.write(name, text), '--json']);
      assert.equal(ran.code, 0, ran.stderr);
      const report = JSON.parse(ran.stdout) as { tables: Record<string, { rowsRead: number }> };
      assert.deepEqual(Object.keys(report.tables), ['notes']);
    }
    const got = await run(['get', 'notes', '2', '--config', dir.join('config.json')]);
    assert.equal(got.stdout, '{"id":2,"body":"note number 2"}\n');
  });

  void it('yields to the environment, and both to flags', async () => {
    await using dir = await TempDir.make();
    const flagged = dir.database('flag.db', 'CREATE TABLE by_flag (id INTEGER PRIMARY KEY)');
    const filed = dir.database('file.db', 'CREATE TABLE by_file (id INTEGER PRIMARY KEY)');
    const path = await dir.write('config.json', JSON.stringify({ source: { url: filed } }));
    const env = {
      TURSO_DATABASE_URL: dir.database('env.db', 'CREATE TABLE by_env (id INTEGER PRIMARY KEY)'),
    };
    const tablesOf = async (cache: string, flags: readonly string[]) => {
      const ran = await run(['sync', '--json', '--cache', dir.join(cache), ...flags], { env });
      assert.equal(ran.code, 0, ran.stderr);
      return Object.keys((JSON.parse(ran.stdout) as { tables: object }).tables);
    };
    assert.deepEqual(await tablesOf('a', ['--config', path, '--source', flagged]), ['by_flag']);
    assert.deepEqual(await tablesOf('b', ['--config', path]), ['by_env']);
    assert.deepEqual(await tablesOf('c', []), ['by_env']);
  });
});
