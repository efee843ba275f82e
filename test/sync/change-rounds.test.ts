import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openChangeLog, StorageSync, type StorageSyncOptions } from '../../src/index.js';
import type { ReaderTasks, WriterTasks } from '../../src/pipeline/messages.js';
import { WorkerPool } from '../../src/pipeline/worker-pool.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const ROWS = 4000;
const MANY_ROWS = `CREATE TABLE notes (k TEXT PRIMARY KEY NOT NULL, kind TEXT, v INTEGER);
  WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO notes SELECT printf('%08x', (i * 2654435761) % 4294967296), 'kind ' || (i % 7), i FROM n`;

/** Notes the rounds: when one begins to be read, and when it is there; the same of its commit. */
class NotingPool extends WorkerPool {
  readonly notes: string[] = [];
  #reads = 0;
  #commits = 0;

  override async read<Name extends keyof ReaderTasks>(
    task: Name,
    ...request: [ReaderTasks[Name]['request'], (readonly ArrayBuffer[])?, string?]
  ): Promise<ReaderTasks[Name]['response']> {
    if (task !== 'changes') return await super.read(task, ...request);
    const round = ++this.#reads;
    this.notes.push(`read ${round}`);
    return await super.read(task, ...request);
  }

  override async write<Name extends keyof WriterTasks>(
    task: Name,
    ...request: [WriterTasks[Name]['request'], (readonly ArrayBuffer[])?]
  ): Promise<WriterTasks[Name]['response']> {
    if (task !== 'apply') return await super.write(task, ...request);
    const round = ++this.#commits;
    const response = await super.write(task, ...request);
    this.notes.push(`committed ${round}`);
    return response;
  }
}

interface Notes {
  readonly file: string;
  readonly storage: StorageSync;
  readonly pool: NotingPool;
  /** Holds the cache against the source. */
  readonly assertSame: () => Promise<void>;
}

async function withNotes(
  use: (notes: Notes) => Promise<void>,
  settings: Partial<StorageSyncOptions> = {},
): Promise<void> {
  await using dir = await TempDirectory.make();
  await using pool = new NotingPool({ readerThreads: 2 });
  const file = dir.join('source.db');
  const cacheDir = dir.join('cache');
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${MANY_ROWS}`);
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install();
  await using storage = await StorageSync.open({
    source: { url: `file:${file}` },
    cacheDir,
    tables: [{ name: 'notes', indexes: [{ name: 'byKind', columns: ['kind'] }] }],
    ...settings,
    pool,
  });
  await storage.sync();
  const assertSame = async () => await assertCacheEquals(file, cacheDir);
  await use({ file, storage, pool, assertSame });
}

void describe('rounds of changes', () => {
  void it('bring thousands of rows, with what indexes say of them, in one transaction', async () => {
    await withNotes(async ({ file, storage, pool, assertSame }) => {
      changeDatabase(
        file,
        `UPDATE notes SET kind = 'other' WHERE v % 2 = 0; DELETE FROM notes WHERE v % 5 = 1`,
      );
      const report = await storage.sync();
      // Of the changed rows a fifth is gone again.
      const changed = ROWS / 2 - ROWS / 10;
      const { rowsWritten, rowsDeleted } = report.tables['notes']!;
      assert.deepEqual([report.mode, rowsWritten, rowsDeleted], ['incremental', changed, ROWS / 5]);
      assert.deepEqual(pool.notes, ['read 1', 'committed 1']);
      const others = [
        ...storage.cache.table('notes').rangeByIndex('byKind', { prefix: ['other'] }),
      ];
      assert.equal(others.length, changed);
      await assertSame();
    });
  });

  void it('leave nothing behind where they are refused', async () => {
    await withNotes(async ({ file, storage, assertSame }) => {
      const notes = storage.cache.table('notes');
      const before = [...notes.range()];
      changeDatabase(file, `UPDATE notes SET kind = 'other'; DELETE FROM notes WHERE v % 5 > 0`);
      await assert.rejects(async () => await storage.sync(), { code: 'LOSS_SUSPECTED' });
      assert.deepEqual([...notes.range()], before);
      await storage.sync({ allowLoss: true });
      assert.equal(notes.count(), ROWS / 5);
      await assertSame();
    });
  });

  void it('are read while the one before is being committed, and committed in order', async () => {
    await withNotes(
      async ({ file, storage, pool, assertSame }) => {
        changeDatabase(file, `UPDATE notes SET v = -v WHERE v <= ${ROWS / 2}`);
        await storage.sync();
        assert.deepEqual(pool.notes, [
          'read 1',
          'read 2',
          'committed 1',
          'read 3',
          'committed 2',
          'read 4',
          'committed 3',
          'committed 4',
        ]);
        await assertSame();
      },
      { batchSize: ROWS / 8 },
    );
  });

  void it('follow one another where there is memory for one alone', async () => {
    await withNotes(
      async ({ file, storage, pool, assertSame }) => {
        changeDatabase(file, `UPDATE notes SET v = -v WHERE v <= ${ROWS / 4}`);
        await storage.sync();
        assert.deepEqual(pool.notes, ['read 1', 'committed 1', 'read 2', 'committed 2']);
        await assertSame();
      },
      { batchSize: ROWS / 8, maxPageBytes: 1024 * 1024, maxBytesInFlight: 1024 * 1024 },
    );
  });

  void it('that were read ahead of a refused one are not committed', async () => {
    await withNotes(
      async ({ file, storage, pool, assertSame }) => {
        const notes = storage.cache.table('notes');
        changeDatabase(file, `DELETE FROM notes WHERE v % 5 > 0`);
        await assert.rejects(async () => await storage.sync(), { code: 'LOSS_SUSPECTED' });
        const committed = pool.notes.filter((note) => note.startsWith('committed')).length;
        assert.equal(notes.count(), ROWS - (committed * ROWS) / 8);
        assert.ok(committed < 5);
        await storage.sync({ allowLoss: true });
        await assertSame();
      },
      { batchSize: ROWS / 8 },
    );
  });
});
