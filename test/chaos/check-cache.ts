import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { openCache, type CacheReader } from '../../src/index.js';
import { dataPath, generationPath } from '../../src/cache/layout.js';
import { readManifest, type Manifest } from '../../src/cache/manifest.js';
import { readGeneration } from '../crash/stored-generation.js';
import type { SourceStates } from './source-states.js';

/**
 * Checks a cache as it lies there, with no sync under way: each generation opens, its rows are whole, its counts and
 * indexes agree with its rows, and what is served came from the source.
 */
export async function checkCache(cacheDir: string, states: SourceStates): Promise<void> {
  const manifest = readManifest(cacheDir);
  if (manifest === null) return;
  for (const number of generationsOf(manifest)) await checkGeneration(cacheDir, number);
  if (manifest.live === null) return;
  await using cache = openCache(cacheDir, { validateChecksums: true });
  for (const { name } of cache.tables()) await checkReads(cache, name);
  states.check(cache);
}

/** Checks that a completed sync has left nothing but the generation that is served. */
export function checkTidy(cacheDir: string): void {
  const { live, building } = readManifest(cacheDir)!;
  assert.equal(building, null, 'nothing is being built');
  assert.deepEqual(
    readdirSync(generationPath(cacheDir, live!).replace(/[^/]*$/, '')),
    [String(live)],
    'only the served generation is kept',
  );
  const temporary = readdirSync(cacheDir).filter((name) => name.endsWith('.tmp'));
  assert.deepEqual(temporary, [], 'no half-written files are left');
}

function generationsOf({ live, building }: Manifest): number[] {
  return [live, building?.generation].filter((number) => number != null);
}

async function checkGeneration(cacheDir: string, number: number): Promise<void> {
  const dir = generationPath(cacheDir, number);
  // One that is being built may not have come to a file.
  if (!existsSync(dataPath(dir))) return;
  const { tables } = await readGeneration(dir);
  for (const [name, { state, rows, indexes }] of tables) {
    assert.equal(state.rows, rows.size, `${name} of generation ${number}: its count of rows`);
    for (const [at, entries] of indexes.entries()) {
      assert.equal(entries.size, rows.size, `${name} of generation ${number}: index ${at}`);
      for (const key of entries.values()) {
        assert.ok(rows.has(key), `${name} of generation ${number}: index ${at} leads to ${key}`);
      }
    }
  }
}

/** Reads a table by its key and by each of its indexes: the rows are the same. */
async function checkReads(cache: CacheReader, name: string): Promise<void> {
  const table = cache.table(name);
  const byKey: string[] = [];
  for await (const row of table.stream()) byKey.push(rowText(row));
  assert.equal(byKey.length, table.count(), `${name}: its count of rows`);
  byKey.sort();
  for (const { name: index, state } of table.indexes) {
    if (state !== 'ready') continue;
    const byIndex = Array.from(table.rangeByIndex(index), rowText).sort();
    assert.deepEqual(byIndex, byKey, `${name}: read by ${index}`);
  }
}

function rowText(row: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(row, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value === Infinity ? '+inf' : value,
  );
}
