import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from '../support/fast-check.js';
import { openSource } from '../../src/index.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import { readPage } from '../../src/source/page-reader.js';
import { RowList } from '../../src/source/row-sink.js';
import { readRowid, readSize, varintBytes } from '../../src/source/stored/varint.js';
import type { Cell } from '../../src/values.js';
import { keyValue, sqlValue } from '../support/arbitraries.js';
import {
  bytes,
  changeDatabase,
  EDGE_BLOBS,
  INFINITIES,
  insert,
  INTEGERS,
  NUL_TEXTS,
  openDatabase,
  quote,
  REALS,
  SHORT_BLOBS,
  SHORT_TEXTS,
  text,
  type Insertable,
  type NativeDatabase,
} from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import {
  plansOf,
  readPlainly,
  ROOMY,
  pagesBySql,
  verify,
  verifyWith,
  type DamageOutcome,
  type Read,
  type VerifyOptions,
} from './stored-reading.js';

const SEED = 20_260_317;
const PAGE_SIZES = [512, 1024, 4096, 65_536] as const;
const ENCODINGS = ['UTF-8', 'UTF-16le', 'UTF-16be'] as const;

type Build = string | ((db: NativeDatabase) => void);

/** Makes a database and holds the ways of reading it against each other. */
async function check(
  build: Build,
  options?: VerifyOptions,
  look?: (file: string, found: Record<string, Read>) => void | Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, build);
  const found = await verify(file, options);
  await look?.(file, found);
}

function ask(file: string, sql: string): unknown {
  const db = openDatabase(file);
  try {
    const [row] = db.prepare(sql).raw().all() as unknown as unknown[][];
    return row?.[0];
  } finally {
    db.close();
  }
}

/** The lengths at which headers and ways of copying change. */
const LENGTHS = [
  0, 1, 31, 32, 33, 127, 128, 255, 256, 257, 299, 300, 301, 302, 4096, 65_535, 65_536, 65_537,
] as const;

/** TEXT whose last bytes are wide, at each length, so that a cut or a scan that stops early is noticed. */
const LENGTH_TEXTS: readonly string[] = LENGTHS.flatMap((length) =>
  ['', 'é', '€', '😀', '\0'].flatMap((end) => {
    const room = length - Buffer.byteLength(end);
    return room < 0 ? [] : [`${'x'.repeat(room)}${end}`, `${end}${'y'.repeat(room)}`];
  }),
);
const LENGTH_BLOBS = LENGTHS.map((length) => bytes(length, length));

/** Bytes that are no UTF-8, short and beyond what is copied by a loop. */
const BAD_UTF8: readonly string[] = [
  'ff',
  '80',
  'c080',
  'e28082ac',
  'eda080',
  'f4908080',
  '6162c3',
  `${'61'.repeat(299)}ff`,
  `${'61'.repeat(300)}ff`,
  `${'61'.repeat(301)}c3`,
  `${'61'.repeat(70_000)}e282`,
];
/** Lone surrogates, little-endian. */
const BAD_UTF16: readonly string[] = [
  '00d8',
  '00dc',
  'ffdb',
  '610000d8',
  '00d86100',
  '00dc00d8',
  '00d800d800dc',
  `${'6100'.repeat(150)}00d8`,
  `${'6100'.repeat(151)}00dc6200`,
  `${'6100'.repeat(40_000)}00d8`,
];

function badTexts(encoding: (typeof ENCODINGS)[number]): readonly string[] {
  if (encoding === 'UTF-8') return BAD_UTF8;
  if (encoding === 'UTF-16le') return BAD_UTF16;
  return BAD_UTF16.map((hex) => Buffer.from(hex, 'hex').swap16().toString('hex'));
}

void describe('varints', () => {
  const encode = (value: bigint): Buffer => {
    let left = BigInt.asUintN(64, value);
    if (left >= 2n ** 56n) {
      const out = [Number(left & 0xffn)];
      left >>= 8n;
      for (let i = 0; i < 8; i++) {
        out.unshift(Number(left & 0x7fn) | 0x80);
        left >>= 7n;
      }
      return Buffer.from(out);
    }
    const out = [Number(left & 0x7fn)];
    for (left >>= 7n; left > 0n; left >>= 7n) out.unshift(Number(left & 0x7fn) | 0x80);
    return Buffer.from(out);
  };
  const canonical = (value: bigint): number | bigint =>
    Number.isSafeInteger(Number(value)) ? Number(value) : value;

  void it('are as the format says', () => {
    for (const [hex, value] of [
      ['00', 0n],
      ['7f', 127n],
      ['8100', 128n],
      ['ff7f', 16_383n],
      ['818000', 16_384n],
      ['ffffffffffffff7f', 2n ** 56n - 1n],
      ['ffffffffffffffffff', -1n],
      ['808080808080808000', 0n],
      ['808080808080808080', 128n],
      ['80ffffffffffffffff', 2n ** 57n - 1n],
      ['c08080808080808000', -(2n ** 63n)],
      ['bfffffffffffffffff', 2n ** 63n - 1n],
    ] as const) {
      const encoded = Buffer.from(hex, 'hex');
      assert.equal(varintBytes(encoded, 0), encoded.length, hex);
      assert.equal(readRowid(encoded, 0), canonical(value), hex);
    }
  });

  void it(`give every rowid and size back (seed ${SEED})`, () => {
    const edges = Array.from({ length: 64 }, (_, i) => [2n ** BigInt(i) - 1n, 2n ** BigInt(i)])
      .flat()
      .flatMap((value) => [value, -value])
      .map((value) => BigInt.asIntN(64, value));
    const value = fc.oneof(
      fc.constantFrom(...edges),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    );
    fc.assert(
      fc.property(value, fc.uint8Array({ maxLength: 4 }), (number, before) => {
        const one = encode(number);
        const all = Buffer.concat([before, one, Buffer.of(0x85)]);
        assert.equal(varintBytes(all, before.length), one.length);
        assert.equal(readRowid(all, before.length), canonical(number));
        if (number >= 0n && number <= BigInt(Number.MAX_SAFE_INTEGER)) {
          assert.equal(readSize(all, before.length), Number(number));
        }
      }),
      { seed: SEED, numRuns: 1000 },
    );
    for (const number of edges) assert.equal(readRowid(encode(number), 0), canonical(number));
  });
});

