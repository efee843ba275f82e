import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { resolveOptions } from '../../src/options.js';
import { Secrets } from '../../src/secrets.js';
import { readConfigFile } from '../../src/cli/config-file.js';
import { configText, plainConfig, type NewConfig } from '../../src/cli/config-text.js';
import { DEFAULT_SYNC_CONFIG, openChangeLog } from '../../src/index.js';
import { createAgentMemory } from '../memory/agent-memory.js';
import { ROOT } from '../docs/pages.js';
import { changeDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { startHranaServer } from '../support/hrana/server.js';
import { run, type Ran, type RunOptions } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

const inProcess = promisify(execFile);

async function init(
  dir: TempDir,
  flags: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  return await run(['init', ...flags], { cwd: dir.path, ...options });
}

interface Written {
  readonly path: string;
  readonly source: string | null;
  readonly preset: string | null;
  readonly tables: readonly {
    readonly name: string;
    readonly key: readonly string[];
    readonly rows: number | null;
    readonly isLogged: boolean;
    readonly cursor: string | null;
  }[];
  readonly leftOut: readonly { readonly name: string }[];
}

/** Writes a file, and gives what was said of it and what stands in it. */
async function written(
  dir: TempDir,
  flags: readonly string[],
  options: RunOptions = {},
): Promise<{ readonly document: Written; readonly text: string }> {
  const ran = await init(dir, ['--json', ...flags], options);
  assert.equal(ran.code, 0, ran.stderr);
  const document = JSON.parse(ran.stdout) as Written;
  return { document, text: readFileSync(dir.join(document.path), 'utf8') };
}

async function syncedTables(dir: TempDir): Promise<string[]> {
  const ran = await run(['sync', '--json'], { cwd: dir.path });
  assert.equal(ran.code, 0, ran.stderr);
  return Object.keys((JSON.parse(ran.stdout) as { tables: object }).tables);
}

const SHOP = `${notesSql(3)}
  CREATE TABLE orders (region TEXT NOT NULL, number INTEGER NOT NULL, updated_at INTEGER,
    PRIMARY KEY (region, number));
  CREATE TABLE hidden (rowid, _rowid_, oid);
  CREATE VIEW seen AS SELECT * FROM notes;`;

/** What may break out of a literal or a comment, or hide in one. */
const HOSTILE = [
  "it's",
  '"quoted"',
  '*/ globalThis.broken = true; /*',
  "'} }; globalThis.broken = true; ({ a: '",
  'line\nglobalThis.broken = true;',
  'line\r\nglobalThis.broken = true;',
  'line\u2028globalThis.broken = true;',
  'line\u2029globalThis.broken = true;',
  '`${globalThis.broken = true}`',
  '\\',
  "\\'",
  '\u202eright to left',
  '</script>',
  '\u0085next',
];

function newConfig(names: readonly string[], change: Partial<NewConfig> = {}): NewConfig {
  return {
    url: 'file:app.db',
    cacheDir: './cache',
    options: {},
    ...change,
    survey: {
      isMemory: false,
      leftOut: names.map((name) => ({ name, reason: `It is ${name}.` })),
      tables: names.map((name) => ({
        name,
        key: [name],
        rows: 1,
        hasMoreRows: false,
        isLogged: false,
        cursor: name,
      })),
    },
  };
}

void describe('storage-sync init', () => {
  for (const format of ['ts', 'js', 'json'] as const) {
    void it(`writes what a sync then takes, as ${format}`, async () => {
      await using dir = await TempDir.make();
      dir.database('shop.db', SHOP);
      const { document, text } = await written(dir, [
        '--source',
        'file:shop.db',
        '--format',
        format,
      ]);
      assert.equal(document.path, `storage-sync.config.${format}`);
      assert.deepEqual(
        document.tables.map(({ name, key, rows, cursor }) => [name, key, rows, cursor]),
        [
          ['notes', ['id'], 3, null],
          ['orders', ['region', 'number'], 0, 'updated_at'],
        ],
      );
      assert.deepEqual(
        document.leftOut.map(({ name }) => name),
        ['hidden', 'seen'],
      );
      assert.deepEqual(await syncedTables(dir), ['notes', 'orders']);
      assert.equal(text.includes("// cursor: { column: 'updated_at' }"), format !== 'json');
      assert.deepEqual(await readConfigFile(dir.join(document.path), new Secrets()), {
        source: { url: 'file:shop.db' },
        cacheDir: './.storage-sync',
        tables: [{ name: 'notes' }, { name: 'orders' }],
        ...(format === 'json' ? {} : { watch: {} }),
      });
    });
  }

  void it('has every option with its default, and all of them load', async () => {
    await using dir = await TempDir.make();
    const text = configText(newConfig(['t']), 'ts');
    // What is commented out, and no sentence, is put in.
    const uncommented = text.replace(/^( *)\/\/ (\w+: .*,)$/gm, '$1$2');
    const config = await readConfigFile(await dir.write('all.ts', uncommented), new Secrets());
    const {
      readerThreads: _r,
      preset: _p,
      ...defaults
    } = resolveOptions({
      source: { url: 'file:app.db' },
      cacheDir: './cache',
      tables: [{ name: 't', cursor: { column: 't' } }],
    });
    const { watch, ...options } = config;
    assert.deepEqual({ ...options, source: { authToken: undefined, ...options.source } }, defaults);
    assert.deepEqual(Object.keys(watch!).toSorted(), [
      'host',
      'interval',
      'jitter',
      'logLevel',
      'port',
      'rebuildCron',
      'server',
      'stopTimeout',
      'verifyCron',
      'verifyLevel',
    ]);
  });

  void it('type-checks, and is what defineConfig takes', async () => {
    await using dir = await TempDir.make();
    dir.database('shop.db', SHOP);
    changeDatabase(dir.join('memory.db'), createAgentMemory);
    for (const [source, name] of [
      ['shop', 'a'],
      ['memory', 'b'],
    ] as const) {
      const { text } = await written(dir, [
        '--source',
        `file:${source}.db`,
        '--force',
        '--retries',
        '3',
      ]);
      await dir.write(`${name}.ts`, text);
    }
    await written(dir, ['--source', 'file:shop.db', '--force']);
    mkdirSync(dir.join('node_modules/@types'), { recursive: true });
    symlinkSync(ROOT, dir.join('node_modules/storage-sync'));
    symlinkSync(join(ROOT, 'node_modules/@types/node'), dir.join('node_modules/@types/node'));
    await dir.write('package.json', '{ "type": "module" }');
    await dir.write(
      'use.ts',
      `import { defineConfig } from 'storage-sync';
       import a from './a.js';
       import b from './b.js';
       export default [defineConfig(a), defineConfig(b)];`,
    );
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext'];
    const target = ['--target', 'es2023', '--lib', 'es2023,esnext.disposable', '--types', 'node'];
    const check = async (file: string) =>
      await inProcess(process.execPath, [tsc, ...flags, ...target, file], { cwd: dir.path });
    await check('use.ts');
    // A wrong field would have been found.
    const wrong = readFileSync(dir.join('a.ts'), 'utf8').replace('cacheDir', 'cacheDirectory');
    await dir.write('a.ts', wrong);
    await assert.rejects(check('use.ts'), { stdout: /cacheDirectory/ });
  });

  void it('takes the preset where the source has its tables, and says which have a log', async () => {
    await using dir = await TempDir.make();
    changeDatabase(dir.join('memory.db'), createAgentMemory);
    const { document, text } = await written(dir, ['--source', 'file:memory.db']);
    assert.equal(document.preset, 'memory');
    for (const [name, value] of Object.entries(DEFAULT_SYNC_CONFIG)) {
      assert.match(text.replaceAll('_', ''), new RegExp(`// ${name}: ${value},`), name);
    }
    assert.deepEqual((await syncedTables(dir)).toSorted(), [
      'embeddings',
      'episodes',
      'heuristics',
      'patterns',
    ]);

    const url = dir.database('shop.db', SHOP);
    await using log = await openChangeLog({ url });
    await log.install(['orders']);
    const { document: logged, text: some } = await written(dir, ['--source', url, '--force']);
    assert.deepEqual(
      logged.tables.map(({ name, isLogged }) => [name, isLogged]),
      [
        ['notes', false],
        ['orders', true],
      ],
    );
    assert.match(some, /1 of 2 with a change log/);
  });

  void it('overwrites nothing unless it is told to', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('shop.db', SHOP);
    await dir.write('storage-sync.config.ts', 'export default {};');
    const refused = await init(dir, ['--source', url, '--json']);
    assert.equal(refused.code, 2);
    assert.match(refused.stdout, /CONFIG_INVALID/);
    assert.match(refused.stderr, /already: storage-sync\.config\.ts[^]*--force/);
    assert.equal(readFileSync(dir.join('storage-sync.config.ts'), 'utf8'), 'export default {};');
    // Two would be one too many for a sync, also by force.
    const second = await init(dir, ['--source', url, '--format', 'json', '--force']);
    assert.equal(second.code, 2);
    assert.ok(!readdirSync(dir.path).includes('storage-sync.config.json'));
    assert.equal((await init(dir, ['--source', url, '--force'])).code, 0);
    assert.deepEqual(await syncedTables(dir), ['notes', 'orders']);
  });

  void it('writes nothing where the source cannot be read, and leaves nothing beside it', async () => {
    await using dir = await TempDir.make();
    const missing = await init(dir, ['--source', 'file:none.db']);
    assert.equal(missing.code, 2);
    const away = await init(dir, ['--source', 'http://127.0.0.1:1', '--retries', '0']);
    assert.equal(away.code, 4);
    assert.equal((await init(dir, [])).code, 2);
    assert.deepEqual(readdirSync(dir.path), []);
    dir.database('wal.db', `PRAGMA journal_mode = WAL; ${SHOP}`);
    await written(dir, ['--source', 'file:wal.db']);
    assert.deepEqual(readdirSync(dir.path), ['storage-sync.config.ts', 'wal.db']);
  });

  void it('never writes a token, wherever it came from', async () => {
    await using dir = await TempDir.make();
    dir.database('shop.db', SHOP);
    await using server = await startHranaServer({
      file: dir.join('shop.db'),
      token: 'secret-t0ken',
    });
    const url = server.httpUrl;
    const ways: readonly (readonly [readonly string[], Record<string, string>, string | null])[] = [
      [['--source', url, '--auth-token', 'secret-t0ken'], {}, url],
      [['--source', `${url}?authToken=secret-t0ken`], {}, url],
      [[], { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: 'secret-t0ken' }, url],
      [[], { TURSO_DATABASE_URL: `${url}?authToken=secret-t0ken&tls=0` }, `${url}?tls=0`],
    ];
    for (const [flags, env, expected] of ways) {
      const ran = await init(dir, ['--json', '--force', ...flags], { env });
      assert.equal(ran.code, 0, ran.stderr);
      const text = readFileSync(dir.join('storage-sync.config.ts'), 'utf8');
      assert.doesNotMatch(`${text}${ran.stdout}${ran.stderr}`, /t0ken/);
      assert.equal((JSON.parse(ran.stdout) as Written).source, expected);
      // A server's rows are not counted: it may bill that.
      assert.equal((JSON.parse(ran.stdout) as Written).tables[0]!.rows, null);
    }
    const env = { TURSO_AUTH_TOKEN: 'secret-t0ken' };
    const told = url.replace('http://', 'http://user:secret-t0ken@');
    const ran = await init(dir, ['--json', '--force', '--source', told], { env });
    if (ran.code === 0) assert.equal((JSON.parse(ran.stdout) as Written).source, null);
    const text = readFileSync(dir.join('storage-sync.config.ts'), 'utf8');
    assert.doesNotMatch(`${text}${ran.stdout}${ran.stderr}`, /t0ken/);
  });

  void it('writes a .js file that its package can load', async () => {
    for (const type of ['module', 'commonjs', undefined]) {
      await using dir = await TempDir.make();
      dir.database('shop.db', SHOP);
      await dir.write('package.json', JSON.stringify({ type }));
      const { document } = await written(dir, ['--source', 'file:shop.db', '--format', 'js']);
      assert.equal(document.path, `storage-sync.config.${type === 'commonjs' ? 'mjs' : 'js'}`);
      assert.deepEqual(await syncedTables(dir), ['notes', 'orders']);
    }
  });

  void it('says what to do where a file needs the package and it is not installed', async () => {
    await using dir = await TempDir.make();
    await dir.write(
      'storage-sync.config.ts',
      "import { defineConfig } from 'storage-sync'; export default defineConfig({});",
    );
    const ran = await run(['status'], { cwd: dir.path });
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /npm install storage-sync.*import type/);
  });
});

