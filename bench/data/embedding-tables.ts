import type { DataShape } from './data-table.js';
import { Random } from './random.js';
import { littleEndian, unitVector } from './vector.js';

const FIRST_TIME = Date.UTC(2025, 0, 1) / 1000;
const STREAM = 5;

export const EMBEDDINGS_384 = embeddings(384);
export const EMBEDDINGS_1536 = embeddings(1536);

function embeddings(dimension: number): DataShape {
  const table = {
    name: 'embeddings',
    key: 'id',
    columns: ['id', 'item_id', 'model', 'vector', 'created_at'],
    createTable: `CREATE TABLE embeddings (
      id TEXT PRIMARY KEY NOT NULL,
      item_id TEXT NOT NULL,
      model TEXT NOT NULL,
      vector F32_BLOB(${dimension}) NOT NULL,
      created_at INTEGER NOT NULL
    )`,
    createIndexes: [],
    row: (seed: number, index: number) => {
      const random = new Random(seed, STREAM, index);
      return [
        random.uuid(),
        random.uuid(),
        `sample-embedding-${dimension}`,
        littleEndian(unitVector(random, dimension)),
        FIRST_TIME + index,
      ];
    },
  };
  return {
    title: `embeddings of ${dimension} floats, UUID text keys`,
    parts: [{ table, share: 1 }],
  };
}
