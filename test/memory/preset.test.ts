import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import {
  DEFAULT_SYNC_CONFIG,
  embeddings,
  embeddingsTable,
  episodes,
  heuristics,
  memoryPreset,
  patterns,
  SPLIT_EMBEDDINGS,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type SyncConfig,
} from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase, type NativeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import {
  addEmbedding,
  addEpisode,
  addHeuristic,
  addPattern,
  createAgentMemory,
  vectorOf,
} from './agent-memory.js';

const SEED = 77;
const TABLES = ['embeddings', 'episodes', 'heuristics', 'patterns'];

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function withMemory(
  fill: (db: NativeDatabase) => void,
  config: Partial<SyncConfig>,
  use: (storage: StorageSync, file: string, options: StorageSyncOptions) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('memory.db');
  changeDatabase(file, (db) => {
    createAgentMemory(db);
    fill(db);
  });
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    ...memoryPreset(config),
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await use(storage, file, options);
}

/** What the cache must hold: the newest episodes, and the embeddings but for those of older ones. */
function inScope(count: number): Record<string, string> {
  const newest = `SELECT episode_id FROM episodes ORDER BY start_time DESC, episode_id DESC LIMIT ${count}`;
  return {
    episodes: `episode_id IN (${newest})`,
    embeddings: `item_type <> 'episode' OR item_id IN (${newest}) OR NOT EXISTS (SELECT 1 FROM episodes WHERE episode_id = item_id)`,
  };
}

