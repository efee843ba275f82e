import * as v from 'valibot';
import { checkOptions, flag, integerBetween } from '../check-options.js';
import type { StorageSyncOptions } from '../options.js';
import { defineTable, type TableDefinition } from '../table-definition.js';

/** What to keep of an agent-memory database. */
export interface SyncConfig {
  /** Episodes to keep, the newest by `start_time`. */
  readonly maxEpisodesCache: number;
  /** Rows in a batch. */
  readonly batchSize: number;
  readonly syncPatterns: boolean;
  readonly syncHeuristics: boolean;
  readonly syncEmbeddings: boolean;
  /** Verify each record's checksum when it is read. */
  readonly validateChecksums: boolean;
}

/** The {@link SyncConfig} that {@link memoryPreset} fills up with. */
export const DEFAULT_SYNC_CONFIG: SyncConfig = {
  maxEpisodesCache: 1000,
  batchSize: 100,
  syncPatterns: true,
  syncHeuristics: true,
  syncEmbeddings: true,
  validateChecksums: false,
};

/** One run of an agent. Times are Unix seconds; columns described as JSON hold it as text. */
export const episodes = defineTable({
  name: 'episodes',
  columns: {
    episode_id: 'text',
    task_type: 'text',
    task_description: 'text',
    context: 'text',
    steps: 'text',
    outcome: 'text?',
    reward: 'text?',
    reflection: 'text?',
    patterns: 'text',
    heuristics: 'text',
    checkpoints: 'text',
    metadata: 'text',
    domain: 'text',
    language: 'text?',
    start_time: 'integer',
    end_time: 'integer?',
    created_at: 'integer',
    archived_at: 'integer?',
  },
  key: ['episode_id'],
  indexes: [
    { name: 'by_task_type', columns: ['task_type', 'start_time'] },
    { name: 'by_domain', columns: ['domain', 'start_time'] },
  ],
});

/** What an agent has learned to do. Columns described as JSON hold it as text. */
export const patterns = defineTable({
  name: 'patterns',
  columns: {
    pattern_id: 'text',
    pattern_type: 'text',
    pattern_data: 'text',
    success_rate: 'real',
    occurrence_count: 'integer',
    context_domain: 'text?',
    context_language: 'text?',
    context_tags: 'text?',
    created_at: 'integer',
    updated_at: 'integer',
  },
  key: ['pattern_id'],
  indexes: [
    { name: 'by_type', columns: ['pattern_type'] },
    { name: 'by_context', columns: ['context_domain', 'context_language'] },
  ],
});

/** Rules of thumb of an agent. `evidence` is JSON. */
export const heuristics = defineTable({
  name: 'heuristics',
  columns: {
    heuristic_id: 'text',
    condition_text: 'text',
    action_text: 'text',
    confidence: 'real',
    evidence: 'text',
    created_at: 'integer',
    updated_at: 'integer',
  },
  key: ['heuristic_id'],
  indexes: [{ name: 'by_confidence', columns: ['confidence'] }],
});

/** A vector of an episode or a pattern: `embedding_vector` holds `dimension` little-endian float32 values. */
export const embeddings = embeddingsTable('embeddings');

/** The tables into which some deployments split `embeddings`, by dimension. */
export const SPLIT_EMBEDDINGS = [
  'embeddings_384',
  'embeddings_1024',
  'embeddings_1536',
  'embeddings_3072',
  'embeddings_other',
] as const;

/** The definition of one embeddings table. */
export function embeddingsTable(name: string) {
  return defineTable({
    name,
    columns: {
      embedding_id: 'text',
      item_id: 'text',
      item_type: 'text',
      embedding_data: 'text',
      embedding_vector: 'blob?',
      dimension: 'integer',
      model: 'text',
      created_at: 'integer',
    },
    key: ['embedding_id'],
    indexes: [{ name: 'by_item', columns: ['item_id', 'item_type'] }],
    references: [
      { table: 'episodes', columns: ['item_id'], when: { column: 'item_type', equals: 'episode' } },
    ],
  });
}

const positive = integerBetween(1);

const schema = v.strictObject({
  maxEpisodesCache: v.optional(positive),
  batchSize: v.optional(positive),
  syncPatterns: v.optional(flag),
  syncHeuristics: v.optional(flag),
  syncEmbeddings: v.optional(flag),
  validateChecksums: v.optional(flag),
});

/**
 * The options that sync an agent-memory database: episodes up to the limit, patterns, heuristics and embeddings.
 *
 * ```ts
 * await StorageSync.open({ source, cacheDir, ...memoryPreset({ maxEpisodesCache: 5000 }) });
 * ```
 *
 * @throws {ConfigError} naming a field that is wrong.
 */
export function memoryPreset(
  config: Partial<SyncConfig> = {},
): Pick<StorageSyncOptions, 'tables' | 'batchSize' | 'validateChecksums' | 'preset'> {
  checkOptions('Invalid memory preset', schema, config);
  const resolved = { ...DEFAULT_SYNC_CONFIG, ...config };
  const tables: TableDefinition[] = [
    { ...episodes, limit: { count: resolved.maxEpisodesCache, newestBy: 'start_time' } },
  ];
  if (resolved.syncPatterns) tables.push(patterns);
  if (resolved.syncHeuristics) tables.push(heuristics);
  if (resolved.syncEmbeddings) {
    const known = [embeddings, ...SPLIT_EMBEDDINGS.map(embeddingsTable)];
    tables.push(...known.map((table) => ({ ...table, optional: true })));
  }
  return {
    preset: 'memory',
    tables,
    batchSize: resolved.batchSize,
    validateChecksums: resolved.validateChecksums,
  };
}
