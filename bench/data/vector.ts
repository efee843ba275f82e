import type { Random } from './random.js';

/** A random direction. Uses only operations that every machine rounds alike. */
export function unitVector(random: Random, dimension: number): Float32Array {
  const values = Array.from({ length: dimension }, () => random.fraction() + random.fraction() - 1);
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return Float32Array.from(values, (value) => value / length);
}

/** The bytes of libSQL's `F32_BLOB` (https://docs.turso.tech/features/ai-and-embeddings). */
export function littleEndian(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(vector.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of vector.entries()) view.setFloat32(i * 4, value, true);
  return bytes;
}