void describe('the memory preset', () => {
  void it('has the defaults that are promised', () => {
    assert.deepEqual(DEFAULT_SYNC_CONFIG, {
      maxEpisodesCache: 1000,
      batchSize: 100,
      syncPatterns: true,
      syncHeuristics: true,
      syncEmbeddings: true,
      validateChecksums: false,
    });
    for (const config of [
      { maxEpisodesCache: 0 },
      { maxEpisodesCache: 1.5 },
      { batchSize: -1 },
      { syncPatterns: 'yes' as unknown as boolean },
      { maxEpisodes: 5 } as Partial<SyncConfig>,
    ]) {
      assert.throws(() => memoryPreset(config), { code: 'CONFIG_INVALID' });
    }
  });

  void it('keeps the newest episodes, evicts older ones, and their embeddings with them', async () => {
    const fill = (db: NativeDatabase): void => {
      for (let i = 0; i < 40; i++)
        addEpisode(db, `e${i}`, BigInt(1000 + Math.floor(i / 4)), i % 2 ? 'fix' : 'build');
      for (let i = 0; i < 40; i++) addEmbedding(db, `of e${i}`, ['episode', `e${i}`], i);
      addEmbedding(db, 'second of e39', ['episode', 'e39'], null);
      addEmbedding(db, 'orphan', ['episode', 'gone'], 1);
      addPattern(db, 'p1', 'loop', 'web');
      addPattern(db, 'p2', 'loop', null);
      addPattern(db, 'e1', 'guard', 'db');
      addEmbedding(db, 'of p1', ['pattern', 'p1'], 5);
      addEmbedding(db, 'of a pattern named e1', ['pattern', 'e1'], 6);
      addEmbedding(db, 'orphan of a pattern', ['pattern', 'gone'], 7);
      addHeuristic(db, 'h1', 0.25);
      addHeuristic(db, 'h2', 1);
    };
    // Four episodes share each start_time: the limit of ten cuts through them.
    await withMemory(
      fill,
      { maxEpisodesCache: 10, batchSize: 3 },
      async (storage, file, { cacheDir }) => {
        const check = async () => {
          const report = await storage.sync();
          await assertCacheEquals(file, cacheDir, {
            anyColumnOrder: true,
            tables: TABLES,
            where: inScope(10),
          });
          const counts = storage.cache.tables().map(({ name, rows }) => [name, rows]);
          assert.deepEqual(counts, [
            ['embeddings', report.embeddingsSynced],
            ['episodes', report.episodesSynced],
            ['heuristics', report.heuristicsSynced],
            ['patterns', report.patternsSynced],
          ]);
          assert.equal(report.validation.passed, true);
          return report;
        };
        const first = await check();
        assert.equal(first.episodesSynced, 10);
        assert.equal(first.embeddingsSynced, 10 + 1 + 1 + 3);
        assert.equal(first.patternsSynced, 3);
        assert.equal(first.heuristicsSynced, 2);

        const cache = storage.cache;
        const newest = cache
          .table(episodes)
          .newest(4)
          .map((episode) => episode.episode_id);
        assert.deepEqual(newest, ['e39', 'e38', 'e37', 'e36']);
        assert.equal(cache.table(episodes).newest(100).length, 10);
        assert.equal(cache.table(embeddings).get('of e0'), undefined);
        const vector = cache.table(embeddings).get('of e39')!.embedding_vector!;
        assert.deepEqual(new Float32Array(vector.slice().buffer), vectorOf(39));
        assert.equal(vector.byteLength, 16);
        assert.ok(cache.table(embeddings).get('orphan'));
        const loops = [...cache.table(patterns).byIndex('by_type', 'loop')].map(
          (p) => p.pattern_id,
        );
        assert.deepEqual(loops, ['p1', 'p2']);
        assert.equal([...cache.table(patterns).byIndex('by_context', null)].length, 1);
        assert.equal([...cache.table(patterns).byIndex('by_context', 'web', null)].length, 1);
        const item = [...cache.table(embeddings).byIndex('by_item', 'e39', 'episode')];
        assert.deepEqual(
          item.map((e) => e.embedding_id),
          ['of e39', 'second of e39'],
        );
        const sure = cache
          .table(heuristics)
          .newest(2, 'by_confidence')
          .map((h) => h.confidence);
        assert.deepEqual(sure, [1, 0.25]);
        const builds = [...cache.table(episodes).byIndex('by_task_type', 'build')].map(
          (e) => e.start_time,
        );
        assert.deepEqual(
          builds,
          [...builds].sort((a, b) => Number(a) - Number(b)),
        );

        changeDatabase(file, (db) => {
          addEpisode(db, 'new', 2000n);
          addEmbedding(db, 'of new', ['episode', 'new'], 99);
        });
        const second = await check();
        assert.equal(second.tables['episodes']?.rowsDeleted, 1);
        assert.equal(second.tables['episodes']?.rowsWritten, 1);
        assert.equal(second.tables['episodes']?.rowsUnchanged, 9);
        assert.equal(second.tables['embeddings']?.rowsDeleted, 1);
        assert.deepEqual(
          cache
            .table(episodes)
            .newest(1)
            .map((e) => e.episode_id),
          ['new'],
        );

        // An episode is finished in place; another becomes the newest; the newest goes, and an older one comes back.
        changeDatabase(
          file,
          `UPDATE episodes SET end_time = 9, outcome = 'done' WHERE episode_id = 'e38'`,
        );
        assert.equal((await check()).tables['episodes']?.rowsWritten, 1);
        changeDatabase(file, `UPDATE episodes SET start_time = 3000 WHERE episode_id = 'e0'`);
        await check();
        assert.deepEqual(
          cache
            .table(episodes)
            .newest(2)
            .map((e) => e.episode_id),
          ['e0', 'new'],
        );
        assert.ok(cache.table(embeddings).get('of e0'));
        changeDatabase(file, `DELETE FROM episodes WHERE episode_id IN ('e0', 'new')`);
        const last = await check();
        assert.equal(last.episodesSynced, 10);
        assert.ok(cache.table(embeddings).get('of new'), 'an orphan now');
        await storage.rebuild();
        await assertCacheEquals(file, cacheDir, {
          anyColumnOrder: true,
          tables: TABLES,
          where: inScope(10),
        });
      },
    );
  });

  void it(`keeps exactly the newest of any episodes (seed ${SEED})`, async () => {
    const times = fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(times, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 4 }),
        async (rounds, maxEpisodesCache, batchSize) => {
          await withMemory(
            () => undefined,
            { maxEpisodesCache, batchSize },
            async (storage, file, { cacheDir }) => {
              for (const [round, starts] of rounds.entries()) {
                changeDatabase(file, (db) => {
                  db.exec(
                    `DELETE FROM episodes WHERE rowid % 3 = ${round}; UPDATE episodes SET start_time = -start_time WHERE rowid % 2`,
                  );
                  for (const [i, start] of starts.entries()) {
                    addEpisode(db, `${round}.${i}`, BigInt(start));
                    addEmbedding(db, `of ${round}.${i}`, ['episode', `${round}.${i}`], i);
                  }
                });
                await storage.sync();
                await assertCacheEquals(file, cacheDir, {
                  anyColumnOrder: true,
                  tables: TABLES,
                  where: inScope(maxEpisodesCache),
                });
              }
            },
          );
        },
      ),
      { seed: SEED, numRuns: 15 },
    );
  });

  void it('keeps only what it is told to', async () => {
    const config = {
      syncPatterns: false,
      syncHeuristics: false,
      syncEmbeddings: false,
      maxEpisodesCache: 2,
    };
    await withMemory(
      (db) => addEpisode(db, 'e', 1n),
      config,
      async (storage, file, { cacheDir }) => {
        const report = await storage.sync();
        assert.equal(report.episodesSynced, 1);
        assert.equal(report.patternsSynced, 0);
        assert.equal(report.embeddingsSynced, 0);
        await assertCacheEquals(file, cacheDir, { anyColumnOrder: true, tables: ['episodes'] });
      },
    );
  });

  void it('works over http and ws as it does on the file', async () => {
    const fill = (db: NativeDatabase): void => {
      for (let i = 0; i < 30; i++) {
        addEpisode(db, `e${i}`, BigInt(i % 7));
        addEmbedding(db, `of e${i}`, ['episode', `e${i}`], i % 4 ? i : null);
      }
    };
    await withMemory(fill, { maxEpisodesCache: 11, batchSize: 4 }, async (_, file, options) => {
      await using server = await startHranaServer({ file });
      for (const url of [server.httpUrl, server.wsUrl]) {
        const cacheDir = `${options.cacheDir}-${url.slice(0, 2)}`;
        await using storage = await StorageSync.open({
          ...options,
          source: { url },
          cacheDir,
          pool,
        });
        const report = await storage.sync();
        assert.equal(report.episodesSynced, 11);
        await assertCacheEquals(file, cacheDir, {
          anyColumnOrder: true,
          tables: TABLES,
          where: inScope(11),
        });
      }
    });
  });

  void it('takes split embeddings, each evicted with its episodes', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('memory.db');
    changeDatabase(file, (db) => {
      createAgentMemory(db, SPLIT_EMBEDDINGS);
      for (let i = 0; i < 10; i++) {
        addEpisode(db, `e${i}`, BigInt(i));
        for (const table of SPLIT_EMBEDDINGS)
          addEmbedding(db, `of e${i}`, ['episode', `e${i}`], i, table);
      }
    });
    const { tables = [], ...rest } = memoryPreset({ maxEpisodesCache: 4, syncEmbeddings: false });
    const all = [...tables, ...SPLIT_EMBEDDINGS.map((name) => embeddingsTable(name))];
    const options = {
      source: { url: `file:${file}` },
      cacheDir: dir.join('cache'),
      ...rest,
      tables: all,
    };
    await using storage = await StorageSync.open({ ...options, pool });
    const report = await storage.sync();
    assert.equal(report.embeddingsSynced, 20);
    const where = Object.fromEntries(
      SPLIT_EMBEDDINGS.map((name) => [name, inScope(4)['embeddings']!]),
    );
    await assertCacheEquals(file, options.cacheDir, {
      anyColumnOrder: true,
      tables: ['episodes', 'heuristics', 'patterns', ...SPLIT_EMBEDDINGS],
      where: { ...where, episodes: inScope(4)['episodes']! },
    });
  });
});

