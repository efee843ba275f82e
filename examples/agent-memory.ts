/**
 * An agent that looks for what it did before: nearest neighbours over the vectors in the cache. Run it with
 * `npm run build && node dist/examples/agent-memory.js`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  embeddings,
  episodes,
  memoryPreset,
  patterns,
  StorageSync,
  type CacheReader,
} from 'storage-sync';
import { finishEpisode, makeSampleMemory } from './sample-memory.js';
import { embed, similarity } from './text-embedding.js';

interface Neighbour {
  readonly itemType: string;
  readonly itemId: string;
  readonly score: number;
}

/** The vectors of one state of the cache, held in memory: a search is then one pass over numbers. */
class VectorMemory {
  readonly #items: readonly { itemType: string; itemId: string; vector: Float32Array }[];

  constructor(cache: CacheReader) {
    this.#items = Array.from(cache.table(embeddings).range(), (row) => ({
      itemType: row.item_type,
      itemId: row.item_id,
      vector: vectorOf(row.embedding_vector ?? new Uint8Array()),
    }));
  }

  get size(): number {
    return this.#items.length;
  }

  /** The most similar items of a kind, the best first. */
  nearest(wanted: Float32Array, itemType: string, count: number): Neighbour[] {
    return this.#items
      .filter((item) => item.itemType === itemType && item.vector.length === wanted.length)
      .map(({ itemId, vector }) => ({ itemType, itemId, score: similarity(wanted, vector) }))
      .toSorted((a, b) => b.score - a.score || a.itemId.localeCompare(b.itemId))
      .slice(0, count);
  }
}

/** The vector in a BLOB of `F32_BLOB`, without a copy where the bytes lie so that they can be looked at as floats. */
function vectorOf(blob: Uint8Array): Float32Array {
  const bytes = blob.byteOffset % 4 === 0 ? blob : Uint8Array.from(blob);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
const database = join(directory, 'memory.db');
makeSampleMemory(database);

{
  await using storage = await StorageSync.open({
    source: { url: `file:${database}` },
    cacheDir: join(directory, 'cache'),
    ...memoryPreset({ maxEpisodesCache: 1000 }),
  });
  const { episodesSynced, embeddingsSynced } = await storage.sync();
  const memory = new VectorMemory(storage.cache);
  console.log(`${episodesSynced} episodes, ${embeddingsSynced} embeddings, ${memory.size} vectors`);

  const task = 'fix the flaky login test of the web shop';
  console.log(`\nthe task: ${task}`);
  const wanted = embed(task);
  for (const { itemId, score } of memory.nearest(wanted, 'episode', 3)) {
    const episode = storage.cache.table(episodes).get(itemId);
    console.log(score.toFixed(3), itemId, episode?.task_description);
  }
  const [pattern] = memory.nearest(wanted, 'pattern', 1);
  const known = pattern && storage.cache.table(patterns).get(pattern.itemId);
  console.log('a pattern for it:', known?.pattern_id, known?.pattern_type);

  // What an agent writes goes to the source; the next sync brings it.
  finishEpisode(database, 'episode-01999');
  await storage.sync();
  console.log('learned:', storage.cache.table(episodes).get('episode-01999')?.reflection);
}

await rm(directory, { recursive: true });
