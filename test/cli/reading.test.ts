import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { COMMAND, environment, run } from './command.js';
import { TempDir } from './temp-dir.js';

const SCHEMA = `
  CREATE TABLE numbers (id INTEGER PRIMARY KEY, "1" TEXT, value);
  INSERT INTO numbers VALUES
    (-5, 'negative', 9007199254740993), (7, 'blob', x'00ff'), (8, 'infinite', 9e999),
    (9, 'less', -9e999), (10, 'null', NULL), (9007199254740993, 'large', 0.5);
  CREATE TABLE texts (name TEXT PRIMARY KEY NOT NULL, n INTEGER) WITHOUT ROWID;
  INSERT INTO texts VALUES ('7', 1), ('007', 2), ('x''00''', 3), ('čaj "s" mlékem', 4);
  CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, note TEXT, PRIMARY KEY (a, b));
  INSERT INTO pairs VALUES ('x', 1, 'first'), ('x', 2, 'second'), ('y', 1, 'third');
  CREATE TABLE blobs (hash BLOB PRIMARY KEY NOT NULL, n INTEGER);
  INSERT INTO blobs VALUES (x'00ff', 1), (x'', 2);
  CREATE TABLE empty (id INTEGER PRIMARY KEY);
  CREATE TABLE many (id INTEGER PRIMARY KEY, body TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
  INSERT INTO many SELECT i, 'the body of row number ' || i FROM n;
  CREATE VIEW recent AS SELECT * FROM numbers;
`;

