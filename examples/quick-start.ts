/**
 * An agent-memory database, its cache, and reads from it. Run it with `npm run demo`.
 *
 * The database is a file made on the spot; with a `libsql://` URL and a token it would be one in Turso.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { embeddings, memoryPreset, patterns, StorageSync } from 'storage-sync';
import { finishEpisode, makeSampleMemory } from './sample-memory.js';
import { embed, fromBlob, similarity } from './text-embedding.js';

const directory = await mkdtemp(join(tmpdir(), 'storage-sync-demo-'));
const database = join(directory, 'memory.db');
makeSampleMemory(database);

{
  await using storage = await StorageSync.open({
    source: { url: `file:${database}` },
    cacheDir: join(directory, 'cache'),
    ...memoryPreset({ maxEpisodesCache: 1000 }),
  });

  heading('Sync: the newest 1,000 of 2,000 episodes, and what belongs to them');
  const report = await storage.sync();
  console.log(`${report.mode} sync in ${report.durationMs} ms`);
  console.table(report.tables, ['rowsRead', 'rowsWritten', 'bytesWritten', 'durationMs']);
  console.log(`validation ${report.validation.passed ? 'passed' : 'FAILED'}`);

  const { cache } = storage;

  heading('One row by its key');
  console.log(cache.table(patterns).get('pattern-00042'));

  heading('The newest episodes');
  for (const { episode_id, start_time, task_description } of cache.table('episodes').newest(3)) {
    console.log(new Date(Number(start_time) * 1000).toISOString(), episode_id, task_description);
  }

  heading('Patterns by type, through an index');
  const recoveries = [...cache.table(patterns).byIndex('by_type', 'error_recovery')];
  const best = recoveries.sort((a, b) => b.success_rate - a.success_rate)[0];
  console.log(`${recoveries.length} of type error_recovery; the best is`, best?.pattern_id);

  heading('Episodes like "fix the flaky login test"');
  const wanted = embed('fix the flaky login test');
  const nearest = [];
  for (const row of cache.table(embeddings).range()) {
    if (row.item_type !== 'episode' || row.embedding_vector === null) continue;
    const score = similarity(wanted, fromBlob(row.embedding_vector));
    nearest.push({ id: row.item_id, score });
  }
  nearest.sort((a, b) => b.score - a.score);
  for (const { id, score } of nearest.slice(0, 3)) {
    const episode = cache.table('episodes').get(id);
    console.log(score.toFixed(3), id, episode?.['task_description']);
  }

  heading('Sync again: one episode was finished meanwhile');
  finishEpisode(database, 'episode-01999');
  const again = await storage.sync();
  const { rowsWritten, rowsUnchanged } = again.tables['episodes'] ?? {};
  console.log(`${rowsWritten} written, ${rowsUnchanged} unchanged in ${again.durationMs} ms`);
  console.log(cache.table('episodes').get('episode-01999')?.['reflection']);
  console.log(`the cache is ${(await storage.status()).state}`);
}

await rm(directory, { recursive: true });

function heading(text: string): void {
  console.log(`\n— ${text}`);
}
