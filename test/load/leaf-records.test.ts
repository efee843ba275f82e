import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { packBounds } from '../../src/load/key-ranges.js';
import { LeafRecords } from '../../src/load/leaf-records.js';
import { readRange } from '../../src/source/file-scan.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import type { RowidRange } from '../../src/source/stored/leaf-scan.js';
import type { StoredPageBounds } from '../../src/source/stored/stored-page.js';
import { BatchBuilder } from '../../src/transform/batch.js';
import { plansOf, ROOMY } from '../source/stored-reading.js';
import {
  changeDatabase,
  INFINITIES,
  insert,
  INTEGERS,
  REALS,
  type Insertable,
  type NativeDatabase,
} from '../support/databases.js';
import fc from '../support/fast-check.js';
import { TempDirectory } from '../support/temp.js';
import { oneByOne } from '../support/one-by-one.js';
import { ALL, checksum, kernel, readBothWays } from './reading.js';

const ODD = 7;

/** Texts and blobs at the lengths where a header grows, of msgpack or of SQLite. */
const SIZES = [0, 1, 31, 32, 57, 58, 127, 128, 129, 255, 256, 257];
const CHARS = ['a', 'é', '€', '😀', '\0'];

function textOf(bytes: number, char: string): string {
  const size = Buffer.byteLength(char);
  return 'x'.repeat(bytes % size) + char.repeat(Math.floor(bytes / size));
}

