import type { DataShape, DataTable } from './data-table.js';
import { Random } from './random.js';

const FIRST_TIME = Date.UTC(2024, 0, 1) / 1000;
const YEAR_SECONDS = 365 * 86_400;

const records: DataTable = {
  name: 'records',
  key: 'id',
  columns: [
    'id',
    'account_id',
    'kind',
    'title',
    'body',
    'tags',
    'score',
    'revision',
    'note',
    'created_at',
  ],
  createTable: `CREATE TABLE records (
    id TEXT PRIMARY KEY NOT NULL,
    account_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    tags TEXT NOT NULL,
    score REAL NOT NULL,
    revision INTEGER NOT NULL,
    note TEXT,
    created_at INTEGER NOT NULL
  )`,
  createIndexes: [],
  row: (seed, index) => {
    const random = new Random(seed, 1, index);
    return [
      random.uuid(),
      random.uuid(),
      random.pick(['document', 'message', 'event', 'task']),
      random.words(30 + random.below(20)),
      random.words(150 + random.below(50)),
      JSON.stringify([random.words(8), random.words(8), random.words(8)]),
      random.fraction() * 100,
      random.below(1000),
      random.oneIn(3) ? null : random.words(40),
      FIRST_TIME + random.below(YEAR_SECONDS),
    ];
  },
};

const TINY_NAMES = ['id', 'value'];

const tiny: DataTable = {
  name: 'tiny',
  key: 'id',
  columns: TINY_NAMES,
  createTable: 'CREATE TABLE tiny (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)',
  createIndexes: [],
  row: (seed, index) => [index + 1, new Random(seed, 2, index).below(1_000_000)],
};

/** Columns after the key: a third each of TEXT, INTEGER and REAL. */
const WIDE_COLUMNS = 99;
const wideNames = Array.from({ length: WIDE_COLUMNS }, (_, i) => `column_${i + 1}`);

const wide: DataTable = {
  name: 'wide',
  key: 'id',
  columns: ['id', ...wideNames],
  createTable: `CREATE TABLE wide (id INTEGER PRIMARY KEY, ${wideNames
    .map((name, i) => `${name} ${['TEXT', 'INTEGER', 'REAL'][i % 3]}`)
    .join(', ')})`,
  createIndexes: [],
  row: (seed, index) => {
    const random = new Random(seed, 3, index);
    return [
      index + 1,
      ...wideNames.map((_, i) => {
        if (random.oneIn(8)) return null;
        if (i % 3 === 0) return random.words(24);
        return i % 3 === 1 ? random.below(1_000_000_000) : random.fraction();
      }),
    ];
  },
};

const documents: DataTable = {
  name: 'documents',
  key: 'id',
  columns: ['id', 'name', 'body', 'thumbnail'],
  createTable: `CREATE TABLE documents (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    thumbnail BLOB NOT NULL
  )`,
  createIndexes: [],
  row: (seed, index) => {
    const random = new Random(seed, 4, index);
    return [
      random.uuid(),
      random.words(24),
      random.words(12_000 + random.below(8000)),
      random.bytes(4096),
    ];
  },
};

const alone = (title: string, table: DataTable): DataShape => ({
  title,
  parts: [{ table, share: 1 }],
});

export const RECORDS = alone('rows of about 400 bytes in 10 columns, UUID text keys', records);
export const TINY = alone('rows of two integers, integer keys', tiny);
export const WIDE = alone('rows of 100 columns, integer keys', wide);
export const DOCUMENTS = alone('rows of about 20 kB, UUID text keys', documents);
