import Database from 'libsql';
import { DIMENSION, embed, toBlob } from './text-embedding.js';

const EPISODES = 2000;
const PATTERNS = 300;
const HEURISTICS = 200;
/** The newest episodes that have an embedding; every pattern has one too. */
const EMBEDDED_EPISODES = 1200;

const FIRST_START = Date.UTC(2025, 0, 1) / 1000;
const MODEL = 'hashed-words';

const VERBS = ['fix', 'write', 'review', 'speed up', 'explain', 'migrate', 'test', 'refactor'];
const ADJECTIVES = ['flaky', 'slow', 'missing', 'duplicated', 'unsafe', 'outdated', 'failing'];
const THINGS = ['login test', 'database query', 'search index', 'build script', 'cache layer'];
const PLACES = ['web shop', 'billing service', 'mobile app', 'command line', 'data pipeline'];
const DOMAINS = ['frontend', 'backend', 'data', 'infrastructure'];
const LANGUAGES = ['typescript', 'rust', 'python', 'go', null];
const PATTERN_TYPES = ['tool_sequence', 'decision_point', 'error_recovery', 'context_match'];

const SCHEMA = `
  CREATE TABLE episodes (
    episode_id TEXT PRIMARY KEY NOT NULL,
    task_type TEXT NOT NULL,
    task_description TEXT NOT NULL,
    context TEXT NOT NULL,
    steps TEXT NOT NULL,
    patterns TEXT NOT NULL,
    heuristics TEXT NOT NULL DEFAULT '[]',
    checkpoints TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL,
    domain TEXT NOT NULL,
    language TEXT,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    outcome TEXT,
    reward TEXT,
    reflection TEXT,
    archived_at INTEGER,
    created_at INTEGER NOT NULL
  );
  CREATE INDEX episodes_by_start ON episodes (start_time DESC);
  CREATE TABLE patterns (
    pattern_id TEXT PRIMARY KEY NOT NULL,
    pattern_type TEXT NOT NULL,
    pattern_data TEXT NOT NULL,
    success_rate REAL NOT NULL,
    context_domain TEXT,
    context_language TEXT,
    context_tags TEXT,
    occurrence_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
  );
  CREATE TABLE heuristics (
    heuristic_id TEXT PRIMARY KEY NOT NULL,
    condition_text TEXT NOT NULL,
    action_text TEXT NOT NULL,
    confidence REAL NOT NULL,
    evidence TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
  );
  CREATE TABLE embeddings (
    embedding_id TEXT PRIMARY KEY NOT NULL,
    item_id TEXT NOT NULL,
    item_type TEXT NOT NULL,
    embedding_data TEXT NOT NULL,
    embedding_vector F32_BLOB(${DIMENSION}),
    dimension INTEGER NOT NULL,
    model TEXT NOT NULL,
    created_at INTEGER NOT NULL
  );
`;

type Row = Readonly<Record<string, null | number | string | Uint8Array>>;

/** Makes an agent-memory database at `path`: the same one on every machine. */
export function makeSampleMemory(path: string): void {
  const database = new Database(path);
  database.exec(SCHEMA);
  database.exec('BEGIN');
  const insertAll = (table: string, rows: readonly Row[]): void => {
    const columns = Object.keys(rows[0] ?? {});
    const values = columns.map(() => '?').join(', ');
    const insert = database.prepare(`INSERT INTO ${table} (${columns.join()}) VALUES (${values})`);
    for (const row of rows) insert.run(...columns.map((column) => row[column]));
  };

  const episodes = numbers(EPISODES).map(episode);
  const patterns = numbers(PATTERNS).map(pattern);
  insertAll('episodes', episodes);
  insertAll('patterns', patterns);
  insertAll('heuristics', numbers(HEURISTICS).map(heuristic));
  insertAll('embeddings', [
    ...episodes
      .slice(-EMBEDDED_EPISODES)
      .map((row) =>
        embedding('episode', String(row['episode_id']), String(row['task_description'])),
      ),
    ...patterns.map((row) =>
      embedding('pattern', String(row['pattern_id']), String(row['pattern_data'])),
    ),
  ]);
  database.exec('COMMIT');
  database.close();
}

