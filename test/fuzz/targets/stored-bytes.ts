import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CacheError } from '../../../src/errors.js';
import { readDamage } from '../../../src/cache/damage-notes.js';
import { groupOf, indexEntry, isInexact } from '../../../src/cache/index-key.js';
import {
  damagePath,
  manifestBackupPath,
  manifestPath,
  statePath,
  verifyStatePath,
} from '../../../src/cache/layout.js';
import { readManifest } from '../../../src/cache/manifest.js';
import { decodeRecord, packMeta, recordIsSound, unpackMeta } from '../../../src/cache/record.js';
import { readSeal } from '../../../src/cache/seal.js';
import { readFailedSyncs, readLastError, readRowCounts } from '../../../src/cache/state-file.js';
import { decodePosition, encodePosition } from '../../../src/pipeline/position.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { decodeKey, encodeKey } from '../../../src/transform/key-codec.js';
import { RowEncoder, rowBound } from '../../../src/transform/row-encoder.js';
import type { SqlValue } from '../../../src/values.js';
import { readProgress, writeProgress } from '../../../src/verify/state-file.js';
import { lentBuffer, STALE_TEXT } from '../../support/lent-buffer.js';
import type { Random } from '../../support/random.js';
import { mutateBytes, mutateText } from '../mutate.js';
import type { Target } from '../target.js';

const checksum = await loadChecksum();
const encoder = new RowEncoder();

/** What the project writes and reads again: records, keys, positions, and its small files. */
export async function storedBytes(directory: string): Promise<Target> {
  const generation = join(directory, 'generations', '1');
  mkdirSync(generation, { recursive: true });
  const files = await smallFiles(directory);
  const run = (random: Random) => {
    const kind = random.int(0, 9);
    if (kind < 3) return tryRecord(random);
    if (kind < 5) return tryKey(random);
    if (kind === 5) return tryPosition(random);
    if (kind === 6) return tryIndexKey(random);
    if (kind === 7) return tryMeta(random);
    return files(random);
  };
  return { run, [Symbol.asyncDispose]: () => Promise.resolve() };
}

function randomValue(random: Random): SqlValue {
  return random.pick<() => SqlValue>([
    () => null,
    () => random.int(-1000, 1000),
    () => BigInt(random.int(2 ** 22, 2 ** 31 - 1)) << 32n,
    () => random.next() * 1e300,
    () => 'é€😀\0'.repeat(random.int(0, 20)),
    () => 'x'.repeat(random.pick([0, 31, 32, 255, 256])),
    () => Uint8Array.from({ length: random.int(0, 300) }, () => random.int(0, 255)),
  ])();
}

function randomValues(random: Random): SqlValue[] {
  return Array.from({ length: random.int(1, 6) }, () => randomValue(random));
}

function tryRecord(random: Random): void {
  const row = randomValues(random);
  const key = Buffer.from(encodeKey([random.int(0, 1000)]));
  const bytes = Buffer.alloc(rowBound(row) + 16);
  const end = encoder.write(bytes, 0, row, row.length);
  bytes.writeBigUInt64LE(checksum(Buffer.concat([key, bytes.subarray(0, end)])), end);
  const record = Buffer.from(bytes.subarray(0, end + 8));
  assert.ok(recordIsSound(checksum, key, record, record.length));
  assert.deepEqual(decodeRecord(record, record.length), row);
  assert.deepEqual(decodeRecord(lentBuffer(record), record.length), row);
  const mutated = mutateBytes(random, record);
  if (!mutated.equals(record)) {
    assert.ok(!recordIsSound(checksum, key, mutated, mutated.length), 'damage is found');
  }
  // Without checksums what comes may be anything, but it comes soon, and of the record alone.
  for (const bytes of [mutated, lentBuffer(mutated)]) {
    try {
      for (const cell of decodeRecord(bytes, mutated.length)) {
        assert.ok(typeof cell !== 'string' || !cell.includes(STALE_TEXT));
      }
    } catch (error) {
      assert.ok(error instanceof RangeError, error as Error);
    }
  }
}

function tryKey(random: Random): void {
  const values = randomValues(random).map((value) =>
    typeof value === 'string' || value instanceof Uint8Array ? value.slice(0, 100) : value,
  );
  const width = values.length;
  const key = mutateBytes(random, encodeKey(values.map((value) => wellFormed(value))));
  try {
    for (const value of decodeKey(key, width)) {
      assert.ok(value === null || ['number', 'bigint', 'string', 'object'].includes(typeof value));
    }
  } catch (error) {
    assert.ok(error instanceof RangeError, error as Error);
  }
}

