import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CacheError,
  openCache,
  readStatus,
  StorageSync,
  StorageSyncError,
  WorkerPool,
} from '../../../src/index.js';
import { readManifest } from '../../../src/cache/manifest.js';
import { changeDatabase } from '../../support/databases.js';
import type { Random } from '../../support/random.js';
import { mutateText } from '../mutate.js';
import type { Target } from '../target.js';

const ROWS = 1200;
const PAGE_BYTES = 4096;
/** More than there are records that one case damages. */
const MOST_TURNS = 12;

/** What the row of a key is. */
function valueOf(key: number): string {
  return `value ${key} ${'x'.repeat(key % 60)}`;
}

/** The files of a cache, damaged, and read in a process that has to outlive it. */
export async function cacheFiles(directory: string): Promise<Target> {
  const file = join(directory, 'source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k INTEGER PRIMARY KEY, v, w);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO t SELECT i, printf('value %d %.*c', i, i % 60, 'x'), i % 10 FROM n;
     UPDATE t SET v = 'value ' || k || ' ' WHERE k % 60 = 0`,
  );
  const cacheDir = join(directory, 'cache');
  const pool = new WorkerPool({ readerThreads: 1 });
  const tables = [{ name: 't', indexes: [{ name: 'by_w', columns: ['w', 'k'] }] }];
  const options = { source: { url: `file:${file}` }, tables, pool };
  {
    await using storage = await StorageSync.open({ ...options, cacheDir });
    await storage.sync();
    assert.equal(storage.cache.table('t').get(61)?.['v'], valueOf(61));
  }
  return {
    async run(random) {
      const copy = join(directory, 'copy');
      cpSync(cacheDir, copy, { recursive: true });
      try {
        spoil(random, copy);
        await allowed(async () => await readAll(copy));
        await allowed(async () => void (await readStatus(copy)));
        if (random.chance(0.2)) {
          await mendUnlessForeign(copy, async () => {
            await using storage = await StorageSync.open({ ...options, cacheDir: copy });
            await mendByReading(storage, copy);
          });
        }
      } finally {
        rmSync(copy, { recursive: true, force: true });
      }
    },
    async [Symbol.asyncDispose]() {
      await pool.close();
    },
  };
}

/** What says that it is of another product, or of a later version, is left alone. */
async function mendUnlessForeign(cacheDir: string, mend: () => Promise<void>): Promise<void> {
  try {
    readManifest(cacheDir);
  } catch (error) {
    if (error instanceof CacheError && error.code === 'CACHE_FORMAT_UNSUPPORTED') return;
  }
  await mend();
}

/** A read ends at the first damage that it meets, and a sync repairs what reads have met: in turn they find it all. */
async function mendByReading(storage: StorageSync, cacheDir: string): Promise<void> {
  for (let turn = 1; ; turn++) {
    await storage.sync();
    try {
      await readAll(cacheDir);
      return;
    } catch (error) {
      assert.ok(error instanceof StorageSyncError && turn < MOST_TURNS, error as Error);
    }
  }
}

async function allowed(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof StorageSyncError, error as Error);
  }
}

async function readAll(cacheDir: string): Promise<void> {
  await using cache = openCache(cacheDir, { validateChecksums: true });
  const failures: unknown[] = [];
  const attempt = async (read: () => void | Promise<void>) => {
    await allowed(async () => {
      try {
        await read();
      } catch (error) {
        failures.push(error);
        throw error;
      }
    });
  };
  await attempt(() => {
    const [table] = cache.tables();
    assert.deepEqual([table?.name, table?.columns], ['t', ['k', 'v', 'w']]);
  });
  for (const key of [1, 61, 600, ROWS]) {
    await attempt(() => {
      // A key that is another one now, in the same order, is not found; a stream meets it.
      const row = cache.table('t').get(key);
      if (row !== undefined) assertRow(row);
    });
  }
  await attempt(async () => {
    let next = 1;
    for await (const row of cache.table('t').stream()) {
      assert.equal(row['k'], next++);
      assertRow(row);
    }
    assert.equal(next, ROWS + 1);
  });
  await attempt(() => {
    let last = 0;
    for (const row of cache.table('t').byIndex('by_w', 7)) {
      assertRow(row);
      assert.equal(row['w'], 7);
      assert.ok(Number(row['k']) > last, 'each row comes once, in order');
      last = Number(row['k']);
    }
  });
  if (failures.length > 0) throw failures[0];
}

function assertRow(row: Readonly<Record<string, unknown>>): void {
  const key = Number(row['k']);
  assert.deepEqual(row, { k: key, v: valueOf(key), w: key % 10 });
}

function spoil(random: Random, cacheDir: string): void {
  const at = (name: string) => join(cacheDir, ...name.split('/'));
  if (random.chance(0.15)) {
    const name = random.pick(['manifest.json', 'state.json', 'generations/1/seal.json']);
    const json: unknown = JSON.parse(readFileSync(at(name), 'utf8'));
    writeFileSync(at(name), mutateText(random, json));
    return;
  }
  const path = at('generations/1/data.mdb');
  let bytes = readFileSync(path);
  if (random.chance(0.05)) bytes = bytes.subarray(0, random.int(0, bytes.length));
  for (let count = random.int(1, 4); count > 0 && bytes.length > 0; count--) {
    const page = random.int(0, Math.floor((bytes.length - 1) / PAGE_BYTES)) * PAGE_BYTES;
    const kind = random.int(0, 5);
    if (kind === 0) bytes.fill(0, page, Math.min(bytes.length, page + PAGE_BYTES));
    else if (kind === 1) bytes.copy(bytes, page, random.int(0, bytes.length - 1), bytes.length);
    else if (kind === 2)
      bytes.writeUInt8(random.int(0, 255), Math.min(bytes.length - 1, page + random.int(0, 63)));
    else {
      const to = Math.min(bytes.length - 1, page + random.int(0, PAGE_BYTES - 1));
      bytes.writeUInt8(bytes[to]! ^ (1 << random.int(0, 7)), to);
    }
  }
  writeFileSync(path, bytes);
}
