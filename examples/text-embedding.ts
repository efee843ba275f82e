/** As many as small sentence models give. */
export const DIMENSION = 384;

/**
 * A stand-in for an embedding model, so that the examples need no download: each word is hashed to a place and a sign,
 * and texts that share words come out close to each other.
 */
export function embed(text: string): Float32Array {
  const vector = new Float32Array(DIMENSION);
  for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) {
    const hash = fnv1a(word);
    const place = hash % DIMENSION;
    vector[place] = (vector[place] ?? 0) + (hash & 0x8000_0000 ? -1 : 1);
  }
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/** How alike two normalised vectors are: 1 is the same direction. */
export function similarity(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** A vector as `F32_BLOB` stores it: little-endian float32 values. */
export function toBlob(vector: Float32Array): Uint8Array {
  const blob = new Uint8Array(vector.length * 4);
  const view = new DataView(blob.buffer);
  vector.forEach((value, i) => view.setFloat32(i * 4, value, true));
  return blob;
}

/** {@link toBlob} backwards. */
export function fromBlob(blob: Uint8Array): Float32Array {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  return Float32Array.from({ length: blob.byteLength / 4 }, (_, i) => view.getFloat32(i * 4, true));
}

/** FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