void describe('reading the cache', () => {
  let dir: TempDir;
  let url: string;
  const read = (...args: string[]) => run([...args, '--cache', dir.cache]);

  before(async () => {
    dir = await TempDir.make();
    url = dir.database('source.db', SCHEMA);
    const ran = await read('sync', '--source', url, '--quiet');
    assert.deepEqual(ran, { code: 0, stdout: '', stderr: '' });
  });

  after(async () => {
    await dir[Symbol.asyncDispose]();
  });

  void it('exports rows in key order, what JSON cannot hold in wrappers', async () => {
    const ran = await read('export', 'numbers');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(
      ran.stdout,
      [
        '{"id":-5,"1":"negative","value":{"integer":"9007199254740993"}}',
        '{"id":7,"1":"blob","value":{"base64":"AP8="}}',
        '{"id":8,"1":"infinite","value":{"real":"Infinity"}}',
        '{"id":9,"1":"less","value":{"real":"-Infinity"}}',
        '{"id":10,"1":"null","value":null}',
        '{"id":{"integer":"9007199254740993"},"1":"large","value":0.5}',
        '',
      ].join('\n'),
    );
    assert.equal(ran.stderr, '');
  });

  void it('exports one document with --json, of no rows too', async () => {
    const ran = await read('export', 'pairs', '--json');
    assert.deepEqual(JSON.parse(ran.stdout), [
      { a: 'x', b: 1, note: 'first' },
      { a: 'x', b: 2, note: 'second' },
      { a: 'y', b: 1, note: 'third' },
    ]);
    assert.equal(ran.stdout.split('\n').length, 6);
    assert.deepEqual(JSON.parse((await read('export', 'empty', '--json')).stdout), []);
    assert.deepEqual(await read('export', 'empty'), { code: 0, stdout: '', stderr: '' });
  });

  void it('exports every row of a large table', async () => {
    const ran = await read('export', 'many');
    const lines = ran.stdout.trimEnd().split('\n');
    assert.equal(lines.length, 30000);
    assert.deepEqual(JSON.parse(lines[29999] ?? ''), {
      id: 30000,
      body: 'the body of row number 30000',
    });
  });

  void it('ends quietly when its reader has seen enough', async () => {
    const child = spawn(
      'sh',
      [
        '-c',
        '"$0" "$1" export many --cache "$2" | head -n 1',
        process.execPath,
        COMMAND,
        dir.cache,
      ],
      { env: environment() },
    );
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    await new Promise((resolve) => child.on('close', resolve));
    assert.equal(stdout, '{"id":1,"body":"the body of row number 1"}\n');
    assert.equal(stderr, '');

    const reader = spawn(process.execPath, [COMMAND, 'export', 'many', '--cache', dir.cache], {
      env: environment(),
    });
    reader.stdout.once('data', () => reader.stdout.destroy());
    const code = await new Promise((resolve) => reader.on('close', resolve));
    assert.equal(code, 0);
  });

  void it('gets a row by a key of any type', async () => {
    const rows: readonly (readonly [string[], unknown])[] = [
      [['numbers', '7'], { id: 7, '1': 'blob', value: { base64: 'AP8=' } }],
      [['numbers', '-5'], { id: -5, '1': 'negative', value: { integer: '9007199254740993' } }],
      [
        ['numbers', '9007199254740993'],
        { id: { integer: '9007199254740993' }, '1': 'large', value: 0.5 },
      ],
      [['texts', '7'], { name: '7', n: 1 }],
      [['texts', '007'], { name: '007', n: 2 }],
      [['texts', "x'00'"], { name: "x'00'", n: 3 }],
      [['texts', 'čaj "s" mlékem'], { name: 'čaj "s" mlékem', n: 4 }],
      [['pairs', 'x', '2'], { a: 'x', b: 2, note: 'second' }],
      [['blobs', "x'00ff'"], { hash: { base64: 'AP8=' }, n: 1 }],
      [['blobs', "X''"], { hash: { base64: '' }, n: 2 }],
    ];
    for (const [args, row] of rows) {
      const ran = await read('get', ...args);
      assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
      assert.equal(ran.stdout.indexOf('\n'), ran.stdout.length - 1);
      assert.deepEqual(JSON.parse(ran.stdout), row);
    }
  });

  void it('tells of a row that is not there', async () => {
    const ran = await read('get', 'pairs', 'x', '3');
    assert.equal(ran.code, 1);
    assert.equal(ran.stdout, '');
    assert.equal(ran.stderr, 'storage-sync: "pairs" has no row with the key x, 3.\n');
    const asJson = await read('get', 'pairs', 'x', '3', '--json');
    assert.equal(asJson.code, 1);
    assert.equal(asJson.stdout, 'null\n');
  });

  void it('tells how many values a key takes', async () => {
    const ran = await read('get', 'pairs', 'x');
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /The key of "pairs" is \(a, b\), but 1 value came/);
  });

  void it('refuses a key longer than any in a cache', async () => {
    const ran = await read('get', 'texts', 'k'.repeat(3000));
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /^storage-sync: The key takes 3001 bytes/);
  });

  void it('tells of a table that is not there', async () => {
    for (const args of [
      ['get', 'nope', '1'],
      ['export', 'nope'],
      ['export', 'recent'],
    ]) {
      const ran = await read(...args, '--json');
      assert.equal(ran.code, 2);
      const { error } = JSON.parse(ran.stdout) as { error: { code: string; context: object } };
      assert.equal(error.code, 'TABLE_NOT_FOUND');
      assert.deepEqual(error.context, { table: args[1] });
    }
  });

  void it('lists the tables of the cache', async () => {
    const ran = await read('tables', '--json');
    assert.equal(ran.code, 0, ran.stderr);
    const list = JSON.parse(ran.stdout) as { from: string; tables: { name: string }[] };
    assert.equal(list.from, 'cache');
    assert.deepEqual(
      list.tables.map((table) => table.name),
      ['blobs', 'empty', 'many', 'numbers', 'pairs', 'texts'],
    );
    assert.deepEqual(list.tables[4], {
      name: 'pairs',
      key: ['a', 'b'],
      columns: [{ name: 'a' }, { name: 'b' }, { name: 'note' }],
      rows: 3,
      indexes: [],
    });
    const text = await read('tables');
    assert.match(text.stdout, /^pairs +3 +a, b +a, b, note$/m);
  });

  void it('lists the tables of the source, and what a sync leaves out', async () => {
    const ran = await run(['tables', '--source', url, '--json']);
    assert.equal(ran.code, 0, ran.stderr);
    const list = JSON.parse(ran.stdout) as {
      from: string;
      tables: { name: string }[];
      leftOut: { name: string; kind: string; reason: string }[];
    };
    assert.equal(list.from, 'source');
    assert.deepEqual(
      list.tables.find((table) => table.name === 'pairs'),
      {
        name: 'pairs',
        key: ['a', 'b'],
        columns: [
          { name: 'a', type: 'TEXT' },
          { name: 'b', type: 'INTEGER' },
          { name: 'note', type: 'TEXT' },
        ],
      },
    );
    const view = list.leftOut.find((table) => table.name === 'recent');
    assert.deepEqual(view, {
      name: 'recent',
      kind: 'view',
      reason: 'a view has no key to page by',
    });
    const text = await run(['tables', '--source', url]);
    assert.match(text.stdout, /^pairs +a, b +a, b, note$/m);
    assert.match(text.stdout, /^recent +view +a view has no key/m);
  });

  void it('tells the status', async () => {
    const ran = await read('status', '--json');
    assert.equal(ran.code, 0, ran.stderr);
    const status = JSON.parse(ran.stdout) as Record<string, unknown> & {
      tables: Record<string, { rows: number; checkpoint: unknown }>;
    };
    assert.equal(status['state'], 'fresh');
    assert.equal(typeof status['generation'], 'number');
    assert.ok(!Number.isNaN(Date.parse(String(status['lastSyncAt']))));
    assert.equal(typeof status['ageMs'], 'number');
    assert.equal(status['lastError'], null);
    assert.equal(status.tables['many']?.rows, 30000);
    assert.ok('checkpoint' in (status.tables['pairs'] ?? {}));
    const text = await read('status');
    assert.match(text.stdout, /^state +fresh$/m);
    assert.match(text.stdout, /^many +30,000 /m);
  });

  void it('is stale by the age that the configuration says', async () => {
    const config = await dir.write('stale.json', JSON.stringify({ staleAfterMs: 1 }));
    const ran = await read('status', '--json', '--config', config);
    assert.equal((JSON.parse(ran.stdout) as { state: string }).state, 'stale');
  });
});

void describe('a cache that was never filled', () => {
  void it('is empty, and says how to fill it', async () => {
    await using dir = await TempDir.make();
    const status = await run(['status', '--json', '--cache', dir.cache]);
    assert.equal(status.code, 0, status.stderr);
    assert.deepEqual(JSON.parse(status.stdout), {
      state: 'empty',
      isFresh: false,
      generation: null,
      lastSyncAt: null,
      ageMs: null,
      failedSyncs: 0,
      rebuildDue: false,
      snapshots: [],
      tables: {},
      lastError: null,
      holder: null,
    });
    for (const args of [['tables'], ['get', 'notes', '1'], ['export', 'notes']]) {
      const ran = await run([...args, '--cache', dir.cache]);
      assert.equal(ran.code, 1);
      assert.equal(ran.stdout, '');
      assert.match(
        ran.stderr,
        /^storage-sync: The cache .* has not been filled yet\.\nRun `storage-sync sync`/,
      );
    }
  });
});
