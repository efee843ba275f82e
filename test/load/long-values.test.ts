import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { BulkTree } from '../../src/cache/bulk/bulk-tree.js';
import type { RowidRange } from '../../src/source/stored/leaf-scan.js';
import { ROOMY } from '../source/stored-reading.js';
import {
  changeDatabase,
  insert,
  type Insertable,
  type NativeDatabase,
} from '../support/databases.js';
import fc from '../support/fast-check.js';
import { TempDirectory } from '../support/temp.js';
import { ALL, readBothWays, type ByLeaves, type Reading } from './reading.js';

const KEY_LIMIT = 1978;
const MIB = 1024 * 1024;

async function readTable(
  build: (db: NativeDatabase) => void,
  reading?: Reading,
): Promise<ByLeaves> {
  await using dir = await TempDirectory.make();
  const file = dir.join('t.db');
  changeDatabase(file, build);
  return await readBothWays(file, reading);
}

/** Of each record the bytes of its key and of its value. */
function sizesOf({ records }: ByLeaves): [key: number, value: number][] {
  return records.map((record) => {
    const key = record.indexOf(' ') / 2;
    return [key, (record.length - 1) / 2 - key];
  });
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

void describe('long values get pages of their own', () => {
  for (const pageSize of [1024, 4096, 65_536]) {
    void it(`from the first byte too many for a leaf on, and as many as they fill: SQLite's of ${pageSize} bytes`, async () => {
      const lengths = [
        ...numbers(1950, 2050),
        ...numbers(4000, 4090),
        ...numbers(8090, 8190),
        ...numbers(24_500, 24_560),
        ...numbers(65_400, 65_530),
      ];
      const read = await readTable((db) => {
        db.exec(`PRAGMA page_size = ${pageSize}; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v)`);
        insert(
          db,
          't',
          lengths.map((bytes, i) => [
            `k${i}`,
            i % 2 === 0 ? Buffer.alloc(bytes, i) : 'v'.repeat(bytes),
          ]),
        );
      });
      const nodes = new Set(sizesOf(read).map(([key, value]) => 8 + key + value));
      for (const node of [2032, 2033, 2034, 2035, 2036]) assert.ok(nodes.has(node), `${node}`);
      const ends = new Set(sizesOf(read).map(([, value]) => (24 + value) % 4096));
      for (const end of [4095, 0, 1]) assert.ok(ends.has(end), `a last page with ${end} bytes`);
      const long = sizesOf(read).filter(([key, value]) => 8 + key + value > 2034).length;
      assert.deepEqual([read.moved, read.stayed], [long, 0]);
      assert.equal(read.wasted, 0);
    });
  }

  void it('where it is the key that is long', async () => {
    const read = await readTable((db) => {
      db.exec('CREATE TABLE t (k BLOB PRIMARY KEY NOT NULL, v BLOB)');
      const rows: Insertable[][] = [];
      for (const bytes of numbers(KEY_LIMIT - 12, KEY_LIMIT + 3)) {
        for (const more of [0, 1, 10, 40, 60]) {
          const key = Buffer.alloc(bytes, 'k');
          key.writeUInt32BE(0x61000000 + rows.length);
          rows.push([key, Buffer.alloc(more)]);
        }
      }
      // The key has the same bytes as the row, of which all are escaped.
      for (const bytes of numbers(950, 990))
        rows.push([Buffer.alloc(bytes), Buffer.alloc(bytes % 90)]);
      insert(db, 't', rows);
    });
    assert.ok(read.page.rejected.length > 0, 'some are too long');
    assert.equal(Math.max(...sizesOf(read).map(([key]) => key)), KEY_LIMIT);
    assert.ok(read.moved > 60);
    assert.equal(read.stayed, 0);
  });

  void it('where only the key is long, and in no column alone', async () => {
    const read = await readTable((db) => {
      db.exec(
        `CREATE TABLE t (a TEXT NOT NULL, b TEXT NOT NULL, c INTEGER NOT NULL, PRIMARY KEY (a, c, b))`,
      );
      insert(
        db,
        't',
        numbers(0, 300).map((i) => [
          'a'.repeat(900 + (i % 70)),
          'b'.repeat(980 + (i % 31)),
          BigInt(i),
        ]),
      );
    });
    assert.ok(read.moved > 200);
  });

  void it('up to what there is room for: longer ones stay whole', async () => {
    // With 39 bytes around them they fill pages exactly, and the longest of these all that there is room for.
    const borders = [MIB / 2, MIB, (3 * MIB) / 2, 2 * MIB];
    const lengths = borders.flatMap((border) => numbers(border - 41, border - 36));
    for (const [encoding, list, moved, stayed] of [
      ['UTF-8', lengths, 18, 2],
      // All rows come one by one.
      ['UTF-16le', lengths, 18, 2],
      // There is less room where pages wait.
      ['UTF-8', [3 * MIB, 2100, 2 * MIB - 41, (3 * MIB) / 2 - 39], 2, 2],
    ] as const) {
      const read = await readTable((db) => {
        db.exec(`PRAGMA page_size = 65536; PRAGMA encoding = '${encoding}';
          CREATE TABLE t (id INTEGER PRIMARY KEY, v)`);
        const statement = db.prepare('INSERT INTO t VALUES (?, zeroblob(?))');
        db.exec('BEGIN');
        for (const [i, bytes] of list.entries()) statement.run(BigInt(i), bytes);
        db.exec('COMMIT');
      });
      assert.deepEqual([read.moved, read.stayed, read.wasted], [moved, stayed, 0]);
    }
  });

  void it('until the room that there is for them is full', async () => {
    const definitions = [{ name: 't', key: ['p', 'q', 'p', 'p'] }];
    const build = (db: NativeDatabase) => {
      // The record of such a row takes some ten times what the row does.
      db.exec('CREATE TABLE t (p BLOB NOT NULL, q INTEGER NOT NULL, UNIQUE (p, q, p, p))');
      insert(
        db,
        't',
        numbers(0, 2500).map((i) => [Buffer.alloc(345 + (i % 13)), BigInt(i)]),
      );
    };
    const read = await readTable(build, { definitions });
    assert.ok(read.moved > 500, `${read.moved} have pages`);
    assert.ok(read.stayed > 200, `${read.stayed} have none`);
    const keys = read.records
      .map((record) => Buffer.from(record.slice(0, record.indexOf(' ')), 'hex'))
      .toSorted((a, b) => Buffer.compare(a, b));
    const bounds = [keys[400]!, keys[401]!, keys[1700]!];
    const grouped = await readTable(build, { definitions, keys: bounds });
    assert.deepEqual([grouped.moved, grouped.stayed], [read.moved, read.stayed]);
  });

  void it('where rows are odd: with NULL in their keys, large numbers, and such that are refused', async () => {
    const read = await readTable((db) => {
      db.exec('CREATE TABLE t (a, b TEXT, c, PRIMARY KEY (a, b))');
      const kinds: ((i: number) => Insertable[])[] = [
        (i) => [null, `b${i}`, 'c'.repeat(3000 + i)],
        (i) => [2n ** 60n + BigInt(i), `b${i}`, Buffer.alloc(9000 + i, i)],
        (i) => [i + 0.5, `b${i}`, Buffer.alloc(4050 + i, i)],
        (i) => [`a${i}`, `b${i}`, 'short'],
        (i) => [`a${i}`, `b${i}`, 'é'.repeat(1500 + i)],
        (i) => [Buffer.alloc(2000, i), `b${i}`, 'a key that is too long'],
        (i) => [`a${i}`, 'bad', Buffer.concat([Buffer.alloc(5000, 'x'), Buffer.from([0xff, i])])],
      ];
      insert(
        db,
        't',
        numbers(0, 700).map((i) => kinds[i % kinds.length]!(i)),
      );
      db.exec(`UPDATE t SET c = CAST(c AS TEXT) WHERE b = 'bad'`);
    });
    assert.equal(read.page.rejected.length, 200);
    assert.equal(read.moved, 400);
  });

  void it('whichever range they are in, in one request or in many that are cut off', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v)');
      insert(
        db,
        't',
        numbers(0, 1500).map((i) => [
          `k${(i * 7919) % 1500}`,
          i % 3 === 0 ? 'short' : Buffer.alloc(1900 + ((i * 31) % 5000), i),
        ]),
      );
    });
    const keys = ['k2', 'k40', 'k7', 'k700', 'k701'].map((key) => Buffer.from(`\x20${key}`));
    const all = await readBothWays(file, { keys, bounds: { ...ROOMY, maxBytes: Infinity } });
    assert.ok(all.moved > 900);
    const records: string[] = [];
    let moved = 0;
    let parts = 0;
    for (let range: RowidRange | null = ALL; range; parts++) {
      const part: ByLeaves = await readBothWays(`${file}`, {
        range,
        keys,
        bounds: { ...ROOMY, maxBytes: 1 },
      });
      records.push(...part.records);
      moved += part.moved;
      range = part.page.rest;
    }
    assert.ok(parts > 5);
    assert.equal(moved, all.moved);
    assert.deepEqual(records.toSorted(), all.records.toSorted());
  });

  void it('that belong to nothing where reading begins anew, since a record lacks columns', async () => {
    const read = await readTable((db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
      insert(
        db,
        't',
        numbers(0, 300).map((i) => [BigInt(i), Buffer.alloc(5000 + i, i)]),
      );
      db.exec(`ALTER TABLE t ADD COLUMN b DEFAULT 'b'`);
      insert(
        db,
        't',
        numbers(0, 30).map((i) => [BigInt(1000 + i), Buffer.alloc(2500, i), null]),
      );
      db.exec(`ALTER TABLE t ADD COLUMN c DEFAULT '${'c'.repeat(2500)}'`);
      // Rows that lack nothing come first, and fill some pages before the others are met.
      insert(
        db,
        't',
        numbers(0, 500).map((i) => [BigInt(i - 1000), Buffer.alloc(3000, i), 1n, 'c']),
      );
    });
    assert.deepEqual([read.moved, read.stayed], [830, 0]);
    assert.ok(read.wasted > 100, `${read.wasted} pages were given up`);
  });
});

