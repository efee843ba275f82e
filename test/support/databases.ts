import Database from 'libsql';

/** A read-write connection of the native driver. */
export type NativeDatabase = InstanceType<typeof Database>;

/** A value to insert: a `bigint` becomes an INTEGER, a `number` a REAL. */
export type Insertable = null | bigint | number | string | Uint8Array;

/** A database to sync, chosen for what is hard about its shape. */
export interface ZooDatabase {
  readonly name: string;
  readonly build: (database: NativeDatabase) => void;
  /** What discovery must leave out, besides the system's own tables. */
  readonly leftOut?: readonly string[];
  /** Left open, with its write-ahead log not folded in, until the test is over. */
  readonly staysOpen?: boolean;
  /** Not to be had from the Hrana test server, which reads TEXT as UTF-8. */
  readonly fileOnly?: boolean;
}

/** A connection that another process or thread has just closed may hold the file for as long as it takes to tidy up. */
const BUSY_TIMEOUT_MS = 10_000;

/** Opens, or makes, a database file for writing. */
export function openDatabase(file: string): NativeDatabase {
  return new Database(file, { timeout: BUSY_TIMEOUT_MS } as never);
}

/** Runs `change` on a database file. */
export function changeDatabase(
  file: string,
  change: string | ((db: NativeDatabase) => void),
): void {
  const database = openDatabase(file);
  try {
    if (typeof change === 'string') database.exec(change);
    else change(database);
  } finally {
    database.close();
  }
}

/** Inserts rows in one transaction. */
export function insert(
  database: NativeDatabase,
  table: string,
  rows: Iterable<readonly Insertable[]>,
  verb: 'INSERT' | 'INSERT OR IGNORE' = 'INSERT',
): void {
  database.exec('BEGIN');
  const statements = new Map<number, ReturnType<NativeDatabase['prepare']>>();
  for (const row of rows) {
    let statement = statements.get(row.length);
    if (!statement) {
      const marks = row.map(() => '?').join(', ');
      statement = database.prepare(`${verb} INTO ${quote(table)} VALUES (${marks})`);
      statements.set(row.length, statement);
    }
    statement.run(row.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)));
  }
  database.exec('COMMIT');
}

/** An identifier in SQL. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

const around = (...centers: readonly bigint[]): bigint[] =>
  centers.flatMap((center) => [center - 1n, center, center + 1n]);

/** INTEGERs at the ends of every width that a file, a wire format or a double has. */
export const INTEGERS: readonly bigint[] = [
  ...around(0n, 32n, -32n, 128n, -128n, 256n, 32768n, -32768n, 65536n),
  ...around(2n ** 31n, -(2n ** 31n), 2n ** 32n, -(2n ** 32n)),
  ...around(2n ** 53n, -(2n ** 53n), 2n ** 62n, -(2n ** 62n)),
  2n ** 53n + 3n,
  2n ** 63n - 513n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  -(2n ** 63n) + 1n,
];

/** REALs that a float format may lose. */
export const REALS: readonly number[] = [
  -0.0,
  0.5,
  0.1,
  1 / 3,
  -2.5,
  5e-324,
  -5e-324,
  2.225_073_858_507_201_4e-308,
  2.225_073_858_507_201e-308,
  Number.MAX_VALUE,
  -Number.MAX_VALUE,
  1e15,
  -1e15,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 53 + 2,
  -(2 ** 53),
  2 ** 63,
  -(2 ** 63),
  2 ** 64,
  1e300,
  4_294_967_296.5,
];

export const INFINITIES: readonly number[] = [Infinity, -Infinity];

const WIDTHS = ['a', 'é', '€', '😀'] as const;

/** TEXT short enough for a key. */
export const SHORT_TEXTS: readonly string[] = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  'ab',
  'B',
  'é',
  'e\u0301',
  '€',
  '😀',
  '\u{10FFFF}',
  '\uFFFF',
  '\uFEFFbom',
  '\u0001',
  '\t\n\r"\\\'`',
  '</script>\u2028',
  '0',
  '1',
  '01',
  ' 1',
  '1 ',
  '1.0',
  '1e5',
  '-0',
  '0x10',
  '9223372036854775807',
  '9223372036854775808',
  'inf',
  '-inf',
  'Infinity',
  'nan',
  'NULL',
  'null',
  'true',
  "x'00'",
  't',
  'b',
  '|',
  'ÿ',
];

