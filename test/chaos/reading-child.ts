import assert from 'node:assert/strict';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { openCache, type CacheReader, type SqlValue } from '../../src/index.js';
import { Random } from '../support/random.js';
import { READ_HANGS_MS, type ReadingOrder, type ReadingResult } from './reading-process.js';

/** Reads in every way there is, until it is told to end or something is wrong. */
const { cacheDir, seed, together, pauseMs } = JSON.parse(process.argv[2]!) as ReadingOrder;
const random = new Random(seed);

let ending = false;
process.on('message', () => (ending = true));
process.on('disconnect', () => process.exit(0));

/** Keys that were there once. */
const keys = new Map<string, (readonly SqlValue[])[]>();
const KEYS_KEPT = 50;

let reads = 0;
let slowestMs = 0;
let complaint: string | null = null;
try {
  await using cache = openCache(cacheDir, { validateChecksums: true });
  while (!ending) {
    if (cache.generation === null) {
      await sleep(2);
      continue;
    }
    const begun = performance.now();
    await readOnce(cache);
    const tookMs = performance.now() - begun;
    slowestMs = Math.max(slowestMs, tookMs);
    assert.ok(tookMs < READ_HANGS_MS, `a read took ${tookMs} ms`);
    reads++;
    if (pauseMs === 0) await setImmediate();
    else await sleep(pauseMs);
  }
} catch (error) {
  complaint = error instanceof Error ? (error.stack ?? error.message) : String(error);
}
const result: ReadingResult = { reads, slowestMs, complaint };
process.send!(result);
process.disconnect();

async function readOnce(cache: CacheReader): Promise<void> {
  if (together) readTogether(cache);
  const { name } = random.pick(cache.tables());
  switch (random.int(0, 3)) {
    case 0:
      readSnapshot(cache, name);
      break;
    case 1:
      // It counts by itself, and throws where rows are missing.
      for await (const _row of cache.table(name).stream()) reads++;
      break;
    case 2:
      readIndexes(cache, name);
      break;
    default:
      readKeys(cache, name);
  }
}

function readTogether(cache: CacheReader): void {
  using snapshot = cache.snapshot();
  const [a] = [...snapshot.table('pair_a').range()];
  const [b] = [...snapshot.table('pair_b').range()];
  assert.equal(a?.['v'], b?.['v'], 'rows that are changed together are read together');
}

/** The count is that of the rows, for all that a snapshot shows. */
function readSnapshot(cache: CacheReader, name: string): void {
  using snapshot = cache.snapshot();
  const table = snapshot.table(name);
  const rows = [...table.range()];
  assert.equal(rows.length, table.count(), `rows of ${name} in a snapshot`);
  const hasKey = table.keyNames.every((column) => table.columns.includes(column));
  if (!hasKey) return;
  const found = rows
    .map((row) => table.keyNames.map((column) => row[column]!))
    .filter((key) => key.every((value) => value !== null));
  keys.set(name, random.shuffled(found).slice(0, KEYS_KEPT));
}

/** Every row is in every index, under one snapshot. */
function readIndexes(cache: CacheReader, name: string): void {
  using snapshot = cache.snapshot();
  const table = snapshot.table(name);
  for (const { name: index, state } of table.indexes) {
    if (state !== 'ready') continue;
    let rows = 0;
    for (const _row of table.rangeByIndex(index)) rows++;
    assert.equal(rows, table.count(), `rows of ${name} by ${index}`);
  }
}

/** A row that is found has the key that it was asked for by. */
function readKeys(cache: CacheReader, name: string): void {
  const table = cache.table(name);
  for (const key of keys.get(name) ?? []) {
    const row = table.get(...key);
    if (row === undefined) continue;
    const found = table.keyNames.map((column) => row[column]);
    assert.deepEqual(found, key, `a row of ${name} by its key`);
  }
  table.getMany(keys.get(name) ?? []);
}