void describe('rows as they are stored', () => {
  for (const pageSize of PAGE_SIZES) {
    for (const encoding of ENCODINGS) {
      void it(`have every value: pages of ${pageSize} in ${encoding}`, async () => {
        const numbers: Insertable[] = [
          null,
          ...INTEGERS,
          ...REALS,
          ...INFINITIES,
          ...[7n, 15n, 23n, 31n, 39n, 47n, 55n, 63n].flatMap((bits) =>
            [-1n, 0n, 1n].flatMap((near) => [
              BigInt.asIntN(64, 2n ** bits + near),
              BigInt.asIntN(64, -(2n ** bits) + near),
            ]),
          ),
          0,
          1,
          -1,
          127,
          128,
          2 ** 47 - 1,
          2 ** 47,
          -(2 ** 47),
          -(2 ** 47) - 1,
          2 ** 48,
          2 ** 52,
        ];
        const long =
          pageSize === 4096 && encoding === 'UTF-8'
            ? LENGTH_TEXTS
            : LENGTH_TEXTS.filter((t) => t.length < 5000);
        const texts = [...SHORT_TEXTS, ...NUL_TEXTS, ...long];
        const blobs = [...SHORT_BLOBS, ...LENGTH_BLOBS, ...EDGE_BLOBS];
        const all: Insertable[] = [...numbers, ...texts, ...blobs];
        const invalid = badTexts(encoding);
        await check(
          (db) => {
            db.exec(`PRAGMA page_size = ${pageSize}; PRAGMA encoding = '${encoding}';
              CREATE TABLE untyped (v, w);
              CREATE TABLE typed (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC, t TEXT, b BLOB);
              CREATE TABLE strict (id INTEGER PRIMARY KEY, i INT, r REAL, y ANY) STRICT;
              CREATE TABLE bad (v TEXT, w);
              CREATE TABLE keyed (k PRIMARY KEY NOT NULL, w);
              CREATE TABLE clustered (k, l, w, PRIMARY KEY (k, l)) WITHOUT ROWID;`);
            insert(
              db,
              'untyped',
              all.map((v, i) => [v, all[(i * 7 + 1) % all.length]!]),
            );
            insert(
              db,
              'typed',
              all.map((v, i) => [BigInt(i), v, v, v, v, v]),
            );
            insert(
              db,
              'strict',
              numbers.map((v, i) => [BigInt(i), typeof v === 'bigint' ? v : null, v, v]),
            );
            insert(
              db,
              'keyed',
              all.filter((v) => v !== null).map((v, i) => [v, BigInt(i)]),
              'INSERT OR IGNORE',
            );
            insert(
              db,
              'clustered',
              all
                .filter((v) => v !== null)
                .map((v, i) => [v, all[(i * 3 + 1) % all.length] ?? 'n', BigInt(i)]),
              'INSERT OR IGNORE',
            );
            for (const [i, hex] of invalid.entries()) {
              db.exec(
                `INSERT INTO bad VALUES ('before', ${i}), (CAST(x'${hex}' AS TEXT), ${i}), (NULL, CAST(x'${hex}' AS TEXT)), (x'${hex}', ${i});`,
              );
            }
          },
          { bounds: { maxRows: pageSize === 512 ? 7 : 1000 } },
          (_file, found) => {
            assert.equal(found['typed']!.rows.length, all.length);
            assert.equal(found['bad']!.rejected.length, 2 * invalid.length);
          },
        );
      });
    }
  }

  for (const encoding of ENCODINGS) {
    const KEYED = {
      'a nullable key': 'k TEXT PRIMARY KEY, w',
      'a key': 'k TEXT PRIMARY KEY NOT NULL, w',
      'a key WITHOUT ROWID': 'k TEXT PRIMARY KEY, w) WITHOUT ROWID --',
      'part of a key WITHOUT ROWID': 'k TEXT, w INTEGER, PRIMARY KEY (w, k)) WITHOUT ROWID --',
    };
    for (const [what, columns] of Object.entries(KEYED)) {
      void it(`may have TEXT that is no Unicode as ${what}: ${encoding}`, async () => {
        const bad = badTexts(encoding);
        for (const maxRows of [1, 2, 3, 1000]) {
          await check(
            (db) => {
              db.exec(
                `PRAGMA encoding = '${encoding}'; CREATE TABLE t (${columns}\n)`.replace(
                  /--\n\)$/,
                  '',
                ),
              );
              for (const [i, hex] of bad.entries()) {
                db.exec(
                  `INSERT INTO t VALUES ('k${i}', ${i % 3}), (CAST(x'${hex}' AS TEXT), ${i % 2})`,
                );
              }
            },
            { bounds: { maxRows } },
            (_file, { t }) => {
              assert.equal(t!.rejected.length, bad.length);
              assert.equal(t!.rows.length, bad.length);
            },
          );
        }
      });
    }
  }

  void it('have rowids of any sign and size', async () => {
    const rowids = [
      -(2n ** 63n),
      -(2n ** 63n) + 1n,
      ...[53n, 52n, 47n, 31n, 15n, 7n, 6n].flatMap((bits) =>
        [-2n, -1n, 0n, 1n, 2n].flatMap((near) => [2n ** bits + near, -(2n ** bits) + near]),
      ),
      ...[14n, 21n, 28n, 35n, 42n, 49n, 56n, 62n].flatMap((bits) => [2n ** bits - 1n, 2n ** bits]),
      0n,
      2n ** 63n - 2n,
      2n ** 63n - 1n,
      999_999_999_999_999n,
      1_000_000_000_000_000n,
      -999_999_999_999_999n,
      -99_999_999_999_999n,
      9_999_999_999_999_999n,
    ];
    for (const pageSize of [512, 4096]) {
      for (const maxRows of pageSize === 512 ? [1, 1000] : [3]) {
        await check(
          (db) => {
            db.exec(`PRAGMA page_size = ${pageSize};
              CREATE TABLE alias (id INTEGER PRIMARY KEY, v);
              CREATE TABLE bare (v);
              CREATE TABLE by_text (k TEXT PRIMARY KEY, v);`);
            for (const [i, id] of [...new Set(rowids)].entries()) {
              const filler = 'z'.repeat((i * 37) % 200);
              db.prepare('INSERT INTO alias VALUES (?, ?)').run(id, filler);
              db.prepare('INSERT INTO bare (rowid, v) VALUES (?, ?)').run(id, filler);
              db.prepare('INSERT INTO by_text (rowid, k, v) VALUES (?, ?, ?)').run(
                id,
                i % 5 === 0 ? null : `k${(i * 31) % 97} ${i}`,
                filler,
              );
            }
          },
          { bounds: { maxRows } },
          (_file, found) => assert.equal(found['alias']!.rows.length, new Set(rowids).size),
        );
      }
    }
  });

  void it('are found below many levels of pages', async () => {
    await check(
      (db) => {
        db.exec(`PRAGMA page_size = 512;
          CREATE TABLE t (id INTEGER PRIMARY KEY, v);
          CREATE TABLE k (k TEXT PRIMARY KEY NOT NULL, v);
          CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
          INSERT INTO t SELECT i * 1000003 - 4000000000, printf('%0*d', 60 + i % 190, i) FROM n;
          INSERT INTO k SELECT printf('%x', (id * 2654435761) & 4294967295) || ':' || id, v FROM t WHERE id % 3 = 0;
          INSERT INTO w SELECT k, v FROM k;`);
      },
      { bounds: { maxRows: 2000 } },
      async (file) => {
        // From the root down to the leaves.
        const pages = await readFile(file);
        const root = Number(ask(file, `SELECT rootpage FROM sqlite_schema WHERE name = 't'`));
        let number = root;
        let levels = 0;
        while (pages[(number - 1) * 512] === 5) {
          number = pages.readUInt32BE((number - 1) * 512 + 8);
          levels++;
        }
        assert.ok(levels >= 3, `${levels} levels of interior pages`);
      },
    );
  });

  void it('are found after VACUUM, and where pages are moved and freed by themselves', async () => {
    for (const autoVacuum of ['NONE', 'FULL', 'INCREMENTAL']) {
      for (const vacuum of [false, true]) {
        await check((db) => {
          db.exec(`PRAGMA page_size = 1024; PRAGMA auto_vacuum = ${autoVacuum};
            CREATE TABLE first (v); CREATE TABLE gone (v);
            CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID;`);
          const rows = Array.from({ length: 300 }, (_, i) => [
            BigInt(i),
            bytes((i * 131) % 5000, i + 1),
          ]);
          insert(
            db,
            'gone',
            rows.map(([, v]) => [v!]),
          );
          insert(db, 't', rows);
          insert(db, 'w', rows);
          insert(
            db,
            'first',
            rows.map(([, v]) => [v!]),
          );
          db.exec(`DROP TABLE gone; DELETE FROM t WHERE id % 3 = 0; DELETE FROM w WHERE k % 4 = 1;
            DELETE FROM first WHERE rowid > 100;
            ${autoVacuum === 'INCREMENTAL' ? 'PRAGMA incremental_vacuum(50);' : ''} ${vacuum ? 'VACUUM;' : ''}`);
        });
      }
    }
  });
});

