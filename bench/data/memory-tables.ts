import type { DataShape, DataTable } from './data-table.js';
import { Random } from './random.js';
import { littleEndian, unitVector } from './vector.js';

const FIRST_TIME = Date.UTC(2025, 0, 1) / 1000;
const EPISODE_EVERY_SECONDS = 90;
const DIMENSION = 384;
const MODEL = 'sample-embedding-384';

const EPISODES = 11;
const PATTERNS = 12;
const HEURISTICS = 13;
const EMBEDDINGS = 14;

const DOMAINS = ['frontend', 'backend', 'data', 'infrastructure'] as const;
const LANGUAGES = ['typescript', 'rust', 'python', 'go'] as const;
const PATTERN_TYPES = ['tool_sequence', 'decision_point', 'error_recovery'] as const;

/** The key of a row: the first thing that its stream gives. */
function idOf(seed: number, stream: number, index: number): string {
  return new Random(seed, stream, index).uuid();
}

const episodes: DataTable = {
  name: 'episodes',
  key: 'episode_id',
  columns: [
    'episode_id',
    'task_type',
    'task_description',
    'context',
    'start_time',
    'end_time',
    'steps',
    'outcome',
    'reward',
    'reflection',
    'patterns',
    'heuristics',
    'checkpoints',
    'metadata',
    'domain',
    'language',
    'archived_at',
    'created_at',
  ],
  createTable: `CREATE TABLE episodes (
    episode_id TEXT PRIMARY KEY NOT NULL,
    task_type TEXT NOT NULL,
    task_description TEXT NOT NULL,
    context TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    steps TEXT NOT NULL,
    outcome TEXT,
    reward TEXT,
    reflection TEXT,
    patterns TEXT NOT NULL,
    heuristics TEXT NOT NULL DEFAULT '[]',
    checkpoints TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL,
    domain TEXT NOT NULL,
    language TEXT,
    archived_at INTEGER,
    created_at INTEGER NOT NULL
  )`,
  createIndexes: [
    'CREATE INDEX episodes_by_start ON episodes (start_time DESC)',
    'CREATE INDEX episodes_by_type ON episodes (task_type)',
    'CREATE INDEX episodes_by_domain ON episodes (domain)',
  ],
  row: (seed, index) => {
    const random = new Random(seed, EPISODES, index);
    const id = random.uuid();
    const domain = random.pick(DOMAINS);
    const language = random.oneIn(6) ? null : random.pick(LANGUAGES);
    const start = FIRST_TIME + index * EPISODE_EVERY_SECONDS + random.below(60);
    const seconds = 20 + random.below(1800);
    const isOver = !random.oneIn(20);
    const steps = Array.from({ length: 2 + random.below(5) }, (_, i) => ({
      step: i + 1,
      tool: random.pick(['search', 'edit', 'run', 'read', 'test']),
      action: random.words(40 + random.below(60)),
      latency_ms: random.below(5000),
      ok: !random.oneIn(9),
    }));
    return [
      id,
      random.pick(['code_generation', 'debugging', 'refactoring', 'testing', 'analysis']),
      random.words(60 + random.below(80)),
      JSON.stringify({ domain, language, repository: random.words(12), branch: 'main' }),
      start,
      isOver ? start + seconds : null,
      JSON.stringify(steps),
      isOver
        ? JSON.stringify({
            type: random.oneIn(5) ? 'failure' : 'success',
            verdict: random.words(50),
          })
        : null,
      isOver
        ? JSON.stringify({ total: random.fraction(), quality: random.fraction(), seconds })
        : null,
      isOver && random.oneIn(2) ? JSON.stringify({ insights: [random.words(90)] }) : null,
      JSON.stringify([idOf(seed, PATTERNS, random.below(1000))]),
      '[]',
      '[]',
      JSON.stringify({ agent: `agent-${random.below(12)}`, attempt: 1 + random.below(3) }),
      domain,
      language,
      random.oneIn(15) ? start + 30 * 86_400 : null,
      start,
    ];
  },
};

