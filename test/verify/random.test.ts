import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { StorageSync, SyncAbortedError, WorkerPool } from '../../src/index.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { bytes, changeDatabase, insert } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { assertFound, tamper, type TamperedTable } from './tamper.js';
import { THOROUGHNESS } from '../support/thoroughness.js';

const SEED = 20_261_123;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const TABLES = {
  rowid: 'k INTEGER PRIMARY KEY, u, v',
  texts: 'k TEXT PRIMARY KEY NOT NULL, u, v',
  nullable: 'k TEXT PRIMARY KEY, u, v',
  nocase: 'k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, u, v',
  pairs: 'k TEXT, u, v, PRIMARY KEY (k, u)',
} as const;
const NAMES = Object.keys(TABLES) as (keyof typeof TABLES)[];
const DEFINITIONS = NAMES.map((name) => ({
  name,
  indexes: [
    { name: 'by_v', columns: ['v', { column: 'u', descending: true }] },
    { name: 'one_v', columns: ['v'], unique: true },
  ],
}));

const key = fc.constantFrom('a', 'A', 'b', 'é', '', '1', 'x y', 'ab', 'aB');
const value = fc.constantFrom('NULL', '1', `'a'`, '2.5', `x'00'`, '9e999');
const change = fc.record({
  table: fc.constantFrom(...NAMES),
  what: fc.constantFrom('insert', 'update', 'delete', 'rename', 'null'),
  key,
  other: key,
  value,
});
const damage = fc.record({
  table: fc.constantFrom(...NAMES),
  what: fc.constantFrom('flip', 'cut', 'replace', 'remove', 'entry', 'no entry', 'garbage'),
  at: fc.nat(40),
  byte: fc.nat(30),
});

function sqlOf({
  table,
  what,
  key: k,
  other,
  value: v,
}: typeof change extends fc.Arbitrary<infer T> ? T : never): string {
  const literal = (text: string) =>
    table === 'rowid' ? String(text.length * 7 + (text.codePointAt(0) ?? 0)) : `'${text}'`;
  switch (what) {
    case 'insert':
      return `INSERT OR REPLACE INTO ${table} VALUES (${literal(k)}, ${v}, ${literal(other)})`;
    case 'update':
      return `UPDATE ${table} SET v = ${v} WHERE k = ${literal(k)}`;
    case 'delete':
      return `DELETE FROM ${table} WHERE k = ${literal(k)}`;
    case 'rename':
      return `UPDATE OR REPLACE ${table} SET k = ${literal(other)} WHERE k = ${literal(k)}`;
    case 'null':
      return table === 'nullable' || table === 'pairs'
        ? `INSERT INTO ${table} VALUES (NULL, ${v}, ${literal(k)})`
        : 'SELECT 1';
  }
}

function damageOf(table: TamperedTable, what: string, at: number, byte: number): void {
  const rows = table.keys.length;
  if (rows === 0) return;
  if (what === 'flip') table.flip(at % rows, byte);
  if (what === 'cut') table.cut(at % rows, byte);
  if (what === 'replace') table.replace(at % rows, byte % rows);
  if (what === 'remove') table.remove(at % rows);
  if (what === 'entry') table.addEntry();
  if (what === 'no entry') table.removeEntries(1);
  if (what === 'garbage') table.addGarbage(Buffer.from([byte * 8, at]));
}