function wellFormed(value: SqlValue): SqlValue {
  return typeof value === 'string' ? value.toWellFormed() : value;
}

function tryPosition(random: Random): void {
  const values = randomValues(random);
  const bytes = encodePosition(values)!;
  assert.equal(decodePosition(bytes)!.length, values.length);
  const mutated = mutateBytes(random, bytes);
  attempt(() => decodePosition(mutated));
}

function tryIndexKey(random: Random): void {
  const values = randomValues(random);
  const columns = values.map((_, i) => i);
  const descending = values.map(() => random.chance(0.5));
  const index = { name: 'i', columns, descending, unique: random.chance(0.5) };
  const rowKey = Buffer.from(encodeKey([random.int(0, 1000)]));
  const { key } = indexEntry(index, 3, values.map(wellFormed), rowKey, checksum);
  const mutated = mutateBytes(random, key);
  assert.equal(typeof isInexact(mutated, rowKey), 'boolean');
  const group = groupOf(mutated, rowKey);
  assert.ok(group === null || group.length < mutated.length);
}

function tryMeta(random: Random): void {
  const meta = { tables: [{ id: 1, plan: { name: 't', columns: [{ name: 'a' }] } }], nextId: 2 };
  const key = Buffer.from('catalog');
  const packed = packMeta(key, meta);
  const mutated = mutateBytes(random, packed);
  // Damage is found, whatever it is.
  if (!mutated.equals(packed)) assert.throws(() => unpackMeta(key, mutated), CacheError);
}

/** Whatever it throws is an error, and no failure of the machine. */
function attempt(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof Error);
  }
}

async function smallFiles(directory: string): Promise<(random: Random) => Promise<void>> {
  const manifest = {
    product: 'storage-sync',
    format: 1,
    cacheId: 'c',
    live: 1,
    building: { generation: 2, boot: 'b', startedAt: 's' },
  };
  const state = {
    lastError: { at: '2026-01-01T00:00:00.000Z', code: 'SOURCE_UNAVAILABLE', message: 'm' },
    failedSyncs: 2,
    rows: { t: 100, u: 5 },
  };
  const progress = { of: 'x', startedAt: 's', tables: {} };
  await writeProgress(directory, progress);
  const saved: unknown = JSON.parse(readFileSync(verifyStatePath(directory), 'utf8'));
  const note = { generation: 1, table: 3, key: '10c0' };
  const generation = join(directory, 'generations', '1');
  const isText = (value: unknown) => typeof value === 'string';
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  return async (random) => {
    const file = random.int(0, 4);
    if (file === 0) {
      write(manifestPath(directory), mutateText(random, manifest));
      write(manifestBackupPath(directory), mutateText(random, manifest));
      try {
        const read = readManifest(directory);
        assert.ok(read !== null && (read.live === null || read.live >= 1));
      } catch (error) {
        assert.ok(error instanceof CacheError, error as Error);
      }
    } else if (file === 1) {
      write(statePath(directory), mutateText(random, state));
      const error = readLastError(directory);
      assert.ok(error === null || [error.at, error.code, error.message].every(isText));
      assert.ok(isCount(readFailedSyncs(directory)));
      assert.ok(Object.values(readRowCounts(directory)).every(isCount));
    } else if (file === 2) {
      const seal = random.chance(0.5) ? { writer: 12 } : { bytes: 4096, modified: '123' };
      write(join(generation, 'seal.json'), mutateText(random, seal));
      const read = readSeal(generation);
      if (read !== null && 'writer' in read) assert.ok(isCount(read.writer));
      else if (read !== null) assert.ok(isCount(read.bytes) && isText(read.modified));
    } else if (file === 3) {
      const lines = [note, { ...note, key: '20' }, { generation: 1 }];
      const text = lines.map((line) => mutateText(random, line).toString('latin1')).join('\n');
      write(damagePath(directory), Buffer.from(text, 'latin1'));
      const { records } = readDamage(directory, 1);
      for (const keys of records.values()) for (const key of keys) assert.ok(key.length < 3000);
    } else {
      write(verifyStatePath(directory), mutateText(random, saved));
      const read = readProgress(directory, 'x');
      if (read !== null) assert.deepEqual(read, progress);
    }
  };
}

function write(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}