void describe('ordinary rows', () => {
  const tables: Record<string, (db: NativeDatabase) => number> = {
    'with INTEGERs of all sizes behind a rowid': (db) => {
      db.exec('CREATE TABLE t (a, b, id INTEGER PRIMARY KEY)');
      const rows = INTEGERS.map(
        (value, i) => [value, -value / 3n, BigInt(i * i * i) - 900n] as const,
      );
      insert(db, 't', rows);
      return rows.length;
    },
    'with REALs of all kinds': (db) => {
      db.exec('CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, a, b REAL)');
      const all = [...REALS, ...INFINITIES, NaN, 1e15 + 0.5, -4.5, 100, -129, 65_536];
      const rows = all.map((value, i) => [`row ${i}`, value, value] as const);
      insert(db, 't', rows);
      return rows.length;
    },
    'with TEXT and BLOB at the lengths where headers grow': (db) => {
      db.exec(
        'PRAGMA page_size = 65536; CREATE TABLE t (a BLOB, b TEXT, c, d INTEGER NOT NULL, PRIMARY KEY (d))',
      );
      const sizes = [...SIZES, 8185, 8186, 16_377, 16_378, 60_000];
      const rows = sizes.flatMap((size) =>
        CHARS.map((char) => [Buffer.alloc(size % 5000, char), textOf(size, char), null]),
      );
      insert(
        db,
        't',
        rows.map((row, i) => [...row, BigInt(i) * 300n - 2000n]),
      );
      return rows.length;
    },
    'with composite keys that hold zero bytes': (db) => {
      db.exec(`CREATE TABLE t (v, a BLOB NOT NULL, b TEXT NOT NULL, c INTEGER NOT NULL, d BLOB NOT NULL,
               PRIMARY KEY (b, a, d, c))`);
      const rows = SIZES.flatMap((size) =>
        CHARS.map((char, i) => [
          size,
          Buffer.alloc(size),
          textOf(size, char),
          BigInt(i - 2),
          Buffer.alloc(size, '\0a'),
        ]),
      ) as Insertable[][];
      insert(db, 't', rows);
      return rows.length;
    },
    'of 1000 columns': (db) => {
      const columns = Array.from({ length: 1000 }, (_, i) => `c${i}`);
      db.exec(
        `PRAGMA page_size = 32768; CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns.slice(1).join(', ')})`,
      );
      insert(
        db,
        't',
        Array.from({ length: 20 }, (_, row) =>
          columns.map((_, i) => (i > 0 && i % 3 === 0 ? null : BigInt((i + 1) * row))),
        ),
      );
      return 20;
    },
    'with rowids at both ends': (db) => {
      db.exec('CREATE TABLE t (v, k TEXT NOT NULL PRIMARY KEY)');
      const rowids = [
        -(2n ** 63n),
        1n - 2n ** 63n,
        -(2n ** 53n),
        -1n,
        0n,
        1n,
        127n,
        128n,
        2n ** 53n,
        2n ** 63n - 1n,
      ];
      const statement = db.prepare('INSERT INTO t (rowid, v, k) VALUES (?, ?, ?)');
      for (const rowid of rowids) statement.run(rowid, 1n, `k${rowid}`);
      return rowids.length;
    },
    'of one column, which is the rowid': (db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
      insert(
        db,
        't',
        Array.from({ length: 3000 }, (_, i) => [BigInt(i) ** 4n - 9000n]),
      );
      return 3000;
    },
  };
  for (const [name, build] of Object.entries(tables)) {
    void it(`${name} are all taken by their leaves`, async () => {
      await using dir = await TempDirectory.make();
      let rows = 0;
      changeDatabase(dir.join('t.db'), (db) => {
        rows = build(db);
      });
      const { whole, single, page } = await readBothWays(dir.join('t.db'));
      assert.deepEqual(
        { whole, single, taken: page.taken },
        { whole: rows, single: 0, taken: rows },
      );
    });
  }

  void it('of other widths are taken by their leaves', async () => {
    await using dir = await TempDirectory.make();
    for (const width of [1, 14, 15, 16, 17, 255, 256, 257]) {
      const file = dir.join(`${width}.db`);
      changeDatabase(file, (db) => {
        const columns = Array.from({ length: width }, (_, i) => `c${i} INTEGER NOT NULL`);
        db.exec(`CREATE TABLE t (${columns.join(', ')}, PRIMARY KEY (c${width - 1}))`);
        insert(
          db,
          't',
          Array.from({ length: 50 }, (_, row) => columns.map((_, i) => BigInt(row ** 3 - i))),
        );
      });
      const { whole, single } = await readBothWays(file);
      assert.deepEqual({ whole, single }, { whole: 50, single: 0 }, `${width} columns`);
    }
  });

  void it('in many requests are cut off, and gone on with, at any row', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w BLOB)');
      insert(
        db,
        't',
        Array.from({ length: 4000 }, (_, i) => [
          BigInt(3 * i - 5000),
          textOf(i % 300, 'é'),
          i % 400 === 0 ? Buffer.alloc(9000, i) : null,
        ]),
      );
    });
    const whole = await readBothWays(file);
    assert.equal(whole.single, 10);
    const records: string[] = [];
    let parts = 0;
    for (let range: RowidRange | null = ALL; range; parts++) {
      const part = await readBothWays(file, { range, bounds: { ...ROOMY, maxBytes: 1 } });
      records.push(...part.records);
      range = part.page.rest;
    }
    assert.ok(parts > 2);
    assert.deepEqual(records.toSorted(), whole.records.toSorted());
    for (const after of [-5001, -5000, -1400, 0, 6997]) {
      for (const upTo of [-5001, -4000, 3, 6996, 6998]) {
        const { page } = await readBothWays(file, { range: { after, upTo } });
        const first = Math.max(0, Math.floor((after + 5000) / 3) + 1);
        const last = Math.min(3999, Math.floor((upTo + 5000) / 3));
        assert.equal(page.taken, Math.max(0, last - first + 1), `${after} to ${upTo}`);
      }
    }
  });
});

interface OddRows {
  readonly table: string;
  /** A row; `odd` ones are what the test is about. */
  readonly row: (i: number, odd: boolean) => readonly Insertable[];
  /** Rows are refused by both ways. */
  readonly rejected?: boolean;
  readonly after?: string;
  readonly bounds?: Partial<StoredPageBounds>;
}