void describe('rows that go on in other pages', () => {
  for (const pageSize of PAGE_SIZES) {
    void it(`are whole at every length around a page's end: pages of ${pageSize}`, async () => {
      // How much of a record is in its leaf changes at these.
      const usable = pageSize;
      const turns = [
        usable - 35,
        Math.floor(((usable - 12) * 64) / 255) - 23,
        Math.floor(((usable - 12) * 32) / 255) - 23,
        usable,
        usable - 4 + usable - 35,
        2 * (usable - 4) + 1,
        3 * (usable - 4) + (usable - 35),
      ];
      const reach = pageSize > 4096 ? 8 : 14;
      const lengths = turns.flatMap((turn) =>
        Array.from({ length: 2 * reach }, (_, i) => turn - reach + i),
      );
      await check((db) => {
        db.exec(`PRAGMA page_size = ${pageSize};
          CREATE TABLE t (v, n); CREATE TABLE w (k INTEGER PRIMARY KEY, v, n);
          CREATE TABLE x (k INTEGER, v, PRIMARY KEY (k)) WITHOUT ROWID;
          CREATE TABLE y (k BLOB PRIMARY KEY, v) WITHOUT ROWID;`);
        const used = lengths.filter((length) => length > 0);
        insert(
          db,
          't',
          used.map((length, i) => [bytes(length, i + 1), 'after']),
        );
        insert(
          db,
          'w',
          used.map((length, i) => [BigInt(i), 'x'.repeat(length - 1) + (i % 2 ? 'x' : '€'), 1.5]),
        );
        insert(
          db,
          'x',
          used.map((length, i) => [BigInt(i), bytes(length, i + 2)]),
        );
        if (pageSize < 65_536) {
          insert(
            db,
            'y',
            used.map((length, i) => [bytes(length, i + 2), BigInt(i)]),
          );
        }
      });
    });
  }

  void it('are whole where chains are scattered over the file', async () => {
    for (const pageSize of [512, 1024, 4096]) {
      for (const encoding of ['UTF-8', 'UTF-16le']) {
        await check(
          (db) => {
            db.exec(`PRAGMA page_size = ${pageSize}; PRAGMA encoding = '${encoding}';
              CREATE TABLE a (id INTEGER PRIMARY KEY, v); CREATE TABLE b (id INTEGER PRIMARY KEY, v, w TEXT);
              CREATE TABLE c (k TEXT PRIMARY KEY, v) WITHOUT ROWID;`);
            const size = (i: number) => ((i * 7919) % 12) * pageSize + ((i * 613) % pageSize);
            const intoAll = (from: number, to: number) => {
              for (let i = from; i < to; i++) {
                db.prepare('INSERT INTO a VALUES (?, ?)').run(
                  BigInt(i),
                  Buffer.from(bytes(size(i), i)),
                );
                db.prepare('INSERT INTO b VALUES (?, ?, ?)').run(
                  BigInt(i),
                  Buffer.from(bytes(size(i + 3), i)),
                  text(size(i + 5) >>> 2, i),
                );
                db.prepare('INSERT INTO c VALUES (?, ?)').run(
                  `${(i * 37) % 101} ${i}`,
                  Buffer.from(bytes(size(i + 1), i)),
                );
              }
            };
            db.exec('BEGIN');
            intoAll(0, 80);
            for (const [modulus, from] of [
              [2, 80],
              [3, 120],
              [5, 150],
            ] as const) {
              for (const table of ['a', 'b'])
                db.exec(`DELETE FROM ${table} WHERE id % ${modulus} = 1`);
              db.exec(`DELETE FROM c WHERE rtrim(substr(k, instr(k, ' '))) % ${modulus} = 0`);
              intoAll(from, from + 30);
            }
            db.exec(`UPDATE a SET v = v || v WHERE id % 7 = 0; COMMIT`);
          },
          { bounds: { maxRows: pageSize === 512 ? 40 : 1000 } },
          async (file) => {
            const pages = await readFile(file);
            // Somewhere a chain goes back.
            let backwards = 0;
            const root = Number(ask(file, `SELECT rootpage FROM sqlite_schema WHERE name = 'a'`));
            assert.equal(pages[(root - 1) * pageSize], 5);
            for (let page = 1; page * pageSize < pages.length; page++) {
              const next = pages.readUInt32BE(page * pageSize);
              if (next > 0 && next < page && next * pageSize <= pages.length) backwards++;
            }
            assert.ok(backwards > 10, `${backwards} pages go back`);
          },
        );
      }
    }
  });

  void it('are whole though the header spills', async () => {
    const columns = Array.from({ length: 600 }, (_, i) => `c${i}`);
    const cell = (i: number, row: number): Insertable =>
      [null, BigInt(i) ** 6n, i / 7, 'é'.repeat(i % 70), bytes(i % 90, i), 1n, 0n][(i + row) % 7]!;
    for (const pageSize of [512, 1024]) {
      await check(
        (db) => {
          db.exec(`PRAGMA page_size = ${pageSize};
            CREATE TABLE wide (${columns.join(', ')}); CREATE TABLE tall (k INTEGER PRIMARY KEY, ${columns.join(', ')});
            CREATE TABLE flat (${columns.join(', ')}, PRIMARY KEY (c599, c1)) WITHOUT ROWID;`);
          const rows = Array.from({ length: 12 }, (_, row) => columns.map((_c, i) => cell(i, row)));
          insert(db, 'wide', rows);
          insert(
            db,
            'tall',
            rows.map((row, i) => [BigInt(-i), ...row]),
          );
          insert(
            db,
            'flat',
            rows.map((row, i) => [row[0]!, BigInt(i), ...row.slice(2, -1), `k${i % 3}`]),
          );
          // Nothing but a header.
          insert(db, 'wide', [
            columns.map(() => null),
            columns.map((_, i) => (i < 599 ? 1n : 'end')),
          ]);
        },
        { bounds: { maxRows: 5 } },
      );
    }
  });

  void it('are whole at 5 MB, also one page at a time against the file', async () => {
    const size = 5 * 1024 * 1024;
    for (const pageSize of [1024, 65_536]) {
      await check((db) => {
        db.exec(`PRAGMA page_size = ${pageSize};
          CREATE TABLE t (id INTEGER PRIMARY KEY, a, v, z); CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID;
          INSERT INTO t VALUES (1, 'a', 'small', 'z'), (3, 'a', 'small', 'z')`);
        insert(db, 't', [
          [2n, 'a', bytes(size, 3), 'z'],
          [4n, 'a', 'é'.repeat(size / 2), 'z'],
        ]);
        insert(db, 'w', [
          ['a', bytes(size, 5)],
          ['b', 'x'],
        ]);
      });
    }
  });

  void it('are read in bounded work where a long chain runs backwards', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    // Freed pages are taken again from the last to the first.
    changeDatabase(file, (db) => {
      db.exec(`PRAGMA page_size = 512; CREATE TABLE filler (v); CREATE TABLE t (id INTEGER PRIMARY KEY, v);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO filler SELECT zeroblob(400) FROM n;
        DELETE FROM filler;`);
      insert(db, 't', [[1n, bytes(1_500_000, 9)]]);
    });
    const connection = new NativeConnection(`file:${file}`);
    try {
      const [plan] = await plansOf(connection, [{ name: 't' }]);
      const table = await connection.snapshot((query) => connection.stored.open(query, plan!));
      assert.ok(table);
      let asked = 0;
      const read = table.pages.read.bind(table.pages);
      table.pages.read = (numbers) => {
        asked += numbers.length;
        return read(numbers);
      };
      const list = new RowList(plan!);
      const page = await readPage(connection, plan!, null, ROOMY, list);
      assert.equal(page.taken, 1);
      assert.deepEqual(
        Buffer.from(list.rows[0]![1] as Uint8Array),
        Buffer.from(bytes(1_500_000, 9)),
      );
      const inChain = Math.ceil(1_500_000 / 508);
      assert.ok(asked < 20 * inChain, `${asked} pages read for a chain of ${inChain}`);
    } finally {
      await connection.close();
    }
  });
});

