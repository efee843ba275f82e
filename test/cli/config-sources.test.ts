import assert from 'node:assert/strict';
import { chmodSync, readFileSync, symlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { VARIABLES } from '../../src/cli/environment.js';
import { run } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

const GUIDE = new URL('../../../docs/configuration.md', import.meta.url);
const LIBRARY = fileURLToPath(new URL('../../src/index.js', import.meta.url));

/** Syncs in the directory, with what it holds. */
async function sync(
  dir: TempDir,
  {
    flags = [],
    env = {},
  }: { flags?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
) {
  return await run(['sync', '--json', ...flags], { cwd: dir.path, env });
}

function tablesOf(stdout: string): string[] {
  return Object.keys((JSON.parse(stdout) as { tables: object }).tables);
}

async function withNotes(): Promise<TempDir> {
  const dir = await TempDir.make();
  dir.database('notes.db', `${notesSql(3)} CREATE TABLE other (id INTEGER PRIMARY KEY);`);
  return dir;
}

void describe('where the options come from', () => {
  void it('finds the file of the directory, in TypeScript, JavaScript or JSON', async () => {
    const body = "source: { url: 'file:notes.db' }, tables: ['notes'], cacheDir: 'cache'";
    const files: readonly (readonly [string, string])[] = [
      [
        'storage-sync.config.ts',
        `import { defineConfig, type ConfigFile } from ${JSON.stringify(LIBRARY)};
         const more: Partial<ConfigFile> = {};
         export default defineConfig({ ...more, ${body} });`,
      ],
      ['storage-sync.config.mts', `export default async () => ({ ${body} }) as const;`],
      ['storage-sync.config.mjs', `export default () => ({ ${body} });`],
      ['storage-sync.config.js', `module.exports = { ${body} };`],
      [
        'storage-sync.config.json',
        '{"source": {"url": "file:notes.db"}, "tables": ["notes"], "cacheDir": "cache"}',
      ],
    ];
    for (const [name, text] of files) {
      await using dir = await withNotes();
      await dir.write(name, text);
      const ran = await sync(dir);
      assert.equal(ran.code, 0, `${name}: ${ran.stderr}`);
      assert.deepEqual(tablesOf(ran.stdout), ['notes'], name);
    }
  });

  void it('takes no file for granted where there are two, and none by an odd name', async () => {
    await using dir = await withNotes();
    await dir.write('storage-sync.config.json', '{"source":{"url":"file:notes.db"}}');
    await dir.write('storage-sync.config.mjs', 'export default {}');
    const both = await sync(dir);
    assert.equal(both.code, 2);
    assert.match(both.stderr, /several configuration files: .*mjs, .*json/);
    const chosen = await sync(dir, { flags: ['--config', 'storage-sync.config.json'] });
    assert.equal(chosen.code, 0, chosen.stderr);
    await using linked = await withNotes();
    const elsewhere = await linked.write(
      'a #1 %20 file.mjs',
      "export default { tables: ['notes'] }",
    );
    symlinkSync(elsewhere, linked.join('storage-sync.config.mjs'));
    const ran = await sync(linked, { flags: ['--source', 'file:notes.db'] });
    assert.deepEqual(tablesOf(ran.stdout), ['notes'], ran.stderr);
    const odd = await sync(linked, { flags: ['--source', 'file:notes.db', '--config', elsewhere] });
    assert.equal(odd.code, 0, odd.stderr);
  });

  void it('lets the environment win over the file, and flags over both', async () => {
    await using dir = await withNotes();
    await dir.write(
      'storage-sync.config.json',
      '{"source":{"url":"file:missing.db"},"tables":["missing"],"cacheDir":"a"}',
    );
    const env = {
      TURSO_DATABASE_URL: 'file:notes.db',
      STORAGE_SYNC_TABLES: 'notes, other',
      STORAGE_SYNC_CACHE_DIR: 'b',
      STORAGE_SYNC_BATCH_SIZE: '',
    };
    const byVariables = await sync(dir, { env });
    assert.deepEqual(tablesOf(byVariables.stdout), ['notes', 'other'], byVariables.stderr);
    const status = await run(['status', '--json'], { cwd: dir.path, env });
    assert.equal((JSON.parse(status.stdout) as { state: string }).state, 'fresh');
    const byFlags = await sync(dir, { env, flags: ['--tables', 'other', '--cache', 'c'] });
    assert.deepEqual(tablesOf(byFlags.stdout), ['other'], byFlags.stderr);
  });

  void it('names the variable that is wrong, and never what is secret', async () => {
    await using dir = await withNotes();
    const wrong: readonly (readonly [string, string, RegExp])[] = [
      ['STORAGE_SYNC_BATCH_SIZE', 'many', /must be a number/],
      ['STORAGE_SYNC_BATCH_SIZE', '0', /batchSize must be at least 1/],
      ['STORAGE_SYNC_STALE_AFTER', '5 days', /not a duration/],
      ['STORAGE_SYNC_AUTO_REBUILD', 'maybe', /true or false/],
      ['STORAGE_SYNC_ON_ROW_ERROR', 'ignore', /onRowError must be/],
      ['STORAGE_SYNC_MAX_LOSS_SHARE', '2', /from 0 to 1/],
      ['STORAGE_SYNC_WATCH_PORT', '70000', /at most 65535/],
      ['STORAGE_SYNC_WATCH_INTERVAL', 'soon', /duration/],
      ['STORAGE_SYNC_WATCH_VERIFY_CRON', 'daily', /cron expression/],
      ['STORAGE_SYNC_WATCH_LOG_LEVEL', 'loud', /must be one of/],
    ];
    for (const [name, value, message] of wrong) {
      const env = { [name]: value, STORAGE_SYNC_WATCH_TOKEN: 'hidden', TURSO_AUTH_TOKEN: 'hidden' };
      const ran = await sync(dir, { env, flags: ['--source', 'file:notes.db'] });
      assert.equal(ran.code, 2, `${name}=${value}`);
      assert.match(ran.stderr, message);
      assert.ok(ran.stderr.includes(name), ran.stderr);
      assert.doesNotMatch(ran.stderr, /hidden/);
    }
  });

  void it('says where a file is wrong', async () => {
    await using dir = await withNotes();
    const wrong: readonly (readonly [string, string, RegExp])[] = [
      ['a.json', '{\n  "source": {,\n}', /a\.json is not valid JSON: line 2, column 14/],
      ['b.json', '{\n', /b\.json is not valid JSON: line 2, column 1/],
      ['c.ts', 'export default {', /c\.ts cannot be loaded/],
      ['d.mts', "throw new Error('no luck')", /d\.mts cannot be loaded: no luck/],
      ['e.mjs', "export default () => { throw new Error('no luck') }", /e\.mjs failed: no luck/],
      ['f.mjs', 'export default () => 5', /f\.mjs must hold an object/],
      ['g.json', '{"watch":{"interval":"soon"}}', /g\.json: .*watch\.interval must be a duration/],
      ['h.json', '{"watch":{"rebuildCron":"0 0 31 2 *"}}', /h\.json: .*rebuildCron must be a cron/],
      ['i.json', '{"watch":{"every":"5m"}}', /i\.json: .*every is not a known option/],
      ['j.json', '{"watch":{"port":-1}}', /j\.json: .*watch\.port must be at least 0/],
    ];
    for (const [name, text, message] of wrong) {
      const ran = await sync(dir, { flags: ['--config', await dir.write(name, text)] });
      assert.equal(ran.code, 2, `${name}: ${ran.stderr}`);
      assert.match(ran.stderr, message);
    }
    if (process.getuid?.() === 0) return;
    const closed = await dir.write('closed.json', '{}');
    chmodSync(closed, 0);
    assert.match((await sync(dir, { flags: ['--config', closed] })).stderr, /cannot be read/);
  });

  void it('has each variable once, and each in the guide', () => {
    const guide = readFileSync(GUIDE, 'utf8');
    const told = [...guide.matchAll(/^\| `(\w+)` +\| `([\w.]+)`/gm)].map(([, ...row]) => row);
    assert.deepEqual(
      told,
      VARIABLES.map(({ name, field }) => [name, field]),
    );
    assert.equal(new Set(VARIABLES.map(({ name }) => name)).size, VARIABLES.length);
    assert.equal(new Set(VARIABLES.map(({ field }) => field)).size, VARIABLES.length);
  });
});
