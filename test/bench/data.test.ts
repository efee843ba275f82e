import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import Database from 'libsql';
import { DATA_SHAPES, type DataKind, ensureDataFile } from '../../bench/data/data-file.js';
import { Random } from '../../bench/data/random.js';

const KINDS = Object.keys(DATA_SHAPES) as DataKind[];

void test('the random numbers are the same on every machine', () => {
  const random = new Random(1, 2, 3);
  assert.deepEqual(
    [random.next(), random.below(1000), random.uuid(), random.words(16)],
    [1936341825, 698, '3d56e4c7-eda6-465f-8584-386642e2d5db', 'inner table pool'],
  );
});

for (const kind of KINDS) {
  void test(`${kind}: the same seed gives the same file, another seed another`, async () => {
    await withDirectory((directory) => {
      const [first, again, other] = [
        ensureDataFile({ kind, rows: 41, seed: 7 }, join(directory, 'first')),
        ensureDataFile({ kind, rows: 41, seed: 7 }, join(directory, 'again')),
        ensureDataFile({ kind, rows: 41, seed: 8 }, join(directory, 'other')),
      ].map((file) => file.tables.map((table) => rowsOf(file.path, table.name)));
      assert.deepEqual(first, again);
      assert.notDeepEqual(first, other);
      assert.equal(first?.flat().length, 41);
    });
  });
}

void test('a file is made once', async () => {
  await withDirectory(async (directory) => {
    const spec = { kind: 'tiny', rows: 10, seed: 1 } as const;
    const { path } = ensureDataFile(spec, directory);
    const { ino } = await stat(path);
    assert.equal(ensureDataFile(spec, directory).path, path);
    assert.equal((await stat(path)).ino, ino);
  });
});

void test('a record takes about 400 bytes', () => {
  const [part] = DATA_SHAPES.records.parts;
  assert.ok(part);
  const sizes = Array.from({ length: 500 }, (_, i) =>
    part.table.row(1, i).reduce<number>((sum, value) => sum + String(value ?? '').length, 0),
  );
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  assert.ok(mean > 380 && mean < 420, `${mean} bytes`);
});

void test('no embedding is an orphan, and each blob holds the vector of its JSON', async () => {
  await withDirectory((directory) => {
    const { path } = ensureDataFile({ kind: 'memory', rows: 80, seed: 3 }, directory);
    const database = new Database(path);
    try {
      const orphans = database
        .prepare(
          'SELECT count(*) AS count FROM embeddings WHERE item_id NOT IN (SELECT episode_id FROM episodes)',
        )
        .get() as { count: number };
      assert.equal(orphans.count, 0);
      const rows = database
        .prepare('SELECT embedding_data, embedding_vector, dimension FROM embeddings')
        .all() as { embedding_data: string; embedding_vector: Uint8Array; dimension: number }[];
      assert.equal(rows.length, 20);
      for (const row of rows) {
        const vector = Buffer.from(row.embedding_vector);
        const floats = Array.from({ length: row.dimension }, (_, i) => vector.readFloatLE(i * 4));
        assert.deepEqual(JSON.parse(row.embedding_data), floats);
      }
    } finally {
      database.close();
    }
  });
});

for (const [kind, dimension] of [
  ['embeddings-384', 384],
  ['embeddings-1536', 1536],
] as const) {
  void test(`${kind}: each blob is a unit vector of ${dimension} floats`, () => {
    const [part] = DATA_SHAPES[kind].parts;
    assert.ok(part);
    const { table } = part;
    for (let index = 0; index < 20; index++) {
      const blob = table.row(1, index)[table.columns.indexOf('vector')];
      assert.ok(blob instanceof Uint8Array && blob.byteLength === 4 * dimension);
      const vector = new Float32Array(blob.slice().buffer);
      const square = vector.reduce((sum, value) => sum + value * value, 0);
      assert.ok(Math.abs(square - 1) < 1e-4, `${square}`);
    }
  });
}

void test('what killed benches left is removed, and what may be in use is kept', async () => {
  await withDirectory(async (directory) => {
    const old = new Date(Date.now() - 3 * 3_600_000);
    const path = (name: string) => join(directory, name);
    for (const name of ['old.db.1.tmp', 'new.db.2.tmp', 'old.db']) await writeFile(path(name), 'x');
    await mkdir(path('run.tmp'));
    await writeFile(path('run.tmp/data.mdb'), 'x');
    for (const name of ['old.db.1.tmp', 'old.db', 'run.tmp']) await utimes(path(name), old, old);
    const { path: made } = ensureDataFile({ kind: 'tiny', rows: 1, seed: 1 }, directory);
    assert.deepEqual(
      await readdir(directory),
      ['new.db.2.tmp', 'old.db', basename(made)].toSorted(),
    );
  });
});

void test('a data file is in WAL mode and sound', async () => {
  await withDirectory((directory) => {
    const { path } = ensureDataFile({ kind: 'records', rows: 500, seed: 1 }, directory);
    const database = new Database(path);
    try {
      assert.deepEqual(database.prepare('PRAGMA journal_mode').raw().all(), [['wal']]);
      assert.deepEqual(database.prepare('PRAGMA integrity_check').raw().all(), [['ok']]);
    } finally {
      database.close();
    }
  });
});

function rowsOf(path: string, table: string): unknown[] {
  const database = new Database(path);
  try {
    return database.prepare(`SELECT * FROM ${table}`).raw().all();
  } finally {
    database.close();
  }
}

async function withDirectory(use: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-data-'));
  try {
    await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