void describe('odd rows among ordinary ones come one by one:', () => {
  const value = (i: number) => `value ${i}`;
  const tables: Record<string, OddRows> = {
    'TEXT that goes on in other pages': {
      table: 't (id INTEGER PRIMARY KEY, v TEXT)',
      row: (i, odd) => [BigInt(i), odd ? textOf(9000 + i, '€') : value(i)],
    },
    'NULL in a key': {
      table: 't (a TEXT, b TEXT NOT NULL, PRIMARY KEY (a, b))',
      row: (i, odd) => [odd ? null : value(i), value(i)],
    },
    'REAL in a key': {
      table: 't (a NOT NULL PRIMARY KEY, v)',
      row: (i, odd) => [odd ? i + 0.5 : BigInt(i), value(i)],
    },
    'an integral REAL in a key': {
      table: 't (a NOT NULL, b NOT NULL, PRIMARY KEY (b, a))',
      row: (i, odd) => [odd ? i : BigInt(i), value(i)],
    },
    'INTEGERs from 2^53 on in a key': {
      table: 't (a INTEGER NOT NULL, b TEXT NOT NULL, PRIMARY KEY (a, b))',
      row: (i, odd) => [odd ? 2n ** 53n + BigInt(i >> 3) : 2n ** 53n - BigInt(i + 1), value(i)],
    },
    'INTEGERs down from -2^53 in a key': {
      table: 't (a INTEGER NOT NULL PRIMARY KEY, b TEXT NOT NULL)',
      row: (i, odd) => [odd ? -(2n ** 53n) - BigInt(i) : BigInt(i + 1) - 2n ** 53n, value(i)],
    },
    'a rowid from 2^53 on as a key': {
      table: 't (v TEXT, a INTEGER PRIMARY KEY)',
      row: (i, odd) => [value(i), odd ? 2n ** 62n + BigInt(i) : BigInt(i)],
    },
    'a key that is too long': {
      table: 't (a TEXT NOT NULL PRIMARY KEY)',
      row: (i, odd) => [value(i).padEnd(odd ? 1978 : 1977)],
      rejected: true,
    },
    'a key that is too long by its zero bytes': {
      table: 't (a BLOB NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))',
      row: (i, odd) => [Buffer.alloc(odd ? 984 : 983), BigInt(i)],
      rejected: true,
    },
    'TEXT that is not UTF-8': {
      table: 't (id INTEGER PRIMARY KEY, v)',
      row: (i, odd) => [
        BigInt(i),
        odd ? Buffer.from('ok \u{10FFFF}\xed\xa0\x80', 'latin1') : value(i),
      ],
      after: 'UPDATE t SET v = CAST(v AS TEXT)',
      rejected: true,
    },
    'TEXT that is not UTF-8 in a key': {
      table: 't (a NOT NULL PRIMARY KEY)',
      row: (i, odd) => [
        Buffer.concat([Buffer.from(value(i)), Buffer.from(odd ? 'c0af' : 'c3a4', 'hex')]),
      ],
      after: 'UPDATE t SET a = CAST(a AS TEXT)',
      rejected: true,
    },
    'rows that are too large': {
      table: 't (id INTEGER PRIMARY KEY, a TEXT, b TEXT)',
      row: (i, odd) => [BigInt(i), odd ? textOf(500, 'é') : value(i), value(i)],
      bounds: { maxRowBytes: 400 },
      rejected: true,
    },
    'rows that may be too large, but are not': {
      table: 't (id INTEGER PRIMARY KEY, a TEXT, b TEXT)',
      row: (i, odd) => [BigInt(i), odd ? textOf(360, 'é') : value(i), value(i)],
      bounds: { maxRowBytes: 400 },
    },
  };
  for (const [name, { table, row, rejected = false, after, bounds }] of Object.entries(tables)) {
    void it(name, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('t.db');
      let odd = 0;
      changeDatabase(file, (db) => {
        db.exec(`CREATE TABLE ${table}`);
        const rows = Array.from({ length: 600 }, (_, i) => {
          const isOdd = i % ODD === 3;
          if (isOdd) odd++;
          return row(i, isOdd);
        });
        insert(db, 't', rows);
        if (after) db.exec(after);
      });
      const read = await readBothWays(file, { bounds: { ...ROOMY, ...bounds } });
      assert.equal(read.single, odd);
      assert.equal(read.whole, 600 - odd);
      assert.equal(read.page.rejected.length, rejected ? odd : 0);
    });
  }

  void it('records that lack columns', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)');
      insert(
        db,
        't',
        Array.from({ length: 300 }, (_, i) => [BigInt(2 * i), value(i)]),
      );
      db.exec(
        `ALTER TABLE t ADD COLUMN b; ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'more than four'`,
      );
      insert(
        db,
        't',
        Array.from({ length: 200 }, (_, i) => [BigInt(2 * i + 1), value(i), 1.5, null]),
      );
    });
    const { whole, single } = await readBothWays(file);
    assert.deepEqual({ whole, single }, { whole: 200, single: 300 });
  });

  void it('more rows than memory is held for at once leave the table to others', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)');
      db.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70)
               INSERT INTO t SELECT i, zeroblob(1000000) FROM n`);
    });
    const connection = new NativeConnection(`file:${file}`);
    try {
      const [plan] = await plansOf(connection);
      const leaves = new LeafRecords(kernel, plan!, packBounds([]), null, checksum, undefined);
      assert.equal(await readRange(connection, plan!, ALL, ROOMY, leaves), null);
      // Fewer of them are no matter.
      const page = await readRange(connection, plan!, { after: 40, upTo: 60 }, ROOMY, leaves);
      assert.equal(page?.taken, 20);
    } finally {
      await connection.close();
    }
  });

  void it('some, with a key that names a column so often that it takes more than there is room for', async () => {
    await using dir = await TempDirectory.make();
    for (const [columns, rooms] of [
      [['a', 'b', 'a'], true],
      [['a', 'b', 'a', 'a'], false],
    ] as const) {
      const file = dir.join(`${columns.length}.db`);
      changeDatabase(file, (db) => {
        db.exec(
          `CREATE TABLE t (a BLOB NOT NULL, b INTEGER NOT NULL, UNIQUE (${columns.join(', ')}))`,
        );
        insert(
          db,
          't',
          Array.from({ length: 3000 }, (_, i) => [Buffer.alloc(200 + (i % 190)), BigInt(i)]),
        );
      });
      const { whole, single, page } = await readBothWays(file, {
        definitions: [{ name: 't', key: columns }],
      });
      assert.equal(whole + single, 3000);
      assert.equal(single === 0, rooms);
      assert.deepEqual(
        page.rejected
          .map(({ reason }) => reason)
          .filter((reason) => !reason.includes('more than the 1978')),
        [],
      );
    }
  });

  void it('TEXT of every kind of bytes that are not UTF-8', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    const firsts = [
      0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1,
      0xf3, 0xf4, 0xf5, 0xff,
    ];
    const seconds = [0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    const others = [
      [],
      [0x41],
      [0x7f],
      [0x80],
      [0xbf],
      [0xc0],
      [0x80, 0x41],
      [0x80, 0x80],
      [0xbf, 0xbf],
      [0xbf, 0xc0],
      [0x80, 0x80, 0x80],
    ];
    const texts = firsts.flatMap((first) => [
      Buffer.from([first]),
      ...seconds.flatMap((second) => others.map((rest) => Buffer.from([first, second, ...rest]))),
    ]);
    const bad = texts.filter((bytes) => !isUtf8(bytes)).length;
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
      insert(
        db,
        't',
        texts.map((bytes, i) => [BigInt(i), Buffer.concat([Buffer.alloc(i % 11, 'x'), bytes])]),
      );
      db.exec('UPDATE t SET v = CAST(v AS TEXT)');
    });
    const { whole, single } = await readBothWays(file);
    assert.deepEqual({ whole, single }, { whole: texts.length - bad, single: bad });
  });
});

const BOUNDARIES = [7n, 8n, 15n, 16n, 23n, 24n, 31n, 32n, 47n, 48n, 53n, 62n].flatMap((bits) =>
  [-1n, 0n, 1n].flatMap((more) => [2n ** bits + more, -(2n ** bits) + more]),
);
const integer = fc.oneof(
  fc.constantFrom(...INTEGERS, ...BOUNDARIES),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.integer({ min: -300, max: 300 }).map(BigInt),
);
const real = fc.oneof(
  fc.constantFrom(...REALS, ...INFINITIES, NaN, 0, 3, -40, 1e9),
  fc.double(),
  fc.maxSafeInteger(),
);
const size = fc.oneof(
  { arbitrary: fc.integer({ min: 0, max: 70 }), weight: 60 },
  { arbitrary: fc.constantFrom(...SIZES), weight: 30 },
  { arbitrary: fc.constantFrom(490, 8185, 65_535, 65_536), weight: 1 },
);
const text = fc
  .tuple(size, fc.constantFrom(...CHARS), fc.nat(9))
  .map(([bytes, char, end]) => textOf(bytes, char) + (end > 4 ? String(end) : ''));
const blob = fc
  .tuple(size, fc.uint8Array({ maxLength: 3 }))
  .map(([bytes, pattern]) =>
    pattern.length > 0 ? Buffer.alloc(bytes, pattern) : Buffer.alloc(bytes),
  );
const cell: fc.Arbitrary<Insertable> = fc.oneof(
  { arbitrary: integer, weight: 3 },
  { arbitrary: real, weight: 2 },
  { arbitrary: text, weight: 3 },
  { arbitrary: blob, weight: 2 },
  { arbitrary: fc.constant(null), weight: 1 },
);
/** Mostly one that a double holds: others make their rows odd. */
const keyInteger = fc.oneof(
  { arbitrary: integer, weight: 1 },
  { arbitrary: fc.maxSafeInteger().map(BigInt), weight: 40 },
  { arbitrary: fc.constantFrom(...BOUNDARIES.slice(0, -12)), weight: 40 },
);
const keyCells: Record<string, fc.Arbitrary<Insertable>> = {
  INTEGER: keyInteger,
  TEXT: text,
  BLOB: blob,
  REAL: fc.oneof(real, integer),
  '': cell,
};

/** A table, its rows, and how to read it. */
const tableSpec = fc
  .record({
    width: fc.oneof(
      { arbitrary: fc.integer({ min: 1, max: 40 }), weight: 12 },
      { arbitrary: fc.integer({ min: 14, max: 17 }), weight: 3 },
      { arbitrary: fc.integer({ min: 254, max: 300 }), weight: 1 },
    ),
    key: fc.oneof(
      fc.constant('rowid' as const),
      fc.constant('alias' as const),
      fc.array(fc.constantFrom(...Object.keys(keyCells)), { minLength: 1, maxLength: 4 }),
    ),
    nullable: fc.boolean(),
    seed: fc.nat(1000),
  })
  .chain(({ width, key, nullable, seed }) => {
    const types = Array.from({ length: width }, () => '');
    let declared = '';
    if (key === 'alias') types[seed % width] = 'INTEGER PRIMARY KEY';
    else if (key !== 'rowid') {
      const columns = [...new Set(key.map((_, i) => (seed * (i + 1)) % width))];
      for (const [i, column] of columns.entries()) types[column] = key[i]!;
      declared = `, PRIMARY KEY (${columns.map((column) => `c${column}`).join(', ')})`;
    }
    const columns = types.map(
      (type, i) =>
        `c${i} ${type}${!nullable && key !== 'rowid' && declared.match(new RegExp(`\\bc${i}\\b`)) ? ' NOT NULL' : ''}`,
    );
    const row = fc.tuple(
      keyInteger,
      ...types.map((type) => (type === 'INTEGER PRIMARY KEY' ? keyInteger : keyCells[type]!)),
    );
    return fc.record({
      sql: fc.constant(`CREATE TABLE t (${columns.join(', ')}${declared})`),
      hasAlias: fc.constant(key === 'alias'),
      rows: fc.array(row, { minLength: 1, maxLength: width > 100 ? 8 : 60, size: 'max' }),
      pageSize: fc.constantFrom(512, 1024, 4096, 65_536),
      maxRowBytes: fc.constantFrom(ROOMY.maxRowBytes, ROOMY.maxRowBytes, 100, 1000),
      cut: fc.tuple(fc.nat(80), fc.nat(80), fc.integer({ min: -1, max: 1 })),
    });
  });

function insertRows(
  db: NativeDatabase,
  rows: readonly (readonly Insertable[])[],
  hasAlias: boolean,
) {
  const [first] = rows;
  const columns = first!.slice(1).map((_, i) => `c${i}`);
  const names = hasAlias ? columns : ['rowid', ...columns];
  const statement = db.prepare(
    `INSERT OR IGNORE INTO t (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
  );
  db.exec('BEGIN');
  for (const row of rows) {
    statement.run(
      (hasAlias ? row.slice(1) : row).map((each) =>
        each instanceof Uint8Array ? Buffer.from(each) : each,
      ),
    );
  }
  db.exec('COMMIT');
}

