import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  openChangeLog,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type VerifyLevel,
  type VerifyTableReport,
} from '../../src/index.js';
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
  texts: 'k TEXT PRIMARY KEY NOT NULL, at, v',
  rowid: 'k INTEGER PRIMARY KEY, at, v',
  nullable: 'k TEXT PRIMARY KEY, at, v',
  nocase: 'k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, at, v',
  limited: 'k TEXT PRIMARY KEY NOT NULL, at, v',
} as const;
const ROWS = 1000;

function build(file: string): void {
  changeDatabase(file, (db) => {
    db.exec('PRAGMA journal_mode = WAL');
    for (const [table, columns] of Object.entries(KINDS)) {
      const key = table === 'rowid' ? 'i' : `'k' || (i * 7919 % ${ROWS})`;
      db.exec(`CREATE TABLE ${table} (${columns});
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
        INSERT INTO ${table} SELECT ${key}, i, 'row ' || i FROM n`);
    }
  });
}

const TABLES = Object.keys(KINDS).map((name) =>
  name === 'limited' ? { name, limit: { count: 500, newestBy: 'at' } } : { name },
);

/** Writes to all tables as fast as it can, until it is ended. */
async function startWriter(
  file: string,
): Promise<AsyncDisposable & { readonly writes: () => number }> {
  const counter = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('./busy-writer.js', import.meta.url), {
    workerData: { file, counter, tables: Object.keys(KINDS), rows: ROWS },
  });
  while (Atomics.load(counter, 0) === 0) await sleep(5);
  return {
    writes: () => Atomics.load(counter, 0),
    [Symbol.asyncDispose]: async () => {
      Atomics.store(counter, 1, 1);
      await new Promise((resolve) => worker.once('exit', resolve));
    },
  };
}

async function withLoggedSource(
  way: 'file' | 'http',
  use: (file: string, options: StorageSyncOptions) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  build(file);
  {
    await using log = await openChangeLog({ url: `file:${file}` });
    await log.install();
  }
  await using server = way === 'http' ? await startHranaServer({ file }) : null;
  await use(file, {
    source: { url: server?.httpUrl ?? `file:${file}` },
    cacheDir: dir.join('cache'),
    tables: TABLES,
    batchSize: 300,
  });
}

const sum = (tables: Readonly<Record<string, VerifyTableReport>>, of: 'pending' | 'moving') =>
  Object.values(tables).reduce((total, table) => total + table[of], 0);

void describe('a source that moves', () => {
  for (const way of ['file', 'http'] as const) {
    void it(`gives no false difference while it is written to at full speed, over ${way}`, async () => {
      await withLoggedSource(way, async (file, options) => {
        await using storage = await StorageSync.open({ ...options, pool });
        await storage.sync();
        let pending = 0;
        await using writer = await startWriter(file);
        for (const level of ['deep', 'sample', 'quick', 'deep'] satisfies VerifyLevel[]) {
          const before = writer.writes();
          const report = await storage.verify({ level });
          assert.equal(report.differences, 0, JSON.stringify(report, null, 1));
          assert.ok(writer.writes() > before, 'the writer wrote meanwhile');
          pending += sum(report.tables, 'pending');
          if (level === 'deep') await storage.sync();
        }
        assert.ok(pending > 0, 'changes were met');
      });
    });
  }

  void it('tells changes that the log names apart from damage, and leaves them to the sync', async () => {
    await withLoggedSource('file', async (file, options) => {
      await using storage = await StorageSync.open({ ...options, pool });
      await storage.sync();
      changeDatabase(
        file,
        `UPDATE texts SET v = 'new' WHERE at <= 5; DELETE FROM texts WHERE at = 6;
         INSERT INTO texts VALUES ('new', 0, 0); UPDATE texts SET k = 'moved' WHERE at = 7;
         INSERT INTO limited VALUES ('newest', 1000000, 0);
         UPDATE nocase SET k = upper(k) WHERE at = 3;`,
      );
      const wrong = await tamper(options.cacheDir, 'texts', (table) => [
        table.flip(500, 3),
        table.remove(700),
      ]);
      // Far from the limit, where no change moves a row across it; the last is of the source, but far behind the limit.
      const wrongLimited = await tamper(options.cacheDir, 'limited', (table) => [
        table.remove(20),
        table.add(['k919']),
      ]);
      const report = await storage.verify({ level: 'deep', repair: true });
      const { texts, limited, nocase } = report.tables;
      assert.deepEqual(
        texts!.found.map(({ key, kind }) => ({ key, kind })),
        wrong,
      );
      assert.equal(texts!.pending, 5 + 1 + 1 + 2);
      assert.equal(nocase!.pending, 2);
      // The newest came in, and the oldest of those within the limit went out.
      assert.equal(limited!.pending, 2);
      assert.deepEqual(
        limited!.found.map(({ key, kind }) => ({ key, kind })),
        wrongLimited,
      );
      assert.equal(report.left, 0, JSON.stringify(report, null, 1));
      assert.equal(storage.cache.table('texts').get('new'), undefined);

      const quick = await storage.verify({ level: 'quick' });
      assert.equal(quick.differences, 0, JSON.stringify(quick, null, 1));
      await storage.sync();
      const after = await storage.verify({ level: 'deep' });
      assert.equal(after.differences, 0);
      assert.equal(sum(after.tables, 'pending'), 0);
    });
  });

  void it('is not believed at first look where it keeps no log', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    build(file);
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      tables: ['texts'],
    };
    await using storage = await StorageSync.open({ ...options, pool });
    await storage.sync();
    changeDatabase(file, `UPDATE texts SET v = 'new' WHERE at = 5`);
    const report = await storage.verify({ level: 'deep' });
    assert.equal(report.tables['texts']?.differences.differs, 1);
    assert.match(report.tables['texts'].notes.join(), /keeps no change log/);
  });
});