void describe('columns that records lack', () => {
  const DEFAULTS = [
    ['plain', ''],
    ['number', 'DEFAULT 7'],
    ['negative', 'DEFAULT -12'],
    ['huge', 'DEFAULT 9223372036854775807'],
    ['least', 'DEFAULT -9223372036854775808'],
    ['real', 'DEFAULT 1.5'],
    ['infinite', 'DEFAULT 9e999'],
    ['minus_zero', 'DEFAULT -0.0'],
    ['short', `DEFAULT '€€€€'`],
    ['five', `DEFAULT 'abcde'`],
    ['long', `DEFAULT '${'lång '.repeat(80)}'`],
    ['quoted', `DEFAULT 'it''s'`],
    ['bytes', `DEFAULT x'00ff00'`],
    ['no_bytes', `DEFAULT x''`],
    ['null_', 'DEFAULT NULL'],
    ['yes', 'DEFAULT TRUE'],
    ['bare', 'DEFAULT word'],
    ['int_of_text', `INTEGER DEFAULT '42'`],
    ['int_of_odd_text', `INTEGER DEFAULT ' 42x'`],
    ['text_of_int', 'TEXT DEFAULT 42'],
    ['text_of_real', 'TEXT DEFAULT 1.0'],
    ['real_of_int', 'REAL DEFAULT 3'],
    ['numeric_of_text', `NUMERIC DEFAULT '1e2'`],
    ['not_null', `TEXT NOT NULL DEFAULT ''`],
    ['collated', `TEXT COLLATE NOCASE DEFAULT 'ABC'`],
    ['computed', 'DEFAULT (1 + 2)'],
    ['cast_', `DEFAULT (CAST('9' AS INTEGER))`],
    ['bad_text', `DEFAULT (CAST(x'ff' AS TEXT))`],
  ] as const;

  for (const encoding of ENCODINGS) {
    void it(`are what SQL says they are: ${encoding}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      const db = openDatabase(file);
      try {
        db.exec(`PRAGMA encoding = '${encoding}'; PRAGMA journal_mode = WAL;
          CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
          CREATE TABLE n (v);`);
        const connection = new NativeConnection(`file:${file}`);
        try {
          let added = 0;
          for (const [round, [name, rest]] of DEFAULTS.entries()) {
            // Rows of every age, in an order that mixes the ages.
            for (let i = 0; i < 3; i++) {
              const id = (round * 3 + i) * 37;
              db.exec(`INSERT INTO t (id, v) VALUES (${id % 101}, ${i}); INSERT INTO w (k, v) VALUES ('${id % 101}', NULL);
                INSERT INTO n (v) VALUES (${i});`);
            }
            for (const table of ['t', 'w', 'n']) {
              try {
                db.exec(`ALTER TABLE ${table} ADD COLUMN ${name} ${rest}`);
                added++;
              } catch (error) {
                assert.match(String(error), /non-constant default/);
              }
            }
            if (round % 9 === 0 || round === DEFAULTS.length - 1) {
              await verifyWith(connection, file, { bounds: { maxRows: 10 } });
            }
          }
          assert.ok(added > 3 * (DEFAULTS.length - 4), `${added} columns were added`);
          // What was learned of the columns must not outlive them.
          db.exec(
            `ALTER TABLE t DROP COLUMN number; ALTER TABLE w DROP COLUMN short; ALTER TABLE n RENAME COLUMN five TO six`,
          );
          await verifyWith(connection, file);
          db.exec(
            `ALTER TABLE t ADD COLUMN number DEFAULT 'other'; ALTER TABLE w ADD COLUMN short DEFAULT -1; ALTER TABLE n ADD COLUMN five DEFAULT 6`,
          );
          await verifyWith(connection, file, { bounds: { maxRows: 3 } });
        } finally {
          await connection.close();
        }
      } finally {
        db.close();
      }
    });
  }

  void it('count in the size of a row', async () => {
    await check(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
       INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO w VALUES ('a', 1), ('b', 2);
       ALTER TABLE t ADD COLUMN d DEFAULT '${'d'.repeat(200)}'; ALTER TABLE w ADD COLUMN d DEFAULT '${'d'.repeat(200)}';
       INSERT INTO t VALUES (3, 'c', 'short'); INSERT INTO w VALUES ('c', 3, 'short');`,
      { bounds: { maxRowBytes: 100 } },
      (_file, found) => assert.equal(found['t']!.rejected.length, 2),
    );
  });

  void it('may be keys', async () => {
    await check(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a');
       ALTER TABLE t ADD COLUMN k TEXT DEFAULT 'the default'; ALTER TABLE t ADD COLUMN l;
       CREATE UNIQUE INDEX u ON t (k, l); INSERT INTO t VALUES (2, 'b', 'own', 1), (3, 'c', 'own', NULL), (4, 'd', NULL, NULL);`,
      {
        definitions: [
          { name: 't', key: ['k', 'l'] },
          { name: 't', key: ['l', 'k'], columns: { v: 'any?' } },
        ],
        bounds: { maxRows: 1 },
      },
    );
  });
});

void describe('generated columns', () => {
  void it('are fields where they are stored, and elsewhere leave the table to SQL', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => `(${i}, ${i % 2 ? `'t${i}'` : i / 4})`).join(
      ', ',
    );
    await check(
      `CREATE TABLE s (id INTEGER PRIMARY KEY, a AS (b || '!') STORED, b, c TEXT AS (id * 2) STORED, d REAL AS (id) STORED);
       CREATE TABLE v (id INTEGER PRIMARY KEY, a AS (b || '!') VIRTUAL, b, c AS (id * 2) STORED, d);
       CREATE TABLE sw (k TEXT PRIMARY KEY, a AS (b || '!') STORED, b) WITHOUT ROWID;
       CREATE TABLE vw (a AS (b || '!'), b, k TEXT, c, PRIMARY KEY (k, b)) WITHOUT ROWID;
       CREATE TABLE late (id INTEGER PRIMARY KEY, b);
       INSERT INTO s (id, b) VALUES ${rows}; INSERT INTO v (id, b) VALUES ${rows}; INSERT INTO sw (k, b) VALUES ${rows};
       INSERT INTO vw (k, b) VALUES ${rows}; INSERT INTO late VALUES ${rows};
       ALTER TABLE late ADD COLUMN g AS (b || id); ALTER TABLE late ADD COLUMN after DEFAULT 'x';
       INSERT INTO late (id, b, after) VALUES (100, 1, 2); UPDATE v SET d = id;`,
      { bySql: ['v', 'vw', 'late'], bounds: { maxRows: 7 } },
    );
  });

  void it('that are virtual do not shift the fields of those that are asked for', async () => {
    await check(
      `CREATE TABLE v (id INTEGER PRIMARY KEY, g AS (b || '!') VIRTUAL, b, h AS (1), c AS (id * 2) STORED, d);
       CREATE TABLE vw (g AS (b || '!'), b, k TEXT, h AS (2), c, PRIMARY KEY (k, b)) WITHOUT ROWID;
       INSERT INTO v (id, b, d) VALUES (1, 'b1', 'd1'), (2, 'b2', 'd2'), (3, NULL, NULL);
       INSERT INTO vw (b, k, c) VALUES ('b1', 'k1', 'c1'), ('b2', 'k2', 'c2');
       ALTER TABLE v ADD COLUMN e DEFAULT 'e'; ALTER TABLE v DROP COLUMN h;`,
      {
        definitions: [
          { name: 'v', columns: { d: 'any?', e: 'any?', c: 'any?', b: 'any?', id: 'integer' } },
          { name: 'vw', columns: { c: 'any?', k: 'text', b: 'any' } },
        ],
        bounds: { maxRows: 1 },
      },
    );
  });
});

void describe('keys of every kind', () => {
  const PAIRS: readonly (readonly Insertable[])[] = [1n, 2n, -5n, 2n ** 60n, 1000n].flatMap((a) =>
    ['x', 'y', '', 'x\0', 'é'].map((b, i) => [a, b, `${a} ${i}`] as const),
  );

  for (const maxRows of [1, 4, 1000]) {
    void it(`are told apart: by ${maxRows}`, async () => {
      await check(
        (db) => {
          db.exec(`
            CREATE TABLE alias (v, id INTEGER PRIMARY KEY, w);
            CREATE TABLE alias_by_constraint (v, w, id INTEGER, PRIMARY KEY (id DESC));
            CREATE TABLE alias_autoincrement (id integer PRIMARY KEY AUTOINCREMENT, v, w);
            CREATE TABLE not_alias_desc (id INTEGER PRIMARY KEY DESC, v, w);
            CREATE TABLE not_alias_int (v, id INT PRIMARY KEY, w);
            CREATE TABLE not_alias_bigint (id BIGINT PRIMARY KEY NOT NULL, v, w);
            CREATE TABLE not_alias_text (v, w, id TEXT PRIMARY KEY);
            CREATE TABLE alias_and_unique (id INTEGER UNIQUE, v, w, PRIMARY KEY (id));
            CREATE TABLE composite (a, b, v, PRIMARY KEY (b, a));
            CREATE TABLE composite_int (a INTEGER, b INTEGER, v, PRIMARY KEY (a, b));
            CREATE TABLE clustered (v, a, w, b, PRIMARY KEY (b, a)) WITHOUT ROWID;
            CREATE TABLE clustered_int (v, id INTEGER PRIMARY KEY, w) WITHOUT ROWID;
            CREATE TABLE twice (a TEXT, b, v, PRIMARY KEY (a, b, a)) WITHOUT ROWID;
            CREATE TABLE rowid_taken (rowid TEXT, oid, v);
            CREATE TABLE rowid_alias (_rowid_ INTEGER PRIMARY KEY, rowid, oid TEXT);
            CREATE TABLE all_taken (rowid TEXT PRIMARY KEY NOT NULL, _rowid_, oid);
            CREATE TABLE page (id TEXT, page, k0, PRIMARY KEY (k0, page));
            CREATE TABLE range (k0 INTEGER PRIMARY KEY, k1, range, wanted, p, value, pgno, data);
            CREATE TABLE wanted (data, pgno, value, PRIMARY KEY (value)) WITHOUT ROWID;
            CREATE TABLE p (name, sql, rootpage, type, s, t, wr, schema);
            CREATE TABLE "it's ""odd""" ("a'b" TEXT PRIMARY KEY, "c""d", [e f]);
          `);
          const integers = INTEGERS.map((id, i) => [id, `v${i}`, i / 3] as const);
          for (const [table, at] of [
            ['alias', 1],
            ['alias_by_constraint', 2],
            ['alias_autoincrement', 0],
            ['not_alias_desc', 0],
            ['not_alias_int', 1],
            ['not_alias_bigint', 0],
            ['not_alias_text', 2],
            ['alias_and_unique', 0],
            ['clustered_int', 1],
          ] as const) {
            insert(
              db,
              table,
              integers.map(([id, v, w]) => {
                const rest: Insertable[] = [v, w];
                rest.splice(at, 0, id);
                return rest;
              }),
              'INSERT OR IGNORE',
            );
          }
          for (const table of ['not_alias_desc', 'not_alias_int', 'not_alias_text']) {
            db.exec(
              `INSERT INTO ${table} (id, v) VALUES (NULL, 'null 1'), (NULL, 'null 2'), (NULL, NULL)`,
            );
          }
          insert(db, 'composite', [
            ...PAIRS,
            [null, 'x', 1n],
            [null, 'x', 2n],
            [null, null, 3n],
            [5n, null, 4n],
          ]);
          insert(db, 'composite_int', [
            [1n, 2n, 'a'],
            [1n, null, 'b'],
            [null, 1n, 'c'],
            [null, null, 'd'],
            [null, null, 'd'],
            [-(2n ** 63n), 2n ** 63n - 1n, 'e'],
          ]);
          insert(
            db,
            'clustered',
            PAIRS.map(([a, b, v]) => [v!, a!, 'w', b!]),
          );
          insert(db, 'twice', PAIRS, 'INSERT OR IGNORE');
          insert(db, 'page', PAIRS);
          insert(db, 'rowid_taken', PAIRS);
          insert(
            db,
            'rowid_alias',
            INTEGERS.map((id, i) => [id, `r${i}`, BigInt(i)]),
            'INSERT OR IGNORE',
          );
          insert(
            db,
            'all_taken',
            PAIRS.map((_, i) => [`k${i}`, BigInt(i), 'oid']),
          );
          insert(
            db,
            'range',
            INTEGERS.map((id, i) => [id, 1n, `range${i}`, 2n, 3n, 4n, 5n, 6n]),
            'INSERT OR IGNORE',
          );
          insert(
            db,
            'wanted',
            PAIRS.map((_, i) => ['d', 1n, BigInt(i)]),
          );
          insert(db, 'p', [
            ['p', 'sql', 1n, 'table', 2n, 3n, 4n, 'main'],
            ['t', 'sql', 1n, 'index', 2n, 3n, 4n, 'temp'],
          ]);
          insert(
            db,
            `it's "odd"`,
            PAIRS.map((_, i) => [`k${i}`, BigInt(i), null]),
          );
        },
        { bounds: { maxRows }, bySql: ['all_taken', 'rowid_alias'] },
        (_file, found) => {
          const distinct = new Set(INTEGERS).size;
          assert.equal(found['alias']!.rows.length, distinct);
          assert.equal(found['not_alias_desc']!.rows.length, distinct + 3);
        },
      );
    });
  }

  for (const [name, hides] of [
    ['json_each', true],
    ['pragma_data_version', true],
    ['data_version', false],
    ['wanted', false],
  ] as const) {
    void it(`are read though a table has the name of what is asked of SQLite: ${name}`, async () => {
      await check(
        `CREATE TABLE ${name} (key, value, id); INSERT INTO ${name} VALUES (1, 2, 3);
         CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (2, 'b');`,
        { bySql: hides ? [name, 't'] : [] },
      );
    });
  }

  void it('may order by a collation or backwards, which the file does for the rows', async () => {
    await check(
      (db) => {
        db.exec(`CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY, v);
          CREATE TABLE rtrim (k TEXT COLLATE RTRIM PRIMARY KEY, v) WITHOUT ROWID;
          CREATE TABLE down (a, b, v, PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
          CREATE TABLE newest (id INTEGER PRIMARY KEY, at);`);
        for (const table of ['nocase', 'rtrim']) {
          insert(
            db,
            table,
            [...SHORT_TEXTS, ...NUL_TEXTS].map((k, i) => [k, BigInt(i)]),
            'INSERT OR IGNORE',
          );
        }
        insert(db, 'down', PAIRS);
        insert(
          db,
          'newest',
          PAIRS.map((_, i) => [BigInt(i), i % 4 === 0 ? null : BigInt(i % 7)]),
        );
      },
      {
        definitions: [
          { name: 'nocase' },
          { name: 'rtrim' },
          { name: 'down' },
          { name: 'newest', limit: { count: 1000, newestBy: 'at' } },
        ],
        bySql: ['rtrim', 'down'],
        bounds: { maxRows: 3 },
      },
    );
  });

  void it('stay right where a range of them is read', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec(`PRAGMA page_size = 512; CREATE TABLE t (id INTEGER PRIMARY KEY, v);
        CREATE TABLE w (k, v, PRIMARY KEY (k)) WITHOUT ROWID;`);
      const keys = [...INTEGERS, ...REALS, ...INFINITIES, ...SHORT_TEXTS, ...SHORT_BLOBS];
      insert(
        db,
        'w',
        keys.map((k, i) => [k, 'v'.repeat(i * 3)]),
        'INSERT OR IGNORE',
      );
      insert(
        db,
        't',
        INTEGERS.map((k, i) => [k, 'v'.repeat(i * 5)]),
        'INSERT OR IGNORE',
      );
    });
    const connection = new NativeConnection(`file:${file}`);
    try {
      const before = pagesBySql();
      for (const plan of await plansOf(connection)) {
        const list = new RowList(plan);
        await readPage(connection, plan, null, ROOMY, list);
        const positions = list.rows.map((row) => plan.order.map((term) => row[term.column]!));
        assert.ok(positions.length > 40);
        for (let from = 0; from < positions.length; from += 5) {
          for (let to = from; to < positions.length; to += 9) {
            const part = new RowList(plan);
            const bounds = { ...ROOMY, upTo: positions[to]! };
            const page = await readPage(connection, plan, positions[from]!, bounds, part);
            assert.deepEqual(part.rows, list.rows.slice(from + 1, to + 1));
            assert.ok(page.done);
            assert.deepEqual(page.position, positions[to]);
          }
        }
      }
      assert.equal(pagesBySql(), before);
    } finally {
      await connection.close();
    }
  });
});