void describe('names in a configuration file that is written', () => {
  void it('are literals, whatever a database calls its tables and columns', async () => {
    await using dir = await TempDir.make();
    changeDatabase(dir.join('hostile.db'), (db) => {
      for (const name of HOSTILE) {
        const quoted = `"${name.replaceAll('"', '""')}"`;
        db.exec(`CREATE TABLE ${quoted} (${quoted} INTEGER PRIMARY KEY, updated_at INTEGER)`);
      }
    });
    for (const format of ['ts', 'json'] as const) {
      const flags = ['--source', 'file:hostile.db', '--format', format];
      const { document } = await written(dir, flags);
      assert.deepEqual((await syncedTables(dir)).toSorted(), HOSTILE.toSorted());
      assert.deepEqual(document.tables.map(({ name }) => name).toSorted(), HOSTILE.toSorted());
      rmSync(dir.join(document.path));
    }
  });

  void it('come back as they were, and run nothing', async () => {
    await using dir = await TempDir.make();
    let files = 0;
    const piece = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary' }), fc.string());
    const name = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(''));
    const names = fc.uniqueArray(
      name.filter((text) => text !== ''),
      {
        minLength: 1,
        maxLength: 4,
        selector: (text) => text.toLowerCase(),
      },
    );
    await fc.assert(
      fc.asyncProperty(
        names,
        name,
        fc.constantFrom('ts', 'mjs', 'json' as const),
        async (all, other, extension) => {
          const config = newConfig(all, { url: `file:x/${other}`, cacheDir: `x/${other}` });
          const text = configText(config, extension === 'mjs' ? 'js' : extension);
          const path = await dir.write(`${files++}.${extension}`, text);
          const { watch: _, ...loaded } = await readConfigFile(path, new Secrets());
          assert.deepEqual(loaded, plainConfig(config));
          assert.ok(!('broken' in globalThis));
          // Nothing that cannot be seen, or turns text around, and one comment a line.
          if (extension !== 'json') assert.doesNotMatch(text, /[\p{Cf}\u2028\u2029\u0085\r]/u);
        },
      ),
      { numRuns: 150 },
    );
  });
});