void describe('records of random tables with long values', () => {
  const bytes = fc.oneof(
    fc.nat(60),
    fc.integer({ min: 900, max: 1000 }),
    fc.integer({ min: 1900, max: 2100 }),
    fc.integer({ min: 4000, max: 4100 }),
    fc.integer({ min: 0, max: 20_000 }),
    fc.integer({ min: 0, max: 200_000 }),
  );
  const cell = fc.oneof(
    fc.tuple(bytes, fc.constantFrom('a', 'é', '\0')).map(([size, char]) => char.repeat(size)),
    fc.tuple(bytes, fc.nat(255)).map(([size, byte]) => Buffer.alloc(size, byte)),
    fc.constant(null),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  );
  const key = fc.oneof(
    { arbitrary: fc.string({ maxLength: 12 }), weight: 6 },
    { arbitrary: fc.integer({ min: 900, max: 1990 }).map((size) => 'k'.repeat(size)), weight: 2 },
    { arbitrary: fc.integer({ min: 900, max: 1000 }).map((size) => '\0'.repeat(size)), weight: 1 },
    { arbitrary: fc.constant(null), weight: 1 },
  );
  const table = fc.record({
    pageSize: fc.constantFrom(512, 1024, 4096, 65_536),
    primary: fc.constantFrom('k, i', 'i', 'i, k'),
    rows: fc.array(fc.tuple(key, cell, cell), { minLength: 1, maxLength: 60, size: 'max' }),
    bounds: fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 4 }),
  });

  void it('are the same with these on pages of their own', async () => {
    await using dir = await TempDirectory.make();
    let files = 0;
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(table, async ({ pageSize, primary, rows, bounds }) => {
        const file = dir.join(`${files++}.db`);
        changeDatabase(file, (db) => {
          db.exec(`PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = MEMORY;
            CREATE TABLE t (v, k TEXT, w, i INTEGER NOT NULL, PRIMARY KEY (${primary}))`);
          insert(
            db,
            't',
            rows.map(([k, v, w], i) => [v, k, w, BigInt(i)]),
          );
        });
        const keys = bounds
          .map((text) => Buffer.from(`\x20${text}`))
          .toSorted((a, b) => a.compare(b));
        moved += (await readBothWays(file, { keys })).moved;
        rmSync(file);
        rmSync(`${file}.values`, { recursive: true });
      }),
      { numRuns: 60 },
    );
    assert.ok(moved > 500, `${moved} of them`);
  });
});

void describe('a tree', () => {
  void it('takes pages of any number of values', () => {
    const tree = new BulkTree(
      'r1',
      'nowhere',
      { pageSize: 4096, nextPage: 2, transaction: 1 },
      () => 0,
    );
    tree.addOverflow(Array.from({ length: 300_000 }, (_, i) => ({ first: 2 * i, pages: 1 })));
    assert.equal(tree.ranges.length, 300_000);
  });
});