void describe('some of the columns', () => {
  void it('come in the order of the definition', async () => {
    const columns = { v5: 'any?', v0: 'any?', v9: 'any?', id: 'any?', v1: 'any?' } as const;
    const names = Array.from({ length: 10 }, (_, i) => `v${i}`);
    await check(
      (db) => {
        db.exec(`CREATE TABLE t (v0, v1, v2, id INTEGER PRIMARY KEY, ${names.slice(3).join(', ')});
          CREATE TABLE w (v0, v1, v2, id TEXT, ${names.slice(3).join(', ')}, PRIMARY KEY (id, v7)) WITHOUT ROWID;
          CREATE TABLE n (v0, v1, v2, id TEXT, ${names.slice(3).join(', ')});`);
        const rows = Array.from({ length: 30 }, (_, i) =>
          [...names, 'id'].map((name, j): Insertable => {
            if (j === 3) return BigInt((i * 17) % 31);
            return j % 3 === 0 ? `${name} ${i}` : j % 3 === 1 ? BigInt(i * j) : bytes(i * j, i + 1);
          }),
        );
        for (const table of ['t', 'w', 'n']) insert(db, table, rows);
        for (const table of ['t', 'w', 'n'])
          db.exec(`ALTER TABLE ${table} ADD COLUMN late DEFAULT 'late'`);
      },
      {
        definitions: [
          { name: 't', columns },
          { name: 'w', columns },
          { name: 'n', columns },
          { name: 't', columns: { late: 'any?', v7: 'any?' } },
          { name: 'w', columns: { late: 'any?' } },
          { name: 'n', columns: { v2: 'any?' } },
        ],
        bounds: { maxRows: 8 },
      },
    );
  });

  void it('may be named more than once, by names that differ in case', async () => {
    const variants = Array.from({ length: 32 }, (_, i) =>
      Array.from('value', (letter, at) => ((i >> at) & 1 ? letter.toUpperCase() : letter)).join(''),
    );
    await check(
      (db) => {
        db.exec('CREATE TABLE t (value TEXT PRIMARY KEY NOT NULL, w)');
        insert(
          db,
          't',
          Array.from({ length: 60 }, (_, i) => [`${'k'.repeat(1900)}${i}`, null]),
        );
      },
      {
        definitions: [
          { name: 't', columns: Object.fromEntries(variants.map((name) => [name, 'any?'])) },
        ],
      },
    );
  });
});