/** TEXT with NULs, which C strings end at. */
export const NUL_TEXTS: readonly string[] = ['\0', 'a\0', 'a\0b', '\0a', 'a\0\0b', 'é\0€\0😀'];

/** TEXT of every UTF-8 width at the edges of the msgpack headers, in bytes and in characters. */
export const EDGE_TEXTS: readonly string[] = WIDTHS.flatMap((character) =>
  [31, 32, 39, 40, 41, 255, 256, 65_535, 65_536].flatMap((size) => {
    const width = Buffer.byteLength(character);
    const filled = character.repeat(Math.floor(size / width));
    const byBytes = filled + 'x'.repeat(size - Buffer.byteLength(filled));
    return size > 256 ? [byBytes] : [byBytes, character.repeat(size)];
  }),
);

export const SHORT_BLOBS: readonly Uint8Array[] = [
  new Uint8Array(),
  Uint8Array.of(0),
  Uint8Array.of(0, 0),
  Uint8Array.of(0, 255),
  Uint8Array.of(255),
  Uint8Array.of(255, 254, 0, 1),
  Buffer.from('text'),
  Buffer.from('é'),
  Buffer.from('tinf'),
  Buffer.from('inf'),
  Uint8Array.of(0x61, 0xff, 0x62),
];

export const EDGE_BLOBS: readonly Uint8Array[] = [31, 32, 255, 256, 65_535, 65_536].map((size) =>
  bytes(size, size),
);

