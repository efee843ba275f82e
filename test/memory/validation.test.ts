import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import {
  memoryPreset,
  openChangeLog,
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type ValidationCheck,
} from '../../src/index.js';
import { generationPath } from '../../src/cache/layout.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import { tamper } from '../verify/tamper.js';
import { addEmbedding, addEpisode, addPattern, createAgentMemory } from './agent-memory.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

async function withMemory(
  use: (storage: StorageSync, file: string, options: StorageSyncOptions) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('memory.db');
  changeDatabase(file, (db) => {
    createAgentMemory(db, ['embeddings', 'embeddings_384']);
    for (let i = 0; i < 40; i++) addEpisode(db, `e${i}`, BigInt(1000 + i));
    for (let i = 0; i < 10; i++) addPattern(db, `p${i}`, i < 7 ? 'fix' : 'plan', null);
    for (let i = 0; i < 40; i++) addEmbedding(db, `ee${i}`, ['episode', `e${i}`], i);
    for (let i = 0; i < 10; i++) addEmbedding(db, `ep${i}`, ['pattern', `p${i}`], i);
  });
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    ...memoryPreset({ maxEpisodesCache: 20 }),
  };
  await using storage = await StorageSync.open({ ...options, pool });
  await use(storage, file, options);
}

const failed = (checks: readonly ValidationCheck[]) =>
  checks.filter(({ passed }) => !passed).map(({ table, check }) => `${table}: ${check}`);
const one = (checks: readonly ValidationCheck[], table: string, check: string) =>
  checks.find((each) => each.table === table && each.check === check)!;

/** The checks alone, as the cache is now. */
async function validate({ source, cacheDir, tables }: StorageSyncOptions) {
  const session = randomUUID();
  const connection = {
    ...source,
    authToken: undefined,
    requestTimeoutMs: 1000,
    retries: 0,
    retryInitialMs: 1,
    retryMaxMs: 1,
    transport: 'auto' as const,
  };
  const asked = {
    source: { session, connection },
    generation: { dir: generationPath(cacheDir, 1), unpublished: false, create: false },
  };
  try {
    const inspected = await pool.read('inspectCache', asked);
    const { checks } = await pool.read('validate', {
      ...asked,
      preset: 'memory',
      bounds: { maxRows: 100, maxBytes: 1e6, maxRowBytes: 1e6 },
      tables: inspected.tables.map(({ table: { id, plan } }) => ({
        tableId: id,
        plan,
        inFull: true,
      })),
    });
    assert.ok(tables);
    return checks;
  } finally {
    pool.endSession(session);
  }
}

void describe('what is validated after a sync of an agent memory', () => {
  void it('passes for a sound source, and says what was looked at', async () => {
    await withMemory(async (storage) => {
      const { validation } = await storage.sync();
      assert.equal(validation.passed, true, JSON.stringify(validation));
      assert.deepEqual(
        validation.checks
          .filter(({ check }) => check !== 'rows')
          .map(({ table, check }) => `${table}: ${check}`)
          .sort(),
        [
          'embeddings: embedding dimensions',
          'embeddings: orphaned embeddings',
          'embeddings_384: embedding dimensions',
          'embeddings_384: orphaned embeddings',
          'episodes: newest rows',
          'patterns: pattern types',
        ],
      );
      assert.match(
        one(validation.checks, 'embeddings', 'orphaned embeddings').detail,
        /^30 embeddings$/,
      );
    });
  });

  void it('reports orphans of the source, which are no failure', async () => {
    await withMemory(async (storage, file) => {
      changeDatabase(file, (db) => {
        addEmbedding(db, 'orphan', ['episode', 'gone'], 1);
        addEmbedding(db, 'orphan2', ['pattern', 'x'.repeat(3000)], 1);
      });
      const { validation } = await storage.sync();
      assert.equal(validation.passed, true, JSON.stringify(validation));
      const { detail } = one(validation.checks, 'embeddings', 'orphaned embeddings');
      assert.match(detail, /2 of items that the source does not have either/);
    });
  });

  void it('tells vectors that are not of their dimension, and a model with several', async () => {
    await withMemory(async (storage, file) => {
      changeDatabase(
        file,
        `UPDATE embeddings SET dimension = 5 WHERE embedding_id = 'ep3';
         UPDATE embeddings SET embedding_vector = x'0011' WHERE embedding_id = 'ep4';
         UPDATE embeddings SET embedding_vector = NULL, embedding_data = '[1, 2]' WHERE embedding_id = 'ep5';
         UPDATE embeddings SET embedding_vector = NULL, embedding_data = 'no json' WHERE embedding_id = 'ep6';
         INSERT INTO embeddings_384 SELECT * FROM embeddings WHERE embedding_id = 'ep1';`,
      );
      const { validation } = await storage.sync();
      assert.deepEqual(failed(validation.checks).sort(), [
        'embeddings: embedding dimensions',
        'embeddings_384: embedding dimensions',
      ]);
      const { detail } = one(validation.checks, 'embeddings', 'embedding dimensions');
      assert.match(detail, /^4 vectors .*"ep3", "ep4", "ep5", ….*several dimensions: "model"/);
      assert.equal(storage.cache.table('embeddings').count(), 30, 'nothing is lost by it');
    });
  });

  void it('finds what the cache lacks: newest episodes, patterns, items of embeddings', async () => {
    await withMemory(async (storage, file, options) => {
      await storage.sync();
      assert.deepEqual(failed(await validate(options)), []);
      await tamper(options.cacheDir, 'episodes', (table) => table.remove(table.keys.length - 3));
      await tamper(options.cacheDir, 'patterns', (table) => table.remove(9));
      const checks = await validate(options);
      assert.deepEqual(failed(checks), [
        'episodes: newest rows',
        'patterns: pattern types',
        'embeddings: orphaned embeddings',
      ]);
      assert.match(one(checks, 'patterns', 'pattern types').detail, /"plan" \(2, 3 there\)/);
      assert.match(
        one(checks, 'embeddings', 'orphaned embeddings').detail,
        /episode "e37", pattern "p9"/,
      );
      const report = await storage.verify({ level: 'deep', repair: true });
      assert.equal(report.left, 0, JSON.stringify(report, null, 1));
      assert.deepEqual(failed(await validate(options)), []);

      changeDatabase(file, (db) => addEpisode(db, 'later', 5000n));
      const later = one(await validate(options), 'episodes', 'newest rows');
      assert.equal(later.passed, true);
      assert.match(later.detail, /1 written after it was read/);
    });
  });

  void it('does not count anew what the change log has brought', async () => {
    await withMemory(async (storage, file) => {
      await using log = await openChangeLog({ url: `file:${file}` });
      await log.install();
      const withoutLimit = ['patterns', 'embeddings'];
      await storage.sync();
      const report = await storage.sync();
      const named = report.validation.checks.filter(({ table }) => withoutLimit.includes(table));
      assert.ok(
        named.every(({ check }) => check !== 'pattern types'),
        JSON.stringify(named),
      );
    });
  });
});