void describe('rows and pages over their bounds', () => {
  void it('are cut and set aside as SQL does', async () => {
    for (const maxRowBytes of [400, 1000, 5000]) {
      await check(
        (db) => {
          db.exec(`PRAGMA page_size = 1024;
            CREATE TABLE t (id INTEGER PRIMARY KEY, big, small, other TEXT);
            CREATE TABLE w (k TEXT PRIMARY KEY, big, small, other TEXT) WITHOUT ROWID;`);
          for (const table of ['t', 'w']) {
            insert(
              db,
              table,
              Array.from({ length: 120 }, (_, i) => [
                table === 't' ? BigInt(i) : `k${i}`,
                i % 3 === 0 ? bytes(380 + (i % 21), i) : null,
                i % 5 === 0 ? 's'.repeat(980 + (i % 13)) : 1.5,
                i % 11 === 0 ? '€'.repeat(4980 / 3 + (i % 7)) : 't',
              ]),
            );
          }
        },
        {
          bounds: { maxRowBytes, maxBytes: 20_000 },
          definitions: [
            { name: 't' },
            { name: 'w' },
            // Larger than a row may be, but only by what is not wanted.
            { name: 't', columns: { small: 'any?' } },
            { name: 'w', columns: { small: 'any?' } },
            { name: 't', columns: { other: 'any?', big: 'any?' } },
          ],
        },
        (_file, found) => assert.ok(found['w']!.rejected.length + found['w']!.rows.length === 120),
      );
    }
  });

  void it('are right at the very byte', async () => {
    await check(
      (db) => {
        db.exec(
          `CREATE TABLE t (id INTEGER PRIMARY KEY, v, n); CREATE TABLE w (k INTEGER PRIMARY KEY, v, n) WITHOUT ROWID`,
        );
        for (const table of ['t', 'w']) {
          insert(
            db,
            table,
            Array.from({ length: 60 }, (_, i) => [BigInt(i), bytes(950 + i, i), i % 2 ? null : 5n]),
          );
        }
      },
      { bounds: { maxRowBytes: 1000, maxRows: 9 } },
      (_file, found) => {
        // 982 bytes, and nine for each of the two numbers.
        for (const name of ['t', 'w']) assert.equal(found[name]!.rows.length, 33);
      },
    );
  });
});

void describe('a file that changes while it is read', () => {
  const fill = (db: NativeDatabase): void => {
    db.exec(`CREATE TABLE before (v); CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (k INTEGER PRIMARY KEY, v) WITHOUT ROWID;
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
      INSERT INTO t SELECT i, printf('%0*d', 20 + i % 60, i) FROM n;
      INSERT INTO w SELECT id, v FROM t; INSERT INTO before SELECT v FROM t;`);
  };
  const CHANGES = [
    `UPDATE t SET v = v || zeroblob(900) WHERE id % 9 = 0; UPDATE w SET v = v || zeroblob(900) WHERE k % 9 = 0`,
    `DROP TABLE before`,
    `VACUUM`,
    `ALTER TABLE t ADD COLUMN added DEFAULT 'added'; ALTER TABLE w ADD COLUMN added DEFAULT 'added'`,
    `DELETE FROM t WHERE id BETWEEN 300 AND 1500; DELETE FROM w WHERE k BETWEEN 300 AND 1500`,
    `ALTER TABLE t RENAME TO u; CREATE TABLE t (v, x, id INTEGER PRIMARY KEY); INSERT INTO t (v, x, id) SELECT v, added, id FROM u; DROP TABLE u`,
    `PRAGMA page_size = 4096; VACUUM`,
    `CREATE TABLE filler (v); INSERT INTO filler SELECT v FROM t; UPDATE t SET v = id`,
    `DROP TABLE filler; DELETE FROM w; VACUUM; INSERT INTO w (k, v) SELECT id, v FROM t`,
  ];

  for (const journal of ['WAL', 'DELETE']) {
    void it(`is never read by what was known of it before: ${journal}`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      const db = openDatabase(file);
      try {
        db.exec(
          `PRAGMA page_size = 512; PRAGMA journal_mode = ${journal}; PRAGMA wal_autocheckpoint = 0`,
        );
        fill(db);
        const connection = new NativeConnection(`file:${file}`);
        try {
          await verifyWith(connection, file);
          for (const change of CHANGES) {
            // Only a file without a log can have another page size.
            if (journal === 'WAL' && change.includes('page_size')) continue;
            db.exec(change);
            await verifyWith(connection, file);
          }
        } finally {
          await connection.close();
        }
      } finally {
        db.close();
      }
    });
  }

  void it('is read right page by page, with a change between any two', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    const db = openDatabase(file);
    try {
      db.exec(`PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0`);
      fill(db);
      const connection = new NativeConnection(`file:${file}`);
      try {
        const plans = await plansOf(connection, [{ name: 't' }, { name: 'w' }]);
        for (const plan of plans) {
          const seen: unknown[] = [];
          let position: readonly Cell[] | null = null;
          const before = pagesBySql();
          for (let page = 0; ; page++) {
            const list = new RowList(plan);
            const read = await readPage(
              connection,
              plan,
              position,
              { ...ROOMY, maxRows: 60 },
              list,
            );
            for (const [id, v] of list.rows) {
              assert.equal(Number((v as string).slice(0, 80).replace(/\D.*/s, '')), Number(id));
              seen.push(id);
            }
            position = read.position;
            if (read.done) break;
            const key = plan.name === 't' ? 'id' : 'k';
            if (page % 3 === 0)
              db.exec(
                `UPDATE ${plan.name} SET v = v || ' ' || hex(zeroblob(${page * 40})) WHERE ${key} % 5 = ${page % 5}`,
              );
            if (page % 3 === 1)
              db.exec(
                `CREATE TABLE moved${page}${plan.name} AS SELECT * FROM before LIMIT 100; ${page % 2 ? 'VACUUM' : 'PRAGMA wal_checkpoint(TRUNCATE)'}`,
              );
            if (page % 3 === 2) db.exec(`DROP TABLE moved${page - 1}${plan.name}; VACUUM`);
          }
          assert.deepEqual(
            seen.map(Number),
            Array.from({ length: 1200 }, (_, i) => i + 1),
          );
          assert.equal(pagesBySql(), before);
        }
      } finally {
        await connection.close();
      }
    } finally {
      db.close();
    }
  });

  void it('is read at the snapshot, not at what is written meanwhile', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    const db = openDatabase(file);
    try {
      db.exec(`PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0`);
      fill(db);
      const connection = new NativeConnection(`file:${file}`);
      try {
        await verifyWith(connection, file);
        const [plan] = await plansOf(connection, [{ name: 't' }]);
        const wanted = readPlainly(file, plan!);
        const before = pagesBySql();
        // The writer strikes as soon as the reader has its snapshot, and at every later statement.
        const list = new RowList(plan!);
        const snapshot = connection.snapshot.bind(connection);
        let strikes = 0;
        connection.snapshot = (read) =>
          snapshot((query) =>
            read(async (sql, params) => {
              const answer = await query(sql, params);
              if (strikes < 5)
                db.exec(
                  `UPDATE t SET v = 'struck ' || hex(zeroblob(${strikes * 100})); DELETE FROM t WHERE id % 7 = ${strikes}`,
                );
              strikes++;
              return answer;
            }),
          );
        const page = await readPage(connection, plan!, null, { ...ROOMY, maxRows: 5000 }, list);
        assert.ok(page.done);
        assert.equal(list.rows.length, wanted.length);
        assert.ok(list.rows.every(([, v]) => !(v as string).startsWith('struck')));
        assert.ok(strikes >= 2, `${strikes} statements`);
        assert.equal(pagesBySql(), before);
      } finally {
        await connection.close();
      }
      await verify(file);
    } finally {
      db.close();
    }
  });
});