/** Fills in what was open while an episode ran, as an agent does when it is done. */
export function finishEpisode(path: string, episodeId: string): void {
  const database = new Database(path);
  database
    .prepare('UPDATE episodes SET end_time = ?, outcome = ?, reflection = ? WHERE episode_id = ?')
    .run(
      FIRST_START + EPISODES * 900,
      '{"success":true}',
      'It was the cache after all.',
      episodeId,
    );
  database.close();
}

function episode(n: number): Row {
  const start = FIRST_START + n * 900;
  const finished = n % 10 !== 9;
  const domain = pick(DOMAINS, n, 4);
  return {
    episode_id: id('episode', n),
    task_type: pick(VERBS, n, 0),
    task_description: task(n),
    context: JSON.stringify({ domain, complexity: pick(['simple', 'moderate', 'complex'], n, 5) }),
    steps: JSON.stringify(
      numbers(3 + (n % 5)).map((step) => ({ step, tool: pick(VERBS, n + step, 1) })),
    ),
    patterns: JSON.stringify([id('pattern', n % PATTERNS)]),
    metadata: JSON.stringify({ run: n }),
    domain,
    language: pick(LANGUAGES, n, 6),
    start_time: start,
    end_time: finished ? start + 60 + (n % 600) : null,
    outcome: finished ? JSON.stringify({ success: n % 7 !== 0 }) : null,
    reward: finished ? JSON.stringify({ total: (50 + (n % 50)) / 100 }) : null,
    reflection: finished && n % 3 === 0 ? `Next time, ${task(n + 1)} first.` : null,
    created_at: start,
  };
}

function pattern(n: number): Row {
  const created = FIRST_START + n * 3600;
  return {
    pattern_id: id('pattern', n),
    pattern_type: pick(PATTERN_TYPES, n, 0),
    pattern_data: JSON.stringify({ when: task(n * 7), uses: n % 20 }),
    success_rate: (50 + (n % 50)) / 100,
    context_domain: pick(DOMAINS, n, 4),
    context_language: pick(LANGUAGES, n, 6),
    context_tags: JSON.stringify([pick(ADJECTIVES, n, 1)]),
    occurrence_count: 1 + (n % 40),
    created_at: created,
    updated_at: created + 86_400,
  };
}

function heuristic(n: number): Row {
  const created = FIRST_START + n * 7200;
  return {
    heuristic_id: id('heuristic', n),
    condition_text: `When asked to ${task(n * 3)}`,
    action_text: `${pick(VERBS, n, 2)} the ${pick(THINGS, n, 3)} before anything else`,
    confidence: (n % 100) / 100,
    evidence: JSON.stringify({ episodes: [id('episode', n)] }),
    created_at: created,
    updated_at: created,
  };
}

function embedding(itemType: string, itemId: string, text: string): Row {
  const vector = embed(text);
  return {
    embedding_id: `embedding-of-${itemId}`,
    item_id: itemId,
    item_type: itemType,
    embedding_data: JSON.stringify([...vector]),
    embedding_vector: toBlob(vector),
    dimension: DIMENSION,
    model: MODEL,
    created_at: FIRST_START,
  };
}

function task(n: number): string {
  const words = [VERBS, ['the'], ADJECTIVES, THINGS, ['of the'], PLACES];
  return words.map((list, i) => pick(list, n, i)).join(' ');
}

/** The same choice for the same number, and neighbours differ. */
function pick<T>(list: readonly T[], n: number, salt: number): T {
  const mixed = Math.imul(n + 1, 2_654_435_761) ^ Math.imul(salt + 1, 0x85eb_ca6b);
  return list[((mixed ^ (mixed >>> 13)) >>> 0) % list.length] as T;
}

function id(kind: string, n: number): string {
  return `${kind}-${String(n).padStart(5, '0')}`;
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
