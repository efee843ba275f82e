import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import {
  CacheError,
  defineTable,
  openCache,
  SourceError,
  StorageSync,
  WorkerPool,
  type CacheReader,
  type SourceRow,
  type TableReader,
} from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { sameType } from '../support/same-type.js';
import { TempDirectory } from '../support/temp.js';
import { flipBits } from './file-bytes.js';

const ROWS = 1200;
const SCHEMA = `
  CREATE TABLE documents (
    id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, vector BLOB NOT NULL, "__proto__" TEXT, opened REAL);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO documents
  SELECT i, 'title ' || i, printf('%.*c', i, 'é'), zeroblob(i * 4), iif(i % 3, NULL, 'third'), i + 0.5 FROM n;
`;

const documents = defineTable({
  name: 'documents',
  columns: {
    id: 'integer',
    title: 'text',
    body: 'text',
    vector: 'blob',
    ['__proto__']: 'text?',
    opened: 'real',
  },
  indexes: [{ name: 'by_opened', columns: [{ column: 'opened', descending: true }] }],
  limit: { count: 10_000, newestBy: 'opened' },
});

void describe('a reader of some columns', () => {
  let dir: TempDirectory;
  let source: string;
  let cacheDir: string;
  let storage: StorageSync;
  let cache: CacheReader;
  const pool = new WorkerPool({ readerThreads: 1 });

  before(async () => {
    dir = await TempDirectory.make();
    source = dir.join('source.db');
    cacheDir = dir.join('cache');
    changeDatabase(source, SCHEMA);
    storage = await StorageSync.open({
      source: { url: `file:${source}` },
      cacheDir,
      tables: [documents],
      pool,
    });
    await storage.sync();
    cache = openCache(cacheDir);
  });

  after(async () => {
    await cache.close();
    await storage.close();
    await pool.close();
    await dir[Symbol.asyncDispose]();
  });

  /** Of whole rows, what a reader of these columns should give. */
  function only(columns: readonly string[], rows: readonly (SourceRow | undefined)[]) {
    return rows.map((row) => {
      if (row === undefined) return undefined;
      const entries = Object.entries(row).filter(([name]) => columns.includes(name));
      return entries.map(([name, value]) => [name, value]);
    });
  }

  const entriesOf = (rows: readonly (object | undefined)[]) =>
    rows.map((row) => row && Object.entries(row));

  async function everyRead(table: TableReader<SourceRow>): Promise<(object | undefined)[]> {
    const streamed: object[] = [];
    for await (const row of table.stream()) streamed.push(row);
    for await (const row of table.streamByIndex('by_opened', { limit: 700 })) streamed.push(row);
    return [
      table.get(7),
      table.get(ROWS + 1),
      ...table.getMany([9, -1, 12]),
      ...table.range({ gte: 3, lt: 9, reverse: true }),
      ...table.newest(5),
      ...table.newest(5, 'by_opened'),
      ...table.byIndex('by_opened', 20.5),
      ...table.rangeByIndex('by_opened', { gt: 100, limit: 3 }),
      ...streamed,
    ];
  }

  const CHOICES: readonly (readonly [string, ...string[]])[] = [
    ['title'],
    ['vector'],
    ['opened', 'id'],
    ['body', '__proto__'],
    ['id', 'title', 'body', 'vector', '__proto__', 'opened'],
  ];

  for (const validateChecksums of [false, true]) {
    const how = validateChecksums ? 'with checksums' : 'without checksums';
    void it(`gives those of each row, in the order of the source, by every way of reading, ${how}`, async () => {
      await using reader = openCache(cacheDir, { validateChecksums });
      const whole = await everyRead(reader.table('documents'));
      assert.ok(whole.length > ROWS + 700);
      for (const columns of CHOICES) {
        const table = reader.table('documents').select(...columns);
        assert.deepEqual(
          entriesOf(await everyRead(table as TableReader<SourceRow>)),
          only(columns, whole as SourceRow[]),
          columns.join(),
        );
      }
    });
  }

  void it('is typed by them, and tells of the same table', () => {
    const table = cache.table(documents).select('title', 'vector');
    const row = table.get(4);
    assert.ok(row);
    sameType<typeof row, { readonly title: string; readonly vector: Uint8Array }>(true);
    assert.deepEqual(row, { title: 'title 4', vector: new Uint8Array(16) });
    assert.deepEqual(table.columns, ['title', 'vector']);
    assert.deepEqual(table.keyNames, ['id']);
    assert.equal(table.count(), ROWS);
    assert.deepEqual([table.has(4), table.has(-4)], [true, false]);
    const untyped = cache.table('documents').select('id').get(1);
    assert.ok(untyped);
    sameType<typeof untyped, Pick<SourceRow, 'id'>>(true);
    const again = table.select('opened').get(4);
    assert.ok(again);
    sameType<typeof again, { readonly opened: number }>(true);
    assert.deepEqual(again, { opened: 4.5 });
  });

  void it('asks no schema', () => {
    const schema = z.object({ id: z.number(), title: z.string().toUpperCase() });
    const table = cache.table(defineTable({ name: 'documents', schema }));
    assert.equal(table.get(1)?.title, 'TITLE 1');
    const row = table.select('title').get(1);
    assert.ok(row);
    sameType<typeof row, { title: string }>(true);
    assert.deepEqual(row, { title: 'title 1' });
  });

  void it('refuses a column that the cache does not have', () => {
    for (const name of ['Title', 'constructor', '']) {
      assert.throws(
        () => cache.table('documents').select(name),
        (error) =>
          error instanceof SourceError &&
          error.code === 'COLUMN_NOT_FOUND' &&
          error.message.includes(JSON.stringify(name)) &&
          error.hint?.includes('id, title, body, vector') === true,
      );
    }
  });

  void it('stands still in a snapshot, and follows to another generation and other columns', async () => {
    const table = cache.table('documents').select('id', 'opened');
    using snapshot = cache.snapshot();
    const held = snapshot.table('documents').select('opened');
    changeDatabase(
      source,
      `UPDATE documents SET opened = 0.25 WHERE id = 5;
       ALTER TABLE documents RENAME COLUMN title TO heading;`,
    );
    await using other = await StorageSync.open({
      source: { url: `file:${source}` },
      cacheDir,
      tables: [{ name: 'documents', limit: { count: 10_000, newestBy: 'opened' } }],
      pool,
    });
    await other.rebuild();
    assert.deepEqual(held.get(5), { opened: 5.5 });
    await using fresh = openCache(cacheDir);
    assert.deepEqual(fresh.table('documents').select('heading').get(5), { heading: 'title 5' });
    for (let tries = 0; table.get(5)?.opened !== 0.25; tries++) {
      assert.ok(tries < 100);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(table.get(5), { id: 5, opened: 0.25 });
  });

  void it('finds damage in what it does not read, where checksums are asked for', async () => {
    flipBits(cacheDir, Buffer.from('title 31'), 6);
    await using careful = openCache(cacheDir, { validateChecksums: true });
    assert.throws(
      () => careful.table('documents').select('id').get(31),
      (error) => error instanceof CacheError && error.code === 'CACHE_CORRUPT',
    );
  });
});