/** Bytes that look random and are the same each time. */
export function bytes(length: number, seed = 1): Uint8Array {
  const out = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

/** Characters of all widths that look random and are the same each time. */
export function text(length: number, seed = 1): string {
  const alphabet = Array.from('abc XYZ 0189 "\\ éüß €漢字 😀🜁');
  const some = Array.from(
    bytes(Math.min(length, 5003), seed),
    (byte) => alphabet[byte % alphabet.length]!,
  );
  const rest = some.slice(0, length % some.length || 0).join('');
  return some.join('').repeat(Math.floor(length / Math.max(1, some.length))) + rest;
}

const keyValues: readonly Insertable[] = [...INTEGERS, ...REALS, ...SHORT_TEXTS, ...SHORT_BLOBS];
const allValues: readonly Insertable[] = [...keyValues, ...NUL_TEXTS, ...EDGE_TEXTS, ...EDGE_BLOBS];

const keys: ZooDatabase = {
  name: 'keys',
  build(db) {
    db.exec(`
      CREATE TABLE rowid_alias (id INTEGER PRIMARY KEY, v);
      CREATE TABLE auto_increment (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
      CREATE TABLE integer_desc (id INTEGER PRIMARY KEY DESC, v);
      CREATE TABLE no_key (a, b TEXT);
      CREATE TABLE any_key (k PRIMARY KEY, v);
      CREATE TABLE any_key_without_rowid (k PRIMARY KEY, v) WITHOUT ROWID;
      CREATE TABLE text_key (k TEXT NOT NULL PRIMARY KEY, v);
      CREATE TABLE text_nullable (k TEXT PRIMARY KEY, v);
      CREATE TABLE text_desc (k TEXT, v, PRIMARY KEY (k DESC)) WITHOUT ROWID;
      CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY, v);
      CREATE TABLE nocase_without_rowid (k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID;
      CREATE TABLE rtrim (k TEXT COLLATE RTRIM NOT NULL PRIMARY KEY, v);
      CREATE TABLE real_key (k REAL PRIMARY KEY, v);
      CREATE TABLE numeric_key (k NUMERIC PRIMARY KEY, v) WITHOUT ROWID;
      CREATE TABLE blob_key (k BLOB PRIMARY KEY, v) WITHOUT ROWID;
      CREATE TABLE composite (a INTEGER, b TEXT, c BLOB, v, PRIMARY KEY (b, a, c)) WITHOUT ROWID;
      CREATE TABLE composite_nullable (a TEXT, b INTEGER, v, PRIMARY KEY (a, b));
      CREATE TABLE composite_any (a, b, v, PRIMARY KEY (a, b));
      CREATE TABLE composite_collated (a TEXT COLLATE NOCASE, b TEXT, v, PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
    `);
    insert(
      db,
      'rowid_alias',
      INTEGERS.map((id) => [id, `v${id}`]),
    );
    insert(db, 'auto_increment', [
      [1n, 'a'],
      [5n, 'b'],
      [2n ** 40n, 'c'],
    ]);
    insert(db, 'integer_desc', [
      ...INTEGERS.map((id) => [id, 1n] as const),
      [null, 2n],
      [null, 3n],
    ]);
    insert(
      db,
      'no_key',
      Array.from({ length: 50 }, (_, i) => [i % 3 ? 'same' : null, 'same']),
    );
    const single = keyValues.map((key, i) => [key, BigInt(i)] as const);
    const withNulls = [...single, [null, 'n1'], [null, 'n2'], [null, null]] as const;
    insert(db, 'any_key', withNulls, 'INSERT OR IGNORE');
    insert(db, 'any_key_without_rowid', single, 'INSERT OR IGNORE');
    const texts = [...SHORT_TEXTS, ...NUL_TEXTS].map((key, i) => [key, BigInt(i)] as const);
    for (const table of ['text_key', 'text_desc', 'nocase', 'nocase_without_rowid', 'rtrim']) {
      insert(db, table, texts, 'INSERT OR IGNORE');
    }
    insert(db, 'text_nullable', [...texts, [null, 'n1'], [null, 'n2'], [null, 'n3']]);
    insert(db, 'nocase', [
      [null, 1n],
      [null, 2n],
    ]);
    const numbers = [...INTEGERS, ...REALS].map((key, i) => [key, BigInt(i)] as const);
    insert(
      db,
      'real_key',
      [...numbers, [null, 'n'], [null, 'm'], ['text', 'in a REAL column']],
      'INSERT OR IGNORE',
    );
    insert(
      db,
      'numeric_key',
      [...numbers, ['text', 't'], ['12', 'n'], [Buffer.of(1), 'b']],
      'INSERT OR IGNORE',
    );
    const blobs = [...SHORT_BLOBS, bytes(1900), bytes(900)].map(
      (key, i) => [key, BigInt(i)] as const,
    );
    insert(db, 'blob_key', blobs);
    const parts = ['', 'a', 'a\0', 'a\0b', 'b', 'é'];
    const blobParts = [Buffer.of(), Buffer.of(0), Buffer.of(0, 255), Buffer.of(255)];
    insert(
      db,
      'composite',
      parts.flatMap((b) =>
        [-1n, 0n, 2n ** 53n + 1n].flatMap((a) => blobParts.map((c) => [a, b, c, 'v'] as const)),
      ),
    );
    const nullableParts = [null, ...parts];
    insert(
      db,
      'composite_nullable',
      [1, 2].flatMap((round) =>
        nullableParts.flatMap((a) =>
          [null, 1n, -7n].flatMap((b) =>
            round === 2 && a !== null && b !== null ? [] : [[a, b, BigInt(round)] as const],
          ),
        ),
      ),
    );
    const some: readonly Insertable[] = [
      null,
      0n,
      0.5,
      2n ** 63n - 1n,
      2 ** 63,
      '',
      'x\0',
      'x',
      Buffer.of(),
      Buffer.of(0),
    ];
    insert(
      db,
      'composite_any',
      some.flatMap((a) => some.map((b) => [a, b, 'v'] as const)),
      'INSERT OR IGNORE',
    );
    insert(
      db,
      'composite_collated',
      ['a', 'B', 'c', 'D'].flatMap((a) => ['x', 'X', 'y', ''].map((b) => [a, b, 1n] as const)),
    );
  },
};

const values: ZooDatabase = {
  name: 'values',
  build(db) {
    db.exec(`
      CREATE TABLE classes (id INTEGER PRIMARY KEY, n NUMERIC, i INTEGER, r REAL, t TEXT, b BLOB, u, d DATETIME);
      CREATE TABLE untyped (a, b);
      CREATE TABLE strict_columns (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, y ANY) STRICT;
      CREATE TABLE strict_without_rowid (k TEXT PRIMARY KEY, y ANY) STRICT, WITHOUT ROWID;
      CREATE TABLE generated (
        id INTEGER PRIMARY KEY, a INTEGER, s TEXT AS (a || '-stored') STORED, v REAL AS (a / 2.0) VIRTUAL, z AS (a));
      CREATE TABLE nulls (a INTEGER, b TEXT, c REAL, d BLOB, e);
      CREATE TABLE booleans (id TEXT PRIMARY KEY NOT NULL, flag BOOLEAN, at TIMESTAMP, price DECIMAL(10, 2));
      CREATE TABLE single (only TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;
    `);
    const everything = [null, ...allValues, ...INFINITIES];
    insert(
      db,
      'classes',
      everything.map((value, i) => [BigInt(i), value, value, value, value, value, value, value]),
    );
    insert(
      db,
      'untyped',
      everything.map((value, i) => [value, everything[(i * 7 + 3) % everything.length]!]),
    );
    const pick = <T>(list: readonly T[], i: number): T => list[i % list.length]!;
    const plain = [...SHORT_TEXTS, ...EDGE_TEXTS];
    insert(
      db,
      'strict_columns',
      everything.map((_, i) => [
        BigInt(i),
        i % 9 === 0 ? null : pick(INTEGERS, i),
        i % 7 === 0 ? null : pick([...REALS, ...INFINITIES], i),
        i % 11 === 0 ? null : pick(plain, i),
        i % 5 === 0 ? null : pick([...SHORT_BLOBS, ...EDGE_BLOBS], i),
        pick([null, ...INTEGERS, ...REALS, ...SHORT_TEXTS, ...SHORT_BLOBS], i),
      ]),
    );
    insert(
      db,
      'strict_without_rowid',
      SHORT_TEXTS.map((key, i) => [key, pick(keyValues, i * 13)]),
    );
    db.exec('INSERT INTO generated (a) VALUES (1), (2), (-3), (NULL), (9007199254740993)');
    insert(db, 'nulls', [
      [null, null, null, null, null],
      [null, null, null, null, null],
      [1n, null, 1.5, null, 'x'],
    ]);
    insert(db, 'booleans', [
      ['a', 1n, '2024-01-01', 9.99],
      ['b', null, 1_700_000_000n, 10n],
      ['c', 'yes', null, '1.10'],
    ]);
    insert(
      db,
      'single',
      SHORT_TEXTS.map((key) => [key]),
    );
  },
};

const shapes: ZooDatabase = {
  name: 'shapes',
  build(db) {
    const wide = (name: string, columns: number, suffix = '') =>
      `CREATE TABLE ${name} (k TEXT PRIMARY KEY NOT NULL, ${Array.from({ length: columns - 1 }, (_, i) => `c${i}${suffix}`).join(', ')});`;
    db.exec(`
      ${wide('wide_300', 300, ' TEXT')}
      ${wide('wide_1000', 1000)}
      ${wide('wide_1900', 1900)}
      CREATE TABLE empty_rowid (a, b);
      CREATE TABLE empty_keyed (a TEXT PRIMARY KEY, b) WITHOUT ROWID;
      CREATE TABLE large (id TEXT PRIMARY KEY NOT NULL, body, note TEXT);
      CREATE TABLE large_rowid (body BLOB);
    `);
    const cell = (i: number): Insertable =>
      i % 5 === 0
        ? null
        : i % 5 === 1
          ? BigInt(i)
          : i % 5 === 2
            ? i + 0.5
            : i % 5 === 3
              ? `text ${i}`
              : bytes(i % 9, i);
    for (const [table, columns] of [
      ['wide_300', 300],
      ['wide_1000', 1000],
      ['wide_1900', 1900],
    ] as const) {
      insert(
        db,
        table,
        ['a', 'b', 'c', 'é'].map((key, row) => [
          key,
          ...Array.from({ length: columns - 1 }, (_, i) => cell(i + row)),
        ]),
      );
    }
    const MB = 1024 * 1024;
    const rows: Insertable[][] = Array.from({ length: 60 }, (_, i) => [
      `row ${String(i).padStart(3, '0')}`,
      BigInt(i),
      'tiny',
    ]);
    rows[7]![1] = bytes(5 * MB, 7);
    rows[8]![1] = text((5 * MB) / 2, 8);
    rows[30]![1] = 'x'.repeat(5 * MB);
    rows[31]![1] = bytes(MB, 31);
    rows[31]![2] = text(MB, 31);
    rows[45]![2] = `${text(100_000, 45)}\0${text(10, 4)}`;
    rows[46]![1] = '\u0001'.repeat(300_000);
    insert(db, 'large', rows);
    insert(db, 'large_rowid', [[bytes(10)], [bytes(2 * MB, 2)], [bytes(2 * MB, 3)], [bytes(20)]]);
  },
};

/** Column names that a careless program would trip over. */
export const ODD_NAMES: readonly string[] = [
  'a"b',
  "a'b",
  '[x]',
  '`tick`',
  'two words',
  ' leading',
  '名前',
  'naïve',
  '😀',
  'select',
  'order',
  'table',
  '%s',
  '?1',
  ':p',
  '@p',
  '$p',
  'a.b',
  'a\\b',
  'semi;colon',
  '--',
  '0',
  '1',
  '10',
  'length',
  'constructor',
  'toString',
  'rowid',
  'x\ny',
];

const names: ZooDatabase = {
  name: 'names',
  build(db) {
    const tables = [
      ...ODD_NAMES.filter((name) => name !== '0'),
      'foo_shadow',
      'main',
      'temp',
      'Case',
    ];
    for (const [at, name] of tables.entries()) {
      const key = ODD_NAMES[at % ODD_NAMES.length]!;
      const columns = ODD_NAMES.map(quote).join(', ');
      const primary = at % 3 === 0 ? '' : `, PRIMARY KEY (${quote(key)}, "rowid")`;
      const without = at % 3 === 2 ? ' WITHOUT ROWID' : '';
      db.exec(`CREATE TABLE ${quote(name)} (${columns}${primary})${without}`);
      insert(
        db,
        name,
        [1, 2, 3].map((row) =>
          ODD_NAMES.map((column, i) => (i % 2 ? BigInt(row * 100 + i) : `${column}${row}`)),
        ),
      );
    }
    db.exec(`
      CREATE TABLE hidden_rowid (rowid TEXT PRIMARY KEY NOT NULL, _rowid_, oid);
      INSERT INTO hidden_rowid VALUES ('a', 1, 2), ('b', 3, 4);
      CREATE TABLE rowid_column (rowid TEXT, v);
      INSERT INTO rowid_column VALUES ('z', 1), ('y', 2), (NULL, 3);
    `);
  },
};

const extras: ZooDatabase = {
  name: 'extras',
  leftOut: [
    'a_view',
    'broken_view',
    'docs',
    'docs_data',
    'docs_idx',
    'docs_content',
    'docs_docsize',
    'docs_config',
    'vec_idx_shadow',
  ],
  build(db) {
    db.exec(`
      CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
      CREATE VIEW a_view AS SELECT * FROM plain;
      CREATE TABLE doomed (x);
      CREATE VIEW broken_view AS SELECT x FROM doomed;
      DROP TABLE doomed;
      CREATE VIRTUAL TABLE docs USING fts5(title, body);
      INSERT INTO docs VALUES ('one', 'two three'), ('four', 'five');
      CREATE TABLE vectors (id TEXT PRIMARY KEY NOT NULL, e F32_BLOB(4));
      CREATE INDEX vec_idx ON vectors (libsql_vector_idx(e));
      INSERT INTO vectors VALUES ('a', vector('[1,2,3,4]')), ('b', vector('[-1,0.5,0,9]')), ('c', NULL);
      CREATE TRIGGER trig AFTER INSERT ON plain BEGIN UPDATE plain SET v = v || '!' WHERE id = new.id; END;
      INSERT INTO plain (v) VALUES ('a'), ('b');
      CREATE TABLE parent (id TEXT PRIMARY KEY NOT NULL);
      CREATE TABLE child (id INTEGER PRIMARY KEY, p TEXT REFERENCES parent (id) ON DELETE CASCADE);
      INSERT INTO parent VALUES ('p'); INSERT INTO child VALUES (1, 'p'), (2, NULL);
      CREATE INDEX expr ON plain (lower(v)) WHERE v IS NOT NULL;
      CREATE UNIQUE INDEX expr_unique ON plain (v || id);
      ANALYZE;
    `);
  },
};

const utf16 = (encoding: 'UTF-16le' | 'UTF-16be'): ZooDatabase => ({
  name: encoding.toLowerCase(),
  fileOnly: true,
  build(db) {
    db.exec(`
      PRAGMA encoding = '${encoding}';
      CREATE TABLE texts (k TEXT PRIMARY KEY NOT NULL, v, b BLOB);
      CREATE TABLE nullable (k TEXT PRIMARY KEY, v);
      CREATE TABLE composite (a TEXT, b TEXT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
      CREATE TABLE "名前 😀" ("é" INTEGER PRIMARY KEY, "€ 😀" TEXT);
    `);
    const texts = [
      ...SHORT_TEXTS,
      ...EDGE_TEXTS.filter((edge) => edge.length < 300),
      '\uE000',
      '\u{1F600}\uFFFD',
    ];
    const unique = [...new Set(texts)];
    insert(
      db,
      'texts',
      unique.map((key, i) => [key, texts[(i * 5) % texts.length]!, bytes(i * 37)]),
    );
    insert(db, 'texts', [
      ['large', text(200_000, 3), bytes(300_001, 5)],
      ['large 2', bytes(99_999), null],
    ]);
    insert(db, 'nullable', [...unique.map((key) => [key, 1n] as const), [null, 2n], [null, 3n]]);
    insert(
      db,
      'composite',
      ['', 'é', '\uFFFD', '😀'].flatMap((a) =>
        ['', 'z', '\uE000', '🜁'].map((b) => [a, b, 1n] as const),
      ),
    );
    insert(db, '名前 😀', [
      [1n, '漢字'],
      [-5n, null],
    ]);
  },
});

const wal: ZooDatabase = {
  name: 'wal',
  staysOpen: true,
  build(db) {
    db.exec(`
      PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
      CREATE TABLE logged (id INTEGER PRIMARY KEY, v TEXT);
      CREATE TABLE also (k TEXT PRIMARY KEY NOT NULL, v);
    `);
    insert(
      db,
      'logged',
      Array.from({ length: 500 }, (_, i) => [BigInt(i), text(50, i + 1)]),
    );
    db.exec(
      `UPDATE logged SET v = 'updated' WHERE id % 3 = 0; DELETE FROM logged WHERE id % 7 = 0;`,
    );
    insert(
      db,
      'also',
      SHORT_TEXTS.map((key, i) => [key, BigInt(i)]),
    );
  },
};

/** Databases of every shape, all of whose rows can be cached. */
export const ZOO: readonly ZooDatabase[] = [
  keys,
  values,
  shapes,
  names,
  extras,
  utf16('UTF-16le'),
  utf16('UTF-16be'),
  wal,
];

/** Makes one of the zoo at `file`. The result ends what was left open. */
export function makeZooDatabase(zoo: ZooDatabase, file: string): { close(): void } {
  const database = openDatabase(file);
  let stays = false;
  try {
    zoo.build(database);
    stays = zoo.staysOpen ?? false;
  } finally {
    if (!stays) database.close();
  }
  return {
    close() {
      if (stays) database.close();
      stays = false;
    },
  };
}
