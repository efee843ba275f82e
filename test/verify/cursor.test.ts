import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { StorageSync, WorkerPool, type TableDefinition } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const KINDS = {
  texts: 'k TEXT PRIMARY KEY NOT NULL',
  rowid: 'k INTEGER PRIMARY KEY',
  nullable: 'k TEXT PRIMARY KEY',
  nocase: 'k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL',
} as const;
const NAMES = Object.keys(KINDS) as (keyof typeof KINDS)[];
const ROWS = 600;

const TABLES: readonly TableDefinition[] = NAMES.map((name) => ({
  name,
  cursor: { column: 'c', overlap: 0, sweepEveryMs: 3_600_000 },
  softDelete: { column: 'gone' },
}));

function build(file: string): void {
  changeDatabase(file, (db) => {
    db.exec('PRAGMA journal_mode = WAL');
    for (const name of NAMES) {
      const key = name === 'rowid' ? 'i' : `'k' || i`;
      db.exec(`CREATE TABLE ${name} (${KINDS[name]}, c, v, gone);
        CREATE INDEX ${name}_by_c ON ${name} (c);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
        INSERT INTO ${name} SELECT ${key}, i, 'row ' || i, 0 FROM n`);
    }
  });
}

void describe('a verify of tables that are followed by their cursors', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`takes for pending what the next sync brings, and nothing else: ${way}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      build(file);
      await using server = way === 'http' ? await startHranaServer({ file }) : null;
      const source = { url: server ? server.httpUrl : `file:${file}` };
      const options = { source, cacheDir: dir.join('cache'), tables: TABLES, pool };
      await using storage = await StorageSync.open(options);
      await storage.sync();

      for (const name of NAMES) {
        changeDatabase(
          file,
          `UPDATE ${name} SET c = c + 10000, v = 'changed' WHERE c % 50 = 1;
           UPDATE ${name} SET c = c + 10000, gone = 1 WHERE c % 50 = 2;
           UPDATE ${name} SET c = NULL WHERE c % 50 = 3;
           INSERT INTO ${name} VALUES (${name === 'rowid' ? 5000 : `'new'`}, 20000, 'new', 0)`,
        );
      }
      const pending = 3 * (ROWS / 50) + 1;
      const behind = await storage.verify({ level: 'deep' });
      assert.equal(behind.differences, 0, JSON.stringify(behind.tables, null, 1));
      for (const name of NAMES) {
        assert.equal(behind.tables[name]?.pending, pending, name);
        assert.match(behind.tables[name].notes.join(' '), /from which the next sync reads/);
      }

      // What the cursor does not tell of differs: a row changed or gone without a word, and a damaged record.
      for (const name of NAMES) {
        changeDatabase(
          file,
          `UPDATE ${name} SET v = 'in silence' WHERE c = 104; DELETE FROM ${name} WHERE c = 105`,
        );
      }
      const tampered = await tamper(dir.join('cache'), 'texts', (table) => [table.flip(300, 9)]);
      const { tables } = await storage.verify({ level: 'deep' });
      for (const name of NAMES) {
        const found = tables[name]!;
        const damaged = name === 'texts' ? tampered.length : 0;
        assert.deepEqual(found.differences, { damaged, differs: 1, missing: 0, extra: 1 }, name);
        assert.equal(found.pending, pending, name);
        assert.match(found.notes.join(' '), /does not tell of rows that were deleted/);
      }

      // A repair leaves to the sync what is pending, and the sync then leaves nothing.
      const repaired = await storage.verify({ level: 'deep', repair: true });
      assert.equal(repaired.left, 0);
      assert.equal(repaired.repaired, 2 * NAMES.length + tampered.length);
      const report = await storage.sync();
      assert.equal(report.mode, 'incremental');
      const after = await storage.verify({ level: 'deep' });
      assert.equal(after.differences, 0);
      assert.deepEqual(
        NAMES.map((name) => after.tables[name]!.pending),
        NAMES.map(() => 0),
      );
    });
  }

  void it('does not fail by a count that the next sync may change', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    build(file);
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: TABLES,
      pool,
    };
    await using storage = await StorageSync.open(options);
    await storage.sync();
    changeDatabase(file, `INSERT INTO texts VALUES ('new', 20000, 'new', 0)`);
    const { differences, tables } = await storage.verify({ level: 'quick' });
    assert.equal(differences, 0, JSON.stringify(tables['texts'], null, 1));
    assert.match(tables['texts']!.notes.join(' '), /counts cannot be compared/);
  });
});