void describe('a limit by a column that may be NULL', () => {
  void it('takes NULLs for the oldest', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (k TEXT PRIMARY KEY, at);
      INSERT INTO t VALUES ('a', NULL), ('b', 5), ('c', NULL), ('d', 7), (NULL, 6), (NULL, NULL), ('e', 'text'), ('f', x'00'), ('g', 5)`,
    );
    for (const [count, batchSize] of [
      [1, 1],
      [3, 2],
      [6, 2],
      [7, 3],
      [8, 1],
      [9, 1],
      [20, 4],
    ] as const) {
      const cacheDir = dir.join(`cache-${count}`);
      const tables = [{ name: 't', limit: { count, newestBy: 'at' } }];
      await using storage = await StorageSync.open({
        source: { url: `file:${file}` },
        cacheDir,
        tables,
        batchSize,
        pool,
      });
      for (let round = 0; round < 2; round++) {
        await storage.sync();
        const where = {
          t: `rowid IN (SELECT rowid FROM t ORDER BY at DESC, k DESC, rowid DESC LIMIT ${count})`,
        };
        await assertCacheEquals(file, cacheDir, { where });
        const newest = storage.cache
          .table('t')
          .newest(9)
          .map((row) => row['k']);
        assert.deepEqual(newest, ['f', 'e', 'd', null, 'g', 'b', 'c', 'a', null].slice(0, count));
      }
    }
  });
});
