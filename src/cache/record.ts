import { CacheError } from '../errors.js';
import { Packr } from 'msgpackr';
import { CHECKSUM_BYTES, loadChecksum, type Checksum } from '../transform/checksum.js';
import type { SqlValue } from '../values.js';
import { decodeRow } from './row-decoder.js';

const metaChecksum = await loadChecksum();
const packr = new Packr({ useRecords: false, variableMapSize: true, copyBuffers: true });

/**
 * The column values of a stored record, or those that are wanted of them: see {@link decodeRow}.
 *
 * @param value the record's value: the row as msgpack, then its checksum. Only read until this returns.
 * @param length the value's length, which may be less than the buffer's.
 * @throws {RangeError} when the bytes are no row.
 */
export function decodeRecord(
  value: Buffer,
  length: number,
  wanted: Uint8Array | null = null,
): SqlValue[] {
  return decodeRow(value, length - CHECKSUM_BYTES, wanted);
}

/** Whether a record's checksum is that of its key and row. */
export function recordIsSound(
  checksum: Checksum,
  key: Uint8Array,
  value: Buffer,
  length: number,
): boolean {
  if (length <= CHECKSUM_BYTES) return false;
  const rowLength = length - CHECKSUM_BYTES;
  const bytes = Buffer.allocUnsafe(key.byteLength + rowLength);
  bytes.set(key);
  value.copy(bytes, key.byteLength, 0, rowLength);
  return checksum(bytes) === value.readBigUInt64LE(rowLength);
}

/**
 * Packs what the cache keeps about itself: the catalog, checkpoints and the like. msgpack, then a checksum as records
 * have it: a sync that believed a damaged checkpoint would miss changes for good.
 */
export function packMeta(key: Uint8Array, value: unknown): Buffer {
  const packed = packr.pack(value);
  const bytes = Buffer.alloc(packed.length + CHECKSUM_BYTES);
  packed.copy(bytes);
  bytes.writeBigUInt64LE(metaChecksum(Buffer.concat([key, packed])), packed.length);
  return bytes;
}

/**
 * The counterpart of {@link packMeta}. The caller names the shape that it wrote there.
 *
 * @throws {CacheError} `CACHE_CORRUPT` when the checksum does not hold.
 */
export function unpackMeta<T>(key: Uint8Array, bytes: Buffer): T {
  if (!recordIsSound(metaChecksum, key, bytes, bytes.length)) {
    const name = Buffer.from(key).toString();
    throw new CacheError(
      'CACHE_CORRUPT',
      `What the cache knows of itself is damaged: the checksum of ${JSON.stringify(name)} does not hold.`,
      { context: { key: name }, hint: 'Run `storage-sync rebuild`: the source has everything.' },
    );
  }
  return packr.unpack(bytes.subarray(0, -CHECKSUM_BYTES)) as T;
}

/** A record whose checksum does not hold, or that is no row of its table. */
export function damagedRecord(
  table: string,
  key: Uint8Array,
  why = 'its checksum does not hold',
): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `A record of ${JSON.stringify(table)} is damaged: ${why}.`,
    {
      context: { table, key: Buffer.from(key).toString('hex') },
      hint: 'The next `storage-sync sync` fetches it again.',
    },
  );
}
