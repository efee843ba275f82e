import { closeSync, cpSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openCache, StorageSync, StorageSyncError, WorkerPool } from '../../src/index.js';

/** Says before each run which one it is, so that a process that ended tells of what. */
function say(text: string): void {
  writeSync(1, `${text}\n`);
}

/** A generator of numbers below 2^32 from a seed: Mulberry32, by Tommy Ettinger. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Spoils some pages of a file, each in one of several ways. */
function spoil(path: string, random: () => number): string {
  const { length } = readFileSync(path);
  const pages = length / 4096;
  const fd = openSync(path, 'r+');
  const done: string[] = [];
  for (let count = 1 + (random() % 4); count > 0; count--) {
    const page = random() % pages;
    const kind = random() % 5;
    let at = page * 4096;
    let content: Buffer;
    if (kind === 0) content = Buffer.alloc(4096);
    else if (kind === 1) content = Buffer.from(Array.from({ length: 4096 }, () => random() & 255));
    else if (kind === 2) {
      // Within the header and the first nodes.
      at += random() % 64;
      content = Buffer.of(random() & 255, random() & 255);
    } else if (kind === 3) {
      at += random() % 4096;
      content = Buffer.of(1 << (random() % 8));
    } else {
      content = readFileSync(path)
        .subarray((random() % pages) * 4096)
        .subarray(0, 4096);
    }
    writeSync(fd, content, 0, content.length, at);
    done.push(`${kind}@${at}`);
  }
  closeSync(fd);
  return done.join(' ');
}

const [cacheDir, url, from, to] = process.argv.slice(2) as [string, string, string, string];
const pool = new WorkerPool({ readerThreads: 1 });
let found = 0;
for (let seed = Number(from); seed < Number(to); seed++) {
  const copy = `${cacheDir} ${seed}`;
  cpSync(cacheDir, copy, { recursive: true });
  say(`${seed} ${spoil(join(copy, 'generations', '1', 'data.mdb'), randomFrom(seed))}`);
  const errors: string[] = [];
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof StorageSyncError) || error.code !== 'CACHE_CORRUPT') throw error;
      errors.push(error.code);
    }
  };
  await attempt(async () => {
    await using cache = openCache(copy, { validateChecksums: true });
    for (const { name } of cache.tables()) {
      for await (const row of cache.table(name).stream()) {
        if (row['v'] !== `value ${String(row['k'])} ${'x'.repeat(Number(row['k']) % 90)}`) {
          throw new Error(`a wrong row: ${JSON.stringify(row)}`);
        }
      }
    }
  });
  // Whatever it was, a sync makes it good.
  await using storage = await StorageSync.open({ source: { url }, cacheDir: copy, pool });
  await storage.sync();
  if (storage.cache.table('t').count() !== 3000) throw new Error('rows are missing');
  if (errors.length > 0) found++;
  rmSync(copy, { recursive: true });
}
await pool.close();
say(`done: ${found} found`);