void describe('several readers of one thread', () => {
  void it('do not get into each other', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec(`PRAGMA page_size = 512;
        CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
        CREATE TABLE x (a INTEGER, b TEXT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
        INSERT INTO t SELECT i, hex(zeroblob(i % 400)) || i FROM n;
        INSERT INTO w SELECT printf('%x', id * 2654435761 & 4294967295) || id, v FROM t;
        INSERT INTO x SELECT id % 20, 'b' || id, v FROM t;`);
    });
    const tables = ['t', 'w', 'x', 'w', 'x', 't'];
    const read = async (name: string) => {
      await using source = await openSource({ url: `file:${file}` });
      const rows: unknown[] = [];
      const positions: unknown[] = [];
      for await (const page of source.pages(name, { maxRows: 90, maxBytes: 20_000 })) {
        rows.push(...page.rows);
        positions.push(page.position);
      }
      return { rows, positions };
    };
    const before = pagesBySql();
    const alone: Awaited<ReturnType<typeof read>>[] = [];
    for (const name of tables) alone.push(await read(name));
    const together = await Promise.all(tables.map(read));
    for (const [i, name] of tables.entries()) {
      assert.deepEqual(together[i]!.positions, alone[i]!.positions, `positions of ${name}`);
      assert.deepEqual(together[i]!.rows, alone[i]!.rows, `rows of ${name}`);
      assert.equal(alone[i]!.rows.length, 1500);
    }
    assert.equal(pagesBySql(), before);
  });
});

void describe('a damaged file', () => {
  const PAGE = 1024;

  /** Reads files in a process of their own. */
  async function readApart(files: readonly string[], maxRows: number): Promise<DamageOutcome[]> {
    const script = fileURLToPath(new URL('./stored-reading.js', import.meta.url));
    const child = spawn(process.execPath, [script, String(maxRows), ...files], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 25_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const exit = await new Promise<string>((resolve) => {
      child.on('close', (code, signal) => resolve(signal ?? String(code)));
    });
    const outcomes = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as DamageOutcome);
    assert.equal(exit, '0', `after ${outcomes.length} files: ${stderr.slice(0, 2000)}`);
    return outcomes;
  }

  /** Right is what SQL gives, or what was there before the damage: SQL may look at more of a page than rows need. */
  function assertTold(outcome: DamageOutcome, what: string, whole?: readonly string[]): void {
    const { error, isSourceError, rows, sqlRows, sqlError } = outcome;
    if (error !== undefined) assert.ok(isSourceError, `${what}: ${error}`);
    else if (sqlError === undefined) assert.deepEqual(rows, sqlRows, what);
    else assert.deepEqual(rows, whole, `${what}, where SQL says: ${sqlError}`);
  }

  function build(withoutRowid: boolean): (db: NativeDatabase) => void {
    return (db) => {
      db.exec(`PRAGMA page_size = ${PAGE};
        CREATE TABLE t (k INTEGER PRIMARY KEY, v, w) ${withoutRowid ? 'WITHOUT ROWID' : ''};`);
      insert(
        db,
        't',
        Array.from({ length: 400 }, (_, i) => [
          BigInt(i * 3),
          bytes(i % 50 === 7 ? 3000 : 20 + (i % 60), i + 1),
          BigInt(i) ** 5n,
        ]),
      );
    };
  }

  for (const withoutRowid of [false, true]) {
    const kind = withoutRowid ? 'WITHOUT ROWID' : 'by rowid';
    void it(`gives rows as SQL does, or says so: ${kind} (seed ${SEED})`, async () => {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, build(withoutRowid));
      const whole = await readFile(file);
      const root = Number(ask(file, `SELECT rootpage FROM sqlite_schema WHERE name = 't'`));
      let state = SEED;
      const random = (below: number) => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const files: string[] = [];
      const told: string[] = [];
      const damage = async (page: number, at: number, value: number): Promise<void> => {
        const damaged = Buffer.from(whole);
        damaged[(page - 1) * PAGE + at] = value;
        const path = dir.join(`${files.length}.db`);
        await writeFile(path, damaged);
        files.push(path);
        told.push(`byte ${at} of page ${page} as ${value}`);
      };
      const pageCount = whole.length / PAGE;
      for (let i = 0; i < 12; i++) await damage(root, i, random(256));
      for (let i = 0; i < 40; i++) await damage(root, 12 + random(60), random(256));
      for (let i = 0; i < 30; i++) await damage(root, random(PAGE), random(256));
      for (let i = 0; i < 50; i++) await damage(2 + random(pageCount - 1), random(80), random(256));
      for (let i = 0; i < 30; i++)
        await damage(2 + random(pageCount - 1), random(PAGE), random(256));
      const [{ rows: wholeRows } = {}, ...outcomes] = await readApart([file, ...files], 150);
      assert.equal(wholeRows?.length, 400);
      assert.equal(outcomes.length, files.length);
      const wrong: string[] = [];
      for (const [i, outcome] of outcomes.entries()) {
        try {
          assertTold(outcome, told[i]!, wholeRows);
        } catch (error) {
          wrong.push(String(error).slice(0, 300));
        }
      }
      assert.equal(
        wrong.length,
        0,
        `${wrong.length} of ${files.length}:\n${wrong.slice(0, 8).join('\n')}`,
      );
      // The damage is such that it shows.
      assert.ok(outcomes.filter(({ sqlError }) => sqlError !== undefined).length > 20);
    });
  }

  void it('says so where a cell lies at the very end of an interior page', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, build(false));
    const whole = await readFile(file);
    const root = Number(ask(file, `SELECT rootpage FROM sqlite_schema WHERE name = 't'`));
    const start = (root - 1) * PAGE;
    assert.equal(whole[start], 5);
    // The cell that ends with the page, with nothing left of it but the number of its child.
    let pointer = start + 12;
    for (let i = 1; i < whole.readUInt16BE(start + 3); i++) {
      const other = start + 12 + 2 * i;
      if (whole.readUInt16BE(other) > whole.readUInt16BE(pointer)) pointer = other;
    }
    const child = whole.readUInt32BE(start + whole.readUInt16BE(pointer));
    whole.writeUInt32BE(child, start + PAGE - 4);
    whole.writeUInt16BE(PAGE - 4, pointer);
    await writeFile(file, whole);
    for (const maxRows of [10, 1000]) {
      const [outcome] = await readApart([file], maxRows);
      assertTold(outcome!, `by ${maxRows}`);
    }
  });

  void it('says so where a chain of overflow pages is cut, bent or a circle', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec(`PRAGMA page_size = ${PAGE}; CREATE TABLE t (k INTEGER PRIMARY KEY, v)`);
      insert(db, 't', [
        [1n, 'a'],
        [2n, bytes(40_000, 3)],
        [3n, 'c'],
      ]);
    });
    const whole = await readFile(file);
    const last = whole.length / PAGE;
    const files: string[] = [];
    for (const next of [0, 1, 2, 10, last, last + 1, 0xffffffff]) {
      const damaged = Buffer.from(whole);
      damaged.writeUInt32BE(next, (last - 20) * PAGE);
      const path = dir.join(`${next}.db`);
      await writeFile(path, damaged);
      files.push(path);
    }
    const cut = dir.join('cut.db');
    await writeFile(cut, whole.subarray(0, -10 * PAGE));
    files.push(cut);
    for (const outcome of await readApart(files, 100)) assertTold(outcome, outcome.file);
  });
});

