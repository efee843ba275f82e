import type Database from 'libsql';
import { memoryPreset, type StorageSyncOptions } from '../../src/index.js';
import type { TableSpec } from './table-model.js';

export type SourceDatabase = InstanceType<typeof Database>;

/** A kind of sync to kill. */
export interface Scenario {
  readonly name: string;
  readonly mode: 'sync' | 'rebuild';
  /** True when a round begins with a published cache and a source changed since; false when with nothing. */
  readonly published: boolean;
  /** True when another process reads the cache all the while: LMDB's locks then outlive whoever is killed. */
  readonly readerStays: boolean;
  readonly tables: readonly TableSpec[];
  readonly options: Omit<StorageSyncOptions, 'source' | 'cacheDir'>;
  readonly readerThreads: number;
  readonly create: (database: SourceDatabase) => void;
  /** Changes, adds and removes rows, differently each round. */
  readonly change: (database: SourceDatabase, round: number) => void;
}

/** Numbers from 1 to `count`, as a common table expression. */
const numbers = (count: number, from = 1) =>
  `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + count - 1})`;

const ITEM_COLUMNS = ['id', 'title', 'amount', 'price', 'data', 'note'];

const items: TableSpec = {
  name: 'items',
  columns: ITEM_COLUMNS,
  key: [0],
  from: 'FROM items ORDER BY id',
  inKeyOrder: true,
  indexes: [],
};

/** Keys in no order of insertion, every type of value, and some NULLs. */
const insertItems = (count: number, from = 1) =>
  `${numbers(count, from)} INSERT INTO items SELECT
     printf('%08x-%d', (i * 2654435761) % 4294967296, i), 'title ' || i || ' é', i * 1000003 - 5000,
     CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN i * 1.0 ELSE i / 7.0 END,
     randomblob(i % 60), CASE WHEN i % 3 = 0 THEN NULL ELSE printf('%.*c', i % 90, 'x') END FROM n;`;

function createItems(database: SourceDatabase): void {
  database.exec(
    `CREATE TABLE items (id TEXT PRIMARY KEY NOT NULL, title TEXT, amount INTEGER, price REAL, data BLOB, note TEXT);
     ${insertItems(2000)}`,
  );
}

function changeItems(database: SourceDatabase, round: number): void {
  database.exec(
    `DELETE FROM items WHERE amount % 11 = ${round % 11};
     UPDATE items SET title = title || ' in round ${round}' WHERE amount % 7 = ${round % 7};
     ${insertItems(150, 100_000 + round * 1000)}`,
  );
}

export const firstSync: Scenario = {
  name: 'a first sync',
  mode: 'sync',
  published: false,
  readerStays: false,
  tables: [items],
  options: { batchSize: 50 },
  readerThreads: 1,
  create: createItems,
  change: changeItems,
};

export const resync: Scenario = {
  ...firstSync,
  name: 'a sync of a published cache with changes, deletes and unchanged rows',
  published: true,
  readerStays: true,
};

export const rebuild: Scenario = {
  ...resync,
  name: 'a rebuild beside a live generation',
  mode: 'rebuild',
};

const LOADED_ITEMS = 24_000;

/** Enough rows to be loaded, and little memory: so there are many ranges of them. */
export const firstLoad: Scenario = {
  ...firstSync,
  name: 'a first sync that loads a table, and reads one in order',
  options: { maxBytesInFlight: 512 * 1024 },
  readerThreads: 2,
  tables: [items, { ...items, name: 'few_items', from: 'FROM few_items ORDER BY id' }],
  create: (database) => {
    createItems(database);
    database.exec(
      `${insertItems(LOADED_ITEMS - 2000, 2001)}
       UPDATE items SET note = printf('%.*c', 2000 + abs(amount) % 3000, 'y') WHERE amount % 100 = 3;
       CREATE TABLE few_items (id TEXT PRIMARY KEY NOT NULL, title TEXT, amount INTEGER, price REAL, data BLOB, note TEXT);
       INSERT INTO few_items SELECT * FROM items LIMIT 300;`,
    );
  },
  // As many come as go: a table with fewer rows would not be loaded.
  change: (database, round) => {
    changeItems(database, round);
    database.exec(insertItems(2500, 200_000 + round * 5000));
  },
};

export const rebuildByLoad: Scenario = {
  ...firstLoad,
  name: 'a rebuild that loads a table beside a live generation',
  mode: 'rebuild',
  published: true,
  readerStays: true,
};