const patterns: DataTable = {
  name: 'patterns',
  key: 'pattern_id',
  columns: [
    'pattern_id',
    'pattern_type',
    'pattern_data',
    'success_rate',
    'context_domain',
    'context_language',
    'context_tags',
    'occurrence_count',
    'created_at',
    'updated_at',
  ],
  createTable: `CREATE TABLE patterns (
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
  )`,
  createIndexes: [
    'CREATE INDEX patterns_by_type ON patterns (pattern_type)',
    'CREATE INDEX patterns_by_context ON patterns (context_domain, context_language)',
  ],
  row: (seed, index) => {
    const random = new Random(seed, PATTERNS, index);
    const created = FIRST_TIME + random.below(200 * 86_400);
    return [
      random.uuid(),
      random.pick(PATTERN_TYPES),
      JSON.stringify({ tools: ['search', 'edit', 'test'], description: random.words(120) }),
      random.fraction(),
      random.pick(DOMAINS),
      random.oneIn(4) ? null : random.pick(LANGUAGES),
      JSON.stringify([random.words(8), random.words(10)]),
      1 + random.below(400),
      created,
      created + random.below(30 * 86_400),
    ];
  },
};

const heuristics: DataTable = {
  name: 'heuristics',
  key: 'heuristic_id',
  columns: [
    'heuristic_id',
    'condition_text',
    'action_text',
    'confidence',
    'evidence',
    'created_at',
    'updated_at',
  ],
  createTable: `CREATE TABLE heuristics (
    heuristic_id TEXT PRIMARY KEY NOT NULL,
    condition_text TEXT NOT NULL,
    action_text TEXT NOT NULL,
    confidence REAL NOT NULL,
    evidence TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
  )`,
  createIndexes: ['CREATE INDEX heuristics_by_confidence ON heuristics (confidence DESC)'],
  row: (seed, index) => {
    const random = new Random(seed, HEURISTICS, index);
    const created = FIRST_TIME + random.below(200 * 86_400);
    return [
      random.uuid(),
      random.words(70 + random.below(40)),
      random.words(70 + random.below(40)),
      random.fraction(),
      JSON.stringify({ episodes: [idOf(seed, EPISODES, random.below(1000))], sample_size: 3 }),
      created,
      created + random.below(30 * 86_400),
    ];
  },
};

const embeddings: DataTable = {
  name: 'embeddings',
  key: 'embedding_id',
  columns: [
    'embedding_id',
    'item_id',
    'item_type',
    'embedding_data',
    'embedding_vector',
    'dimension',
    'model',
    'created_at',
  ],
  createTable: `CREATE TABLE embeddings (
    embedding_id TEXT PRIMARY KEY NOT NULL,
    item_id TEXT NOT NULL,
    item_type TEXT NOT NULL,
    embedding_data TEXT NOT NULL,
    embedding_vector F32_BLOB(${DIMENSION}),
    dimension INTEGER NOT NULL,
    model TEXT NOT NULL,
    created_at INTEGER NOT NULL
  )`,
  createIndexes: ['CREATE INDEX embeddings_by_item ON embeddings (item_id, item_type)'],
  row: (seed, index) => {
    const random = new Random(seed, EMBEDDINGS, index);
    const vector = unitVector(random, DIMENSION);
    return [
      random.uuid(),
      // Every table of the shape has at least as many episodes as embeddings, so none is an orphan.
      idOf(seed, EPISODES, index),
      'episode',
      JSON.stringify(Array.from(vector)),
      littleEndian(vector),
      DIMENSION,
      MODEL,
      FIRST_TIME + index * EPISODE_EVERY_SECONDS,
    ];
  },
};

export const MEMORY: DataShape = {
  title: 'an agent memory: episodes, patterns, heuristics, embeddings of 384 floats',
  parts: [
    { table: episodes, share: 0.5 },
    { table: patterns, share: 0.15 },
    { table: heuristics, share: 0.1 },
    { table: embeddings, share: 0.25 },
  ],
};