void describe('any table, any rows, any history', () => {
  const type = fc.constantFrom(
    '',
    'INTEGER',
    'TEXT',
    'REAL',
    'BLOB',
    'NUMERIC',
    'INT',
    'TEXT COLLATE NOCASE',
  );
  const literal = fc.constantFrom(
    '7',
    '-3',
    '2.5',
    `'12'`,
    `'long text é'`,
    `x'0001'`,
    'NULL',
    '9e999',
    `'€'`,
  );
  const change = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), type, literal: fc.option(literal) }),
    fc.record({ kind: fc.constant('drop' as const), at: fc.nat(20) }),
    fc.record({ kind: fc.constant('rename' as const), at: fc.nat(20) }),
    fc.record({ kind: fc.constant('vacuum' as const) }),
    fc.record({ kind: fc.constant('delete' as const), modulus: fc.integer({ min: 2, max: 5 }) }),
    fc.record({ kind: fc.constant('grow' as const), at: fc.nat(20), bytes: fc.nat(3000) }),
    fc.record({ kind: fc.constant('insert' as const) }),
  );
  const value = fc.oneof(
    { weight: 4, arbitrary: keyValue },
    { weight: 3, arbitrary: sqlValue.filter((v) => typeof v !== 'string' || v.length < 5000) },
    fc.integer({ min: 200, max: 3000 }).map((length) => bytes(length, length)),
    fc.integer({ min: 100, max: 1500 }).map((length) => text(length, length)),
  );
  const world = fc
    .record({
      pageSize: fc.constantFrom(512, 512, 1024, 4096, 65_536),
      encoding: fc.constantFrom('UTF-8', ...ENCODINGS),
      autoVacuum: fc.constantFrom('NONE', 'FULL', 'INCREMENTAL'),
      journal: fc.constantFrom('WAL', 'DELETE'),
      columns: fc.array(type, { minLength: 1, maxLength: 7 }),
      key: fc.constantFrom('none', 'alias', 'desc', 'one', 'two', 'clustered'),
      maxRows: fc.constantFrom(1, 3, 10, 1000),
      maxBytes: fc.constantFrom(2000, 20_000, 4_000_000),
      maxRowBytes: fc.constantFrom(1500, 64_000_000),
      changes: fc.array(change, { maxLength: 6 }),
    })
    .chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        rows: fc.array(fc.array(value, { minLength: 9, maxLength: 9 }), { maxLength: 30 }),
      }),
    );

  void it(`is read the same (seed ${SEED})`, async () => {
    await using dir = await TempDirectory.make();
    let run = 0;
    let storedRows = 0;
    await fc.assert(
      fc.asyncProperty(world, async ({ shape, rows }) => {
        const file = dir.join(`${run++}.db`);
        const db = openDatabase(file);
        const { key } = shape;
        try {
          db.exec(`PRAGMA page_size = ${shape.pageSize}; PRAGMA encoding = '${shape.encoding}';
            PRAGMA auto_vacuum = ${shape.autoVacuum}; PRAGMA journal_mode = ${shape.journal};`);
          const own = shape.columns.map((declared, i) => `c${i} ${declared}`);
          const keys = {
            none: [...own],
            alias: [...own.slice(0, 1), 'id INTEGER PRIMARY KEY', ...own.slice(1)],
            desc: [...own, 'id INTEGER PRIMARY KEY DESC'],
            one: [...own, 'PRIMARY KEY (c0)'],
            two: ['a', ...own, 'PRIMARY KEY (c0, a)'],
            clustered: ['a', ...own, 'PRIMARY KEY (c0, a)'],
          }[key];
          db.exec(
            `CREATE TABLE t (${keys.join(', ')})${key === 'clustered' ? ' WITHOUT ROWID' : ''}`,
          );
          const names = () =>
            (
              db
                .prepare(`SELECT name FROM pragma_table_info('t')`)
                .raw()
                .all() as unknown as string[][]
            ).map(([name]) => name!);
          let serial = 0;
          const insertRows = () => {
            const columns = names();
            for (const row of rows) {
              serial++;
              const cells = columns.map((name, i): Insertable => {
                if (name === 'id') return BigInt(serial * 7919);
                const cell = row[(i + serial) % row.length]!;
                return cell instanceof Uint8Array ? Buffer.from(cell) : cell;
              });
              const marks = columns.map(() => '?').join(', ');
              try {
                db.prepare(`INSERT OR IGNORE INTO t VALUES (${marks})`).run(cells);
              } catch (error) {
                // A NULL in the key of a clustered table.
                assert.match(String(error), /NOT NULL|mismatch/);
              }
            }
          };
          insertRows();
          const connection = new NativeConnection(`file:${file}`);
          try {
            const { maxRows, maxBytes, maxRowBytes } = shape;
            const options = { bounds: { maxRows, maxBytes, maxRowBytes } };
            const noCase = key === 'clustered' && shape.columns[0]!.includes('NOCASE');
            const bySql = noCase ? ['t'] : [];
            // Of a row that is too large, a key that is not in its page is for SQL to read.
            const mayFallBack = key === 'clustered' && maxRowBytes < 10_000;
            await verifyWith(connection, file, { ...options, bySql, mayFallBack });
            let added = 0;
            for (const step of shape.changes) {
              const free = names().filter((name) => /^[cx][1-9]/.test(name));
              const at = 'at' in step && free.length > 0 ? free[step.at % free.length] : undefined;
              if (step.kind === 'add') {
                const rest = step.literal === null ? '' : `DEFAULT ${step.literal}`;
                db.exec(`ALTER TABLE t ADD COLUMN x${++added} ${step.type} ${rest}`);
              } else if (step.kind === 'drop' && at !== undefined) {
                db.exec(`ALTER TABLE t DROP COLUMN ${at}`);
              } else if (step.kind === 'rename' && at !== undefined) {
                db.exec(`ALTER TABLE t RENAME COLUMN ${at} TO x${++added}`);
              } else if (step.kind === 'vacuum') db.exec('VACUUM');
              else if (step.kind === 'delete') {
                const name = key === 'clustered' ? 'length(hex(c0))' : 'rowid';
                db.exec(`DELETE FROM t WHERE ${name} % ${step.modulus} = 0`);
              } else if (step.kind === 'grow' && at !== undefined) {
                db.exec(
                  `UPDATE t SET ${quote(at)} = zeroblob(${step.bytes}) WHERE length(hex(c0)) % 3 <> 1`,
                );
              } else if (step.kind === 'insert') insertRows();
              const { t } = await verifyWith(connection, file, { ...options, bySql, mayFallBack });
              storedRows += t!.rows.length;
            }
            const [first, ...others] = names();
            const some = Object.fromEntries(
              [...others.toReversed().slice(0, 3), first!].map((name) => [name, 'any?'] as const),
            );
            await verifyWith(connection, file, {
              ...options,
              bySql,
              mayFallBack,
              definitions: [{ name: 't', columns: some }],
            });
          } finally {
            await connection.close();
          }
        } finally {
          db.close();
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
    assert.ok(storedRows > 300, `${storedRows} rows`);
  });
});