export const severalTables: Scenario = {
  name: 'several tables, through @libsql/client',
  mode: 'sync',
  published: true,
  readerStays: false,
  readerThreads: 2,
  options: { batchSize: 40, transport: 'client' },
  tables: [
    {
      name: 'by_number',
      columns: ['id', 'body'],
      key: [0],
      from: 'FROM by_number ORDER BY id',
      inKeyOrder: true,
      indexes: [],
    },
    {
      name: 'by_pair',
      columns: ['tenant', 'code', 'body'],
      key: [0, 1],
      from: 'FROM by_pair ORDER BY tenant, code',
      inKeyOrder: true,
      indexes: [],
    },
    {
      name: 'by_rowid',
      columns: ['body'],
      key: [],
      from: 'FROM by_rowid ORDER BY rowid',
      inKeyOrder: true,
      indexes: [],
    },
  ],
  create: (database) => {
    database.exec(
      `CREATE TABLE by_number (id INTEGER PRIMARY KEY, body TEXT);
       CREATE TABLE by_pair (tenant TEXT NOT NULL, code BLOB NOT NULL, body, PRIMARY KEY (tenant, code)) WITHOUT ROWID;
       CREATE TABLE by_rowid (body TEXT);
       ${numbers(700)} INSERT INTO by_number SELECT i * 3 - 900, 'number ' || i FROM n;
       ${numbers(700)} INSERT INTO by_pair SELECT 't' || (i % 9), CAST(randomblob(6) || x'00' AS BLOB), i * 0.5 FROM n;
       ${numbers(700)} INSERT INTO by_rowid SELECT 'row ' || i FROM n;`,
    );
  },
  change: (database, round) => {
    for (const name of ['by_number', 'by_pair', 'by_rowid']) {
      database.exec(
        `DELETE FROM ${name} WHERE body IN (SELECT body FROM ${name} ORDER BY random() LIMIT 40);
         UPDATE ${name} SET body = 'round ${round}' WHERE body IN (SELECT body FROM ${name} ORDER BY random() LIMIT 60);`,
      );
    }
    database.exec(
      `${numbers(50, round * 10_000)} INSERT INTO by_number SELECT i, 'new ' || i FROM n;
       ${numbers(50)} INSERT INTO by_pair SELECT 't' || (i % 9), randomblob(7), 'new ' || i FROM n;
       ${numbers(50)} INSERT INTO by_rowid SELECT 'new ' || i FROM n;`,
    );
  },
};

const EPISODES = 300;
const EPISODE_COLUMNS = [
  ['episode_id', 'task_type', 'task_description', 'context', 'steps', 'outcome', 'reward'],
  ['reflection', 'patterns', 'heuristics', 'checkpoints', 'metadata', 'domain', 'language'],
  ['start_time', 'end_time', 'created_at', 'archived_at'],
].flat();

const insertEpisodes = (count: number, from = 1) =>
  `${numbers(count, from)} INSERT INTO episodes SELECT
     printf('e%06d', i), 'task ' || (i % 5), 'describes ' || i, '{}', '[]', NULL, NULL, NULL, '[]', '[]', '[]', '{}',
     'domain ' || (i % 3), CASE WHEN i % 2 THEN 'en' END, 1700000000 + i / 4, NULL, 1700000000 + i, NULL FROM n;
   ${numbers(count, from)} INSERT INTO embeddings SELECT
     printf('v%06d', i), printf('e%06d', i), 'episode', '[]', randomblob(32), 8, 'model', i FROM n;`;

