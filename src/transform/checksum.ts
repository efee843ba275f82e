import xxhash from 'xxhash-wasm';

/** Bytes of a record's checksum. */
export const CHECKSUM_BYTES = 8;

/** xxHash64 with seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). */
export type Checksum = (bytes: Uint8Array) => bigint;

/** Loads xxHash. Each thread needs its own: the module hashes in a memory of its own. */
export async function loadChecksum(): Promise<Checksum> {
  const hasher = await xxhash();
  return (bytes) => hasher.h64Raw(bytes);
}
