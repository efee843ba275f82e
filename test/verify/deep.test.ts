import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  StorageSync,
  WorkerPool,
  type StorageSyncOptions,
  type TableDefinition,
  type VerifyOptions,
  type VerifyReport,
} from '../../src/index.js';
import type { SqlValue } from '../../src/values.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { assertFound, tamper, tamperWithTen } from './tamper.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

/** Rows from a count, the key made of a number that is spread over all of them. */
const fill = (table: string, rows: number, values: string) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
   INSERT INTO ${table} SELECT ${values} FROM n`;

interface Kind {
  readonly build: (rows: number) => string;
  /** Keys that the source does not have. */
  readonly extra: readonly (readonly SqlValue[])[];
  readonly definition?: Omit<TableDefinition, 'name'>;
}

const TEXTS = `CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v, w)`;
const textRows = (rows: number) =>
  fill('items', rows, `printf('%08x', i * 2654435761 % 4294967296), 'row ' || i, i % 97`);
const EXTRA_TEXTS = [['0aaa'], ['zzz']];
const INDEXES = [
  { name: 'by_v', columns: ['v'] },
  { name: 'by_w', columns: [{ column: 'w', descending: true }, 'v'] },
  { name: 'one_v', columns: ['v'], unique: true },
];

const KINDS: Readonly<Record<string, Kind>> = {
  'TEXT keys': { build: (rows) => `${TEXTS}; ${textRows(rows)}`, extra: EXTRA_TEXTS },
  'indexed TEXT keys': {
    build: (rows) => `${TEXTS}; ${textRows(rows)}`,
    extra: EXTRA_TEXTS,
    definition: { indexes: INDEXES },
  },
  'rowid keys': {
    build: (rows) =>
      `CREATE TABLE items (k INTEGER PRIMARY KEY, v); ${fill('items', rows, `i * 7 - 3000, 'row ' || i`)}`,
    extra: [[-2_990_000], [1]],
  },
  'no key': {
    build: (rows) => `CREATE TABLE items (v, w); ${fill('items', rows, `'row ' || i, i`)}`,
    extra: [[-5], [9_007_199_254_740_993n]],
  },
  'keys that may be NULL': {
    build: (rows) =>
      `CREATE TABLE items (k TEXT PRIMARY KEY, v); ${fill('items', rows, `CASE WHEN i % 9 = 0 THEN NULL ELSE 'k' || i END, 'row ' || i`)}`,
    extra: [['none'], ['k']],
  },
  'composite keys that may be NULL': {
    build: (rows) =>
      `CREATE TABLE items (a TEXT, b, v, PRIMARY KEY (a, b)); ${fill('items', rows, `CASE WHEN i % 9 = 0 THEN NULL ELSE 'k' || (i % 50) END, CASE WHEN i % 7 = 0 THEN NULL ELSE i END, 'row ' || i`)}`,
    extra: [
      ['k1', -1],
      ['z', 'z'],
    ],
  },
  'WITHOUT ROWID': {
    build: (rows) =>
      `CREATE TABLE items (a TEXT, b INTEGER, v, PRIMARY KEY (a, b)) WITHOUT ROWID; ${fill('items', rows, `'k' || (i % 50), i, 'row ' || i`)}`,
    extra: [
      ['k1', -1],
      ['z', 1],
    ],
  },
  'BLOB keys': {
    build: (rows) =>
      `CREATE TABLE items (k BLOB PRIMARY KEY NOT NULL, v); ${fill('items', rows, `CAST(printf('%c%d', i % 7, i) AS BLOB) || x'00', i`)}`,
    extra: [[new Uint8Array()], [Uint8Array.of(0xff, 0)]],
  },
  'REAL keys': {
    build: (rows) =>
      `CREATE TABLE items (k REAL PRIMARY KEY NOT NULL, v); INSERT INTO items VALUES (9e999, 1), (-9e999, 2), (1e300, 3), (5e-324, 4); ${fill('items', rows, `i / 7.0 - 100, i`)}`,
    extra: [[0.123], [1e301]],
  },
  'NOCASE keys': {
    build: (rows) =>
      `CREATE TABLE items (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v); ${fill('items', rows, `CASE i % 2 WHEN 0 THEN 'a' ELSE 'B' END || i, i`)}`,
    extra: [['A1x'], ['b']],
    definition: { indexes: [{ name: 'by_v', columns: ['v'] }] },
  },
  'UTF-16': {
    build: (rows) =>
      `PRAGMA encoding = 'UTF-16le'; CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, v); ${fill('items', rows, `char(200 + i % 90, 64 + i % 20) || i, i`)}`,
    extra: [['€'], ['\u{10000}']],
  },
  'a limit': {
    build: (rows) =>
      `CREATE TABLE items (k TEXT PRIMARY KEY NOT NULL, at INTEGER, v); CREATE INDEX t ON items (at); ${fill('items', 2 * rows, `'k' || i, i * 31 % 5000, 'row ' || i`)}`,
    extra: [['none'], ['k']],
    definition: { limit: { count: 1700, newestBy: 'at' } },
  },
};

async function verify(
  options: StorageSyncOptions,
  more: VerifyOptions = {},
): Promise<VerifyReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await storage.verify({ level: 'deep', ...more });
}

async function sync(options: StorageSyncOptions): Promise<void> {
  await using storage = await StorageSync.open({ ...options, pool });
  await storage.sync();
}

void describe('a deep verify', () => {
  for (const [kind, { build, extra, definition }] of Object.entries(KINDS)) {
    for (const way of ['file', 'http'] as const) {
      if (kind === 'UTF-16' && way === 'http') continue;
      const rows = kind === 'TEXT keys' && way === 'file' ? 100_000 : 3000;
      void it(`finds ten wrong rows among ${rows} and repairs them: ${kind} over ${way}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, build(rows));
        await using server = way === 'http' ? await startHranaServer({ file }) : null;
        const options: StorageSyncOptions = {
          source: { url: server?.httpUrl ?? `file:${file}` },
          cacheDir: dir.join('cache'),
          tables: [{ name: 'items', ...definition }],
          // Pages end within the table, and between wrong rows.
          batchSize: rows > 10_000 ? 20_000 : 170,
        };
        await sync(options);
        const digests = await recordDigests(options.cacheDir);
        const sound = await verify(options);
        assert.equal(sound.differences, 0, JSON.stringify(sound));
        assert.equal(sound.complete, true);
        assert.equal(sound.tables['items']?.rowsCompared, sound.sourceRowsRead);

        const wrong = await tamper(options.cacheDir, 'items', (table) =>
          tamperWithTen(table, extra),
        );
        const found = await verify(options);
        assertFound(found.tables['items']!, wrong, false);
        assert.ok(found.left >= 10);
        assert.equal(found.repaired, 0);
        assert.match(found.tables['items']!.notes.join(), /keeps no change log/);

        const repaired = await verify(options, { repair: true });
        assertFound(repaired.tables['items']!, wrong, true);
        assert.equal(repaired.left, 0, JSON.stringify(repaired));
        assert.deepEqual(await recordDigests(options.cacheDir), digests);
        assert.equal((await verify(options)).differences, 0);
        if (!definition?.limit) await assertCacheEquals(file, options.cacheDir);
        await sync(options);
      });
    }
  }
});
