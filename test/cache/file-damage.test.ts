import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, utimesSync, statSync } from 'node:fs';
import { cp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openCache, openChangeLog, StorageSync, type StorageSyncOptions } from '../../src/index.js';
import { preflight } from '../../src/cache/preflight.js';
import { readSeal } from '../../src/cache/seal.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { encodeKey } from '../../src/transform/key-codec.js';
import { TempDirectory } from '../support/temp.js';
import { flipBits } from './file-bytes.js';

const RUNS = Number(process.env['STORAGE_SYNC_DAMAGE_RUNS'] ?? 60);

async function withCache(
  use: (options: StorageSyncOptions, generation: string, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k INTEGER PRIMARY KEY, v);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     INSERT INTO t SELECT i, printf('value %d %.*c', i, i % 90, 'x') FROM n;
     UPDATE t SET v = 'value ' || k || ' ' WHERE k % 90 = 0`,
  );
  const options = {
    source: { url: `file:${file}` },
    cacheDir: dir.join('cache'),
    batchSize: 200,
    tables: [{ name: 't', indexes: [{ name: 'by_v', columns: ['v'] }] }],
  };
  await using storage = await StorageSync.open(options);
  await storage.sync();
  // Pages that were used and are free, as in any cache that lived.
  changeDatabase(file, 'CREATE TABLE old AS SELECT * FROM t; DELETE FROM t WHERE k % 3 = 0');
  await storage.sync();
  changeDatabase(file, 'INSERT INTO t SELECT * FROM old WHERE k % 3 = 0; DROP TABLE old');
  await storage.sync();
  await use(options, join(options.cacheDir, 'generations', '1'), dir);
}

function changed(bytes: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  if (at >= 0) copy[at]! ^= bit;
  return copy;
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
  await file.write(Buffer.of(buffer[0]! ^ 0xff), 0, 1, at);
  await file.close();
}

void describe('damage within the pages of a cache file', () => {
  void it('ends no process and gives no wrong row, whatever it is', async () => {
    await withCache(async ({ source, cacheDir }) => {
      const path = fileURLToPath(new URL('./damage-child.js', import.meta.url));
      const args = [path, cacheDir, source.url, '0', String(RUNS)];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
      const end = await new Promise((resolve) => {
        child.on('close', (code, signal) => resolve(signal ?? code));
      });
      const last = said.trimEnd().split('\n').slice(-12).join('\n');
      assert.equal(end, 0, last);
      assert.ok(Number(/done: (\d+) found/.exec(said)![1]) > RUNS / 3, last);
    });
  });

  void it('is looked for once: a file is sealed as it was left, and by whom it is written', async () => {
    await withCache(async (options, generation, dir) => {
      const data = join(generation, 'data.mdb');
      const left = readSeal(generation)!;
      assert.ok('bytes' in left && left.bytes === statSync(data).size);
      {
        await using cache = openCache(options.cacheDir);
        assert.equal(cache.table('t').count(), 3000);
      }
      assert.deepEqual(readSeal(generation), left, 'a reader changes nothing');
      preflight(generation);

      const copy = dir.join('copy');
      await cp(options.cacheDir, copy, { recursive: true });
      const copied = join(copy, 'generations', '1');
      preflight(copied);
      assert.notDeepEqual(readSeal(copied), left, 'a copy was looked at, and sealed');

      await rm(join(generation, 'seal.json'));
      preflight(generation);
      const pages = { ...left, pagesOnly: true };
      assert.deepEqual(readSeal(generation), pages, 'without a seal the file is looked at');
    });
  });

  void it('is found in a record that a sync need not look at, and mended', async () => {
    await withCache(async (options, generation, dir) => {
      const file = dir.join('source.db');
      {
        await using log = await openChangeLog({ url: `file:${file}` });
        await log.install();
        await using storage = await StorageSync.open(options);
        await storage.sync();
        assert.equal((await storage.sync()).mode, 'incremental');
      }
      const data = join(generation, 'data.mdb');
      const content = readFileSync(data);
      // Wherever it is: free pages have it too.
      for (let at = 0; (at = content.indexOf('value 1234 ', at + 1)) > 0;)
        await flip(data, at + 10);
      // A reader looks at the pages, and finds nothing wrong with them.
      assert.doesNotThrow(() => preflight(generation));
      await using storage = await StorageSync.open(options);
      const report = await storage.sync();
      assert.deepEqual([report.mode, report.generation], ['incremental', 1]);
      assert.deepEqual(Object.values(report.repaired ?? {}), [1]);
      await assertCacheEquals(file, options.cacheDir);
    });
  });

  void it('is found in the size of a key, which a removal would believe, and in their order', async () => {
    await withCache(async ({ cacheDir }, generation) => {
      const record = Buffer.concat([encodeKey([700]), Buffer.of(0x92, 0xcd, 700 >> 8, 700 & 255)]);
      // The size lies before the key; a key of 16,000-odd before that of 701 is out of order.
      for (const [offset, bit] of [
        [-2, 0x40],
        [1, 0x20],
      ] as const) {
        flipBits(cacheDir, record, offset, bit);
        assert.throws(() => preflight(generation), /CACHE_CORRUPT|entries|order/);
        flipBits(cacheDir, changed(record, offset, bit), offset, bit);
        preflight(generation);
      }
    });
  });

  void it('is found in any page that the trees reach', async () => {
    await withCache(async (_options, generation) => {
      const data = join(generation, 'data.mdb');
      const { size, mtime } = statSync(data);
      let found = 0;
      for (let page = 2; page < size / 4096; page++) {
        // Its number: whoever reads the page finds another one.
        await flip(data, page * 4096);
        await rm(join(generation, 'seal.json'), { force: true });
        try {
          preflight(generation);
        } catch {
          found++;
        }
        await flip(data, page * 4096);
      }
      utimesSync(data, mtime, mtime);
      await rm(join(generation, 'seal.json'), { force: true });
      preflight(generation);
      assert.ok(found > (size / 4096) * 0.4, `${found} of ${size / 4096} pages`);
    });
  });
});