export const memory: Scenario = {
  name: 'the memory preset: a limit, secondary indexes and references',
  mode: 'sync',
  published: true,
  readerStays: true,
  readerThreads: 1,
  options: memoryPreset({ maxEpisodesCache: EPISODES, batchSize: 30, validateChecksums: true }),
  tables: [
    {
      name: 'episodes',
      columns: EPISODE_COLUMNS,
      key: [0],
      from: `FROM episodes ORDER BY start_time DESC, episode_id DESC LIMIT ${EPISODES}`,
      inKeyOrder: false,
      // By task type, by domain, and newest.
      indexes: [[1, 14], [12, 14], [14]],
    },
    {
      name: 'patterns',
      columns: [
        ['pattern_id', 'pattern_type', 'pattern_data', 'success_rate', 'occurrence_count'],
        ['context_domain', 'context_language', 'context_tags', 'created_at', 'updated_at'],
      ].flat(),
      key: [0],
      from: 'FROM patterns ORDER BY pattern_id',
      inKeyOrder: true,
      indexes: [[1], [5, 6]],
    },
    {
      name: 'heuristics',
      columns: [
        ['heuristic_id', 'condition_text', 'action_text', 'confidence', 'evidence'],
        ['created_at', 'updated_at'],
      ].flat(),
      key: [0],
      from: 'FROM heuristics ORDER BY heuristic_id',
      inKeyOrder: true,
      indexes: [[3]],
    },
    {
      name: 'embeddings',
      columns: [
        ['embedding_id', 'item_id', 'item_type', 'embedding_data', 'embedding_vector'],
        ['dimension', 'model', 'created_at'],
      ].flat(),
      key: [0],
      from: `FROM embeddings WHERE item_type <> 'episode' OR item_id NOT IN (SELECT episode_id FROM episodes)
             OR item_id IN (SELECT episode_id FROM episodes ORDER BY start_time DESC, episode_id DESC LIMIT ${EPISODES})
             ORDER BY embedding_id`,
      inKeyOrder: true,
      indexes: [[1, 2]],
    },
  ],
  create: (database) => {
    database.exec(
      `CREATE TABLE episodes (episode_id TEXT PRIMARY KEY NOT NULL, task_type TEXT NOT NULL,
         task_description TEXT NOT NULL, context TEXT NOT NULL, steps TEXT NOT NULL, outcome TEXT, reward TEXT,
         reflection TEXT, patterns TEXT NOT NULL, heuristics TEXT NOT NULL DEFAULT '[]',
         checkpoints TEXT NOT NULL DEFAULT '[]', metadata TEXT NOT NULL, domain TEXT NOT NULL, language TEXT,
         start_time INTEGER NOT NULL, end_time INTEGER, created_at INTEGER NOT NULL, archived_at INTEGER);
       CREATE TABLE patterns (pattern_id TEXT PRIMARY KEY NOT NULL, pattern_type TEXT NOT NULL,
         pattern_data TEXT NOT NULL, success_rate REAL NOT NULL, occurrence_count INTEGER NOT NULL,
         context_domain TEXT, context_language TEXT, context_tags TEXT, created_at INTEGER NOT NULL,
         updated_at INTEGER NOT NULL);
       CREATE TABLE heuristics (heuristic_id TEXT PRIMARY KEY NOT NULL, condition_text TEXT NOT NULL,
         action_text TEXT NOT NULL, confidence REAL NOT NULL, evidence TEXT NOT NULL, created_at INTEGER NOT NULL,
         updated_at INTEGER NOT NULL);
       CREATE TABLE embeddings (embedding_id TEXT PRIMARY KEY NOT NULL, item_id TEXT NOT NULL,
         item_type TEXT NOT NULL, embedding_data TEXT NOT NULL, embedding_vector F32_BLOB(8),
         dimension INTEGER NOT NULL, model TEXT NOT NULL, created_at INTEGER NOT NULL);
       CREATE INDEX episodes_by_time ON episodes (start_time DESC);
       ${insertEpisodes(600)}
       ${numbers(250)} INSERT INTO patterns SELECT printf('p%05d', i * 7919 % 100000), 'type ' || (i % 6), '{}',
         i / 251.0, i, CASE WHEN i % 3 THEN 'domain ' || (i % 4) END, NULL, NULL, i, i FROM n;
       ${numbers(120)} INSERT INTO heuristics SELECT printf('h%05d', i), 'if ' || i, 'then ' || i, i % 10 / 10.0,
         '[]', i, i FROM n;
       ${numbers(60)} INSERT INTO embeddings SELECT printf('w%06d', i), printf('p%05d', i * 7919 % 100000),
         'pattern', '[]', NULL, 8, 'model', i FROM n;`,
    );
  },
  change: (database, round) => {
    database.exec(
      `UPDATE episodes SET outcome = 'done in ${round}', end_time = start_time + 9, task_type = 'task ${round % 5}'
         WHERE created_at % 10 = ${round % 10};
       DELETE FROM episodes WHERE created_at % 50 = ${round % 50};
       ${insertEpisodes(60, 1000 + round * 100)}
       UPDATE patterns SET success_rate = success_rate / 2, pattern_type = 'type ${round % 7}'
         WHERE occurrence_count % 9 = ${round % 9};
       DELETE FROM patterns WHERE occurrence_count % 40 = ${round % 40};
       UPDATE heuristics SET confidence = 1.0 - confidence WHERE created_at % 8 = ${round % 8};`,
    );
  },
};

export const SCENARIOS: readonly Scenario[] = [firstSync, resync, severalTables, memory, rebuild];
