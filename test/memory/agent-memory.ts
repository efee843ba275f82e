import { insert, type Insertable, type NativeDatabase } from '../support/databases.js';

/** The tables of an agent-memory database. */
export function createAgentMemory(
  db: NativeDatabase,
  embeddings: readonly string[] = ['embeddings'],
): void {
  db.exec(`
    CREATE TABLE episodes (
      episode_id TEXT PRIMARY KEY NOT NULL, task_type TEXT NOT NULL, task_description TEXT NOT NULL,
      context TEXT NOT NULL, steps TEXT NOT NULL, outcome TEXT, reward TEXT, reflection TEXT,
      patterns TEXT NOT NULL, heuristics TEXT NOT NULL DEFAULT '[]', checkpoints TEXT NOT NULL DEFAULT '[]',
      metadata TEXT NOT NULL, domain TEXT NOT NULL, language TEXT, start_time INTEGER NOT NULL,
      end_time INTEGER, created_at INTEGER NOT NULL, archived_at INTEGER);
    CREATE INDEX episodes_by_time ON episodes (start_time DESC);
    CREATE TABLE patterns (
      pattern_id TEXT PRIMARY KEY NOT NULL, pattern_type TEXT NOT NULL, pattern_data TEXT NOT NULL,
      success_rate REAL NOT NULL, context_domain TEXT, context_language TEXT, context_tags TEXT,
      occurrence_count INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
    CREATE TABLE heuristics (
      heuristic_id TEXT PRIMARY KEY NOT NULL, condition_text TEXT NOT NULL, action_text TEXT NOT NULL,
      confidence REAL NOT NULL, evidence TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
    CREATE TABLE sessions (id INTEGER PRIMARY KEY, note TEXT);
    INSERT INTO sessions VALUES (1, 'not asked for');
  `);
  for (const table of embeddings) {
    db.exec(`
      CREATE TABLE ${table} (
        embedding_id TEXT PRIMARY KEY NOT NULL, item_id TEXT NOT NULL, item_type TEXT NOT NULL,
        embedding_data TEXT NOT NULL, embedding_vector F32_BLOB(4), dimension INTEGER NOT NULL,
        model TEXT NOT NULL, created_at INTEGER NOT NULL);
      CREATE INDEX ${table}_by_item ON ${table} (item_id, item_type);`);
  }
}

/** Adds an episode. */
export function addEpisode(db: NativeDatabase, id: string, startTime: bigint, type = 'fix'): void {
  const row: readonly Insertable[] = [
    id,
    type,
    `do ${id}`,
    '{}',
    '[]',
    null,
    null,
    null,
    '[]',
    '[]',
    '[]',
    '{}',
    'web',
    null,
    startTime,
    null,
    startTime,
    null,
  ];
  insert(db, 'episodes', [row]);
}

/** The vector of an item: four floats that few decimals tell. */
export function vectorOf(seed: number): Float32Array {
  return Float32Array.of(seed, 1 / (seed + 1), -Math.PI * seed, 1e-38);
}

/** Adds an embedding of an item. */
export function addEmbedding(
  db: NativeDatabase,
  id: string,
  item: readonly [type: 'episode' | 'pattern', id: string],
  seed: number | null,
  table = 'embeddings',
): void {
  const vector = seed === null ? null : vectorOf(seed);
  insert(db, table, [
    [
      id,
      item[1],
      item[0],
      JSON.stringify(vector ? [...vector] : []),
      vector && new Uint8Array(vector.buffer),
      4n,
      'model',
      1n,
    ],
  ]);
}

/** Adds a pattern. */
export function addPattern(
  db: NativeDatabase,
  id: string,
  type: string,
  domain: string | null,
): void {
  insert(db, 'patterns', [[id, type, '{}', 0.75, domain, null, null, 3n, 1n, 2n]]);
}

/** Adds a heuristic. */
export function addHeuristic(db: NativeDatabase, id: string, confidence: number): void {
  insert(db, 'heuristics', [[id, 'if', 'then', confidence, '[]', 1n, 2n]]);
}