void describe('records of random tables', () => {
  void it('are the same by leaves and one by one', async () => {
    await using dir = await TempDirectory.make();
    let files = 0;
    let whole = 0;
    let single = 0;
    await fc.assert(
      fc.asyncProperty(tableSpec, async ({ sql, rows, hasAlias, pageSize, maxRowBytes, cut }) => {
        const file = dir.join(`${files++}.db`);
        changeDatabase(file, (db) => {
          db.exec(`PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = MEMORY; ${sql}`);
          insertRows(db, rows, hasAlias);
        });
        const bounds = { ...ROOMY, maxRowBytes };
        const all = await readBothWays(file, { bounds });
        whole += all.whole;
        single += all.single;
        const [from, to, more] = cut;
        const ids = rows.map(([rowid]) => rowid as bigint);
        const at = (i: number) => {
          const id = ids[i];
          return id === undefined ? null : BigInt.asIntN(64, id + BigInt(more));
        };
        await readBothWays(file, { bounds, range: { after: at(from), upTo: at(to) } });
        rmSync(file);
      }),
      { numRuns: 150 },
    );
    assert.ok(whole > 500 && single > 500, 'there are rows of both kinds');
  });
});

void describe('damaged leaves', () => {
  const PAGE = 4096;
  const damages: Record<string, (page: Buffer) => void> = {
    'with cells that share bytes': (page) => {
      const at = page.readUInt16BE(8);
      for (let i = 0; i < page.readUInt16BE(3); i++) page.writeUInt16BE(at, 8 + 2 * i);
    },
    'with more cells than they can have': (page) => page.writeUInt16BE(682, 3),
    'with a cell outside': (page) => page.writeUInt16BE(PAGE - 3, 8),
    'with a record that goes on nowhere': (page) => {
      const last = page.readUInt16BE(8 + 2 * (page.readUInt16BE(3) - 1));
      const found = page.indexOf(Buffer.from('x'.repeat(100)), last);
      const end = found + page.subarray(found).findIndex((byte) => byte !== 0x78);
      page.writeUInt32BE(0, end);
    },
    'of another kind': (page) => {
      page[0] = 0x0a;
    },
  };
  const makeFile = (file: string, damage: (page: Buffer) => void): void => {
    let root = 0;
    changeDatabase(file, (db) => {
      db.exec(`PRAGMA page_size = ${PAGE}; CREATE TABLE t (id INTEGER PRIMARY KEY, v)`);
      insert(
        db,
        't',
        Array.from({ length: 10 }, (_, i) => [BigInt(i), Buffer.alloc(i === 0 ? 900 : 20, i)]),
      );
      insert(db, 't', [[100n, 'x'.repeat(9000)]]);
      [root] = db.prepare(`SELECT rootpage FROM sqlite_schema WHERE name = 't'`).raw().get() as [
        number,
      ];
    });
    const bytes = readFileSync(file);
    damage(bytes.subarray((root - 1) * PAGE, root * PAGE));
    writeFileSync(file, bytes);
  };

  for (const [name, damage] of Object.entries(damages)) {
    void it(`${name} are refused by both ways`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('t.db');
      makeFile(file, damage);
      const connection = new NativeConnection(`file:${file}`);
      try {
        const [plan] = await plansOf(connection);
        const builder = new BatchBuilder(plan!, checksum);
        const one = oneByOne(builder);
        const leaves = new LeafRecords(kernel, plan!, packBounds([]), null, checksum, undefined);
        for (const sink of [one, leaves]) {
          assert.equal(await readRange(connection, plan!, ALL, ROOMY, sink), null);
        }
      } finally {
        await connection.close();
      }
    });
  }

  void it('whose rows are in another order give those of the range all the same', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('t.db');
    makeFile(file, (page) => {
      const pointers = Array.from({ length: 11 }, (_, i) => page.readUInt16BE(8 + 2 * i));
      pointers.reverse().forEach((pointer, i) => page.writeUInt16BE(pointer, 8 + 2 * i));
    });
    const { page, whole } = await readBothWays(file, { range: { after: 2, upTo: 7 } });
    assert.deepEqual({ taken: page.taken, whole }, { taken: 5, whole: 5 });
  });
});
