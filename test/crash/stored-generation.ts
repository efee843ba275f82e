import assert from 'node:assert/strict';
import { open } from 'lmdb';
import { Unpackr } from 'msgpackr';
import xxhash from 'xxhash-wasm';
import type { Catalog, SyncRecord, TableState } from '../../src/cache/catalog.js';
import { preflight } from '../../src/cache/preflight.js';
import { storedCells } from './cells.js';

/** What a generation's file holds of one table, read past all of the product's own reading. Keys are hex. */
export interface StoredTable {
  readonly name: string;
  readonly state: TableState;
  /** The row of each key. */
  readonly rows: ReadonlyMap<string, string>;
  readonly cells: ReadonlyMap<string, readonly string[]>;
  /** Keys of rows by index key, for each index. */
  readonly indexes: readonly ReadonlyMap<string, string>[];
  readonly scratch: ReadonlySet<string>;
}

export interface StoredGeneration {
  readonly tables: ReadonlyMap<string, StoredTable>;
  readonly record: SyncRecord | null;
}

const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;
const CHECKSUM_BYTES = 8;

const hasher = await xxhash();
const unpackr = new Unpackr({ useRecords: false, copyBuffers: true });

/** Reads a generation, and checks what can be checked without knowing the source: checksums, and counts. */
export async function readGeneration(dir: string): Promise<StoredGeneration> {
  preflight(dir);
  const root = open<Buffer, Buffer>(dir, { ...BYTES, noSubdir: false, maxDbs: 4096 });
  try {
    // Opening a database that is not there would make it. lmdb-js keeps names with a NUL at their end.
    const names = new Set([...root.getKeys()].map((name) => String(name).replace(/\0$/, '')));
    const entries = (name: string): [string, Buffer][] => {
      if (!names.has(name)) return [];
      const database = root.openDB<Buffer, Buffer>(name, BYTES);
      const found = [...database.getRange()].map(({ key, value }): [string, Buffer] => [
        key.toString('hex'),
        Buffer.from(value),
      ]);
      const { entryCount } = database.getStats() as { entryCount: number };
      assert.equal(found.length, entryCount, `${name} gives as many entries as it has`);
      return found;
    };
    const meta = new Map(
      entries('meta').map(([key, value]): [string, unknown] => [
        Buffer.from(key, 'hex').toString(),
        unpackr.unpack(soundBody('meta', key, value)),
      ]),
    );
    const catalog = (meta.get('catalog') ?? { tables: [] }) as Catalog;
    const tables = catalog.tables.map(({ id, plan, indexNumbers }): [string, StoredTable] => {
      const records = entries(`r${id}`);
      const cells = records.map(([key, value]) => soundCells(plan.name, key, value));
      return [
        plan.name,
        {
          name: plan.name,
          state: (meta.get(`table:${id}`) ?? { rows: 0, checkpoint: null }) as TableState,
          rows: new Map(records.map(([key], i) => [key, cells[i]!.join(' ')])),
          cells: new Map(records.map(([key], i) => [key, cells[i]!])),
          indexes: indexNumbers.map((number) => {
            const prefix = number.toString(16).padStart(4, '0');
            return new Map(
              entries(`i${id}`)
                .filter(([key]) => key.startsWith(prefix))
                .map(([key, value]) => [key.slice(prefix.length), value.toString('hex')]),
            );
          }),
          scratch: new Set(entries(`s${id}`).map(([key]) => key)),
        },
      ];
    });
    return { tables: new Map(tables), record: (meta.get('sync') ?? null) as SyncRecord | null };
  } finally {
    await root.close();
  }
}

function soundCells(table: string, key: string, value: Buffer): string[] {
  return storedCells(soundBody(table, key, value));
}

function soundBody(table: string, key: string, value: Buffer): Buffer {
  const rowEnd = value.length - CHECKSUM_BYTES;
  const hashed = Buffer.concat([Buffer.from(key, 'hex'), value.subarray(0, rowEnd)]);
  assert.equal(
    value.readBigUInt64LE(rowEnd),
    hasher.h64Raw(hashed),
    `the checksum of ${key} in ${table} holds`,
  );
  return value.subarray(0, rowEnd);
}
