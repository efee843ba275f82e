import { CacheError } from '../errors.js';
import { Packr, Unpackr } from 'msgpackr';
import { CHECKSUM_BYTES, loadChecksum, type Checksum } from '../transform/checksum.js';
import type { SqlValue } from '../values.js';

const rowUnpackr = new Unpackr({ useRecords: false, copyBuffers: true, int64AsType: 'bigint' });
const metaChecksum = await loadChecksum();
const packr = new Packr({ useRecords: false, variableMapSize: true, copyBuffers: true });

const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER);
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The column values of a stored record.
 *
 * @param value the record's value: the row as msgpack, then its checksum. Only read until this returns.
 * @param length the value's length, which may be less than the buffer's.
 */
export function decodeRecord(value: Buffer, length: number): SqlValue[] {
  const cells = rowUnpackr.unpack(value, length - CHECKSUM_BYTES) as SqlValue[];
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i]!;
    if (typeof cell === 'bigint') {
      if (cell >= MIN_SAFE && cell <= MAX_SAFE) cells[i] = Number(cell);
    } else if (cell instanceof Uint8Array) {
      cells[i] = new Uint8Array(cell.buffer as ArrayBuffer, cell.byteOffset, cell.byteLength);
    }
  }
  return cells;
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