void describe('a repair of a cache that anything happened to', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`makes it what a rebuild would: over ${way} (seed ${SEED})`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(change, { minLength: 5, maxLength: 60 }),
          fc.array(change, { maxLength: 10 }),
          fc.array(damage, { maxLength: 5 }),
          fc.constantFrom(1, 3, 1000),
          async (initial, later, damages, batchSize) => {
            await using dir = await TempDirectory.make();
            const file = dir.join('source.db');
            const schema = NAMES.map((name) => `CREATE TABLE ${name} (${TABLES[name]})`);
            changeDatabase(
              file,
              ['PRAGMA journal_mode = WAL', ...schema, ...initial.map(sqlOf)].join(';'),
            );
            await using server = way === 'http' ? await startHranaServer({ file }) : null;
            await using storage = await StorageSync.open({
              source: { url: server?.httpUrl ?? `file:${file}` },
              cacheDir: dir.join('cache'),
              tables: DEFINITIONS,
              batchSize,
              pool,
            });
            await storage.sync();
            changeDatabase(file, [...later.map(sqlOf), 'SELECT 1'].join(';'));
            for (const { table, what, at, byte } of damages) {
              // What is damaged by one is not to be read by the next.
              const once = damages.filter((each) => each.table === table).length === 1;
              if (once) {
                await tamper(dir.join('cache'), table, (tampered) =>
                  damageOf(tampered, what, at, byte),
                );
              }
            }
            const repaired = await storage.verify({ level: 'deep', repair: true, allowLoss: true });
            const shown = JSON.stringify(repaired, null, 1);
            assert.equal(repaired.left, 0, shown);
            await assertCacheEquals(file, dir.join('cache'));
            const again = await storage.verify({ level: 'deep' });
            assert.equal(again.differences, 0, `${shown}${JSON.stringify(again, null, 1)}`);
            const digests = await recordDigests(dir.join('cache'));
            await storage.rebuild();
            assert.deepEqual(await recordDigests(dir.join('cache')), digests);
          },
        ),
        { seed: SEED, numRuns: (way === 'file' ? 28 : 8) * THOROUGHNESS },
      );
    });
  }
});

void describe('rows that are larger than pages', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`are compared, looked at again and repaired: over ${way}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, (db) => {
        db.exec('CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v)');
        const rows = Array.from({ length: 12 }, (_, i) => [`k${i}`, bytes(1_500_000 + i, i + 1)]);
        insert(db, 'items', rows);
      });
      await using server = way === 'http' ? await startHranaServer({ file }) : null;
      const cacheDir = dir.join('cache');
      await using storage = await StorageSync.open({
        source: { url: server?.httpUrl ?? `file:${file}` },
        cacheDir,
        maxPageBytes: 1_000_000,
        pool,
      });
      await storage.sync();
      const digests = await recordDigests(cacheDir);
      assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
      const wrong = await tamper(cacheDir, 'items', (table) => [
        table.flip(1, 700_000),
        table.flip(2, 1_400_000),
        table.remove(3),
        table.replace(7, 8),
      ]);
      const report = await storage.verify({ level: 'deep', repair: true });
      assertFound(report.tables['items']!, wrong, true);
      assert.deepEqual(await recordDigests(cacheDir), digests);
    });
  }
});

void describe('a table whose sync was interrupted', () => {
  void it('is compared, but left to the sync', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE items (k INTEGER PRIMARY KEY, v);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       INSERT INTO items SELECT i, i FROM n`,
    );
    const cacheDir = dir.join('cache');
    const options = { source: { url: `file:${file}` }, cacheDir, batchSize: 100, pool };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    changeDatabase(file, 'UPDATE items SET v = -v; DELETE FROM items WHERE k % 10 = 0');
    const abort = new AbortController();
    // Progress is told now and then: with a row a batch it is told many times before the end.
    await using slow = await StorageSync.open({ ...options, batchSize: 1 });
    const run = slow.sync({
      signal: abort.signal,
      onProgress: ({ rowsRead }) => {
        if (rowsRead >= 300) abort.abort();
      },
    });
    await assert.rejects(run.then(), SyncAbortedError);
    const report = await storage.verify({ level: 'deep', repair: true });
    const { differences, notes } = report.tables['items']!;
    assert.ok(differences.differs > 100 && differences.extra > 10, JSON.stringify(report));
    assert.equal(report.repaired, 0);
    assert.match(notes.join(), /a sync of it was interrupted/);
    await storage.sync();
    await assertCacheEquals(file, cacheDir);
    assert.equal((await storage.verify({ level: 'deep' })).differences, 0);
  });
});
