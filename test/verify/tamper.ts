import assert from 'node:assert/strict';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import { readManifest } from '../../src/cache/manifest.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { encodeKey } from '../../src/transform/key-codec.js';
import { describeKey } from '../../src/transform/key-text.js';
import type { DifferenceKind, VerifyTableReport } from '../../src/index.js';
import type { SqlValue } from '../../src/values.js';

const checksum = await loadChecksum();

/** A row that was tampered with, as a report is to name it. */
export interface Tampered {
  readonly key: string;
  readonly kind: DifferenceKind;
}

/** One table of a served generation, to be written to past the product. */
export class TamperedTable {
  readonly keys: readonly Buffer[];
  readonly #environment: Environment;
  readonly #id: number;
  readonly #width: number;

  constructor(environment: Environment, table: string) {
    this.#environment = environment;
    const found = environment.catalog().tables.find(({ plan }) => plan.name === table);
    assert.ok(found, `the cache has ${table}`);
    this.#id = found.id;
    this.#width = found.plan.key.length;
    environment.openTable(this.#id);
    this.keys = [...environment.rows(this.#id).getKeys({})].map((key) => Buffer.from(key));
  }

  /** Entries in all indexes of the table. */
  get entries(): number {
    return [...this.#environment.indexes(this.#id).getKeys({})].length;
  }

  /** Changes one bit of a record. */
  flip(at: number, byte: number): Tampered {
    const key = this.keys[at]!;
    const value = this.#value(key);
    value[(byte + value.length) % value.length]! ^= 0x10;
    return this.#put(key, value, 'damaged');
  }

  /** Cuts a record. */
  cut(at: number, bytes: number): Tampered {
    const key = this.keys[at]!;
    return this.#put(key, this.#value(key).subarray(0, bytes), 'damaged');
  }

  /** Gives a record the row of another, under a checksum that holds. */
  replace(at: number, by: number): Tampered {
    const key = this.keys[at]!;
    return this.#put(key, this.#sound(key, this.keys[by]!), 'differs');
  }

  remove(at: number): Tampered {
    const key = this.keys[at]!;
    this.#environment.transaction(() => {
      this.#environment.rows(this.#id).removeSync(key);
    });
    return { key: describeKey(key, this.#width), kind: 'missing' };
  }

  /** Adds a sound record under a key that the source does not have. */
  add(values: readonly SqlValue[], rowid?: bigint): Tampered {
    const key = Buffer.from(encodeKey(values, rowid));
    assert.ok(!this.#environment.rows(this.#id).doesExist(key), 'the key is new');
    return this.#put(key, this.#sound(key, this.keys[7]!), 'extra');
  }

  /** Puts bytes under a key that is none. */
  addGarbage(key: Buffer): void {
    this.#environment.transaction(() => {
      this.#environment.rows(this.#id).putSync(key, Buffer.from('garbage that has no checksum'));
    });
  }

  /** Removes some entries of the table's indexes. */
  removeEntries(count: number): void {
    const entries = this.#environment.indexes(this.#id);
    const keys = [...entries.getKeys({ limit: count })];
    assert.equal(keys.length, count);
    this.#environment.transaction(() => {
      for (const key of keys) entries.removeSync(key);
    });
  }

  /** Enters a row in an index once more, under another value. */
  addEntry(): void {
    const entries = this.#environment.indexes(this.#id);
    const [first] = [...entries.getRange({ limit: 1 })];
    assert.ok(first);
    const key = Buffer.concat([first.key.subarray(0, 2), encodeKey(['no such value', 'x'])]);
    this.#environment.transaction(() => {
      entries.putSync(key, Buffer.from(first.value));
    });
  }

  #value(key: Buffer): Buffer {
    const value = this.#environment.rows(this.#id).get(key);
    assert.ok(value);
    return Buffer.from(value);
  }

  /** The row of one record as that of another. */
  #sound(key: Buffer, from: Buffer): Buffer {
    const row = this.#value(from).subarray(0, -8);
    const value = Buffer.alloc(row.length + 8);
    row.copy(value);
    value.writeBigUInt64LE(checksum(Buffer.concat([key, row])), row.length);
    return value;
  }

  #put(key: Buffer, value: Buffer, kind: DifferenceKind): Tampered {
    this.#environment.transaction(() => {
      this.#environment.rows(this.#id).putSync(key, value);
    });
    return { key: describeKey(key, this.#width), kind };
  }
}

/** Writes to a table of the served generation past the product. */
export async function tamper<T>(
  cacheDir: string,
  table: string,
  change: (table: TamperedTable) => T,
): Promise<T> {
  const live = readManifest(cacheDir)?.live;
  assert.ok(live, 'the cache serves a generation');
  const environment = new Environment(generationPath(cacheDir, live));
  try {
    return change(new TamperedTable(environment, table));
  } finally {
    await environment.close();
  }
}

/** Ten rows, spread over the table, wrong in different ways. */
export function tamperWithTen(
  table: TamperedTable,
  extra: readonly (readonly SqlValue[])[],
): Tampered[] {
  const at = (share: number) => Math.floor(share * (table.keys.length - 1));
  return [
    table.flip(at(0), 1),
    table.flip(at(0.31), -1),
    table.cut(at(0.52), 5),
    table.replace(at(0.11), at(0.12)),
    table.replace(at(0.77), at(0.13)),
    table.replace(at(1), at(0.14)),
    table.remove(at(0.44)),
    table.remove(at(0.45) + 1),
    ...extra.map((values) => table.add(values)),
  ];
}

/** Asserts that a report names these rows and no others. */
export function assertFound(
  report: VerifyTableReport,
  expected: readonly Tampered[],
  repaired: boolean,
): void {
  const byKey = (a: Tampered, b: Tampered) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  assert.deepEqual(
    report.found.map(({ key, kind }) => ({ key, kind })).sort(byKey),
    [...expected].sort(byKey),
  );
  for (const found of report.found) assert.equal(found.repaired, repaired, found.key);
  for (const kind of ['damaged', 'differs', 'missing', 'extra'] as const) {
    const count = expected.filter((each) => each.kind === kind).length;
    assert.equal(report.differences[kind], count, kind);
  }
}
