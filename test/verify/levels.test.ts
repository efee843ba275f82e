import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { StorageSync, WorkerPool, type StorageSyncOptions } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const ROWS = 20_000;
const KINDS = {
  'TEXT keys': ['k TEXT PRIMARY KEY NOT NULL', `'k' || i`],
  'NOCASE keys': ['k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL', `'k' || i`],
  'keys that may be NULL': ['a TEXT, b', `CASE WHEN i % 3 = 0 THEN NULL ELSE i % 10 END, i`],
  'a limit': ['k TEXT PRIMARY KEY NOT NULL', `'k' || i`],
} as const;

async function withTable(
  kind: keyof typeof KINDS,
  use: (storage: StorageSync, options: StorageSyncOptions, file: string) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  const [key, values] = KINDS[kind];
  const primary = kind === 'keys that may be NULL' ? ', PRIMARY KEY (a, b)' : '';
  changeDatabase(
    file,
    `CREATE TABLE items (${key}, at, v${primary}); CREATE INDEX newest ON items (at);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO items SELECT ${values}, i, 'value ' || i FROM n`,
  );
  const limit = kind === 'a limit' ? { limit: { count: 8000, newestBy: 'at' } } : {};
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    tables: [{ name: 'items', ...limit }],
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
  await use(storage, options, file);
}

void describe('a sample', () => {
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    void it(`of a sound cache finds nothing, whatever it takes: ${kind}`, async () => {
      await withTable(kind, async (storage) => {
        for (let seed = 0; seed < 30; seed++) {
          const report = await storage.verify({ seed });
          assert.equal(report.differences, 0, JSON.stringify(report, null, 1));
          assert.equal(report.seed, seed);
          assert.equal(report.complete, true);
          const { rowsCompared } = report.tables['items']!;
          assert.ok(rowsCompared <= 1100, `${rowsCompared} rows`);
        }
      });
    });

    void it(`finds what is common, says the same for the same seed, and counts no row twice: ${kind}`, async () => {
      await withTable(kind, async (storage, { cacheDir }) => {
        const every = 25;
        const wrong = await tamper(cacheDir, 'items', (table) => {
          const kinds = { damaged: 0, missing: 0 };
          for (let at = 0; at < table.keys.length; at += every) {
            const { kind: how } = at % (2 * every) === 0 ? table.flip(at, 3) : table.remove(at);
            kinds[how as 'damaged' | 'missing']++;
          }
          return kinds;
        });
        const first = await storage.verify({ seed: 7 });
        const { differences, rowsCompared } = first.tables['items']!;
        assert.ok(differences.damaged > 5, JSON.stringify(first, null, 1));
        if (kind === 'TEXT keys') assert.ok(differences.missing > 5);
        assert.ok(differences.damaged < wrong.damaged / 2);
        assert.ok(differences.damaged + differences.missing <= rowsCompared + 1100);
        const keys = first.tables['items']!.found.map(({ key }) => key);
        assert.equal(new Set(keys).size, keys.length, 'each row is named once');
        const again = await storage.verify({ seed: 7 });
        assert.deepEqual(again.tables['items']!.found, first.tables['items']!.found);
        const other = await storage.verify({ seed: 8 });
        assert.notDeepEqual(other.tables['items']!.found, first.tables['items']!.found);
      });
    });
  }

  void it('finds rows that only one side has, at the ends too', async () => {
    await withTable('TEXT keys', async (storage, { cacheDir }, file) => {
      await tamper(cacheDir, 'items', (table) => {
        for (const key of ['zz1', 'zz2', 'zz3']) table.add([key]);
      });
      const found = await storage.verify({ seed: 1 });
      assert.equal(found.tables['items']!.differences.extra, 3, JSON.stringify(found, null, 1));
      changeDatabase(file, `INSERT INTO items VALUES ('zz0', 1, 1), ('zz4', 1, 1)`);
      const both = await storage.verify({ seed: 1, repair: true });
      assert.equal(both.tables['items']!.differences.missing, 2);
      assert.equal(both.left, 0, JSON.stringify(both, null, 1));
    });
  });

  void it('of a budget reads no more, and says what it left out', async () => {
    await withTable('TEXT keys', async (storage) => {
      const report = await storage.verify({ maxSourceRows: 500 });
      assert.ok(report.sourceRowsRead <= 500);
      assert.equal(report.complete, false);
      assert.match(report.tables['items']!.notes.join(), /maxSourceRows leaves too little/);
    });
  });
});

void describe('a quick look', () => {
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    void it(`compares the counts and the newest rows: ${kind}`, async () => {
      await withTable(kind, async (storage, _, file) => {
        assert.equal((await storage.verify({ level: 'quick' })).differences, 0);
        const newest = kind === 'keys that may be NULL' ? `a = 9 AND b = 19999` : `at = ${ROWS}`;
        const byKey = kind.endsWith('keys') ? `k = 'k9999'` : newest;
        changeDatabase(file, `UPDATE items SET v = 'changed' WHERE ${byKey}`);
        const changed = await storage.verify({ level: 'quick' });
        assert.equal(changed.tables['items']!.differences.differs, 1, JSON.stringify(changed));
        assert.equal(changed.left, 1);
        changeDatabase(
          file,
          `DELETE FROM items WHERE ${byKey}; DELETE FROM items WHERE at < 13000`,
        );
        const gone = await storage.verify({ level: 'quick' });
        const rows = gone.tables['items']!.checks.find(({ check }) => check === 'rows');
        assert.equal(rows?.passed, false, JSON.stringify(gone, null, 1));
      });
    });
  }
});
